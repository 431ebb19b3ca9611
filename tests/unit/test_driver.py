"""RunDriver: what it does about its lease, about failures, and about a model that is away."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from sleep_runtime.actors.driver import MAX_ATTEMPTS, DriverParts, RunDriver
from sleep_runtime.actors.heartbeat import Heartbeat, Pulse
from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.native import parse_events
from sleep_runtime.core.errors import LeaseLost, StoreBusy
from sleep_runtime.core.event import Event, EventKind, Role
from sleep_runtime.core.observation import Claim, Distillation, NoteKind, SessionInput
from sleep_runtime.core.policy import Policy, TriggerPolicy
from sleep_runtime.core.ports import Engine, LedgerWriter
from sleep_runtime.core.run import Run, RunState
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger import SqliteLedger
from sleep_runtime.stores.ledger.reader import SqliteLedgerReader
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.embedder import HashEmbedder
from sleep_runtime.testing.engine import Line, ScriptedEngine
from sleep_runtime.testing.journal import InMemoryJournal

ANA = Scope("acme/banking/ana")
LESSON = "always use adjusted EBITDA"
SCRIPT = {LESSON: [Line(Claim(statement=LESSON, kind=NoteKind.CONVENTION))]}
POLICY = Policy(triggers=TriggerPolicy(cooldown_s=600))
WAIT_S = 20.0


class Bench:
    """A driver over a journal in memory and a ledger in a file; one lesson waits to be learned."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.clock = ManualClock()
        self.journal = InMemoryJournal(clock=self.clock)
        self.writer = ledger
        self.ledger: SqliteLedgerReader = ledger.reader
        self.engine = ScriptedEngine(SCRIPT)
        self.said = 0
        self.say(LESSON)

    def say(self, text: str, session: str = "") -> None:
        self.said += 1
        event = Event(
            id=f"e{self.said}",
            ts=self.clock.now(),
            scope=ANA,
            session=session or f"s{self.said}",
            kind=EventKind.MESSAGE,
            role=Role.HUMAN,
            text=text,
        )
        parsed = parse_events(
            json.dumps(event.model_dump(mode="json")).encode(),
            content_type="application/json",
            content_encoding="",
            now=self.clock.now(),
            limits=CaptureLimits(),
        )
        self.journal.append(parsed.rows)

    def parts(self, **changes: Any) -> DriverParts:
        whole = DriverParts(
            journal=self.journal,
            ledger=self.ledger,
            writer=self.writer,
            engine=self.engine,
            embedder=HashEmbedder(),
            project=self.project,
            redact=str,
            clock=self.clock,
            policy=POLICY,
        )
        return replace(whole, **changes)

    def project(self) -> int:
        return self.writer.clear_marks(self.ledger.marks(limit=100))

    def driver(self, owner: str = "one", **changes: Any) -> RunDriver:
        return RunDriver(owner, self.parts(**changes))

    def run(self) -> Run:
        (run,) = self.ledger.runs(ANA)
        return run


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with SqliteLedger(tmp_path / "ledger.sqlite", triggers=POLICY.triggers) as ledger:
        yield Bench(ledger)


class Hooked:
    """Any object, with something that happens before one of its methods is called."""

    def __init__(self, inner: Any, method: str, before: Callable[[], None]) -> None:
        self._inner = inner
        self._method = method
        self._before = before

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            self._before()
        return getattr(self._inner, name)


def once(what: Callable[[], Any]) -> Callable[[], None]:
    """Does it the first time only."""
    left = [what]

    def do() -> None:
        if left:
            left.pop()()

    return do


# ---------------------------------------------------------------------------- a quiet night


def test_a_night_of_one_scope_ends_projected_and_gives_the_lease_back(bench: Bench) -> None:
    run = bench.driver().consolidate(ANA)
    assert run is not None
    assert run.state is RunState.PROJECTED
    (note,) = bench.ledger.notes([ANA])
    assert note.claim.statement == LESSON
    assert bench.ledger.leases(bench.clock.now()) == []
    assert bench.ledger.marks(limit=1) == []


def test_nothing_pending_is_no_run(bench: Bench) -> None:
    assert bench.driver().consolidate(Scope("acme/banking/nobody")) is None
    bench.driver().consolidate(ANA)
    assert bench.driver().consolidate(ANA) is None
    assert len(bench.ledger.runs()) == 1


