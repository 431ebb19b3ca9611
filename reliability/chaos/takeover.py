"""Two drivers on one ledger, each in a process of its own, as two tier actors are.

One hangs at a step boundary for longer than its lease. The other has to take its scope over, and
what the first one still writes when it wakes up has to be refused by the fence.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from datetime import datetime, timedelta
from functools import partial
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, cast

from reliability.chaos.bench import Bench, Missed, Patient
from reliability.chaos.night import NIGHT, Order, capture, embedder, ended, settings_of
from reliability.chaos.nursery import Failed, Night, Unable
from sleep_runtime.actors.driver import RunDriver
from sleep_runtime.compose.cold import make_driver_parts
from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.core.errors import SleepRuntimeError
from sleep_runtime.core.ports import LedgerWriter
from sleep_runtime.core.run import Trigger
from sleep_runtime.core.scope import Tier

LEASE_S, BEAT_S = 0.6, 0.15
TAKEN_OVER_S = 12.0
POLL_S = 0.02
PULSE = {"scheduler.lease_ttl_s": LEASE_S, "scheduler.heartbeat_s": BEAT_S}


class RunningClock:
    """Begins at the night's hour, or ``back_s`` before it, and goes on as time does."""

    def __init__(self, back_s: float) -> None:
        self._start = NIGHT - timedelta(seconds=back_s)

    def now(self) -> datetime:
        return self._start + timedelta(seconds=time.monotonic() % 86_400)


def hang(bench: Bench, patient: Patient, *, place: str, back_s: float) -> None:
    """Let the first driver stop at ``place``; the second, on a clock ``back_s`` earlier, goes on.

    Raises ``AssertionError`` when nobody takes over in time, or when the first one, awake again,
    fails otherwise than by the fence.
    """
    patient.compared = "learned"
    order = patient.order(settings=PULSE)
    owner = bench.nursery.fork(order, own)
    try:
        _await(patient.home / "serving", owner)
        first = bench.nursery.fork(patient.order(settings=PULSE, failpoints=f"{place}=stop"), drive)
        _await_stop(first)
        later = patient.order(settings=PULSE, back_s=back_s)
        second = bench.nursery.fork(later, drive)
        try:
            code = second.end(TAKEN_OVER_S)
        except Failed:
            raise AssertionError(f"nobody took over in {TAKEN_OVER_S:g} s") from None
        os.kill(first.pid, signal.SIGCONT)
        codes = (code, first.end())
        assert codes == (0, 0), f"drivers ended with {codes}: {owner.error()}"
    finally:
        owner.kill()


def own(order: Order) -> None:
    """Own the stores: capture what comes, then write for whoever asks, until killed."""
    with ended(order):
        settings = settings_of(order)
        with Embedded(settings, clock=RunningClock(0), embedder=embedder()) as runtime:
            capture(runtime, order)
            runtime.scheduler.request(None)
            with Listener(_address(order)) as listener:
                (Path(order.home) / "serving").touch()
                while True:
                    line = listener.accept()
                    threading.Thread(target=_serve, args=(line, runtime), daemon=True).start()


def _serve(line: Connection, runtime: Embedded) -> None:
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            method, args, kwargs = line.recv()
            try:
                target = runtime.project if method == "project" else getattr(runtime.writer, method)
                line.send((True, target(*args, **kwargs)))
            except SleepRuntimeError as error:
                line.send((False, error))


class _Remote:
    """A ``LedgerWriter`` whose methods run in the owner. Safe for the threads of a driver."""

    def __init__(self, address: str) -> None:
        self._line = Client(address)
        self._lock = threading.Lock()

    def __getattr__(self, method: str) -> Any:
        return partial(self.call, method)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self._line.send((method, args, kwargs))
            done, found = self._line.recv()
        if not done:
            raise found
        return found


def drive(order: Order) -> None:
    """Drive whatever is pending, one tier after the other; what another holds is waited for."""
    with ended(order):
        settings = settings_of(order)
        remote = _Remote(_address(order))
        parts = make_driver_parts(
            settings,
            cast("LedgerWriter", remote),
            partial(remote.call, "project"),
            clock=RunningClock(order.back_s),
            embedder=embedder(),
        )
        driver = RunDriver(f"driver-{os.getpid()}", parts)
        for tier in sorted(Tier, reverse=True):
            while scopes := [s.scope for s in parts.ledger.schedules() if _waits(s, tier)]:
                for scope in scopes:
                    driver.consolidate(scope, Trigger.MANUAL, "*")
                time.sleep(POLL_S)


def _waits(schedule: Any, tier: Tier) -> bool:
    return schedule.scope.tier is tier and not schedule.idle


def _address(order: Order) -> str:
    return f"{order.home}/ledger.socket"


def _await(path: Path, owner: Night) -> None:
    if not owner.await_file(path.name):
        raise Unable(f"the owner ended: {owner.error()}")


def _await_stop(night: Night) -> None:
    """Wait until the process stopped itself. ``Missed`` when it ended instead."""
    give_up = time.monotonic() + TAKEN_OVER_S
    while not _is_stopped(night.pid):
        if night.over or time.monotonic() > give_up:
            night.kill()
            raise Missed("the first driver did not come to where it hangs")
        time.sleep(POLL_S)


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False
