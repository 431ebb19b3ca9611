"""What goes into the ledger and what comes back, beside the nouns themselves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.core.access import Rights
from sleep_runtime.core.note import Note
from sleep_runtime.core.observation import Usage
from sleep_runtime.core.proposal import (
    Delta,
    Judgement,
)
from sleep_runtime.core.review import Question
from sleep_runtime.core.scope import Scope


class Cursors(BaseModel):
    """How far one scope is done, in the journal and in the observations below it."""

    model_config = ConfigDict(frozen=True)

    journal: int = 0
    observations: int = 0


class Pending(BaseModel):
    """What waits for a night, summed over ``scopes`` schedules that are not idle."""

    model_config = ConfigDict(frozen=True)

    scopes: int = 0
    events: int = 0
    tokens: int = 0
    observations: int = 0
    folds: int = 0


class Pin(BaseModel):
    """One remembered model output. ``key`` is the hash of the input within (run, step)."""

    model_config = ConfigDict(frozen=True)

    key: str
    output: dict[str, Any]
    usage: Usage = Usage()


class Mark(BaseModel):
    """One outbox mark: this note has to be projected, at least at this revision."""

    model_config = ConfigDict(frozen=True)

    note_id: str
    revision: int


class Asked(BaseModel):
    """What an engine answered, by pair key: remembered in the scope, so that it is asked once."""

    model_config = ConfigDict(frozen=True)

    engine: str = ""
    judgements: dict[str, Judgement] = Field(default_factory=dict)


class Commit(BaseModel):
    """Everything one run changes, in one transaction.

    ``vectors`` holds the embedding of each new or reworded statement, by note id. ``folds``
    names the scopes below whose own copies may fold into what became active here. ``questions``
    go to people; ``applied`` are the reviews whose decision this run did, ``expired`` those whose
    question is none any more. ``observed_upto`` is how far the observations of the run are done;
    None: all of them.
    """

    model_config = ConfigDict(frozen=True)

    deltas: tuple[Delta, ...] = ()
    vectors: dict[str, bytes] = Field(default_factory=dict)
    vector_model: str = ""
    folds: tuple[Scope, ...] = ()
    counts: dict[str, int] = Field(default_factory=dict)
    reason: str = ""
    questions: tuple[Question, ...] = ()
    applied: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    asked: Asked = Asked()
    observed_upto: int | None = None


class Nearest(BaseModel):
    """A note that waits, and what it lacks to come into force, in words and as a number."""

    model_config = ConfigDict(frozen=True)

    note: Note
    missing: int
    needs: str


class SpentBudget(BaseModel):
    """A limit that is reached, and keeps the nights of ``org`` (None: all nights) from starting.

    ``reason`` says what was used of what; ``until`` is the earliest instant with room again.
    """

    model_config = ConfigDict(frozen=True)

    limit: str
    org: Scope | None = None
    reason: str
    until: datetime

    def holds(self, scope: Scope | None) -> bool:
        """Whether it may concern this scope; ``None``: all of them."""
        return scope is None or self.org is None or self.org == scope.org

    def seen_by(self, rights: Rights) -> SpentBudget | None:
        """Whole for whoever may see all that was counted; for others below, only that it is spent;
        None for everybody else."""
        if rights.within is None or (self.org is not None and rights.covers(self.org)):
            return self
        if self.org is None or rights.shows(self.org):
            return self.model_copy(update={"reason": "it is spent"})
        return None


class NoteVector(BaseModel):
    """The embedding of one note's newest statement and the model that made it."""

    model_config = ConfigDict(frozen=True)

    note_id: str
    revision: int
    model: str
    vector: bytes


class SegmentRow(NamedTuple):
    """What searching needs of one active note, plain and cheap: a segment holds many.

    ``since_us`` is when it became true, in microseconds since the epoch. ``vector`` is the
    embedding of this wording and ``model`` what made it; both are empty where there is none.
    """

    note_id: str
    revision: int
    statement: str
    subject: str
    aspect: str
    value: str
    applies_when: str
    about: Mapping[str, str]
    confidence: float
    since_us: int
    model: str
    vector: bytes
