"""What every ledger must keep of what nights cost, and of who is due beside whom."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sleep_runtime.core.errors import LeaseLost
from sleep_runtime.core.journal import ScopeHead
from sleep_runtime.core.observation import Usage
from sleep_runtime.core.ports import Commit, Pin
from sleep_runtime.core.run import RunState
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.spending import NO_COST, Bucket, Cost
from sleep_runtime.testing.contracts.ledger_bench import (
    ANA,
    BEN,
    COOL,
    NEXT_DOOR,
    ORG,
    SECOND,
    T0,
    TEAM,
    LedgerBench,
)

HOUR = timedelta(hours=1)
LONG_AGO = T0 - timedelta(days=365)
CALL = Usage(calls=1, input_tokens=10, output_tokens=2, cached_tokens=4, gpu_seconds=0.5)


def _cost(calls: int, seconds: float = 0.0) -> Cost:
    return Cost(usage=Usage(calls=calls), seconds=seconds)


class SpendingContract:
    """Each write charges the run and its organisation, once."""

    def test_every_step_charges_the_run_and_its_organisation(self, bench: LedgerBench) -> None:
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        pin = Pin(key="k", output={}, usage=CALL)
        pinned = bench.writer.pin(lease, run.id, "distil", [pin], now=T0, seconds=1.0)
        assert pinned.cost == Cost(usage=CALL, seconds=1.0)
        writer, one = bench.writer, _cost(0, 1.0)
        writer.generated(lease, run.id, [], events=3, tokens=3, counts={}, now=T0, cost=one)
        writer.reflected(lease, run.id, [], counts={}, now=T0, cost=one)
        writer.commit(lease, run.id, Commit(), now=T0, cost=one)
        done = writer.projected(run.id, now=T0, cost=one)
        assert done.cost == Cost(usage=CALL, seconds=5.0)
        assert bench.reader.run(run.id) == done
        assert bench.reader.spending(since=T0 - HOUR) == [Bucket(org=ORG, hour=T0, cost=done.cost)]

    def test_what_is_done_again_is_charged_once(self, bench: LedgerBench) -> None:
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        pin = Pin(key="k", output={}, usage=CALL)
        writer, one = bench.writer, _cost(1, 1.0)
        for _ in range(2):
            writer.pin(lease, run.id, "distil", [pin], now=T0, seconds=1.0)
            writer.generated(lease, run.id, [], events=3, tokens=3, counts={}, now=T0, cost=one)
        for _ in range(2):
            writer.reflected(lease, run.id, [], counts={}, now=T0, cost=one)
        for _ in range(2):
            writer.commit(lease, run.id, Commit(), now=T0, cost=one)
        for _ in range(2):
            writer.projected(run.id, now=T0, cost=one)
        (bucket,) = bench.reader.spending(since=LONG_AGO)
        assert bucket.cost == Cost(usage=CALL + Usage(calls=4), seconds=5.0)

    @pytest.mark.parametrize("give_up", ["yield", "abandon"])
    def test_giving_up_charges_what_was_used_until_then_once(
        self, bench: LedgerBench, give_up: str
    ) -> None:
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        stop = bench.writer.yield_run if give_up == "yield" else bench.writer.abandon
        for _ in range(2):
            assert stop(lease, run.id, "tired", now=T0, cost=_cost(2, 3.0)).cost == _cost(2, 3.0)
        (bucket,) = bench.reader.spending(since=LONG_AGO)
        assert bucket.cost == _cost(2, 3.0)

    def test_a_zombie_charges_nobody(self, bench: LedgerBench) -> None:
        old = bench.lease()
        run = bench.plan(old, upto=3)
        bench.lease()
        with pytest.raises(LeaseLost):
            bench.writer.yield_run(old, run.id, "tired", now=T0, cost=_cost(1))
        assert bench.reader.spending(since=LONG_AGO) == []

    def test_a_turn_goes_on_until_a_budget_is_spent(self, bench: LedgerBench) -> None:
        """Neither a crash nor a yield for another reason gives the run a new budget."""
        bench.heads(ANA, 3)
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        assert run.turn_cost == NO_COST
        bench.writer.pin(lease, run.id, "distil", [Pin(key="k", output={}, usage=CALL)], now=T0)
        resumed = bench.plan(bench.lease(owner="tier-1"))
        assert (resumed.state, resumed.turn_cost) == (RunState.PLANNED, Cost(usage=CALL))
        lease = bench.lease()
        bench.writer.yield_run(lease, run.id, "the model is away", now=T0, cost=_cost(1, 2.0))
        used = Cost(usage=CALL + Usage(calls=1), seconds=2.0)
        assert bench.plan(lease).turn_cost == used
        until = T0 + timedelta(hours=3)
        spent = bench.writer.yield_run(lease, run.id, "spent", now=T0, spent_until=until)
        assert (spent.cost, spent.turn_cost) == (used, NO_COST)
        assert bench.plan(lease).cost == used

    def test_a_spent_run_is_due_when_there_is_room_and_not_before(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 3)
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        until = T0 + timedelta(hours=3)
        bench.writer.yield_run(lease, run.id, "spent", now=T0, spent_until=until)
        bench.heads(ANA, 99)
        assert bench.due(until - SECOND) == []
        assert bench.due(until) == [ANA]

    def test_a_spent_run_waits_for_the_cool_down_at_least(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 3)
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        bench.writer.yield_run(lease, run.id, "spent", now=T0, spent_until=T0)
        assert bench.due(T0 + COOL - SECOND) == []
        assert bench.due(T0 + COOL) == [ANA]

    def test_spending_is_kept_by_organisation_and_hour(self, bench: LedgerBench) -> None:
        for hours, scope in ((0, ANA), (0, TEAM), (1, BEN), (1, NEXT_DOOR)):
            now = T0 + hours * HOUR + 5 * SECOND
            lease = bench.lease(scope, now=now)
            run = bench.plan(lease, upto=3, now=now)
            bench.writer.yield_run(lease, run.id, "tired", now=now, cost=_cost(1))
        later = T0 + HOUR
        assert bench.reader.spending(since=LONG_AGO) == [
            Bucket(org=ORG, hour=T0, cost=_cost(2)),
            Bucket(org=ORG, hour=later, cost=_cost(1)),
            Bucket(org=NEXT_DOOR.org, hour=later, cost=_cost(1)),
        ]
        assert bench.reader.spending(since=T0, org=ORG) == [
            Bucket(org=ORG, hour=later, cost=_cost(1))
        ]

    def test_hours_no_budget_can_reach_are_forgotten(self, bench: LedgerBench) -> None:
        for days in (0, 40):
            now = T0 + timedelta(days=days)
            lease = bench.lease(now=now)
            run = bench.plan(lease, upto=3, now=now)
            bench.writer.yield_run(lease, run.id, "tired", now=now, cost=_cost(1))
        (left,) = bench.reader.spending(since=LONG_AGO)
        assert left.hour == T0 + timedelta(days=40)

    def test_what_was_spent_is_not_what_was_learned(self, bench: LedgerBench) -> None:
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        before = bench.reader.digest()
        bench.writer.yield_run(lease, run.id, "tired", now=T0, cost=_cost(1, 1.0))
        assert bench.reader.digest() == before


class FairDueContract:
    """What one organisation has due never hides what another has."""

    def _fill(self, bench: LedgerBench, **due: int) -> None:
        for age, (org, number) in enumerate(due.items()):
            heads = [
                ScopeHead(scope=Scope(f"{org}/t/u{n:04}"), last_seq=n, events=60, tokens=1)
                for n in range(number)
            ]
            bench.writer.note_heads(heads, watermark=number, now=T0 + age * SECOND)

    def _orgs(self, bench: LedgerBench, limit: int, least: int = 1) -> str:
        found = bench.reader.due(T0 + HOUR, limit=limit, least=least)
        assert found == sorted(found, key=lambda one: (one.due_at, one.scope))
        return "".join(schedule.scope.org for schedule in found)

    def test_the_first_of_each_is_there_whatever_the_limit(self, bench: LedgerBench) -> None:
        self._fill(bench, a=50, b=1, c=3)
        assert self._orgs(bench, 1) == "abc"
        assert self._orgs(bench, 5) == "aabcc"
        assert self._orgs(bench, 1, least=2) == "aabcc"

    def test_what_others_do_not_need_is_there_for_the_one_that_does(
        self, bench: LedgerBench
    ) -> None:
        self._fill(bench, a=50, b=1)
        assert self._orgs(bench, 20) == 19 * "a" + "b"

    def test_organisations_may_be_left_out(self, bench: LedgerBench) -> None:
        self._fill(bench, a=5, b=2)
        found = bench.reader.due(T0 + HOUR, limit=9, without=[Scope("a"), Scope("z")])
        assert [schedule.scope.org for schedule in found] == ["b", "b"]

    def test_organisations_are_told_apart_by_their_whole_name(self, bench: LedgerBench) -> None:
        self._fill(bench, **{"a": 9, "a-b": 1, "a.b": 1, "ab": 1})
        found = bench.reader.due(T0 + HOUR, limit=1)
        assert [str(one.scope.org) for one in found] == ["a", "a-b", "a.b", "ab"]
