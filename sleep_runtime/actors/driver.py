"""RunDriver: takes one scope through one night, from whatever state it finds it in.

    plan -> generate -> reflect -> commit -> project

The driver holds no rules. Each step reads a snapshot, asks a pure function, and hands the answer
to the ledger in one transaction. It runs in the thread that calls it, in any process; whatever
kills it, the next driver of the scope goes on from the ledger's state and the pins in it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from sleep_runtime.actors import meter
from sleep_runtime.actors.heartbeat import Heartbeat, Pulse
from sleep_runtime.actors.shelf import Shelf
from sleep_runtime.consolidation import (
    again,
    curate,
    departed,
    effect,
    facets,
    generate,
    propose,
    reflect,
    settle,
)
from sleep_runtime.core.errors import (
    BudgetSpent,
    EngineUnavailable,
    LeaseLost,
    SleepRuntimeError,
    StoreError,
)
from sleep_runtime.core.event import StoredEvent, estimate_tokens
from sleep_runtime.core.ids import digest, stable_id
from sleep_runtime.core.note import Dossier, NoteStatus
from sleep_runtime.core.observation import Distillation, Observation, SessionInput
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.ports import (
    Asked,
    Clock,
    Commit,
    Embedder,
    Engine,
    JournalReader,
    LedgerReader,
    LedgerWriter,
    Pin,
)
from sleep_runtime.core.proposal import ClaimPair, Judgement
from sleep_runtime.core.run import Lease, Run, RunState, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.failpoint import failpoint
from sleep_runtime.telemetry.log import get_logger
from sleep_runtime.telemetry.metrics import METRICS

PAGE = 2000
SESSIONS_PER_CALL = 16
PAIRS_PER_CALL = 64
MAX_ATTEMPTS = 20
MAX_REASON_CHARS = 500
PROBLEMS = ("engine.distil_problem", "engine.compare_problem")

log = get_logger(__name__)
Item = TypeVar("Item")
Question = TypeVar("Question")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class DriverParts:
    """What a driver works with. ``project`` empties the outbox and returns how much it did."""

    journal: JournalReader
    ledger: LedgerReader
    writer: LedgerWriter
    engine: Engine
    embedder: Embedder
    project: Callable[[], int]
    redact: Callable[[str], str]
    clock: Clock
    policy: Policy
    pulse: Pulse = field(default_factory=Pulse)


class RunDriver:
    """Drives the runs of many scopes, one after the other. ``owner`` names the process."""

    def __init__(self, owner: str, parts: DriverParts) -> None:
        self._owner = owner
        self._parts = parts
        self._shelf = Shelf(parts.ledger, departed.listed(parts.policy.tiers.departed))

    def consolidate(
        self, scope: Scope, trigger: Trigger = Trigger.MANUAL, requested: str = ""
    ) -> Run | None:
        """Run one night of one scope as far as it goes.

        Returns the run as it was left: projected, yielded, or abandoned. Returns None when
        another owner holds the scope or nothing is pending there.
        """
        parts = self._parts
        lease = parts.writer.acquire(
            scope, self._owner, now=parts.clock.now(), ttl_s=parts.pulse.ttl_s
        )
        if lease is None:
            log.info(LogEvent.LEASE_BUSY, scope=scope, owner=self._owner)
            return None
        started = time.monotonic()
        try:
            with Heartbeat(parts.writer, lease, parts.clock, parts.pulse) as heart:
                failpoint("run.leased")
                run = self._night(lease, heart, trigger, requested)
                if run is not None:
                    meter.night(run, seconds=time.monotonic() - started)
                return run
        except LeaseLost as lost:
            METRICS.lease_lost.inc()
            log.warning(LogEvent.LEASE_LOST, scope=scope, owner=self._owner, reason=str(lost))
            return None
        finally:
            self._release(lease)

    def _release(self, lease: Lease) -> None:
        try:
            self._parts.writer.release(lease)
        except StoreError as error:
            # It expires by itself; the next owner waits that long.
            log.warning(LogEvent.LEASE_LOST, scope=lease.scope, reason=str(error))

    def _night(
        self, lease: Lease, heart: Heartbeat, trigger: Trigger, requested: str
    ) -> Run | None:
        parts = self._parts
        run = parts.writer.plan(
            lease,
            now=parts.clock.now(),
            trigger=trigger,
            requested=requested,
            journal_upto=self._range_end(lease.scope),
            max_observations=parts.policy.budget.max_observations,
        )
        if run is None:
            return None
        log.info(LogEvent.RUN_PLANNED, scope=run.scope, run=run.id, trigger=run.trigger.value)
        if run.attempts > MAX_ATTEMPTS:
            return parts.writer.abandon(
                lease, run.id, f"gave up after {run.attempts - 1} attempts", now=parts.clock.now()
            )
        steps = _Steps(parts, lease, heart, self._shelf)
        try:
            while not run.state.terminal:
                run = steps.next(run)
        except (BudgetSpent, EngineUnavailable) as limit:
            log.warning(LogEvent.RUN_YIELDED, scope=run.scope, run=run.id, reason=str(limit))
            return parts.writer.yield_run(lease, run.id, str(limit), now=parts.clock.now())
        except LeaseLost:
            raise
        except StoreError as error:
            # A disk that is full for the commit may still take this line. If it does not, the
            # error goes up and the run is taken up again from where it stands.
            log.warning(LogEvent.RUN_YIELDED, scope=run.scope, run=run.id, reason=str(error))
            return parts.writer.yield_run(lease, run.id, str(error), now=parts.clock.now())
        except Exception as error:  # whatever it is, the run has to say it
            log.exception(LogEvent.RUN_FAILED, scope=run.scope, run=run.id)
            reason = f"failed while {run.state.value}: {type(error).__name__}: {error}"
            return parts.writer.yield_run(
                lease, run.id, reason[:MAX_REASON_CHARS], now=parts.clock.now(), failed=True
            )
        log.info(LogEvent.RUN_DONE, scope=run.scope, run=run.id, reason=run.reason)
        return run

    def _range_end(self, scope: Scope) -> int:
        """The journal position this night ends at: all there is, or what one run may read."""
        parts = self._parts
        head = parts.journal.head(scope)
        if head is None:
            return 0
        schedule = parts.ledger.schedule(scope)
        most = parts.policy.budget.max_events
        if head.events - (schedule.events_done if schedule else 0) <= most:
            return head.last_seq
        after = parts.ledger.cursors(scope).journal
        events = parts.journal.read(scope, after=after, upto=head.last_seq, limit=most)
        return events[-1].seq if events else head.last_seq


class _Steps:
    """The steps of one run under one lease. ``next`` does the one its state asks for."""

    def __init__(self, parts: DriverParts, lease: Lease, heart: Heartbeat, shelf: Shelf) -> None:
        self._parts = parts
        self._shelf = shelf
        self._lease = lease
        self._heart = heart
        self._budget = _Budget(parts)
        self._table: dict[RunState, Callable[[Run], Run]] = {
            RunState.PLANNED: self._generate,
            RunState.GENERATED: self._reflect,
            RunState.REFLECTED: self._commit,
            RunState.COMMITTED: self._project,
        }

    def next(self, run: Run) -> Run:
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
        answers = self._distil(run, prepared.sessions)
        for session, answer in zip(prepared.sessions, answers, strict=True):
            if answer.problem:
                counts["engine.distil_problem"] += 1
            observed = generate.observe(session, answer, policy=parts.policy.generate)
            counts.update(observed.counts)
            observations.extend(observed.observations)
        failpoint("run.generated.pinned")
        return parts.writer.generated(
            self._lease,
            run.id,
            observations,
            events=len(events),
            tokens=sum(estimate_tokens(stored.event) for stored in events),
            counts={**counts, "events": len(events), "observations": len(observations)},
            now=parts.clock.now(),
        )

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
        limit = self._parts.policy.generate.context_turns
        return {
            session: self._parts.journal.before(scope, session, seq=seq, limit=limit)
            for session, seq in first.items()
        }

    def _distil(self, run: Run, sessions: Sequence[SessionInput]) -> list[Distillation]:
        engine = self._parts.engine
        keys = [generate.session_key(session, engine.name) for session in sessions]
        pins = self._parts.ledger.pins(run.id, "distil")
        open_sessions = {
            key: session for key, session in zip(keys, sessions, strict=True) if key not in pins
        }
        for chunk in _chunks(list(open_sessions.items()), SESSIONS_PER_CALL):
            self._before_call()
            with meter.engine_calls(engine, "distil"):
                answers = self._ask([session for _, session in chunk], engine.distil, _unread)
            fresh = [
                Pin(key=key, output=answer.model_dump(mode="json"), usage=answer.usage)
                for (key, _), answer in zip(chunk, answers, strict=True)
            ]
            failpoint("run.generated.answered")
            meter.problems(engine, "distil", answers)
            self._parts.writer.pin(self._lease, run.id, "distil", fresh)
            failpoint("run.generated.half_pinned")
            pins.update({pin.key: pin for pin in fresh})
        return [Distillation.model_validate(pins[key].output) for key in keys]

    def _ask(
        self,
        questions: Sequence[Question],
        ask: Callable[[Sequence[Question]], Sequence[Answer]],
        unusable: Callable[[str], Answer],
    ) -> list[Answer]:
        """Ask a batch; when it breaks the engine, ask one by one: a bad question breaks alone.

        A question that breaks it by itself is answered with a problem: it must not stop its scope
        for ever.
        """
        try:
            return list(ask(questions))
        except SleepRuntimeError:
            raise
        except Exception as error:
            log.exception(LogEvent.ENGINE_PROBLEM, questions=len(questions))
            if len(questions) == 1:
                return [unusable(f"{type(error).__name__}: {error}"[:MAX_REASON_CHARS])]
        return [answer for one in questions for answer in self._ask([one], ask, unusable)]

    # -- reflect

    def _reflect(self, run: Run) -> Run:
        parts, policy = self._parts, self._parts.policy
        dossiers = self._shelf.dossiers(run.scope)
        fresh = facets.resolved(self._observations(run), dossiers)
        vectors = self._vectors(fresh, dossiers)
        near = reflect.near_notes(fresh, dossiers, vectors, policy.reflect)
        observations = [*again.again(fresh, dossiers, near), *fresh]
        vectors = self._embedded({item.claim.statement for item in observations}, vectors)
        pairs = reflect.shortlist(observations, dossiers, vectors, policy.reflect)
        judgements, asked = self._judge(run, "compare", pairs, observations, dossiers, vectors)
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
        return parts.writer.reflected(
            self._lease,
            run.id,
            list(zip(proposals, critiques, strict=True)),
            counts=counts,
            now=parts.clock.now(),
            asked=asked,
        )

    def _in_force_above(self, dossiers: Sequence[Dossier]) -> set[str]:
        """The notes of the scopes above that this scope's own copies folded into, if still true."""
        folded_into = {dossier.note.superseded_by for dossier in dossiers} - {""}
        above = self._parts.ledger.named(sorted(folded_into)) if folded_into else []
        return {note.id for note in above if note.status is NoteStatus.ACTIVE}

    def _vectors(
        self, observations: Sequence[Observation], dossiers: Sequence[Dossier]
    ) -> dict[str, bytes]:
        """A vector for each statement, from the ledger where it has one of this model."""
        parts = self._parts
        by_id = {dossier.note.id: dossier.note for dossier in dossiers}
        known = {
            by_id[entry.note_id].claim.statement: entry.vector
            for entry in parts.ledger.vectors(list(by_id))
            if entry.model == parts.embedder.model
            and by_id[entry.note_id].revision == entry.revision
        }
        statements = {item.claim.statement for item in observations}
        statements |= {dossier.note.claim.statement for dossier in dossiers}
        return self._embedded(statements, known)

    def _embedded(self, statements: set[str], known: Mapping[str, bytes]) -> dict[str, bytes]:
        missing = sorted(statements - known.keys())
        return {**known, **dict(zip(missing, self._parts.embedder.embed(missing), strict=True))}

    def _judge(
        self,
        run: Run,
        step: str,
        pairs: Sequence[ClaimPair],
        observations: Sequence[Observation],
        dossiers: Sequence[Dossier],
        vectors: Mapping[str, bytes],
    ) -> tuple[dict[str, Judgement], Asked]:
        """A judgement of each pair of which anything is known, and what the engine was asked.

        A person's verdict comes first, then the store's own statistics, then the engine.
        """
        verdicts = self._parts.ledger.verdicts(run.scope) if pairs else []
        lessons = settle.teaching(verdicts)
        claims = [each for pair in pairs for each in pair.claims]
        claims += [each for verdict in lessons for each in verdict.claims]
        statements = {claim.statement for claim in claims}
        vectors = self._embedded(statements, vectors)
        said = {v.pair_key: v.judgement for v in verdicts}
        odds = settle.measured(pairs, observations, dossiers, vectors, lessons)
        unsettled = [pair for pair in pairs if pair.key not in said]
        asked_for = settle.open_pairs(unsettled, odds, self._parts.policy.reflect)
        answers, asked = self._compare(run, step, asked_for)
        return settle.settled(pairs, odds, answers, said), asked

    def _compare(
        self, run: Run, step: str, pairs: Sequence[ClaimPair]
    ) -> tuple[dict[str, Judgement], Asked]:
        """A judgement of each pair, and those among them that this run had to ask for.

        Pins come first, then what the engine answered on an earlier night.
        """
        engine = self._parts.engine
        keys = {digest(engine.name, pair.key): pair for pair in pairs}
        pins = self._parts.ledger.pins(run.id, step)
        known = self._remembered(run, [p for key, p in keys.items() if key not in pins])
        missing = [
            (key, pair) for key, pair in keys.items() if key not in pins and pair.key not in known
        ]
        for chunk in _chunks(missing, PAIRS_PER_CALL):
            self._before_call()
            with meter.engine_calls(engine, "compare"):
                answers = self._ask([pair for _, pair in chunk], engine.compare, _unjudged)
            failpoint("run.reflected.answered")
            fresh = [
                Pin(key=key, output=answer.model_dump(mode="json"))
                for (key, _), answer in zip(chunk, answers, strict=True)
            ]
            meter.problems(engine, step, answers)
            self._parts.writer.pin(self._lease, run.id, step, fresh)
            failpoint("run.reflected.half_pinned")
            pins.update({pin.key: pin for pin in fresh})
        asked = {
            pair.key: Judgement.model_validate(pins[key].output)
            for key, pair in keys.items()
            if key in pins
        }
        return {**known, **asked}, Asked(engine=engine.name, judgements=asked)

    def _remembered(self, run: Run, pairs: Sequence[ClaimPair]) -> dict[str, Judgement]:
        keys = [pair.key for pair in pairs]
        if not keys:
            return {}
        return self._parts.ledger.judgements(run.scope, self._parts.engine.name, keys)

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
        done = parts.writer.commit(self._lease, run.id, commit, now=parts.clock.now())
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
        for number in range(run.number - 1, max(run.number - 1 - MAX_ATTEMPTS, 0), -1):
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
        vectors = self._vectors([], [*above, *dossiers])
        pairs = reflect.fold_pairs(dossiers, above, vectors, parts.policy.reflect)
        judgements, asked = self._judge(run, "fold", pairs, [], [*above, *dossiers], vectors)
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
        return self._parts.writer.projected(run.id, now=self._parts.clock.now())

    def _before_call(self) -> None:
        self._heart.check()
        self._budget.check()


