"""What a plain model knows of a ledger's runs and scopes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.review import Review, Ruling
from sleep_runtime.core.run import Run, RunState
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.contracts.ledger_bench import (
    ANA,
    TEAM,
)

SCOPES = (ANA, TEAM)
OWNERS = ("tier-1", "tier-2")
TTL_S = 60.0
ORDER = (
    RunState.PLANNED,
    RunState.GENERATED,
    RunState.REFLECTED,
    RunState.COMMITTED,
    RunState.PROJECTED,
)
STATUSES = (NoteStatus.ACTIVE, NoteStatus.CANDIDATE, NoteStatus.RETIRED)
RULINGS = (Ruling.SAME, Ruling.EXCLUDES, Ruling.KEEP_LEFT, Ruling.KEEP_RIGHT)


@dataclass
class ModelRun:
    """What the machine knows of one run."""

    id: str
    number: int
    scope: Scope
    owner: str
    epoch: int
    state: RunState
    journal: tuple[int, int]
    observed: tuple[int, int]
    folds: int = 0
    reviews: int = 0
    most: int = 0
    stood_at: RunState | None = None
    attempts: int = 1
    reason: str = ""
    pins: dict[str, str] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    undoes: tuple[str, ...] = ()
    undone_by: str = ""

    def seen(self) -> tuple[object, ...]:
        """What a reader sees of it."""
        return (
            *(self.id, self.number, self.state, self.stood_at, self.owner, self.epoch),
            *(self.journal, self.observed, self.folds, self.reviews, self.attempts, self.reason),
            *(self.undoes, self.undone_by),
        )

    def stands(self, at: RunState) -> bool | None:
        """True: waits for the step after ``at``; False: it is done; None: it may not be done."""
        if self.state is at:
            return True
        reached = self.stood_at or self.state
        passed = reached in ORDER and ORDER.index(reached) > ORDER.index(at)
        return False if passed else None


def seen_of(run: Run) -> tuple[object, ...]:
    """What of a stored run is compared with the model's."""
    return (
        *(run.id, run.number, run.state, run.stood_at, run.owner, run.epoch),
        *((run.journal.after, run.journal.upto), (run.observations.after, run.observations.upto)),
        *(run.folds, run.reviews, run.attempts, run.reason, run.undoes, run.undone_by),
    )


@dataclass
class ModelScope:
    """What the machine knows of one scope."""

    lease: tuple[str, int, datetime] | None = None
    arrived: int = 0
    read: int = 0
    observed: int = 0
    folds: int = 0
    decided: int = 0
    runs: list[ModelRun] = field(default_factory=list)
    reviews: dict[str, Review] = field(default_factory=dict)
