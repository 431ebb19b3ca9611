"""Keeps a lease alive while a run works, and says when it was lost."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sleep_runtime.core.errors import LeaseLost, SleepRuntimeError
from sleep_runtime.core.ports import Clock, LedgerWriter
from sleep_runtime.core.run import Lease


@dataclass(frozen=True)
class Pulse:
    """How long a lease lives without a sign of its owner, and how often it gives one."""

    ttl_s: float = 30.0
    every_s: float = 5.0


class Heartbeat:
    """Renews a lease from its own thread, inside a ``with`` block.

    Losing the lease does not stop the run from here: every write is fenced by the epoch, so a
    late writer fails there. ``check`` lets the run notice between two steps.
    """

    def __init__(self, writer: LedgerWriter, lease: Lease, clock: Clock, pulse: Pulse) -> None:
        self._writer = writer
        self._lease = lease
        self._clock = clock
        self._pulse = pulse
        self._stop = threading.Event()
        self._lost: SleepRuntimeError | None = None
        self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=self._pulse.ttl_s)

    def check(self) -> None:
        """Raise what ended the heartbeat, if anything did."""
        if self._lost is not None:
            raise self._lost

    def _beat(self) -> None:
        while not self._stop.wait(self._pulse.every_s):
            try:
                self._writer.renew(self._lease, now=self._clock.now(), ttl_s=self._pulse.ttl_s)
            except LeaseLost as lost:
                self._lost = lost
                return
            except SleepRuntimeError:
                # The ledger is away for a moment. The lease may still be good: try again at the
                # next beat, and let the fence decide.
                continue
