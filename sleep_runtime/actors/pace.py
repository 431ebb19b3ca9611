"""Pace: how cold threads hold back while live work wants this machine's processors.

The lowest priority gives a processor up at once, but not for nothing. While an idle thread runs
where a live one has just finished, the kernel does not look for a live one that waits elsewhere;
two spinning ``SCHED_IDLE`` threads alone cost a hot path that fills both processors a seventh of
its throughput (see docs/benchmarks.md). So cold work looks how busy the machine is without it, and
in busy times takes a small share instead of whatever happens to be left.

Cold threads are at nice 19 as well, so that the kernel counts their time apart: what is left of
``/proc/stat`` is live. It counts the whole machine, also from inside a container.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sleep_runtime.telemetry.metrics import METRICS

WINDOW_S = 0.1
MAX_PAUSE_S = 1.0
LEAST_DEBT_S = 0.05
HOLD_S = 0.5
_STAT = Path("/proc/stat")
# Columns of the first line, see proc(5). "nice" is cold work; what is idle or waits is nobody's.
_NICE, _IDLE, _IOWAIT = 1, 3, 4


def nothing() -> None:
    """The pace of those who need not hold back."""


class Processors:
    """The share of this machine's processors that live work takes. Thread-safe.

    Reads the kernel's counters at most once in ``WINDOW_S``; 0 where there are none.
    """

    def __init__(
        self,
        read: Callable[[], str] = lambda: _STAT.read_text(encoding="ascii"),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._next = float("-inf")
        self._before: list[int] = []
        self._live = 0.0

    def live(self) -> float:
        """The share 0..1 over the last window."""
        with self._lock:
            now = self._monotonic()
            if now >= self._next:
                self._next = now + WINDOW_S
                self._look()
            return self._live

    def _look(self) -> None:
        try:
            counted = [int(word) for word in self._read().partition("\n")[0].split()[1:9]]
        except (OSError, ValueError):
            return
        if self._before:
            grown = [now - was for now, was in zip(counted, self._before, strict=True)]
            whole = sum(grown)
            if whole > 0:
                spare = grown[_NICE] + grown[_IDLE] + grown[_IOWAIT]
                self._live = max(0.0, 1.0 - spare / whole)
        self._before = counted


@dataclass
class Pace:
    """Holds cold threads back. ``busy_above``: the live share from which on it is busy.

    ``busy_share``: how much of one processor a thread then takes. ``live`` says how busy it is.
    """

    busy_above: float
    busy_share: float
    live: Callable[[], float] = field(default_factory=lambda: Processors().live)
    cpu: Callable[[], float] = time.thread_time
    wait: Callable[[float], object] = field(default_factory=lambda: threading.Event().wait)
    _own: threading.local = field(default_factory=threading.local)

    def breathe(self) -> None:
        """Call between two pieces of work: returns at once, or after at most ``MAX_PAUSE_S``.

        What this thread spent since it called last is set against its share; a debt too small
        for a pause is kept. Not while holding what live work needs.
        """
        now = self.cpu()
        spent = now - getattr(self._own, "cpu", now)
        self._own.cpu = now
        if self.live() <= self.busy_above:
            self._own.debt = 0.0
            return
        debt = getattr(self._own, "debt", 0.0) + spent * (1.0 / self.busy_share - 1.0)
        if debt >= LEAST_DEBT_S:
            self._pause(min(debt, MAX_PAUSE_S))
            debt = 0.0
        self._own.debt = debt

    def _pause(self, seconds: float) -> None:
        """Wait so long, or until it is calm."""
        left = seconds
        while left > 0 and self.live() > self.busy_above:
            step = min(left, WINDOW_S)
            self.wait(step)
            METRICS.held_back_seconds.inc(step)
            left -= step

    def hold(self, processes: Callable[[], Iterable[int]], end: threading.Event) -> None:
        """Do the same to processes that cannot call ``breathe``, until ``end`` is set.

        In busy times they are stopped, and run for ``busy_share`` of the time. For a thread.
        """
        busy = False
        while not end.wait(HOLD_S * self.busy_share if busy else WINDOW_S):
            busy = self.live() > self.busy_above
            if busy:
                self._hold_once(list(processes()))

    def _hold_once(self, held: Sequence[int]) -> None:
        try:
            _signal(held, signal.SIGSTOP)
            self._pause(HOLD_S)
        finally:
            _signal(held, signal.SIGCONT)


def _signal(processes: Iterable[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(process, number)


def descendants(process: int) -> list[int]:
    """Every process below this one, however deep. See ``/proc/PID/task/TID/children``."""
    found: list[int] = []
    for task in _tasks(process):
        with suppress(OSError, ValueError):
            for word in (task / "children").read_text(encoding="ascii").split():
                found += [int(word), *descendants(int(word))]
    return found


def _tasks(process: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{process}/task").iterdir())
    except OSError:
        return []
