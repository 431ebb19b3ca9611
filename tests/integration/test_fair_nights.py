"""Many organisations on one pool: one that has a thousand nights due does not starve the others."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from daylight import ADJUSTED, ANA, HOUR, SCRIPT, World, capture, event, runtime
from starlette.testclient import TestClient

from sleep_runtime.actors.scheduler import Scheduler
from sleep_runtime.core.journal import ScopeHead
from sleep_runtime.core.observation import Usage
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.run import RunState, Trigger
from sleep_runtime.core.scope import Scope, Tier
from sleep_runtime.stores.ledger import SqliteLedger
from sleep_runtime.telemetry.metrics import METRICS
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.contracts.ledger_bench import POLICY
from sleep_runtime.testing.engine import ScriptedEngine
from sleep_runtime.testing.journal import InMemoryJournal

QUIET = Scope("quiet/team/ana")


class Pool:
    """Holds a few nights at a time; ``finish`` ends the oldest, so that its place is free."""

    def __init__(self, ledger: SqliteLedger, clock: ManualClock, places: int) -> None:
        self._ledger = ledger
        self._clock = clock
        self.places = places
        self.under_way: list[Scope] = []
        self.started: list[Scope] = []
        self.asked = 0

    def free(self) -> int:
        return self.places - len(self.under_way)

    def dispatch(self, scope: Scope, trigger: Trigger, requested: str) -> bool:
        self.asked += 1
        if scope in self.under_way or self.free() <= 0:
            return False
        self.under_way.append(scope)
        self.started.append(scope)
        return True

    def finish(self, number: int = 1) -> None:
        for scope in self.under_way[:number]:
            now = self._clock.now()
            lease = self._ledger.acquire(scope, "pool", now=now, ttl_s=60)
            assert lease is not None
            # Nothing is left to read: the scope is due no more.
            self._ledger.plan(
                lease,
                now=now,
                trigger=Trigger.BACKLOG,
                requested="",
                journal_upto=0,
                max_observations=1,
            )
            self._ledger.release(lease)
        del self.under_way[:number]

    def orgs(self) -> str:
        return " ".join(scope.org for scope in self.started)


class Yard:
    """A scheduler over a ledger in a file and a pool of a few places."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.ledger = ledger
        self.clock = ManualClock()

    def due(self, org: str, number: int) -> None:
        """So many people of one organisation with a backlog."""
        heads = [
            ScopeHead(scope=Scope(f"{org}/t{n % 9}/u{n:05}"), last_seq=1, events=60, tokens=60)
            for n in range(number)
        ]
        self.ledger.note_heads(heads, watermark=1, now=self.clock.now())
        self.clock.advance(1)

    def scheduler(self, pool: Pool, **weights: int) -> Scheduler:
        policy = Policy.model_validate({"fairness": {"weights": weights}})
        return Scheduler(
            journal=InMemoryJournal(clock=self.clock),
            ledger=self.ledger.reader,
            writer=self.ledger,
            dispatch=pool.dispatch,
            clock=self.clock,
            max_due=64,
            slots=pool.free,
            policy=policy,
        )

    def pool(self, places: int) -> Pool:
        return Pool(self.ledger, self.clock, places)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    with SqliteLedger(tmp_path / "ledger.sqlite", triggers=POLICY) as ledger:
        yield Yard(ledger)


# ---------------------------------------------------------------------------- settling

TEAM, PERSON = Scope("a/t0"), Scope("a/t0/u0")


def both_due(yard: Yard) -> None:
    """A person's day to distil, and a team that has something of its own."""
    heads = [ScopeHead(scope=s, last_seq=1, events=60, tokens=60) for s in (TEAM, PERSON)]
    yard.ledger.note_heads(heads, watermark=1, now=yard.clock.now())
    yard.clock.advance(1)


def settles(yard: Yard, scheduler: Scheduler, pool: Pool) -> None:
    """The person's night starts at once, the team's after ``settle_s``, and no sooner or later."""
    scheduler.tick()
    assert pool.under_way == [PERSON]
    yard.clock.advance(29)
    scheduler.tick()
    assert pool.under_way == [PERSON], "the team reads its people's day in pieces"
    yard.clock.advance(2)
    scheduler.tick()
    assert pool.under_way == [PERSON, TEAM], "a slow person holds the team up"


def test_a_team_gives_its_people_a_moment(yard: Yard) -> None:
    both_due(yard)
    pool = yard.pool(3)
    settles(yard, yard.scheduler(pool), pool)


def test_it_gives_them_that_moment_once_a_pool_that_was_away_is_back(yard: Yard) -> None:
    both_due(yard)
    pool = yard.pool(0)
    scheduler = yard.scheduler(pool)
    for _ in range(3):
        scheduler.tick()
        yard.clock.advance(300)
    pool.places = 3
    settles(yard, scheduler, pool)


