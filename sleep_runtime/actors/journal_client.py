"""JournalClient: appends from a replica, over the socket of the journal's owner.

Requests that arrive in one turn of the event loop go out in one frame; the owner puts what waits
for its disk into one commit. Nothing waits for a timer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, cast

from sleep_runtime.actors.journal_wire import (
    HEAD,
    MAX_FRAME_BYTES,
    question,
    read_answer,
)
from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.journal import AppendResult, JournalRow
from sleep_runtime.stores.journal import Answer
from sleep_runtime.stores.room import MAX_PENDING, MAX_PENDING_BYTES, REPLICA, Room
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

ACK_TIMEOUT_S = 30.0
PATIENCE_S = 5.0
FRAME_EVENTS = 2000
_SEND_AGAIN = "send it again: ids make that safe"
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 0.5

log = get_logger(__name__)


class _Asked(NamedTuple):
    rows: Sequence[JournalRow]
    future: asyncio.Future[AppendResult]
    since: float


class JournalClient:
    """One line to the journal's owner. Lives in one event loop.

    ``find`` asks where the owner listens. At most ``max_pending`` events of ``max_pending_bytes``
    together wait for an ack.
    """

    def __init__(
        self,
        find: Callable[[], Awaitable[str]],
        *,
        max_pending: int = MAX_PENDING,
        max_pending_bytes: int = MAX_PENDING_BYTES,
    ) -> None:
        self._find = find
        self._room = Room(REPLICA, max_pending, max_pending_bytes)
        self._waiting: deque[_Asked] = deque()
        self._sent: dict[int, list[_Asked]] = {}
        self._number = 0
        self._line: asyncio.WriteTransport | None = None
        self._flushing = False
        self._connecting: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None

    async def append(self, rows: Sequence[JournalRow]) -> AppendResult:
        """Append a batch; returns when it is durable.

        Raises ``Overloaded`` when too much waits, here or at the owner, and ``StoreError`` when
        the owner is being restarted, or gives no answer in ``ACK_TIMEOUT_S``. After a
        ``StoreError`` the batch may be durable or not.
        """
        if not rows:
            return AppendResult(accepted=0, duplicates=0)
        taken = self._room.take(rows)
        loop = asyncio.get_running_loop()
        asked = _Asked(rows, loop.create_future(), loop.time())
        self._waiting.append(asked)
        if not self._flushing:
            self._flushing = True
            loop.call_soon(self._flush)
        if self._alarm is None:
            self._alarm = loop.call_later(ACK_TIMEOUT_S, self._give_up_late)
        try:
            return await asked.future
        finally:
            self._room.give_back(taken)

    def close(self) -> None:
        """Hang up. What waits for an ack is told that the owner went away."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._line is not None:
            self._line.abort()

    # ------------------------------------------------------------------ sending

    def _flush(self) -> None:
        """Send what waits, in as few frames as are not too large."""
        self._flushing = False
        if self._line is None:
            if self._waiting and self._connecting is None:
                self._connecting = asyncio.get_running_loop().create_task(self._connect())
            return
        while self._waiting:
            group, events = list[_Asked](), 0
            while self._waiting and (not group or events < FRAME_EVENTS):
                asked = self._waiting.popleft()
                if not asked.future.done():  # whoever asked has hung up meanwhile
                    group.append(asked)
                    events += len(asked.rows)
            if not group:
                return
            self._number += 1
            self._sent[self._number] = group
            self._line.write(question(self._number, [asked.rows for asked in group]))

    async def _connect(self) -> None:
        """Find the owner and open a line, for as long as ``PATIENCE_S``."""
        loop = asyncio.get_running_loop()
        give_up, wait_s = loop.time() + PATIENCE_S, _FIRST_WAIT_S
        try:
            while True:
                try:
                    path = await self._find()
                    await loop.create_unix_connection(lambda: _Wire(self), path)
                except (OSError, StoreError) as error:
                    if loop.time() + wait_s > give_up:
                        log.warning(LogEvent.ACTOR_AWAY, reason=str(error))
                        self._fail_all("the journal is being restarted")
                        return
                    await asyncio.sleep(wait_s)
                    wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
                else:
                    return
        finally:
            self._connecting = None

    # ------------------------------------------------------------------ hearing

    def opened(self, line: asyncio.WriteTransport) -> None:
        """The line stands."""
        self._line = line
        self._flush()

    def heard(self, body: bytes) -> None:
        """A frame came in."""
        number, answers = read_answer(body)
        for asked, told in zip(self._sent.pop(number, ()), answers, strict=False):
            _resolve(asked.future, told)

    def lost(self) -> None:
        """The line ended. What was sent may be durable; what was not sent waits for the next."""
        self._line = None
        sent, self._sent = self._sent, {}
        for group in sent.values():
            _fail(group, "the journal is being restarted")
        self._flush()

    # ------------------------------------------------------------------ giving up

    def _give_up_late(self) -> None:
        """Fail what was asked too long ago, and look again when the next one is due."""
        loop = asyncio.get_running_loop()
        late = loop.time() - ACK_TIMEOUT_S
        everyone = [asked for group in self._sent.values() for asked in group]
        everyone += self._waiting
        open_ones = [asked for asked in everyone if not asked.future.done()]
        _fail([a for a in open_ones if a.since <= late], "the journal gave no answer in time")
        oldest = min((a.since for a in open_ones if a.since > late), default=None)
        self._alarm = None
        if oldest is not None:
            self._alarm = loop.call_at(oldest + ACK_TIMEOUT_S, self._give_up_late)

    def _fail_all(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        _fail(waiting, reason)


def _fail(group: Sequence[_Asked] | deque[_Asked], reason: str) -> None:
    for asked in group:
        _resolve(asked.future, StoreError(reason, mend=_SEND_AGAIN))


def _resolve(future: asyncio.Future[AppendResult], told: Answer) -> None:
    if future.done():  # whoever asked has hung up
        return
    if isinstance(told, AppendResult):
        future.set_result(told)
    else:
        future.set_exception(told)


class _Wire(asyncio.Protocol):
    """Cuts what comes in into frames."""

    def __init__(self, client: JournalClient) -> None:
        self._client = client
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A stream's transport, which uvloop's does not say of itself.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._client.opened(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= HEAD.size:
            (size,) = HEAD.unpack_from(self._buffer)
            if size > MAX_FRAME_BYTES:
                self._transport.abort()
                return
            end = HEAD.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[HEAD.size : end])
            del self._buffer[:end]
            self._client.heard(body)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the base's signature
        self._client.lost()
