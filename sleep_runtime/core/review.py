"""Review: what the Curator would not decide, what a person said to it, and what is kept of that."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.proposal import Judgement, Verdict
from sleep_runtime.core.scope import Scope


class ReviewKind(StrEnum):
    """What a person is asked."""

    CONFLICT = "conflict"
    """A note waits, since nobody could tell whether it or others in force hold."""
    CHANGE = "change"
    """A note would change its status, which ``curation.mode: review`` leaves to a person."""
    BREAKER = "breaker"
    """A night would have changed more than one night may."""


class ReviewState(StrEnum):
    """Open until somebody decides, or until the notes it is about moved on."""

    OPEN = "open"
    RESOLVED = "resolved"
    EXPIRED = "expired"


class Ruling(StrEnum):
    """What a person decides. *Left* is the first note of a review, *right* are the others."""

    SAME = "same"
    EXCLUDES = "excludes"
    UNRELATED = "unrelated"
    KEEP_LEFT = "keep-left"
    KEEP_RIGHT = "keep-right"
    APPROVE = "approve"
    REJECT = "reject"

    @property
    def verdict(self) -> Verdict | None:
        """What it says of left and right as a pair of claims; None when it says nothing."""
        return _VERDICTS.get(self)

    @property
    def final(self) -> bool:
        """True when the question is never asked again, whatever is said later."""
        return self in _FINAL


_VERDICTS = {
    Ruling.SAME: Verdict.SAME,
    Ruling.EXCLUDES: Verdict.EXCLUDES,
    Ruling.UNRELATED: Verdict.UNRELATED,
    Ruling.KEEP_LEFT: Verdict.EXCLUDES,
    Ruling.KEEP_RIGHT: Verdict.EXCLUDES,
}
_FINAL = frozenset({Ruling.SAME, Ruling.EXCLUDES, Ruling.UNRELATED, Ruling.REJECT})
_PAIRS = (Ruling.SAME, Ruling.EXCLUDES, Ruling.UNRELATED, Ruling.KEEP_LEFT, Ruling.KEEP_RIGHT)
RULINGS: dict[ReviewKind, tuple[Ruling, ...]] = {
    ReviewKind.CONFLICT: _PAIRS,
    ReviewKind.CHANGE: (Ruling.APPROVE, Ruling.REJECT),
    ReviewKind.BREAKER: (Ruling.APPROVE, Ruling.REJECT),
}
"""The rulings each kind of question takes."""


class Question(BaseModel):
    """What a night asks a person. Its key names it in its scope: asking again asks nothing new.

    ``notes`` and ``claims`` go together; the first is the note it is about. ``wanted`` is the
    status that note would have got, and ``heir`` the note that would have taken its place.
    """

    model_config = ConfigDict(frozen=True)

    kind: ReviewKind
    key: str
    notes: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    wanted: NoteStatus | None = None
    heir: str = ""
    reason: str


class Review(BaseModel):
    """A question in the queue of a scope, and its answer.

    ``applied_by`` is the run that did what was decided; empty until then.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    scope: Scope
    question: Question
    run_id: str
    created_at: datetime
    state: ReviewState = ReviewState.OPEN
    decision: Ruling | None = None
    by: str = ""
    at: datetime | None = None
    applied_by: str = ""

    @property
    def waits(self) -> bool:
        """True when it was decided and a night still has to do it."""
        return (
            self.state is ReviewState.RESOLVED
            and self.decision is not Ruling.REJECT
            and not self.applied_by
        )


class RememberedVerdict(BaseModel):
    """What a person said of two claims of an organisation: holds over every engine's answer."""

    model_config = ConfigDict(frozen=True)

    org: Scope
    pair_key: str
    left: Claim
    right: Claim
    verdict: Verdict
    by: str
    score: float = Field(default=1.0, ge=0, le=1)
    reason: str = ""
    at: datetime

    @property
    def claims(self) -> tuple[Claim, Claim]:
        """Both sides."""
        return self.left, self.right

    @property
    def judgement(self) -> Judgement:
        """The word as the answer to a question about the pair."""
        return Judgement(verdict=self.verdict, score=self.score, reason=self.reason)
