"""Ours: a ledger with the notes, searched in process and over HTTP, and capture over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import sqlalchemy as sa

from benchmarks.peers.side import K, Searched, timed
from benchmarks.peers.texts import Remembered, scope_of
from sleep_runtime.core.note import Note, NoteStatus, Support
from sleep_runtime.core.observation import Claim, NoteKind
from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.core.ports import Embedder, NoteVector
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.search import Searcher
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.ledger import SqliteLedger, meta, outbox, rows, schema
from sleep_runtime.stores.sqlite import writer_engine

# What is added during the measurement starts no night: neither side's figures have one in them.
SETTINGS = {
    "policy.triggers.backlog_events": 1_000_000,
    "policy.triggers.backlog_tokens": 1_000_000_000,
    "policy.triggers.cadence_s": 86_400.0,
}
_SINCE = datetime(2026, 11, 1, tzinfo=UTC)


def write_ledger(
    home: Path, notes: Sequence[Remembered], vectors: Sequence[bytes], *, model: str
) -> None:
    """A data directory whose ledger has these notes in force, each at its user's scope.

    The rows are those a night would have written; only runs and evidence are not.
    """
    path = DataDir(home).ensure().ledger_path
    SqliteLedger(path, triggers=TriggerPolicy()).close()
    made = [_note(note) for note in notes]
    engine = writer_engine(path)
    try:
        with engine.begin() as tx:
            tx.execute(sa.insert(schema.notes), [rows.note_values(note) for note in made])
            tx.execute(sa.insert(schema.newest), [_newest(note) for note in made])
            outbox.store_vectors(
                tx, [_vector(*one, model) for one in zip(made, vectors, strict=True)]
            )
            meta.bump(tx, sorted({str(note.scope) for note in made}))
    finally:
        engine.dispose()


class InProcess:
    """The ``Searcher`` in this process, a library as the peers are."""

    name = "ours"

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher

    def search(self, asked: Sequence[tuple[str, str]]) -> Searched:
        ms, found = timed(self._search, asked)
        return Searched(ms, [hits[0].note.id if hits else "" for hits in found])

    def _search(self, one: tuple[str, str]) -> Any:
        return self._searcher.search(Scope(scope_of(one[0])), one[1], k=K)


class OverHttp:
    """The whole runtime, as one client on a kept connection sees it."""

    name = "ours_http"

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def search(self, asked: Sequence[tuple[str, str]]) -> Searched:
        bodies = [{"scope": scope_of(user), "query": text, "k": K} for user, text in asked]
        ms, found = timed(partial(self._post, "/v1/search"), bodies)
        return Searched(ms, [a["hits"][0]["note"]["id"] if a["hits"] else "" for a in found])

    def add(self, said: Sequence[tuple[str, str]]) -> list[float]:
        """One event a request; each is on the disk when its answer comes."""
        ms, answers = timed(partial(self._post, "/v1/events"), [_event(*one) for one in said])
        if sum(answer["accepted"] for answer in answers) != len(said):
            raise RuntimeError(f"an event was not taken: {answers}")
        return ms

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._client.post(path, json=body)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


class Embedding:
    """The query's vector and nothing else: what everybody here has to pay."""

    name = "embed"

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def search(self, asked: Sequence[tuple[str, str]]) -> Searched:
        ms, _ = timed(lambda text: self._embedder.embed([text]), [text for _, text in asked])
        return Searched(ms, [])


def _note(one: Remembered) -> Note:
    return Note(
        id=one.id,
        scope=Scope(scope_of(one.user)),
        claim=Claim(statement=one.text, kind=NoteKind.CONVENTION),
        status=NoteStatus.ACTIVE,
        confidence=0.9,
        support=Support(events=2, sessions=2, people=1, days=2),
        valid_from=_SINCE,
        recorded_at=_SINCE,
        reason="said twice",
    )


def _newest(note: Note) -> dict[str, Any]:
    return {
        "note_id": note.id,
        "revision": note.revision,
        "scope": str(note.scope),
        "status": note.status.value,
    }


def _vector(note: Note, vector: bytes, model: str) -> NoteVector:
    return NoteVector(note_id=note.id, revision=note.revision, model=model, vector=vector)


def _event(user: str, text: str) -> dict[str, Any]:
    return {
        "id": uuid4().hex,
        "ts": _SINCE.isoformat(),
        "scope": scope_of(user),
        "session": f"{user}-today",
        "agent": "bench-agent",
        "kind": "message",
        "role": "human",
        "text": text,
    }