# ---------------------------------------------------------------------------- the lease


class Slow(ScriptedEngine):
    """An engine that answers only when it is told that it may."""

    def __init__(self, may_answer: Callable[[], None]) -> None:
        super().__init__(SCRIPT)
        self._may_answer = may_answer

    def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]:
        self._may_answer()
        return super().distil(sessions)


def test_heartbeats_keep_the_lease_of_a_slow_night(bench: Bench) -> None:
    """The model takes longer than the lease lives, and still nobody else gets the scope."""
    pulse = Pulse(ttl_s=30, every_s=0.001)
    beaten = threading.Event()
    told: list[object] = []
    writer = cast("LedgerWriter", Hooked(bench.writer, "renew", beaten.set))

    def may_answer() -> None:
        for _ in range(4):
            bench.clock.advance(20)
            for _ in range(2):  # the first may have begun before the clock moved
                beaten.clear()
                assert beaten.wait(WAIT_S)
            told.append(bench.driver("two").consolidate(ANA))

    driver = bench.driver("one", writer=writer, engine=Slow(may_answer), pulse=pulse)
    run = driver.consolidate(ANA)
    assert told == [None] * 4
    assert run is not None
    assert (run.state, run.epoch) == (RunState.PROJECTED, 1)


@pytest.mark.parametrize("step", ["plan", "pin", "generated", "reflected", "commit"])
def test_a_driver_that_lost_its_lease_changes_nothing(bench: Bench, step: str) -> None:
    """Somebody takes the scope over just before a write: that write and all after it fail."""
    after: list[str] = []

    def take_over() -> None:
        bench.clock.advance(timedelta(minutes=5))
        run = bench.driver("two").consolidate(ANA)
        assert run is not None
        assert (run.owner, run.epoch, run.state) == ("two", 2, RunState.PROJECTED)
        after.append(bench.ledger.digest())

    writer = cast("LedgerWriter", Hooked(bench.writer, step, once(take_over)))
    late = bench.driver("one", writer=writer)
    assert late.consolidate(ANA) is None
    assert [bench.ledger.digest()] == after
    run = bench.run()
    assert (run.owner, run.state) == ("two", RunState.PROJECTED)
    (note,) = bench.ledger.notes([ANA])
    assert (note.revision, note.support.events) == (1, 1)
    assert bench.ledger.leases(bench.clock.now()) == []


def test_a_lost_lease_is_noticed_by_the_heartbeat_between_two_writes(bench: Bench) -> None:
    lease = bench.writer.acquire(ANA, "one", now=bench.clock.now(), ttl_s=30)
    assert lease is not None
    bench.clock.advance(31)
    assert bench.writer.acquire(ANA, "two", now=bench.clock.now(), ttl_s=30) is not None
    asked = threading.Event()
    writer = cast("LedgerWriter", Hooked(bench.writer, "renew", asked.set))
    heart = Heartbeat(writer, lease, bench.clock, Pulse(ttl_s=30, every_s=0.001))
    with heart:
        assert asked.wait(WAIT_S)
    with pytest.raises(LeaseLost, match="two holds it"):
        heart.check()


def test_a_ledger_that_is_away_for_a_moment_does_not_end_the_heartbeat(bench: Bench) -> None:
    lease = bench.writer.acquire(ANA, "one", now=bench.clock.now(), ttl_s=30)
    assert lease is not None
    bench.clock.advance(20)
    renewed = threading.Event()
    tries: list[int] = []

    class Away:
        def renew(self, *args: Any, **kwargs: Any) -> Any:
            tries.append(1)
            if len(tries) < 3:
                raise StoreBusy
            done = bench.writer.renew(*args, **kwargs)
            renewed.set()
            return done

    heart = Heartbeat(
        cast("LedgerWriter", Away()), lease, bench.clock, Pulse(ttl_s=30, every_s=0.001)
    )
    with heart:
        assert renewed.wait(WAIT_S)
        heart.check()
    (held,) = bench.ledger.leases(bench.clock.now())
    assert held.expires_at == bench.clock.now() + timedelta(seconds=30)


# ---------------------------------------------------------------------------- failures, yields


def broken(text: str) -> str:
    """A part with a fault that no retry mends."""
    raise ZeroDivisionError("a fault in the redaction")


