"""What the reads of a client return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from sleep_runtime.client.errors import RuntimeUnavailable


@dataclass(frozen=True)
class Context:
    """Prompt text, and the ids of the notes in it. Empty text: nothing is known of the matter.

    ``available`` is False only in a session whose runtime could not be asked; ``reason`` says why.
    """

    text: str = ""
    notes: tuple[str, ...] = ()
    compiler: str = ""
    tokens: int = 0
    available: bool = True
    reason: str = ""

    def __str__(self) -> str:
        return self.text

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        with _Reading():
            return cls(
                str(body["text"]), tuple(map(str, body["notes"])),
                str(body["compiler"]), int(body["tokens"]),
            )  # fmt: skip


@dataclass(frozen=True)
class Note:
    """A note. ``fields`` has all of what the runtime sent, under the names of the contract."""

    id: str
    statement: str
    kind: str
    scope: str
    subject: str
    status: str
    confidence: float
    fields: Mapping[str, Any] = field(repr=False, compare=False, default_factory=dict)

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        with _Reading():
            return cls(
                id=str(body["id"]),
                statement=str(body["statement"]),
                kind=str(body["kind"]),
                scope=str(body["scope"]),
                subject=str(body["subject"]),
                status=str(body["status"]),
                confidence=float(body["confidence"]),
                fields=dict(body),
            )


@dataclass(frozen=True)
class Hit:
    """A note that a search found; a higher score is nearer."""

    note: Note
    score: float

    @classmethod
    def read_all(cls, body: Mapping[str, Any]) -> list[Self]:
        with _Reading():
            return [cls(Note.read(hit["note"]), float(hit["score"])) for hit in body["hits"]]


@dataclass(frozen=True)
class NotePage:
    """Notes by id; ``next`` goes into ``after`` and is None on the last page."""

    notes: tuple[Note, ...]
    next: str | None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        with _Reading():
            found = body["next"]
            notes = tuple(map(Note.read, body["notes"]))
            return cls(notes, None if found is None else str(found))


@dataclass(frozen=True)
class NoteDetail:
    """A note with every revision and its reason, excerpts of events, and who speaks for it."""

    note: Note
    history: tuple[Note, ...]
    excerpts: tuple[Mapping[str, Any], ...]
    counted: Mapping[str, Any]

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        with _Reading():
            return cls(
                Note.read(body["note"]), tuple(map(Note.read, body["history"])),
                tuple(map(dict, body["excerpts"])), dict(body["counted"]),
            )  # fmt: skip


class _Reading:
    """An answer of another shape than ours is no answer."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError)):
            raise RuntimeUnavailable(
                f"the answer lacks what it should have ({error!r})", mend="check the url"
            ) from error
