"""Note: durable knowledge at one scope, as a chain of revisions that are never edited in place."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.core.event import Trust
from sleep_runtime.core.observation import Claim, Observation
from sleep_runtime.core.scope import Scope


class NoteStatus(StrEnum):
    """Whether a note is shown: only active ones are."""

    CANDIDATE = "candidate"
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    RETIRED = "retired"
    QUARANTINED = "quarantined"


ALIVE = (NoteStatus.ACTIVE, NoteStatus.CANDIDATE)
"""What a night still works on: in force, or waiting for evidence."""
GIVEN_UP = (NoteStatus.RETIRED, NoteStatus.CANDIDATE, NoteStatus.QUARANTINED)
"""What ended without an heir: the copies that folded into it below come back."""
ONCE_IN_FORCE = (NoteStatus.ACTIVE, NoteStatus.SUPERSEDED)
"""What readers below a scope may see of it. Whatever waits there is one person's words still."""
MAX_WORDINGS = 16
"""However often a lesson was said, so many of its wordings are looked at."""


def wordings(claim: Claim, said: Iterable[Claim]) -> tuple[Claim, ...]:
    """What was said other than in the words of ``claim``, each wording once, the first ones."""
    others: list[Claim] = []
    for other in said:
        if other != claim and other not in others:
            others.append(other)
    return tuple(others[:MAX_WORDINGS])


class Support(BaseModel):
    """How many distinct events, sessions, people and days speak for a note."""

    model_config = ConfigDict(frozen=True)

    events: int = 0
    sessions: int = 0
    people: int = 0
    days: int = 0


class Evidence(BaseModel):
    """One event that speaks for (or, ``weight`` < 0, against) a note.

    A reader's feedback is kept here too, as a ``vote``: 1 helpful, -1 harmful. Its weight is 0, as
    it supports nothing; it counts among the note's ``helpful`` or ``harmful``. What an undo took
    back is ``undone``: it is known, and counts for nothing.
    """

    model_config = ConfigDict(frozen=True)

    event_id: str
    observation_id: str
    scope: Scope
    session: str
    person: str
    ts: datetime
    trust: Trust
    weight: float = 1.0
    vote: int = Field(default=0, ge=-1, le=1)
    undone: bool = False


class Note(BaseModel):
    """One revision of a note. ``valid_*``: true in the world; ``recorded_at``: known to us.

    ``helpful`` and ``harmful`` count the last votes of distinct (person, session).
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: str
    scope: Scope
    claim: Claim
    status: NoteStatus
    confidence: float = Field(ge=0, le=1)
    support: Support = Support()
    trust: Trust = Trust.HUMAN
    helpful: int = 0
    harmful: int = 0
    valid_from: datetime
    valid_to: datetime | None = None
    recorded_at: datetime
    superseded_by: str = ""
    revision: int = 1
    evidence: tuple[str, ...] = ()
    reason: str = ""

    def bare(self) -> Note:
        """The lesson alone, without what tells who is behind it and how it came about."""
        return self.model_copy(update={"evidence": (), "reason": "", "superseded_by": ""})

    def public(self) -> dict[str, Any]:
        """The note in the public JSON contract, version 1."""
        claim = self.claim
        return {
            "id": self.id,
            "statement": claim.statement,
            "kind": claim.kind.value,
            "tier": self.scope.tier.label,
            "scope": str(self.scope),
            "subject": claim.subject,
            "aspect": claim.aspect,
            "value": claim.value,
            "applies_when": claim.applies_when,
            "about": dict(claim.about),
            "status": self.status.value,
            "trust": self.trust.value,
            "confidence": round(self.confidence, 4),
            "support": self.support.model_dump(),
            "helpful": self.helpful,
            "harmful": self.harmful,
            "valid_from": self.valid_from.isoformat(),
            "valid_to": self.valid_to.isoformat() if self.valid_to else None,
            "recorded_at": self.recorded_at.isoformat(),
            "superseded_by": self.superseded_by or None,
            "revision": self.revision,
            "evidence": list(self.evidence),
            "reason": self.reason,
        }


class Dossier(BaseModel):
    """A note's newest revision with everything that speaks for it: what a decision is made on.

    ``wordings`` are the claims of the observations behind it, each once: the same lesson in the
    words of everybody who said it, the note's own not among them. ``undone`` are the events that
    spoke for it until an undo took that back: known, and counted for nothing. ``said`` are the
    observations themselves, of a note that was not said so often that they are too many.
    """

    model_config = ConfigDict(frozen=True)

    note: Note
    evidence: tuple[Evidence, ...] = ()
    wordings: tuple[Claim, ...] = ()
    undone: tuple[str, ...] = ()
    said: tuple[Observation, ...] = ()

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Every way the lesson was put, the note's own words first."""
        return (self.note.claim, *self.wordings)
