"""A target: something that reads, the inputs it is given, and what it may answer.

An input is read within so much processor time, into a value or one of our errors with its field,
reason and mend. Anything else is a failure, and is told with the smallest input that shows it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.strategies import SearchStrategy

from sleep_runtime.core.errors import SleepRuntimeError

SHOWN_CHARS = 400


class Hang(Exception):
    """Reading took more processor time than it may."""


@dataclass(frozen=True)
class Target:
    """``read`` raises nothing but ``refuses``; ``told`` says that these errors are for people.

    ``known`` are inputs that once failed: they are always tried, first. ``within_s`` is processor
    time, which other work on the machine does not lengthen.
    """

    name: str
    inputs: SearchStrategy[Any]
    read: Callable[[Any], object]
    refuses: tuple[type[Exception], ...] = (SleepRuntimeError,)
    told: bool = True
    within_s: float = 2.0
    known: Sequence[Any] = ()


@dataclass
class Tried:
    """What came of one target: inputs tried, how many were refused, and the failures."""

    inputs: int = 0
    refused: int = 0
    hangs: int = 0
    slowest_ms: float = 0.0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tried) -> None:
        self.inputs += other.inputs
        self.refused += other.refused
        self.hangs += other.hangs
        self.slowest_ms = max(self.slowest_ms, other.slowest_ms)
        self.failures += [one for one in other.failures if one not in self.failures]


def run(target: Target, *, seeded: int, inputs: int) -> Tried:
    """Give a target its known inputs and so many made from ``seeded``. The same seed, the same."""
    tried = Tried()
    last: list[Any] = []

    @seed(seeded)
    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
    )
    @given(target.inputs)
    def check(value: Any) -> None:
        last[:] = [value]
        _give(target, value, tried)

    for value in target.known:
        try:
            _give(target, value, tried)
        except Exception as error:  # noqa: BLE001 - every one is a finding, and is reported
            tried.failures.append(_shown(target, value, error))
    try:
        check()
    except Exception as error:  # noqa: BLE001 - as above
        tried.failures.append(_shown(target, last[0] if last else None, error))
    return tried


def _give(target: Target, value: Any, tried: Tried) -> None:
    tried.inputs += 1
    began = time.process_time()
    try:
        with processor_time(target.within_s):
            target.read(value)
    except Hang:
        tried.hangs += 1
        raise
    except target.refuses as error:
        tried.refused += 1
        if target.told:
            check_told(error)
    tried.slowest_ms = max(tried.slowest_ms, 1000 * (time.process_time() - began))


def check_told(error: Exception) -> None:
    """Raise ``AssertionError`` unless it says what, why, and what to do."""
    if isinstance(error, SleepRuntimeError):
        lacks = [name for name in ("field", "reason", "mend") if not getattr(error, name)]
        if lacks:
            raise AssertionError(f"{type(error).__name__} without {', '.join(lacks)}: {error}")


@contextmanager
def processor_time(seconds: float) -> Iterator[None]:
    """Raise ``Hang`` in this thread, the main one, after so much of it."""

    def ring(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a handler
        raise Hang(f"took more than {seconds:g} s of processor time")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _shown(target: Target, value: Any, error: BaseException) -> str:
    said = f"{type(error).__name__}: {error}"
    return f"{target.name}: {said[:SHOWN_CHARS]} <- {value!r:.{SHOWN_CHARS}}"
