"""Starts nights: each a process forked from one that has loaded what a night needs."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

from reliability.chaos.night import Order, live

LIMIT_S = 60.0
POLL_S = 0.004


class Unable(RuntimeError):
    """What was to be hurt could not be brought to where it is hurt."""


class Failed(AssertionError):
    """A night hangs, or one that nobody hurt did not end well."""


class Night:
    """A night under way, or over."""

    def __init__(self, order: Order, process: BaseProcess) -> None:
        self.order = order
        self.home = Path(order.home)
        self._process = process

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def over(self) -> bool:
        return self._process.exitcode is not None

    def await_file(self, name: str, timeout_s: float = LIMIT_S) -> bool:
        """Wait until it wrote that file. False when it ended without."""
        give_up = time.monotonic() + timeout_s
        while not (self.home / name).exists():
            if self.over:
                return (self.home / name).exists()
            if time.monotonic() > give_up:
                raise Unable(f"no {name} in {timeout_s:g} s")
            time.sleep(POLL_S)
        return True

    def end(self, timeout_s: float = LIMIT_S) -> int:
        """Its exit code; the number of a signal, negative. One that hangs is killed: ``Failed``."""
        self._process.join(timeout_s)
        if not self.over:
            self._process.kill()
            self._process.join(LIMIT_S)
            raise Failed(f"a night took longer than {timeout_s:g} s")
        code = self._process.exitcode
        assert code is not None
        return code

    def kill(self) -> None:
        self._process.kill()
        self._process.join(LIMIT_S)

    def report(self) -> dict[str, Any]:
        """What it said when it was over. Raises ``Failed`` with its error when it failed."""
        code = self.end()
        if code != 0:
            raise Failed(f"a night that nobody hurt ended with {code}: {self.error()}")
        found: dict[str, Any] = json.loads((self.home / "report.json").read_text("utf-8"))
        return found

    def error(self) -> str:
        """What it failed with, if it said so."""
        with contextlib.suppress(OSError):
            return (self.home / "error").read_text("utf-8")
        return ""


class Nursery:
    """Forks nights. Use as a context manager: those still under way at its end are killed."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["reliability.chaos.warmed"])
        self._nights: list[Night] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for night in self._nights:
            if not night.over:
                night.kill()

    def start(self, order: Order) -> Night:
        """Begin a night. What an earlier one said in the same home is forgotten, but its acks."""
        for name in ("begun", "report.json", "error", "go"):
            (Path(order.home) / name).unlink(missing_ok=True)
        return self.fork(order, live)

    def fork(self, order: Order, work: Callable[[Order], None]) -> Night:
        """Run ``work`` in a process of its own."""
        process = self._context.Process(target=work, args=(order,), daemon=True)
        process.start()
        night = Night(order, process)
        self._nights = [each for each in self._nights if not each.over] + [night]
        return night

    def undisturbed(self, order: Order) -> dict[str, Any]:
        """Do a night to its end and return what it reports."""
        return self.start(order).report()


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Hold a process still while the block runs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
