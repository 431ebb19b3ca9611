"""The interference benchmark: which windows count, their ratios, and what is posted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.harness import Results
from benchmarks.interference.findings import Findings, rounds
from benchmarks.interference.pairs import LEAST_WANTED, Cold, Turn, clearly_worse, ratios, verdict
from benchmarks.interference.words import EVENT_BYTES, LESSONS, lessons, write_lines
from benchmarks.wrk import Load
from sleep_runtime.core.event import Event

BUSY = Cold(seconds=5.0, cpu_s=0.2, waited_s=4.0, nights=(3, 2))


def load(*, p99_ms: float = 10.0, rps: float = 100.0) -> Load:
    return Load(round(rps * 5), 5.0, p50_ms=p99_ms / 2, p99_ms=p99_ms, errors=0, client_cpu_s=0.25)


def turn(capture: Load, search: Load, cold: Cold | None = None) -> Turn:
    did = {"capture": cold, "search": cold} if cold else {}
    return Turn({"capture": capture, "search": search}, did)


def pair(*, p99: float = 1.0, through: float = 1.0) -> dict[str, float]:
    off = turn(load(), load())
    on = load(p99_ms=10 * p99, rps=100 * through)
    return ratios(off, turn(on, on))


def test_ratios_are_on_over_off_for_each_kind() -> None:
    off = turn(load(p99_ms=10, rps=100), load(p99_ms=40, rps=50))
    on = turn(load(p99_ms=30, rps=25), load(p99_ms=50, rps=50))
    found = ratios(off, on)
    assert found["capture_p99_ratio"] == pytest.approx(3.0)
    assert found["capture_p50_ratio"] == pytest.approx(3.0)
    assert found["search_p99_ratio"] == pytest.approx(1.25)
    assert found["capture_throughput_ratio"] == pytest.approx(0.25)
    assert found["search_throughput_ratio"] == pytest.approx(1.0)
    assert found["throughput_ratio"] == pytest.approx(0.5), "the geometric mean of both"


def test_the_share_of_the_client_is_told() -> None:
    assert load().client_cpu_share == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("cold", "why"),
    [
        (BUSY, ""),
        # At the lowest priority beside a busy hot path it waits far more than it runs.
        (Cold(5.0, 0.01, 2.6, (1, 1)), ""),
        (Cold(5.0, 0.2, 4.0, (0, 2)), "nights under way: 0 before, 2 after"),
        (Cold(5.0, 0.2, 4.0, (2, 0)), "nights under way: 2 before, 0 after"),
        (Cold(5.0, 0.0, 4.0, (1, 1)), "got no processor"),
        (Cold(5.0, 0.3, 1.0, (1, 1)), "asked for 0.26 processors"),
    ],
)
def test_a_window_counts_only_when_the_cold_processes_wanted_to_work(cold: Cold, why: str) -> None:
    assert (why in cold.idle(LEAST_WANTED)) if why else not cold.idle(LEAST_WANTED)


def test_one_idle_window_is_enough_to_discard_a_turn() -> None:
    rest = Cold(5.0, 0.0, 0.0, (0, 0))
    busy = turn(load(), load(), BUSY)
    assert not busy.idle(LEAST_WANTED)
    assert (
        Turn(busy.loads, {"capture": BUSY, "search": rest})
        .idle(LEAST_WANTED)
        .startswith("search: nights")
    )


def test_a_turn_with_consolidation_off_has_nothing_that_could_be_idle() -> None:
    assert not turn(load(), load()).idle(LEAST_WANTED)


@pytest.mark.parametrize(
    ("pairs", "target", "goal"),
    [
        ([pair(p99=1.04, through=0.99)] * 3, True, True),
        ([pair(p99=1.08, through=0.96)] * 3, True, False),
        ([pair(p99=1.12, through=1.0)] * 3, False, False),
        ([pair(p99=1.0, through=0.94)] * 3, False, False),
        ([pair(), pair(), pair(p99=9.0, through=0.1)], True, True),
    ],
)
def test_the_medians_are_held_against_target_and_goal(
    pairs: list[dict[str, float]], target: bool, goal: bool
) -> None:
    assert verdict(pairs) == {"target_met": target, "goal_met": goal}


def test_a_control_is_clearly_worse_only_when_it_lies_apart() -> None:
    spared = [pair(through=rate) for rate in (0.97, 0.99, 1.01)]
    assert clearly_worse([pair(through=rate) for rate in (0.5, 0.6, 0.7)], spared)
    assert not clearly_worse([pair(through=rate) for rate in (0.6, 0.9, 1.2)], spared)
    assert not clearly_worse([pair(through=0.1)], spared), "one pair shows nothing"
    assert not clearly_worse([pair(through=rate) for rate in (0.955, 0.956, 0.957)], spared)


class Script:
    """A stage whose turns are given. Remembers what was asked of it."""

    def __init__(self, *cold: Cold) -> None:
        self.cold = list(cold)
        self.asked: list[tuple[bool, bool]] = []

    def turn(self, *, on: bool, equal: bool = False) -> Turn:
        self.asked.append((on, equal))
        return turn(load(), load(), self.cold.pop(0) if on else None)


def measured(stage: Script, conditions: list[str], n: int) -> Findings:
    findings = Findings(Results("interference"))
    rounds(stage, conditions, n, findings)
    return findings


def test_a_discarded_pair_is_counted_and_measured_again() -> None:
    idle = Cold(5.0, 0.0, 0.0, (0, 0))
    findings = measured(Script(idle, BUSY, BUSY), ["extractive"], 2)
    assert len(findings.pairs["extractive"]) == 2
    assert len(findings.discarded["extractive"]) == 1
    assert findings.results.report()["results"]["capture_p99_ratio_extractive"]["n"] == 2


def test_a_runtime_that_never_gets_busy_ends_the_benchmark() -> None:
    idle = Cold(5.0, 0.0, 0.0, (0, 0))
    with pytest.raises(RuntimeError, match="idle again and again"):
        measured(Script(*[idle] * 9), ["extractive"], 2)


def test_the_order_within_a_pair_alternates_and_the_control_is_lifted() -> None:
    stage = Script(BUSY, BUSY)
    measured(stage, ["equal"], 2)
    assert stage.asked == [(False, False), (True, True), (True, True), (False, False)]


def test_a_null_pair_is_off_on_both_sides() -> None:
    stage = Script()
    findings = measured(stage, ["null"], 1)
    assert stage.asked == [(False, False)] * 2
    assert findings.results.report()["results"]["capture_p99_ms_off"]["n"] == 2


def test_events_of_one_kilobyte_and_searches_are_posted_under_names_of_their_own(
    tmp_path: Path,
) -> None:
    write_lines(tmp_path, 3)
    captures = (tmp_path / "capture.lines").read_text().splitlines()
    searches = (tmp_path / "search.lines").read_text().splitlines()
    assert all("@ID" in line for line in captures + searches)
    assert all("@TURN" in line for line in captures)
    event = captures[0].replace("@ID", "e1-7").replace("@TURN", "e1-0")
    assert abs(len(event) - EVENT_BYTES) < 16
    assert Event.model_validate_json(event).session.endswith("-e1-0")
    assert set(json.loads(searches[0])) == {"scope", "query", "k"}


def test_every_lesson_is_an_event_about_an_account_of_its_own() -> None:
    taught = [Event.model_validate(lesson) for lesson in lessons(1)]
    assert len({event.id for event in taught}) == len(taught) == LESSONS
    assert len({event.about["account"] for event in taught}) == LESSONS