def test_what_it_has_given_already_counts_when_the_pool_goes_in_between(yard: Yard) -> None:
    both_due(yard)
    pool = yard.pool(3)
    scheduler = yard.scheduler(pool)
    scheduler.tick()
    yard.clock.advance(20)
    pool.places = 0
    for _ in range(3):
        scheduler.tick()
        yard.clock.advance(300)
    pool.places = 3
    scheduler.tick()
    assert pool.under_way == [PERSON]
    yard.clock.advance(11)
    scheduler.tick()
    assert pool.under_way == [PERSON, TEAM]


def test_it_gives_them_that_moment_after_the_runtime_was_down(yard: Yard) -> None:
    both_due(yard)
    yard.scheduler(yard.pool(0)).tick()
    yard.clock.advance(3600)
    pool = yard.pool(3)
    settles(yard, yard.scheduler(pool), pool)


# ---------------------------------------------------------------------------- turns


def test_a_thousand_due_scopes_do_not_make_another_one_wait(yard: Yard) -> None:
    yard.due("noisy", 1000)
    yard.due("quiet", 1)
    pool = yard.pool(2)
    scheduler = yard.scheduler(pool)
    scheduler.tick()
    assert pool.orgs() == "noisy quiet"


def test_one_that_comes_late_is_next_though_a_thousand_were_there_before(yard: Yard) -> None:
    yard.due("noisy", 1000)
    pool = yard.pool(1)
    scheduler = yard.scheduler(pool)
    for _ in range(5):
        scheduler.tick()
        pool.finish()
    yard.due("quiet", 3)
    for _ in range(6):
        scheduler.tick()
        pool.finish()
    last_six = [scope.org for scope in pool.started[5:]]
    assert Counter(last_six) == {"noisy": 3, "quiet": 3}
    assert "quiet" in last_six[:2]


def test_shares_follow_the_configured_weights(yard: Yard) -> None:
    for org in ("big", "mid", "small"):
        yard.due(org, 100)
    pool = yard.pool(3)
    scheduler = yard.scheduler(pool, big=3, mid=2)
    while len(pool.started) < 60:
        scheduler.tick()
        pool.finish()
    assert Counter(scope.org for scope in pool.started[:60]) == {"big": 30, "mid": 20, "small": 10}


def test_no_place_stays_empty_while_anybody_waits(yard: Yard) -> None:
    yard.due("noisy", 300)
    yard.due("quiet", 2)
    pool = yard.pool(8)
    scheduler = yard.scheduler(pool)
    for _ in range(30):
        scheduler.tick()
        assert pool.free() == 0
        pool.finish(8)
    assert len(set(pool.started)) == len(pool.started) == 240


def test_one_that_finds_no_room_keeps_its_turn(yard: Yard) -> None:
    """Places differ: here one takes people and three take teams, of which one org has any.

    What that organisation is given in the meantime must not cost the others their place in line.
    """
    for org in ("a", "b", "c"):
        yard.due(org, 10)
    teams = [
        ScopeHead(scope=Scope(f"a/team-{n}"), last_seq=1, events=60, tokens=60) for n in range(30)
    ]
    yard.ledger.note_heads(teams, watermark=1, now=yard.clock.now())
    pool = yard.pool(100)
    places = {Tier.INDIVIDUAL: 1, Tier.TEAM: 3}
    free = Counter(places)

    def by_tier(scope: Scope, trigger: Trigger, requested: str) -> bool:
        if not free[scope.tier] or not pool.dispatch(scope, trigger, requested):
            return False
        free[scope.tier] -= 1
        return True

    scheduler = yard.scheduler(pool)
    scheduler._max_due = 1000
    scheduler._dispatch = by_tier
    for _ in range(9):
        scheduler.tick()
        assert free.total() == 0
        pool.finish(len(pool.under_way))
        free = Counter(places)
    people = Counter(scope.org for scope in pool.started if scope.tier is Tier.INDIVIDUAL)
    assert people.total() == 9
    assert abs(people[Scope("b")] - people[Scope("c")]) <= 1, people


def test_nothing_is_handed_out_beyond_the_places_there_are(yard: Yard) -> None:
    yard.due("noisy", 300)
    pool = yard.pool(3)
    scheduler = yard.scheduler(pool)
    for _ in range(4):
        scheduler.tick()
    assert len(pool.started) == pool.asked == 3


def test_a_shell_that_only_says_no_is_not_asked_about_ever_more(yard: Yard) -> None:
    """Without ``slots`` the pool refuses: the look past what it refused has an end."""
    yard.due("noisy", 3000)
    yard.due("quiet", 1)
    pool = yard.pool(0)
    scheduler = yard.scheduler(pool)
    scheduler._slots = None
    most = 0
    for _ in range(40):
        pool.asked = 0
        assert scheduler.tick().started == ()
        most = max(most, pool.asked)
    assert 64 <= most <= 64 + 1000 + 2


def test_scopes_that_are_refused_do_not_hide_the_others_of_their_organisation(yard: Yard) -> None:
    yard.due("noisy", 200)
    pool = yard.pool(200)
    scheduler = yard.scheduler(pool)
    for _ in range(4):
        scheduler.tick()
    assert len(pool.started) == 200


