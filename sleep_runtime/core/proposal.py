"""Proposal, critique and delta: what is suggested, what is thought of it, what is done."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Evidence, Note
from sleep_runtime.core.observation import Claim, Durability
from sleep_runtime.core.scope import Scope


class Verdict(StrEnum):
    """The pairwise judgement of two claims."""

    SAME = "same"
    EXCLUDES = "excludes"
    UNRELATED = "unrelated"


class ClaimPair(BaseModel):
    """Two claims to compare. ``key`` names the pair: equal pairs have equal keys."""

    model_config = ConfigDict(frozen=True)

    key: str
    left: Claim
    right: Claim

    @property
    def claims(self) -> tuple[Claim, Claim]:
        """Both sides."""
        return self.left, self.right


class Judgement(BaseModel):
    """An answer for one pair. A ``problem`` counts as *unrelated*: keep apart.

    ``same`` and ``excludes``, where they are given, are the probabilities behind the verdict.
    """

    model_config = ConfigDict(frozen=True)

    verdict: Verdict = Verdict.UNRELATED
    reason: str = ""
    score: float = Field(default=0.0, ge=0, le=1)
    same: float | None = Field(default=None, ge=0, le=1)
    excludes: float | None = Field(default=None, ge=0, le=1)
    problem: str = ""


class Relation(StrEnum):
    """How a proposal stands to what is known."""

    NEW = "new"
    SAME = "same"
    REFINES = "refines"
    CONTRADICTS = "contradicts"
    UNRELATED = "unrelated"


class Worth(StrEnum):
    """What the Reflector would do with it."""

    KEEP = "keep"
    WAIT = "wait"
    DROP = "drop"


class Proposal(BaseModel):
    """The Generator's suggested change: one lesson, from the observations that say it.

    ``wordings`` are other claims it was put in, each once.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    scope: Scope
    claim: Claim
    durability: Durability
    trust: Trust
    observations: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    feedback_on: str = ""
    helpful: bool | None = None
    wordings: tuple[Claim, ...] = ()

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Every way the lesson was put, the clearest first."""
        return (self.claim, *self.wordings)


class Critique(BaseModel):
    """The Reflector's verdict on one proposal. ``code`` is counted, ``reason`` is read.

    ``target`` is the note it is about; ``rivals`` are the notes (some may only come to be in the
    same night) that cannot be true beside it; ``merges`` are notes that turn out to say the same.
    """

    model_config = ConfigDict(frozen=True)

    proposal_id: str
    relation: Relation
    worth: Worth
    target: str = ""
    rivals: tuple[str, ...] = ()
    merges: tuple[str, ...] = ()
    code: str
    reason: str


class DeltaKind(StrEnum):
    """What a change does to a note."""

    ADD = "add"
    REINFORCE = "reinforce"
    SUPERSEDE = "supersede"
    SCOPE = "scope"
    PROMOTE = "promote"
    DEMOTE = "demote"
    QUARANTINE = "quarantine"
    RETIRE = "retire"
    RESTORE = "restore"


class Delta(BaseModel):
    """One change of one note: its new revision, the evidence it brings, and why."""

    model_config = ConfigDict(frozen=True)

    kind: DeltaKind
    note: Note
    evidence: tuple[Evidence, ...] = ()
    code: str
    reason: str = Field(min_length=1)
    proposal_id: str = ""


class CommittedDelta(BaseModel):
    """A delta as the ledger remembers it.

    ``restores`` is, in an undo, the revision that holds again; 0: there was no note before.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    ordinal: int
    kind: DeltaKind
    note_id: str
    revision: int
    scope: Scope
    code: str
    reason: str
    at: datetime
    restores: int | None = None
