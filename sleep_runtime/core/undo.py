"""Undoing: what taking a run back would change, and what stands in its way."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from sleep_runtime.core.proposal import Delta
from sleep_runtime.core.run import Run
from sleep_runtime.core.scope import Scope


class Restored(BaseModel):
    """One note of an undo: the change, and the revision that holds again (0: there was none)."""

    model_config = ConfigDict(frozen=True)

    delta: Delta
    restores: int


class BuiltOn(BaseModel):
    """A later run that built on what is to be undone, and the notes of which that is true."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    number: int
    notes: tuple[str, ...]


class Folded(BaseModel):
    """A copy in a scope below that folded into a note of the undone run."""

    model_config = ConfigDict(frozen=True)

    scope: Scope
    note_id: str
    into: str


class Undoing(BaseModel):
    """What an undo of ``target`` does. ``run`` is the run that did it; None while it is a plan.

    ``later`` are the runs that have to be undone with it, newest first: without leave to cascade
    an undo with any is refused. ``restored`` is what undoing all of them comes to. ``folded`` are
    looked at again by their own scopes; ``folds`` names these.
    """

    model_config = ConfigDict(frozen=True)

    target: str
    scope: Scope
    later: tuple[BuiltOn, ...] = ()
    restored: tuple[Restored, ...] = ()
    folded: tuple[Folded, ...] = ()
    folds: tuple[Scope, ...] = ()
    run: Run | None = None

    @property
    def undoes(self) -> tuple[str, ...]:
        """Every run it takes back, newest first."""
        return (*(item.run_id for item in self.later), self.target)
