"""Auditor: enters what callers do into the audit log, deeds before they are done.

A deed is on the disk before it is begun, or refused. Reads and refusals are entered behind the
request's back, once an hour for each caller, scope and kind: they never make anybody wait.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastapi.concurrency import run_in_threadpool

from sleep_runtime.core.access import AccessRole, Caller
from sleep_runtime.core.audit import AuditLog, Deed
from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.ports import Clock
from sleep_runtime.core.scope import Scope
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

MAX_REMEMBERED = 50_000
MAX_WAITING = 1_000
EVERY_S = 3600
CLOSE_S = 5.0

log = get_logger(__name__)


class _Sight(NamedTuple):
    who: str
    deed: Deed
    scope: str
    subject: str


class Auditor:
    """For one replica. Without a log it enters nothing: for the runtime inside one process."""

    def __init__(self, audit: AuditLog | None, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._seen: OrderedDict[_Sight, int] = OrderedDict()
        self._lock = threading.Lock()
        self._waiting: queue.Queue[_Sight | None] = queue.Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None

    async def deed(
        self, caller: Caller, deed: Deed, subject: str, detail: Mapping[str, Any]
    ) -> None:
        """Enter what is about to be done. Raises ``StoreError``: then it must not be done."""
        if self._audit is not None:
            record = self._audit.record
            await run_in_threadpool(record, caller.name, deed, subject=subject, detail=dict(detail))

    def read(self, caller: Caller, scope: Scope | None, subject: str = "") -> None:
        """Enter that notes or runs of this scope were looked at, unless it is the caller's own."""
        own = (grant.scope for grant in caller.grants if grant.allows(AccessRole.READ))
        if scope is None or scope not in own:
            self._note(_Sight(caller.name, Deed.READ, str(scope or ""), subject))

    def refused(self, caller: Caller, method: str, path: str) -> None:
        """Enter that the caller asked for what they may not."""
        self._note(_Sight(caller.name, Deed.REFUSED, "", f"{method} {path}"))

    def close(self) -> None:
        """Enter what waits, for some seconds at most."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):  # nothing is entered any more
                self._waiting.put(None, timeout=CLOSE_S)
            self._thread.join(CLOSE_S)

    def _note(self, sight: _Sight) -> None:
        if self._audit is None:
            return
        hour = int(self._clock.now().timestamp()) // EVERY_S
        with self._lock:
            if self._seen.get(sight) == hour:
                return
            self._seen[sight] = hour
            self._seen.move_to_end(sight)
            if len(self._seen) > MAX_REMEMBERED:
                self._seen.popitem(last=False)
            if self._thread is None:
                self._thread = threading.Thread(target=self._enter, name="audit", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait(sight)
        except queue.Full:
            self._forget(sight, "too many wait to be entered")

    def _enter(self) -> None:
        assert self._audit is not None  # noqa: S101 - the thread is started for a log
        while (sight := self._waiting.get()) is not None:
            try:
                self._audit.record(sight.who, sight.deed, scope=sight.scope, subject=sight.subject)
            except StoreError as error:
                self._forget(sight, str(error))

    def _forget(self, sight: _Sight, reason: str) -> None:
        """The next one like it is entered instead."""
        with self._lock:
            self._seen.pop(sight, None)
        log.warning(LogEvent.AUDIT_MISSED, deed=sight.deed.value, reason=reason)
