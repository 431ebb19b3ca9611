"""The steps of runs as rules: leases and zombies, every write, and what each must answer."""

from collections.abc import Callable
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule

from sleep_runtime.core.errors import LeaseLost, StaleRevision, StoreError
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.observation import Claim, NoteKind
from sleep_runtime.core.ports import Commit, Pin
from sleep_runtime.core.proposal import Delta
from sleep_runtime.core.review import Question, Review, ReviewKind, ReviewState
from sleep_runtime.core.run import Lease, Run, RunState
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.contracts.ledger_bench import (
    ANA,
    T0,
    TEAM,
    LedgerBench,
    claim,
    delta,
    judged,
    note,
    observation,
)
from sleep_runtime.testing.contracts.ledger_model import (
    OWNERS,
    SCOPES,
    STATUSES,
    TTL_S,
    ModelRun,
    ModelScope,
)

LEASES = Bundle("leases")
ANY_SCOPE = st.sampled_from(SCOPES)
CHANGES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(STATUSES)), max_size=2, unique_by=lambda c: c[0]
)


class LedgerSteps(RuleBasedStateMachine):
    """Whoever calls whatever, with whichever lease: the ledger is where the model is."""

    leases = LEASES

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.scopes = {scope: ModelScope() for scope in SCOPES}
        self.observations: dict[str, tuple[int, Scope]] = {}
        self.chains: dict[str, list[Note]] = {}
        self.marks: dict[str, int] = {}
        self.words = 0
        self.undos = 0
        self.bench = self.open()

    # ------------------------------------------------------------------ what a backend gives

    def open(self) -> LedgerBench:
        """A new, empty ledger."""
        raise NotImplementedError

    def crashed(self) -> LedgerBench:
        """The ledger as a machine that lost its power finds it."""
        raise NotImplementedError

    # ------------------------------------------------------------------ helpers

    def _do(self, due: type[Exception] | None, call: Callable[[], Run | None]) -> Run | None:
        """Call; with an error due, it has to be raised."""
        if due is None:
            return call()
        try:
            call()
        except due:
            return None
        raise AssertionError(f"{due.__name__} was due")

    def _fenced(self, lease: Lease) -> bool:
        held = self.scopes[lease.scope].lease
        return held is None or held[:2] != (lease.owner, lease.epoch)

    def _step(self, lease: Lease, back: int) -> tuple[ModelScope, ModelRun | None]:
        """The scope's newest run, or the one so many before it."""
        scope = self.scopes[lease.scope]
        return scope, scope.runs[-1 - back] if back < len(scope.runs) else None

    def _due(self, lease: Lease, run: ModelRun, at: RunState) -> type[Exception] | None:
        if self._fenced(lease):
            return LeaseLost
        return StoreError if run.stands(at) is None else None

    def _pending(self, scope: Scope, after: int) -> list[int]:
        found = self.observations.values()
        return [seq for seq, of in found if scope.covers(of) and seq > after]

    # ------------------------------------------------------------------ leases

    @rule(seconds=st.sampled_from((1, 30, 61)))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(scope=ANY_SCOPE, events=st.integers(1, 3))
    def events_arrive(self, scope: Scope, events: int) -> None:
        self.scopes[scope].arrived += events

    @rule(target=LEASES, scope=ANY_SCOPE, owner=st.sampled_from(OWNERS))
    def acquire(self, scope: Scope, owner: str) -> Lease:
        held = self.scopes[scope].lease
        lease = self.bench.writer.acquire(scope, owner, now=self.now, ttl_s=TTL_S)
        if held and held[0] not in ("", owner) and held[2] > self.now:
            assert lease is None
            return Lease(scope=scope, owner=owner, epoch=0, expires_at=self.now)
        assert lease is not None
        expires = self.now + timedelta(seconds=TTL_S)
        assert lease == Lease(
            scope=scope, owner=owner, epoch=held[1] + 1 if held else 1, expires_at=expires
        )
        self.scopes[scope].lease = (owner, lease.epoch, expires)
        return lease

    @rule(lease=LEASES)
    def renew(self, lease: Lease) -> None:
        due = LeaseLost if self._fenced(lease) else None
        self._do(due, lambda: self._renewed(lease))

    def _renewed(self, lease: Lease) -> None:
        self.bench.writer.renew(lease, now=self.now, ttl_s=TTL_S)
        held = self.scopes[lease.scope].lease
        assert held is not None
        expires = max(held[2], self.now + timedelta(seconds=TTL_S))
        self.scopes[lease.scope].lease = (*held[:2], expires)

    @rule(lease=consumes(LEASES))
    def release(self, lease: Lease) -> None:
        due = LeaseLost if self._fenced(lease) else None
        self._do(due, lambda: self.bench.writer.release(lease))
        held = self.scopes[lease.scope].lease
        if due is None and held:
            self.scopes[lease.scope].lease = ("", *held[1:])

    # ------------------------------------------------------------------ steps

    @rule(
        scope=ANY_SCOPE,
        changes=CHANGES,
        names=st.sets(st.sampled_from("abcd")),
        asks=st.sets(st.sampled_from("qr")),
        steps=st.integers(3, 6),
    )
    def work(
        self,
        scope: Scope,
        changes: list[tuple[int, NoteStatus]],
        names: set[str],
        asks: set[str],
        steps: int,
    ) -> None:
        """So many steps of a night in their order: alone they would seldom get to a commit."""
        model = self.scopes[scope]
        owner = model.lease[0] if model.lease and model.lease[0] else OWNERS[0]
        model.arrived += 1
        lease = self.acquire(scope, owner)
        for _ in range(steps):
            state = model.runs[-1].state if model.runs else RunState.PROJECTED
            if state is RunState.PLANNED:
                self.generated(lease, names, 0)
            elif state is RunState.GENERATED:
                self.reflected(lease, 0)
            elif state is RunState.REFLECTED:
                self.commit(lease, changes, 0, False, True, asks, len(names) > 2, 0)  # noqa: FBT003
            elif state is RunState.COMMITTED:
                self.projected(scope, 0)
            else:
                self.plan(lease, 2)
        self.release(lease)

    @rule(lease=LEASES, most=st.integers(1, 3))
    def plan(self, lease: Lease, most: int) -> None:
        scope = self.scopes[lease.scope]
        due = LeaseLost if self._fenced(lease) else None
        run = self._do(
            due,
            lambda: self.bench.try_plan(
                lease, upto=scope.arrived, now=self.now, max_observations=most
            ),
        )
        if due:
            return
        last = scope.runs[-1] if scope.runs else None
        if last and not last.state.terminal:
            last.attempts += last.state is not RunState.YIELDED
            last.state, last.stood_at = last.stood_at or last.state, None
            last.owner, last.epoch = lease.owner, lease.epoch
            return
        waits = self._pending(lease.scope, scope.observed)
        if scope.arrived == scope.read and not (scope.folds or scope.decided or waits):
            assert run is None
            return
        assert run is not None
        scope.runs.append(
            ModelRun(
                id=run.id,
                number=len(scope.runs) + 1,
                scope=lease.scope,
                owner=lease.owner,
                epoch=lease.epoch,
                state=RunState.PLANNED,
                journal=(scope.read, max(scope.read, scope.arrived)),
                observed=(scope.observed, scope.observed),
                folds=scope.folds,
                reviews=scope.decided,
                most=most,
            )
        )

    @rule(lease=LEASES, key=st.sampled_from("kl"), back=st.integers(0, 1))
    def pin(self, lease: Lease, key: str, back: int) -> None:
        _, run = self._step(lease, back)
        if run is None:
            return
        said = f"{lease.owner} {lease.epoch} {self.now}"
        pins = [Pin(key=key, output={"said": said}), Pin(key=key, output={"said": "twice"})]
        due = LeaseLost if self._fenced(lease) else None
        self._do(due, lambda: self.bench.writer.pin(lease, run.id, "distil", pins, now=self.now))
        if due is None and key not in run.pins:
            run.pins[key] = said
            run.attempts = 1

    @rule(lease=LEASES, names=st.sets(st.sampled_from("abcd")), back=st.integers(0, 1))
    def generated(self, lease: Lease, names: set[str], back: int) -> None:
        scope, run = self._step(lease, back)
        if run is None:
            return
        ids = [f"{lease.scope}-{name}" for name in sorted(names)]
        found = [observation(name, lease.scope) for name in ids]
        events = run.journal[1] - run.journal[0]
        due = self._due(lease, run, RunState.PLANNED)
        self._do(
            due,
            lambda: self.bench.writer.generated(
                lease, run.id, found, events=events, tokens=events, counts={}, now=self.now
            ),
        )
        if due is None and run.stands(RunState.PLANNED):
            self._observed(lease.scope, ids)
            scope.read = max(scope.read, run.journal[1])
            waits = self._pending(lease.scope, scope.observed)[: run.most]
            run.observed = (scope.observed, waits[-1] if waits else scope.observed)
            run.state, run.attempts = RunState.GENERATED, 1

    def _observed(self, scope: Scope, ids: list[str]) -> None:
        """New ones come after all the others, in their order; positions may be left out."""
        stored = self.bench.reader.observations(scope, after=0, upto=1 << 62, limit=999)
        last = max((seq for seq, _ in self.observations.values()), default=0)
        fresh = [one for one in stored if one.id not in self.observations]
        assert [one.id for one in fresh] == [name for name in ids if name not in self.observations]
        for one in fresh:
            assert one.seq > last
            last = one.seq
            self.observations[one.id] = (one.seq, scope)

    @rule(lease=LEASES, back=st.integers(0, 1))
    def reflected(self, lease: Lease, back: int) -> None:
        _, run = self._step(lease, back)
        if run is None:
            return
        due = self._due(lease, run, RunState.GENERATED)
        said = [judged(scope=lease.scope)]
        self._do(
            due,
            lambda: self.bench.writer.reflected(lease, run.id, said, counts={}, now=self.now),
        )
        if due is None and run.stands(RunState.GENERATED):
            run.state, run.attempts = RunState.REFLECTED, 1

    @rule(
        lease=LEASES,
        changes=CHANGES,
        stale=st.sampled_from((0, 0, 0, 1)),
        part=st.booleans(),
        folds=st.booleans(),
        asks=st.sets(st.sampled_from("qr")),
        closes=st.booleans(),
        back=st.integers(0, 1),
    )
    def commit(
        self,
        lease: Lease,
        changes: list[tuple[int, NoteStatus]],
        stale: int,
        part: bool,  # noqa: FBT001 - hypothesis draws it
        folds: bool,  # noqa: FBT001
        asks: set[str],
        closes: bool,  # noqa: FBT001
        back: int,
    ) -> None:
        scope, run = self._step(lease, back)
        if run is None:
            return
        deltas = [self._change(lease.scope, which, status, stale) for which, status in changes]
        reviews = list(scope.reviews.values()) if closes else []
        what = Commit(
            deltas=tuple(deltas),
            folds=(ANA,) if folds and lease.scope == TEAM else (),
            reason=f"night {run.number}",
            questions=tuple(question(key) for key in sorted(asks)),
            applied=tuple(one.id for one in reviews if one.waits),
            expired=tuple(one.id for one in reviews if one.state is ReviewState.OPEN),
            observed_upto=run.observed[0] if part else None,
        )
        due = self._due(lease, run, RunState.REFLECTED)
        if due is None and run.stands(RunState.REFLECTED) and stale and deltas:
            due = StaleRevision
        self._do(due, lambda: self.bench.writer.commit(lease, run.id, what, now=self.now))
        if due is None and run.stands(RunState.REFLECTED):
            self._committed(scope, run, what)

    def _change(self, scope: Scope, which: int, status: NoteStatus, stale: int) -> Delta:
        name = f"{scope}-n{which}"
        revision = len(self.chains.get(name, ())) + 1 + stale
        words = Claim(
            statement=f"Lesson {name}.", kind=NoteKind.FACT, subject=name, aspect=f"of {name}"
        )
        made = note(name, scope=scope, revision=revision, status=status)
        return delta(made.model_copy(update={"claim": words}))

    def _committed(self, scope: ModelScope, run: ModelRun, what: Commit) -> None:
        run.state, run.reason = RunState.COMMITTED, what.reason
        for change in what.deltas:
            self._write(run, change.note.model_copy(update={"recorded_at": self.now}))
        observed = run.observed[1] if what.observed_upto is None else what.observed_upto
        scope.observed = max(scope.observed, observed)
        for each in what.folds:
            self.scopes[each].folds += 1
        for one in scope.reviews.values():
            if one.id in what.applied:
                self._revise(scope, one, applied_by=run.id)
            elif one.id in what.expired:
                self._revise(scope, one, state=ReviewState.EXPIRED)
        scope.folds = max(0, scope.folds - run.folds)
        scope.decided = max(0, scope.decided - run.reviews)
        self._asked(scope, run, what)

    def _write(self, run: ModelRun, made: Note) -> None:
        self.chains.setdefault(made.id, []).append(made)
        self.marks[made.id] = made.revision
        run.notes[made.id] = made.revision

    def _asked(self, scope: ModelScope, run: ModelRun, what: Commit) -> None:
        """New questions are read back: their ids are the ledger's to make."""
        mine = (one for one in self.bench.reader.reviews(run.scope) if one.scope == run.scope)
        stored = {one.question.key: one for one in mine}
        for asked in what.questions:
            was = scope.reviews.get(asked.key)
            closed = was and not was.waits and was.state is not ReviewState.OPEN
            if was is None or (closed and not (was.decision and was.decision.final)):
                fresh = stored[asked.key]
                assert (fresh.state, fresh.run_id) == (ReviewState.OPEN, run.id)
                assert (fresh.decision, fresh.applied_by) == (None, "")
                scope.reviews[asked.key] = fresh

    def _revise(self, scope: ModelScope, review: Review, **fields: object) -> None:
        scope.reviews[review.question.key] = review.model_copy(update=fields)

    @rule(scope=ANY_SCOPE, back=st.integers(0, 1))
    def projected(self, scope: Scope, back: int) -> None:
        runs = self.scopes[scope].runs
        if back >= len(runs):
            return
        run = runs[-1 - back]
        yielded = (run.state, run.stood_at) == (RunState.YIELDED, RunState.COMMITTED)
        stands = yielded or run.stands(RunState.COMMITTED)
        due = StoreError if stands is None else None
        self._do(due, lambda: self.bench.writer.projected(run.id, now=self.now))
        if stands:
            run.state, run.stood_at = RunState.PROJECTED, None

    @rule(lease=LEASES, failed=st.booleans(), back=st.integers(0, 1))
    def yields(self, lease: Lease, failed: bool, back: int) -> None:  # noqa: FBT001
        _, run = self._step(lease, back)
        if run is None:
            return
        due = LeaseLost if self._fenced(lease) else None
        writer = self.bench.writer
        self._do(due, lambda: writer.yield_run(lease, run.id, "busy", now=self.now, failed=failed))
        if due is None and not run.state.terminal and run.state is not RunState.YIELDED:
            run.state, run.stood_at = RunState.YIELDED, run.state
            run.attempts += failed
            run.reason = "busy"

    @rule(lease=LEASES, back=st.integers(0, 1))
    def abandon(self, lease: Lease, back: int) -> None:
        _, run = self._step(lease, back)
        if run is None:
            return
        due = LeaseLost if self._fenced(lease) else None
        self._do(due, lambda: self.bench.writer.abandon(lease, run.id, "worn out", now=self.now))
        if due is None and not run.state.terminal:
            done = RunState.COMMITTED in (run.state, run.stood_at)
            before = f"{run.reason}; committed, not projected by this run: " if done else ""
            run.reason = f"{before}worn out".lstrip("; ")
            run.state, run.stood_at = RunState.ABANDONED, None


def question(key: str) -> Question:
    """What a run asks people, of this key."""
    return Question(
        kind=ReviewKind.CONFLICT,
        key=key,
        notes=(f"{key}1", f"{key}2"),
        claims=(claim(f"Say {key} first."), claim(f"Say {key} last.")),
        reason="nobody can tell",
    )
