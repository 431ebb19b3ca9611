"""A fixed share of the fuzzers on every parser, and every input that once broke one."""

from __future__ import annotations

import gzip
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import strategies as st

from reliability.fuzz.parsers import TARGETS
from reliability.fuzz.target import Target, run
from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.native import parse_events
from sleep_runtime.core.errors import InvalidInput

SEED = 20_261_127
INPUTS = 40


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_parser_answers_or_refuses_and_never_breaks(target: Target) -> None:
    tried = run(target, seeded=SEED, inputs=INPUTS)
    assert not tried.failures
    assert tried.hangs == 0
    assert tried.inputs >= INPUTS / 2


def _divides(value: int) -> float:
    return 1 / (value - 7)


def _waits(value: int) -> None:
    while value == 7:
        pass


def _grumbles(value: int) -> None:
    if value == 7:
        raise InvalidInput("no", field="value")


@pytest.mark.parametrize(
    ("read", "said"),
    [(_divides, "ZeroDivisionError"), (_waits, "Hang"), (_grumbles, "without mend")],
)
def test_what_breaks_hangs_or_says_no_mend_is_found(read: object, said: str) -> None:
    target = Target("broken", st.integers(0, 20), read, within_s=0.2)  # type: ignore[arg-type]
    tried = run(target, seeded=SEED, inputs=200)
    (failure,) = tried.failures
    assert said in failure
    assert failure.endswith("<- 7"), "the smallest input that shows it"
    assert bool(tried.hangs) == (said == "Hang")


@pytest.mark.parametrize(
    "bomb",
    [
        gzip.compress(b" " * 300_000_000, compresslevel=1),
        gzip.compress(gzip.compress(b" " * 300_000_000, compresslevel=1)),
        gzip.compress(b" " * 100_000) * 17,
        gzip.compress(b"[" * 1_000_000),
    ],
    ids=["ratio", "nested", "members", "depth"],
)
def test_a_gzip_bomb_costs_no_more_than_a_body_may_be_large(bomb: bytes) -> None:
    limits = CaptureLimits(max_body_bytes=2_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput):
            parse_events(
                bomb,
                content_type="application/json",
                content_encoding="gzip",
                now=datetime(2026, 11, 23, tzinfo=UTC),
                limits=limits,
            )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * limits.max_body_bytes
