"""Steps: what one run does in each of its states.

Each step reads a snapshot, asks a pure function, and hands the answer to the ledger in one
transaction, with what it cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from sleep_runtime.actors import meter
from sleep_runtime.actors.heartbeat import Heartbeat
from sleep_runtime.actors.parts import DriverParts
from sleep_runtime.actors.questions import Questions
from sleep_runtime.actors.shelf import Shelf
from sleep_runtime.actors.tally import Tally
from sleep_runtime.consolidation import (
    again,
    curate,
    departed,
    effect,
    facets,
    generate,
    propose,
    reflect,
)
from sleep_runtime.core.event import StoredEvent, estimate_tokens
from sleep_runtime.core.ids import stable_id
from sleep_runtime.core.note import Dossier, NoteStatus
from sleep_runtime.core.observation import Observation
from sleep_runtime.core.ports import Asked, Commit
from sleep_runtime.core.proposal import Judgement
from sleep_runtime.core.run import Lease, Run, RunState
from sleep_runtime.core.scope import Scope
from sleep_runtime.telemetry.failpoint import failpoint

PAGE = 2000
NIGHTS_LOOKED_BACK = 20
PROBLEMS = ("engine.distil_problem", "engine.compare_problem")


class Steps:
    """The steps of one run under one lease. ``next`` does the one its state asks for."""

    def __init__(
        self, parts: DriverParts, lease: Lease, heart: Heartbeat, shelf: Shelf, tally: Tally
    ) -> None:
        self._parts = parts
        self._shelf = shelf
        self._lease = lease
        self._heart = heart
        self._tally = tally
        self._ask = Questions(parts, lease, heart, tally)
        self._table: dict[RunState, Callable[[Run], Run]] = {
            RunState.PLANNED: self._generate,
            RunState.GENERATED: self._reflect,
            RunState.REFLECTED: self._commit,
            RunState.COMMITTED: self._project,
        }

    def next(self, run: Run) -> Run:
        self._parts.breathe()
        self._heart.check()
        failpoint(f"run.{run.state.value}.before")
        done = self._table[run.state](run)
        failpoint(f"run.{run.state.value}.after")
        return done

    # -- generate

    def _generate(self, run: Run) -> Run:
        parts = self._parts
        events = self._events(run)
        prepared = generate.prepare(
            events,
            self._before(run.scope, events),
            redact=parts.redact,
            policy=parts.policy.generate,
        )
        counts: Counter[str] = Counter(prepared.counts)
        observations: list[Observation] = list(prepared.feedback)
        answers = self._ask.distil(run, prepared.sessions)
        for session, answer in zip(prepared.sessions, answers, strict=True):
            if answer.problem:
                counts["engine.distil_problem"] += 1
            observed = generate.observe(session, answer, policy=parts.policy.generate)
            counts.update(observed.counts)
            observations.extend(observed.observations)
        failpoint("run.generated.pinned")
        cost = self._tally.open()
        done = parts.writer.generated(
            self._lease,
            run.id,
            observations,
            events=len(events),
            tokens=sum(estimate_tokens(stored.event) for stored in events),
            counts={**counts, "events": len(events), "observations": len(observations)},
            now=parts.clock.now(),
            cost=cost,
        )
        return self._tally.written(done, cost)

    def _events(self, run: Run) -> list[StoredEvent]:
        """The whole range of the run, whatever the limits are today: it was fixed when planned."""
        after, events = run.journal.after, list[StoredEvent]()
        while page := self._parts.journal.read(
            run.scope, after=after, upto=run.journal.upto, limit=PAGE
        ):
            events += page
            after = page[-1].seq
        return events

    def _observations(self, run: Run) -> list[Observation]:
        after, observations = run.observations.after, list[Observation]()
        while page := self._parts.ledger.observations(
            run.scope, after=after, upto=run.observations.upto, limit=PAGE
        ):
            observations += page
            after = page[-1].seq
        return departed.observations(observations, self._shelf.gone)

    def _before(
        self, scope: Scope, events: Sequence[StoredEvent]
    ) -> Mapping[str, Sequence[StoredEvent]]:
        first: dict[str, int] = {}
        for stored in events:
            first.setdefault(stored.event.session, stored.seq)
        before = self._parts.journal.before
        return {
            session: before(scope, session, seq=seq, limit=generate.LOOK_BACK)
            for session, seq in first.items()
        }

    # -- reflect

    def _reflect(self, run: Run) -> Run:
        parts, policy = self._parts, self._parts.policy
        dossiers = self._shelf.dossiers(run.scope)
        fresh = facets.resolved(self._observations(run), dossiers)
        vectors = self._ask.vectors(fresh, dossiers)
        near = reflect.near_notes(fresh, dossiers, vectors, policy.reflect)
        observations = [*again.again(fresh, dossiers, near), *fresh]
        vectors = self._ask.embedded({item.claim.statement for item in observations}, vectors)
        parts.breathe()
        pairs = reflect.shortlist(observations, dossiers, vectors, policy.reflect)
        judgements, asked = self._ask.judge(run, "compare", pairs, observations, dossiers, vectors)
        parts.breathe()
        proposals = propose.propose(run.scope, observations, judgements, policy)
        critiques = reflect.critique(
            proposals,
            dossiers,
            judgements,
            policy=policy,
            now=run.planned_at,
            above_active=self._in_force_above(dossiers),
        )
        counts = Counter(f"{critique.worth.value}.{critique.code}" for critique in critiques)
        counts["proposals"] = len(proposals)
        counts["pairs_compared"] = len(pairs)
        counts["pairs_asked"] = len(asked.judgements)
        problems = sum(1 for judgement in judgements.values() if judgement.problem)
        if problems:
            counts["engine.compare_problem"] = problems
        failpoint("run.reflected.pinned")
        cost = self._tally.open()
        done = parts.writer.reflected(
            self._lease,
            run.id,
            list(zip(proposals, critiques, strict=True)),
            counts=counts,
            now=parts.clock.now(),
            asked=asked,
            cost=cost,
        )
        return self._tally.written(done, cost)

    def _in_force_above(self, dossiers: Sequence[Dossier]) -> set[str]:
        """The notes of the scopes above that this scope's own copies folded into, if still true."""
        folded_into = {dossier.note.superseded_by for dossier in dossiers} - {""}
        above = self._parts.ledger.named(sorted(folded_into)) if folded_into else []
        return {note.id for note in above if note.status is NoteStatus.ACTIVE}

    # -- commit and project

    def _commit(self, run: Run) -> Run:
        parts = self._parts
        dossiers = self._shelf.dossiers(run.scope)
        above, fold_judgements, asked = self._above(run, dossiers)
        decision = curate.decide(
            run.scope,
            parts.ledger.proposals(run.id),
            dossiers,
            above=above,
            fold_judgements=fold_judgements,
            policy=parts.policy,
            now=run.planned_at,
            reviews=parts.ledger.waiting(run.scope),
        )
        counts, reason = self._told(run, decision)
        reworded = sorted({delta.note.claim.statement for delta in decision.deltas})
        by_statement = dict(zip(reworded, parts.embedder.embed(reworded), strict=True))
        commit = Commit(
            deltas=decision.deltas,
            vectors={
                delta.note.id: by_statement[delta.note.claim.statement] for delta in decision.deltas
            },
            vector_model=parts.embedder.model,
            folds=decision.folds,
            counts=counts,
            reason=reason,
            questions=decision.questions,
            applied=decision.applied,
            expired=decision.expired,
            asked=asked,
            observed_upto=self._observed_upto(run, decision.deferred),
        )
        cost = self._tally.open()
        done = parts.writer.commit(self._lease, run.id, commit, now=parts.clock.now(), cost=cost)
        self._tally.written(done, cost)
        meter.deltas(decision.deltas)
        meter.committed(done, limit=parts.policy.triggers.zero_effect_nights)
        return done

    def _told(self, run: Run, decision: curate.Decision) -> tuple[dict[str, int], str]:
        """The counts and the reason of a night, with what it has in common with those before."""
        reason = _with_problems(decision.reason, run)
        nights = effect.streak(run, self._last_night(run), decision.deltas)
        if not nights:
            return decision.counts, reason
        if nights >= self._parts.policy.triggers.zero_effect_nights and effect.had_input(run):
            reason = f"{reason}; {effect.sentence(nights, {**run.counts, **decision.counts})}"
        return {**decision.counts, effect.WITHOUT_EFFECT: nights}, reason

    def _last_night(self, run: Run) -> Run | None:
        """The newest run of the scope before this one that was not given up, if it is recent."""
        for number in range(run.number - 1, max(run.number - 1 - NIGHTS_LOOKED_BACK, 0), -1):
            found = self._parts.ledger.run(stable_id("run", run.scope, str(number)))
            if found is not None and found.state is RunState.PROJECTED:
                return found
        return None

    def _observed_upto(self, run: Run, deferred: Sequence[str]) -> int | None:
        """How far the observations are done: those that wait are read again, by the next run."""
        if not deferred:
            return None
        waiting = set(deferred)
        first = min((item.seq for item in self._observations(run) if item.id in waiting), default=0)
        return first - 1 if first else None

    def _above(
        self, run: Run, dossiers: Sequence[Dossier]
    ) -> tuple[list[Dossier], dict[str, Judgement], Asked]:
        """What is in force above, and what was given up there after copies here folded into it."""
        if not run.folds:
            return [], {}, Asked()
        parts = self._parts
        upper = [
            found for scope in run.scope.lineage()[1:] for found in self._shelf.dossiers(scope)
        ]
        above = [found for found in upper if found.note.status is NoteStatus.ACTIVE]
        vectors = self._ask.vectors([], [*above, *dossiers])
        pairs = reflect.fold_pairs(dossiers, above, vectors, parts.policy.reflect)
        judgements, asked = self._ask.judge(run, "fold", pairs, [], [*above, *dossiers], vectors)
        heirs = {dossier.note.superseded_by for dossier in dossiers}
        given_up = [
            found
            for found in upper
            if found.note.id in heirs and found.note.status is not NoteStatus.ACTIVE
        ]
        return [*above, *given_up], judgements, asked

    def _project(self, run: Run) -> Run:
        self._parts.project()
        failpoint("projector.cleared")
        cost = self._tally.open()
        done = self._parts.writer.projected(run.id, now=self._parts.clock.now(), cost=cost)
        return self._tally.written(done, cost)


def _with_problems(reason: str, run: Run) -> str:
    """The reason, and how many answers of the engine were of no use."""
    unusable = sum(count for name, count in run.counts.items() if name in PROBLEMS)
    if not unusable:
        return reason
    answers = "answer" if unusable == 1 else "answers"
    return f"{reason}; {unusable} unusable {answers} of the engine changed nothing"
