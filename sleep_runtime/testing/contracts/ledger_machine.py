"""A ledger's runs against a plain model: leases and zombies, every step, reviews, undos, crashes.

Subclass ``LedgerMachine`` with an ``open`` and hand it to ``run_machine``. The model is of the
port's words, not of an adapter: what a call must answer is worked out before it is made.
"""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from sleep_runtime.core.errors import Conflict
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.review import ReviewState, Ruling
from sleep_runtime.core.run import Run, RunState, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.contracts.ledger_bench import (
    ANA,
)
from sleep_runtime.testing.contracts.ledger_model import (
    RULINGS,
    TTL_S,
    ModelRun,
    ModelScope,
    seen_of,
)
from sleep_runtime.testing.contracts.ledger_steps import ANY_SCOPE, LedgerSteps


class LedgerMachine(LedgerSteps):
    """The steps of runs, people who decide, crashes, and what has to hold after each."""

    # ------------------------------------------------------------------ people

    @rule(place=st.integers(0, 3), ruling=st.sampled_from(RULINGS))
    def resolve(self, place: int, ruling: Ruling) -> None:
        there = [(m, key) for m in self.scopes.values() for key in sorted(m.reviews)]
        if not there:
            return
        model, key = there[place % len(there)]
        review, by = model.reviews[key], "ida"
        done_otherwise = bool(review.applied_by) and review.decision is not ruling
        due = Conflict if review.state is ReviewState.EXPIRED or done_otherwise else None
        writer = self.bench.writer
        try:
            writer.resolve(review.id, ruling, by=by, now=self.now)
        except Conflict:
            assert due is Conflict
            return
        assert due is None
        if (review.decision, review.by) != (ruling, by):
            decided = {"state": ReviewState.RESOLVED, "decision": ruling, "by": by, "at": self.now}
            self._revise(model, review, **decided)
            self.words += 1
            model.decided += model.reviews[key].waits

    @rule(scope=ANY_SCOPE, back=st.integers(0, 2))
    def undo(self, scope: Scope, back: int) -> None:
        """Take back a run nothing was built on. Cascades are the contract's own tests."""
        model = self.scopes[scope]
        if back >= len(model.runs):
            return
        target = model.runs[-1 - back]
        if any(target.notes.keys() & run.notes.keys() for run in model.runs[target.number :]):
            return
        held = model.lease
        busy = held is not None and held[0] != "" and held[2] > self.now
        open_run = any(not run.state.terminal for run in model.runs)
        refused = busy or open_run or target.undone_by or not target.notes
        self.undos += 1
        owner = f"undo-{self.undos}"
        run = self._do(Conflict if refused else None, lambda: self._take_back(target, owner))
        if run is not None:
            self._taken_back(model, target, run)

    def _take_back(self, target: ModelRun, owner: str) -> Run | None:
        return self.bench.writer.undo(
            target.id, owner=owner, cascade=False, vectors={}, vector_model="", now=self.now
        ).run

    def _taken_back(self, model: ModelScope, target: ModelRun, run: Run) -> None:
        epoch = model.lease[1] + 1 if model.lease else 1
        model.lease = ("", epoch, self.now + timedelta(seconds=TTL_S))
        made = ModelRun(
            id=run.id,
            number=len(model.runs) + 1,
            scope=target.scope,
            owner=run.owner,
            epoch=epoch,
            state=RunState.COMMITTED,
            journal=(model.read, model.read),
            observed=(model.observed, model.observed),
            reason=f"undid {target.id}",
            undoes=(target.id,),
        )
        assert run.trigger is Trigger.UNDO
        model.runs.append(made)
        for other in model.runs:
            if other.id in target.undoes:
                other.undone_by = ""
        target.undone_by = run.id
        for name, revision in target.notes.items():
            before = self.chains[name][revision - 2] if revision > 1 else None
            status = before.status if before else NoteStatus.RETIRED
            fields = {"status": status, "revision": len(self.chains[name]) + 1}
            newest = self.chains[name][-1]
            self._write(made, newest.model_copy(update={**fields, "recorded_at": self.now}))
        for one in model.reviews.values():
            if one.run_id == target.id and one.state is ReviewState.OPEN:
                self._revise(model, one, state=ReviewState.EXPIRED)
            elif one.applied_by == target.id:
                anew = {"state": ReviewState.OPEN, "decision": None, "at": None}
                self._revise(model, one, **anew, by="", applied_by="")

    # ------------------------------------------------------------------ crashes, marks

    @rule()
    def crash(self) -> None:
        self.bench = self.crashed()

    @rule(lag=st.integers(0, 1))
    def clear_marks(self, lag: int) -> None:
        """What was projected; with a lag, of an older revision that does not count any more."""
        marks = self.bench.reader.marks(limit=2)
        old = [one.model_copy(update={"revision": one.revision - lag}) for one in marks]
        assert self.bench.writer.clear_marks(old) == (0 if lag else len(marks))
        for one in marks if not lag else ():
            del self.marks[one.note_id]

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def runs_stand_where_they_should(self) -> None:
        reader = self.bench.reader
        for scope, model in self.scopes.items():
            runs = [run for run in reader.runs(scope) if run.scope == scope]
            runs.sort(key=lambda run: run.number)
            stand = [seen_of(run) for run in runs]
            assert stand == [run.seen() for run in model.runs], (stand, model.runs)
            cursors = reader.cursors(scope)
            assert (cursors.journal, cursors.observations) == (model.read, model.observed)
            for run in model.runs[-2:]:
                pins = reader.pins(run.id, "distil")
                assert {key: pin.output["said"] for key, pin in pins.items()} == run.pins
                wrote = {one.note_id: one.revision for one in reader.deltas(run.id)}
                assert wrote == run.notes

    @invariant()
    def notes_are_the_newest(self) -> None:
        reader = self.bench.reader
        found = [(n.id, n.revision, n.status, n.recorded_at) for n in reader.notes()]
        assert found == [
            (name, chain[-1].revision, chain[-1].status, chain[-1].recorded_at)
            for name, chain in sorted(self.chains.items())
        ]
        assert {one.note_id: one.revision for one in reader.marks(limit=99)} == self.marks

    @invariant()
    def people_are_heard(self) -> None:
        reader = self.bench.reader
        stored = sorted(reader.reviews(), key=lambda one: one.id)
        model = [one for scope in self.scopes.values() for one in scope.reviews.values()]
        assert stored == sorted(model, key=lambda one: one.id)
        assert len(reader.verdicts(ANA)) == self.words

    @invariant()
    def leases_are_held_by_whom_they_should(self) -> None:
        alive = {one.scope: (one.owner, one.epoch) for one in self.bench.reader.leases(self.now)}
        assert alive == {
            scope: model.lease[:2]
            for scope, model in self.scopes.items()
            if model.lease and model.lease[0] and model.lease[2] > self.now
        }