def fail(bench: Bench, times: int) -> None:
    driver = bench.driver(redact=broken)
    for _ in range(times):
        run = driver.consolidate(ANA)
        assert run is not None
        assert (run.state, run.stood_at) == (RunState.YIELDED, RunState.PLANNED)


def test_a_run_that_fails_says_what_failed_and_waits_for_the_cool_down(bench: Bench) -> None:
    fail(bench, 1)
    run = bench.run()
    assert run.reason == "failed while planned: ZeroDivisionError: a fault in the redaction"
    assert run.attempts == 2
    now = bench.clock.now()
    assert bench.ledger.due(now + timedelta(seconds=599), limit=9) == []
    assert [item.scope for item in bench.ledger.due(now + timedelta(seconds=600), limit=9)] == [ANA]


def test_a_run_that_fails_again_and_again_is_abandoned_with_a_reason(bench: Bench) -> None:
    fail(bench, MAX_ATTEMPTS)
    given_up = bench.driver(redact=broken).consolidate(ANA)
    assert given_up is not None
    assert given_up.state is RunState.ABANDONED
    assert given_up.reason == f"gave up after {MAX_ATTEMPTS} attempts"
    assert bench.ledger.notes() == []


def test_what_an_abandoned_run_did_not_learn_waits_for_the_next(bench: Bench) -> None:
    fail(bench, MAX_ATTEMPTS)
    bench.driver(redact=broken).consolidate(ANA)
    healed = bench.driver().consolidate(ANA)
    assert healed is not None
    assert (healed.number, healed.state) == (2, RunState.PROJECTED)
    (note,) = bench.ledger.notes([ANA])
    assert note.claim.statement == LESSON


def test_a_failure_gives_the_lease_back(bench: Bench) -> None:
    fail(bench, 1)
    assert bench.ledger.leases(bench.clock.now()) == []


def test_a_question_that_breaks_the_engine_breaks_alone(bench: Bench) -> None:
    class Choosy(ScriptedEngine):
        def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]:
            if any(session.session == "cursed" for session in sessions):
                raise ZeroDivisionError("a fault in the engine")
            return super().distil(sessions)

    bench.say("anything", session="cursed")
    run = bench.driver(engine=Choosy(SCRIPT)).consolidate(ANA)
    assert run is not None
    assert run.state is RunState.PROJECTED
    assert run.counts["engine.distil_problem"] == 1
    assert "1 unusable answer" in run.reason
    (note,) = bench.ledger.notes([ANA])
    assert note.claim.statement == LESSON


def test_to_yield_is_no_failure_however_often(bench: Bench) -> None:
    away: Engine = ScriptedEngine(SCRIPT, available_calls=0)
    for _ in range(MAX_ATTEMPTS + 5):
        run = bench.driver(engine=away).consolidate(ANA)
        assert run is not None
        assert (run.state, run.stood_at, run.attempts) == (RunState.YIELDED, RunState.PLANNED, 1)
        assert "no more calls" in run.reason
    done = bench.driver().consolidate(ANA)
    assert done is not None
    assert (done.state, done.attempts) == (RunState.PROJECTED, 1)


def test_failures_count_across_yields(bench: Bench) -> None:
    fail(bench, 3)
    away = ScriptedEngine(SCRIPT, available_calls=0)
    for _ in range(3):
        yielded = bench.driver(engine=away).consolidate(ANA)
        assert yielded is not None
        assert yielded.attempts == 4


def test_an_owner_that_dies_counts_as_a_failure(bench: Bench) -> None:
    """A run that was neither finished nor yielded was dropped by whoever drove it.

    Only failures in a row count: a pinned answer or a finished step is progress.
    """

    class Died(BaseException):
        """What no handler catches, as a kill would not be."""

    def die() -> None:
        raise Died

    dying = cast("LedgerWriter", Hooked(bench.writer, "generated", die))
    for attempts in (1, 2, 3):
        with pytest.raises(Died):
            bench.driver(writer=dying).consolidate(ANA)
        assert bench.run().attempts == attempts
    done = bench.driver().consolidate(ANA)
    assert done is not None
    assert (done.state, done.attempts) == (RunState.PROJECTED, 1)
    assert len(bench.engine.asked_sessions) == 1, "what it had pinned is not asked again"
