"""What both clients have in common: captures, sessions, counts. None of it waits or is awaited."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sleep_runtime.client.events import (
    Ids,
    Kind,
    Role,
    check_kind,
    check_scope,
    encode,
    facets,
    head_of,
)
from sleep_runtime.client.options import Options
from sleep_runtime.client.pipeline import Pipeline
from sleep_runtime.client.retry import Circuit
from sleep_runtime.client.session import Origin
from sleep_runtime.client.stats import Stats
from sleep_runtime.client.transport import SyncSender
from sleep_runtime.client.wire import Address, Ask, get, post

if TYPE_CHECKING:
    import httpx

_IDS = Ids()
_head = lru_cache(maxsize=1024)(head_of)
READ_MAX_S = 10.0


class Face:
    """The part of a client that captures."""

    def __init__(
        self,
        url: str | None,
        api_key: str | None,
        options: Options | None,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self.options = options or Options()
        self._address = Address.find(url, api_key)
        self._pipeline = Pipeline(self._address, self.options, SyncSender(self._address, transport))
        self._read_circuit = Circuit(
            self.options.retry_base_s, READ_MAX_S, random.Random(self.options.seed)
        )

    @property
    def url(self) -> str:
        """Where the runtime is looked for."""
        return self._address.url

    def capture(
        self,
        kind: Kind,
        text: str = "",
        *,
        scope: str,
        session: str,
        role: Role,
        agent: str = "",
        about: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
        ts: datetime | None = None,
        id: str | None = None,  # noqa: A002 - the field's name in the contract
    ) -> str:
        """Capture one event and return its id, in microseconds and without waiting for anything.

        From any thread, in a coroutine, in a signal handler. The event is written down as it is
        now; sending is the flusher's. Raises ``InvalidArgument`` for a scope, kind, role or session
        that can never be right, and nothing else. With ``durable`` it waits for the spool.
        """
        check_kind(kind, role)
        name = id or _IDS()
        head = _head(scope, session, agent)
        self._pipeline.take(encode(head, name, kind, role, text, facets(about), data, ts))
        return name

    def stats(self) -> Stats:
        """What became of the events so far, and what waits."""
        return self._pipeline.stats()

    def _origin(
        self, scope: str, agent: str, session: str | None, about: Mapping[str, str] | None
    ) -> Origin:
        return Origin(self._pipeline, _IDS, scope, session or uuid.uuid4().hex, agent, about)


# ---------------------------------------------------------------------------- questions


def ask_search(
    scope: str, query: str, k: int | None, as_of: datetime | None, include_superseded: bool  # noqa: FBT001 - both faces pass it on
) -> Ask:  # fmt: skip
    """Notes by nearness to the query."""
    return post(
        "/v1/search",
        scope=check_scope(scope),
        query=query,
        k=k,
        as_of=as_of.astimezone().isoformat() if as_of else None,
        include_superseded=include_superseded or None,
    )


def ask_notes(scope: str | None, status: str, limit: int, after: str) -> Ask:
    """A page of notes."""
    return get("/v1/notes", scope=scope, status=status, limit=limit, after=after or None)


def ask_note(note_id: str) -> Ask:
    """One note."""
    return get(f"/v1/notes/{quote(note_id, safe='')}")


def ask_feedback(scope: str, note: str, helpful: bool, session: str, text: str) -> tuple[str, Ask]:  # noqa: FBT001
    """The event's id with the question: asked again, it is the same feedback."""
    name = _IDS()
    body = {"scope": check_scope(scope), "note": note, "helpful": helpful, "id": name}
    return name, post("/v1/feedback", **body, session=session, text=text or None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_IDS.renew)