def test_one_look_at_a_thousand_due_scopes_takes_milliseconds(yard: Yard) -> None:
    yard.due("noisy", 1000)
    for number in range(50):
        yard.due(f"quiet-{number}", 1)
    took = []
    for _ in range(7):
        started = time.perf_counter()
        found = yard.ledger.reader.due(yard.clock.now(), limit=64)
        took.append(time.perf_counter() - started)
    assert len({schedule.scope.org for schedule in found}) == 51
    assert statistics.median(took) < 0.1, took


# ---------------------------------------------------------------------------- budgets


class Costly(ScriptedEngine):
    """Every question costs a hundred tokens."""

    def _count_call(self) -> None:
        self._usage += Usage(calls=1, input_tokens=90, output_tokens=10)


def world(tmp_path: Path, clock: ManualClock, **budget: Any) -> Any:
    overrides = {
        "policy.triggers.cooldown_s": 0,
        **{f"policy.budget.{k}": v for k, v in budget.items()},
    }
    return runtime(tmp_path, clock, Costly(SCRIPT), overrides)


def test_a_tenant_that_spent_its_budget_is_not_started_and_others_are(tmp_path: Path) -> None:
    clock = ManualClock()
    with world(tmp_path, clock, **{"tenant.max_tokens": 100}) as running:
        world_ = World(running, clock)
        world_.say(ANA, ADJUSTED.statement)
        first = running.nights()
        assert [run.state for run in first if run.scope == ANA] == [RunState.PROJECTED]
        assert running.ledger.notes([ANA])
        world_.say(ANA, "again")
        world_.say(QUIET, ADJUSTED.statement)
        running.scheduler.request(None)
        started = running.scheduler.tick().started
        assert QUIET in started
        assert all(scope.org == "quiet" for scope in started)
        running.scheduler.gauge()
        assert METRICS.held_tenants._value.get() >= 1
        runs = len(running.ledger.runs(Scope("acme")))
        for _ in range(5):
            clock.advance(HOUR)
            running.scheduler.tick()
        assert len(running.ledger.runs(Scope("acme"))) == runs, "no run is made only to yield"
        clock.advance(timedelta(hours=21))
        running.scheduler.gauge()
        assert METRICS.held_tenants._value.get() == 0
        assert ANA in running.scheduler.tick().started


def test_status_says_what_holds_nights_back_and_is_quiet_meanwhile(tmp_path: Path) -> None:
    """Or whoever waits for the night would wait a day."""
    clock = ManualClock()
    with world(tmp_path, clock, **{"tenant.max_tokens": 100}) as running:
        capture(running, event(ANA, ADJUSTED.statement, clock.now()))
        running.nights()
        capture(running, event(ANA, "again", clock.now()))
        running.scheduler.request(None)
        with TestClient(running.app()) as http:
            status = http.get("/v1/status").json()
            (spent,) = status["budgets"]
            assert (spent["limit"], spent["org"]) == ("policy.budget.tenant.max_tokens", "acme")
            assert spent["reason"].startswith("acme has used ")
            assert datetime.fromisoformat(spent["until"]) == clock.now() + timedelta(hours=25)
            assert status["quiet"]
            assert http.get("/v1/status", params={"scope": "acme/banking"}).json()["budgets"]
            capture(running, event(QUIET, ADJUSTED.statement, clock.now()))
            running.scheduler.request(None)
            assert not http.get("/v1/status").json()["quiet"]
            assert http.get("/v1/status", params={"scope": "quiet"}).json()["budgets"] == []


def test_what_was_spent_outlives_the_process(tmp_path: Path) -> None:
    clock = ManualClock()
    budget = {"night.max_calls": 1}
    with world(tmp_path, clock, **budget) as running:
        capture(running, event(ANA, ADJUSTED.statement, clock.now()))
        running.nights()
    with world(tmp_path, clock, **budget) as running:
        capture(running, event(QUIET, ADJUSTED.statement, clock.now()))
        running.scheduler.request(None)
        assert running.scheduler.tick().started == ()
        clock.advance(timedelta(hours=25))
        assert QUIET in running.scheduler.tick().started


def test_a_night_that_spends_the_budget_yields_and_finishes_when_there_is_room(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    with world(tmp_path, clock, **{"tenant.max_calls": 1, "window_s": 3600}) as running:
        for number in range(20):
            capture(
                running,
                event(ANA, f"{ADJUSTED.statement} {number}", clock.now(), session=f"{number}"),
            )
        running.scheduler.request(None)
        running.scheduler.tick()
        (run,) = running.ledger.runs(ANA)
        assert run.state is RunState.YIELDED
        assert run.reason.startswith("policy.budget.tenant.max_calls: acme has used 1 of 1 calls")
        ticks = 0
        while running.ledger.run(run.id).state is not RunState.PROJECTED:
            clock.advance(timedelta(minutes=30))
            running.scheduler.tick()
            ticks += 1
            assert ticks < 40
        asked = Counter(one.session for one in running.engine.asked_sessions)
        assert len(asked) == 20
        assert set(asked.values()) == {1}
