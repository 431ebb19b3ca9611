"""References: three other stores that live through the same trail.

``append`` keeps every message, ``cosine`` merges those nearer than 0.9 in their scope, ``oracle``
knows the truth. All give notes like the public ones and go through the same metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.sharpness.corpus import Event, Trail
from benchmarks.sharpness.truth import Lesson, Note, Query, Truth, named
from benchmarks.sharpness.view import TOP_K, Checkpoint, View, visible_by_lineage
from sleep_runtime.core.ports import Embedder

MERGE_AT = 0.9
_SAID = ("message", "correction")


def append(trail: Trail, embedder: Embedder) -> View:
    """A note for each message of the conversation, people's and agents', in its scope."""
    return _live(trail, embedder, merge_at=None)


def cosine(trail: Trail, embedder: Embedder) -> View:
    """As ``append``, but a message as near as 0.9 to a note of its scope reinforces that note."""
    return _live(trail, embedder, merge_at=MERGE_AT)


def _live(trail: Trail, embedder: Embedder, *, merge_at: float | None) -> View:
    store = _Store(embedder, merge_at)
    checkpoints = []
    arrived = 0
    for day in trail.days:
        for event in day:
            store.take(event)
        arrived += len(day)
        checkpoints.append(Checkpoint(arrived, tuple(store.notes)))
    search = _Search(store.notes, embedder)
    return _view(trail.truth, store.notes, search.best, checkpoints)


class _Store:
    """Notes of messages. Evidence grows; nothing else ever changes."""

    def __init__(self, embedder: Embedder, merge_at: float | None) -> None:
        self._embedder, self._merge_at = embedder, merge_at
        self._seen: set[str] = set()
        self._vectors: dict[str, _Matrix] = {}
        self.notes: list[dict[str, Any]] = []

    def take(self, event: Event) -> None:
        if event["kind"] not in _SAID or event["id"] in self._seen or not event["text"].strip():
            return
        self._seen.add(event["id"])
        scope = "/".join(event["scope"].values())
        if self._merge_at is not None:
            vector = embed(self._embedder, event["text"])
            matrix = self._vectors.setdefault(scope, _Matrix(self._embedder.dim))
            place, score = matrix.nearest(vector)
            if score >= self._merge_at:
                matrix.notes[place]["evidence"].append(event["id"])
                return
            matrix.add(vector, _note(len(self.notes), event["text"], scope, [event["id"]], event))
            self.notes.append(matrix.notes[-1])
            return
        self.notes.append(_note(len(self.notes), event["text"], scope, [event["id"]], event))


class _Matrix:
    """Vectors of one scope; doubles its room when it is full."""

    def __init__(self, dim: int) -> None:
        self._rows = np.zeros((64, dim), dtype=np.float32)
        self.notes: list[dict[str, Any]] = []

    def nearest(self, vector: np.ndarray) -> tuple[int, float]:
        if not self.notes:
            return -1, -1.0
        scores = self._rows[: len(self.notes)] @ vector
        place = int(scores.argmax())
        return place, float(scores[place])

    def add(self, vector: np.ndarray, note: dict[str, Any]) -> None:
        if len(self.notes) == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[len(self.notes)] = vector
        self.notes.append(note)


class _Search:
    """Exact cosine over what a reader sees."""

    def __init__(self, notes: Sequence[Note], embedder: Embedder) -> None:
        self._embedder = embedder
        self._notes = list(notes)
        self._rows = np.stack([embed(embedder, n["statement"]) for n in notes]) if notes else None

    def best(self, query: Query, visible: frozenset[str]) -> list[Note]:
        if self._rows is None:
            return []
        scores = self._rows @ embed(self._embedder, query.text)
        order = [int(at) for at in np.argsort(-scores, kind="stable")]
        found: list[Note] = []
        for at in order:
            if self._notes[at]["id"] in visible:
                found.append(self._notes[at])
            if len(found) == TOP_K:
                break
        return found


# ---------------------------------------------------------------------------- oracle


def oracle(trail: Trail) -> View:
    """What a perfect store would show. It also knows which note a query is after."""
    truth = trail.truth
    notes = [_perfect(lesson, current=True) for lesson in truth.kept]
    former = [_perfect(lesson, current=False) for lesson in truth.kept if lesson.old]
    gold = named(notes)
    checkpoints = []
    arrived, seen = 0, set[str]()
    for day in trail.days:
        arrived += len(day)
        seen |= {event["id"] for event in day}
        kept = tuple(gold[x.id] for x in truth.kept if seen & (x.events | x.old_events))
        checkpoints.append(Checkpoint(arrived, kept))

    def best(query: Query, visible: frozenset[str]) -> list[Note]:
        return [gold[query.lesson]] if query.lesson in visible else []

    view = _view(truth, notes, best, checkpoints)
    return View(
        notes=[*notes, *former],
        visible=view.visible,
        hits=view.hits,
        superseded={n["id"].removesuffix("-old"): [n] for n in former},
        before={n["id"].removesuffix("-old"): [n] for n in former},
        checkpoints=checkpoints,
    )


def _perfect(lesson: Lesson, *, current: bool) -> dict[str, Any]:
    value = lesson.value if current else lesson.old
    assert value is not None  # only lessons that changed have a former note
    events = sorted(lesson.events if current else lesson.old_events)
    statement = f"{lesson.facet} {lesson.topic.names[0]}: {value.shown_by[0]}".strip()
    note = _note(0, statement, lesson.owner, events, {"about": {}})
    return note | {
        "id": lesson.id if current else f"{lesson.id}-old",
        "status": "active" if current else "superseded",
        "value": value.shown_by[0],
        "confidence": 1 - 1 / (2 + len(events) ** 2),
    }


# ---------------------------------------------------------------------------- parts


def _note(
    number: int, statement: str, scope: str, evidence: list[str], event: Event
) -> dict[str, Any]:
    return {
        "id": f"n{number:06}",
        "statement": statement,
        "tier": ("org", "team", "individual")[scope.count("/")],
        "scope": scope,
        "value": "",
        "about": event["about"],
        "status": "active",
        "confidence": 0.5,
        "evidence": evidence,
    }


def _view(
    truth: Truth,
    notes: Sequence[Note],
    best: Callable[[Query, frozenset[str]], list[Note]],
    checkpoints: Sequence[Checkpoint],
) -> View:
    visible = visible_by_lineage(notes, truth)
    hits = {query.id: best(query, visible[query.reader]) for query in truth.queries}
    return View(notes, visible, hits, before={}, checkpoints=checkpoints)


def embed(embedder: Embedder, text: str) -> np.ndarray:
    """The unit vector of a text."""
    return np.frombuffer(embedder.embed([text])[0], dtype="<f4")