class _Budget:
    """What this attempt at a run has used, against what it may use."""

    def __init__(self, parts: DriverParts) -> None:
        self._parts = parts
        self._limits = parts.policy.budget
        self._used_before = parts.engine.usage
        self._started: datetime = parts.clock.now()

    def check(self) -> None:
        """Raise ``BudgetSpent`` when another engine call would not be allowed."""
        used, before = self._parts.engine.usage, self._used_before
        tokens = (used.input_tokens + used.output_tokens) - (
            before.input_tokens + before.output_tokens
        )
        seconds = (self._parts.clock.now() - self._started).total_seconds()
        for name, spent, limit in (
            ("max_calls", used.calls - before.calls, self._limits.max_calls),
            ("max_tokens", tokens, self._limits.max_tokens),
            ("max_seconds", seconds, self._limits.max_seconds),
        ):
            if spent >= limit:
                raise BudgetSpent(
                    f"used {spent:g} of {limit:g}",
                    field=f"policy.budget.{name}",
                    mend="the run goes on at its next turn; raise the limit if that is too slow",
                )


def _unread(problem: str) -> Distillation:
    return Distillation(problem=problem)


def _unjudged(problem: str) -> Judgement:
    return Judgement(problem=problem)


def _with_problems(reason: str, run: Run) -> str:
    """The reason, and how many answers of the engine were of no use."""
    unusable = sum(count for name, count in run.counts.items() if name in PROBLEMS)
    if not unusable:
        return reason
    answers = "answer" if unusable == 1 else "answers"
    return f"{reason}; {unusable} unusable {answers} of the engine changed nothing"


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
