"""Pace: cold threads hold back while live work wants the processors, and go on when it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sleep_runtime.actors.pace import (
    LEAST_DEBT_S,
    MAX_PAUSE_S,
    WINDOW_S,
    Pace,
    Processors,
    descendants,
)
from sleep_runtime.telemetry.metrics import registry

WAIT_S = 30.0


class Machine:
    """Counters of two processors, of which so much is live and so much cold."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ticks = dict.fromkeys(
            ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"), 0
        )
        self.processors = Processors(self.read, lambda: self.now)

    def read(self) -> str:
        return "cpu  " + " ".join(str(n) for n in self.ticks.values()) + " 0 0\ncpu0 …\n"

    def spend(self, **ticks: int) -> float:
        self.now += WINDOW_S
        for name, more in ticks.items():
            self.ticks[name] += more
        return self.processors.live()


def test_live_is_what_is_neither_cold_nor_idle() -> None:
    machine = Machine()
    assert machine.spend(user=5, idle=15) == 0.0  # there is nothing to compare with yet
    assert machine.spend(user=5, system=3, irq=1, softirq=1, idle=10) == 0.5
    assert machine.spend(nice=15, idle=5) == 0.0
    assert machine.spend(user=18, nice=2) == 0.9
    assert machine.spend(iowait=20) == 0.0


def test_the_counters_are_read_once_in_a_window() -> None:
    machine = Machine()
    machine.spend(idle=20)
    assert machine.spend(user=20) == 1.0
    machine.ticks["idle"] += 100
    assert machine.processors.live() == 1.0


@pytest.mark.parametrize("said", ["", "cpu", "cpu a b c d e f g h"])
def test_a_system_without_counters_is_never_busy(said: str) -> None:
    assert Processors(lambda: said).live() == 0.0

    def missing() -> str:
        raise FileNotFoundError

    assert Processors(missing).live() == 0.0


class Thread:
    """A cold thread's clock, and how long it was made to wait."""

    def __init__(self, live: float = 1.0) -> None:
        self.live = live
        self.cpu = 0.0
        self.waits: list[float] = []
        self.pace = Pace(0.5, 0.02, lambda: self.live, lambda: self.cpu, self.wait)
        self.pace.breathe()

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    def work(self, seconds: float) -> float:
        """Work so long, breathe, and say how long that took."""
        before = sum(self.waits)
        self.cpu += seconds
        self.pace.breathe()
        return sum(self.waits) - before


def held_back() -> float:
    found = registry().get_sample_value("sleep_held_back_seconds_total")
    return found or 0.0


def test_a_calm_machine_is_no_reason_to_wait() -> None:
    thread = Thread(live=0.5)
    assert sum(thread.work(1.0) for _ in range(100)) == 0.0


def test_in_busy_times_a_thread_takes_its_share() -> None:
    thread = Thread()
    before = held_back()
    waited = sum(thread.work(0.005) for _ in range(100))
    assert 0.5 / (0.5 + waited) == pytest.approx(0.02, rel=0.05)
    assert held_back() - before == pytest.approx(waited)


def test_pieces_too_small_for_a_pause_are_added_up() -> None:
    thread = Thread()
    waited = sum(thread.work(LEAST_DEBT_S / 490) for _ in range(1000))
    assert waited == pytest.approx(1000 * LEAST_DEBT_S / 10, rel=0.05)


def test_no_pause_is_longer_than_its_bound() -> None:
    assert Thread().work(100.0) == pytest.approx(MAX_PAUSE_S)


def test_a_pause_ends_when_it_is_calm() -> None:
    thread = Thread()

    def wait(seconds: float) -> None:
        thread.waits.append(seconds)
        thread.live = 0.1

    thread.pace.wait = wait
    assert thread.work(10.0) == pytest.approx(WINDOW_S)
    assert thread.work(10.0) == 0.0


# ---------------------------------------------------------------------------- processes


def until(condition: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < give_up, what
        time.sleep(0.01)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_other_processes_are_held_in_busy_times_and_let_go_afterwards() -> None:
    busy = True
    with subprocess.Popen(["sleep", "60"]) as process:
        end = threading.Event()
        pace = Pace(0.5, 0.02, lambda: 1.0 if busy else 0.0)
        holding = threading.Thread(target=pace.hold, args=(lambda: [process.pid], end))
        holding.start()
        try:
            until(lambda: state_of(process.pid) == "T", "it was not stopped")
            busy = False
            until(lambda: state_of(process.pid) == "S", "it was not let go")
            busy = True
            until(lambda: state_of(process.pid) == "T", "it was not stopped again")
            end.set()
            holding.join(WAIT_S)
            until(lambda: state_of(process.pid) == "S", "it stayed stopped at the end")
        finally:
            end.set()
            holding.join(WAIT_S)
            process.send_signal(signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_processes_below_processes_are_found() -> None:
    script = (
        "import subprocess; p = subprocess.Popen(['sleep', '60']);"
        "print(p.pid, flush=True); p.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as top:
        assert top.stdout is not None
        lower = int(top.stdout.readline())
        try:
            assert {top.pid, lower} <= set(descendants(os.getpid()))
        finally:
            os.kill(lower, signal.SIGKILL)
    assert descendants(lower) == []
