"""Run: one consolidation of one scope, and the lease that fences it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.core.observation import Usage
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.spending import Cost


class RunState(StrEnum):
    """planned -> generated -> reflected -> committed -> projected, or yielded, or abandoned."""

    PLANNED = "planned"
    GENERATED = "generated"
    REFLECTED = "reflected"
    COMMITTED = "committed"
    PROJECTED = "projected"
    YIELDED = "yielded"
    ABANDONED = "abandoned"

    @property
    def terminal(self) -> bool:
        return self in (RunState.PROJECTED, RunState.ABANDONED)


class Trigger(StrEnum):
    """Why a run was started."""

    CADENCE = "cadence"
    BACKLOG = "backlog"
    MANUAL = "manual"
    FOLD = "fold"
    FADE = "fade"
    REVIEW = "review"
    UNDO = "undo"
    ERASURE = "erasure"


class Lease(BaseModel):
    """The right to write one scope. ``epoch`` grows with every new owner: the fencing token."""

    model_config = ConfigDict(frozen=True)

    scope: Scope
    owner: str
    epoch: int
    expires_at: datetime


class CursorRange(BaseModel):
    """Input of a run, half open: ``after`` < seq <= ``upto``."""

    model_config = ConfigDict(frozen=True)

    after: int = 0
    upto: int = 0

    @property
    def empty(self) -> bool:
        return self.upto <= self.after


class Run(BaseModel):
    """A run as the ledger remembers it.

    ``planned_at`` is the run's own time: every decision in it uses that instant, however often
    the run is resumed. ``stood_at`` is where a yielded run goes on. ``counts`` says what happened
    by reason code, so that a run without effect explains itself. ``attempts`` counts failures since
    the last progress (a pinned answer, a step done). ``folds`` is how many fold marks
    of the schedule this run consumes; only a run with folds looks at the scopes above.
    ``reviews`` is how many people's decisions it may find. ``undoes`` are the runs that a run of
    trigger *undo* took back, ``undone_by`` the one that took this one back. ``seconds`` is the wall
    clock of all its turns, ``spent_before`` what it had cost when its present turn began: a turn
    ends when a budget is spent, however often the run is interrupted or resumed until then.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    scope: Scope
    number: int
    trigger: Trigger
    requested: str = ""
    state: RunState
    stood_at: RunState | None = None
    epoch: int
    owner: str
    planned_at: datetime
    updated_at: datetime
    journal: CursorRange = CursorRange()
    observations: CursorRange = CursorRange()
    folds: int = 0
    reviews: int = 0
    counts: dict[str, int] = Field(default_factory=dict)
    usage: Usage = Usage()
    seconds: float = 0.0
    spent_before: Cost = Cost()
    attempts: int = 1
    reason: str = ""
    undoes: tuple[str, ...] = ()
    undone_by: str = ""

    @property
    def cost(self) -> Cost:
        """What it has cost so far, in all turns."""
        return Cost(usage=self.usage, seconds=self.seconds)

    @property
    def turn_cost(self) -> Cost:
        """What its present turn has cost so far: what its budget is held against."""
        return self.cost - self.spent_before


class Schedule(BaseModel):
    """What is pending at one scope. Totals only grow; pending = seen - done."""

    model_config = ConfigDict(frozen=True)

    scope: Scope
    events_seen: int = 0
    events_done: int = 0
    tokens_seen: int = 0
    tokens_done: int = 0
    observations_seen: int = 0
    observations_done: int = 0
    folds: int = 0
    reviews: int = 0
    requested: str = ""
    pending_since: datetime | None = None
    last_run_at: datetime | None = None
    due_at: datetime | None = None
    trigger: Trigger | None = None

    @property
    def pending_events(self) -> int:
        return self.events_seen - self.events_done

    @property
    def pending_tokens(self) -> int:
        return self.tokens_seen - self.tokens_done

    @property
    def pending_observations(self) -> int:
        return self.observations_seen - self.observations_done

    @property
    def idle(self) -> bool:
        """Nothing to do here: no event, no observation, no fold, no decision of a person."""
        return not (self.pending_events or self.pending_observations or self.folds or self.reviews)
