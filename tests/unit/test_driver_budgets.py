"""RunDriver and its budgets: what counts, what it says, and what a retried run has left."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from test_driver import ANA, POLICY, SCRIPT, Bench, Hooked

from sleep_runtime.actors.questions import SESSIONS_PER_CALL
from sleep_runtime.core.errors import BudgetSpent, EngineUnavailable
from sleep_runtime.core.observation import Claim, NoteKind, Usage
from sleep_runtime.core.policy import BudgetPolicy, Policy
from sleep_runtime.core.ports import LedgerWriter
from sleep_runtime.core.run import Run, RunState
from sleep_runtime.core.spending import Cost
from sleep_runtime.stores.ledger import SqliteLedger
from sleep_runtime.telemetry.metrics import METRICS
from sleep_runtime.testing.engine import Line, ScriptedEngine

LONG = timedelta(days=30)
OTHER = "always use reported EBITDA"
PER_CALL = Usage(calls=3, input_tokens=100, output_tokens=7, cached_tokens=60, gpu_seconds=0.25)


class Metered(ScriptedEngine):
    """Every batch costs the same. ``before`` may raise, or let time pass, when it is asked."""

    def __init__(self, before: Callable[[], object] = int) -> None:
        super().__init__({**SCRIPT, OTHER: [Line(Claim(statement=OTHER, kind=NoteKind.FACT))]})
        self._before = before

    def _count_call(self) -> None:
        self._usage += PER_CALL
        self._before()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with SqliteLedger(tmp_path / "ledger.sqlite", triggers=POLICY.triggers) as ledger:
        made = Bench(ledger)
        for number in range(3 * SESSIONS_PER_CALL - 1):
            made.say(f"nothing of note, {number}")
        yield made


def limited(**limits: Any) -> Policy:
    return POLICY.model_copy(update={"budget": BudgetPolicy.model_validate(limits)})


def spent(bench: Bench) -> Cost:
    buckets = bench.ledger.spending(since=bench.clock.now() - LONG)
    return sum((one.cost for one in buckets), Cost())


def night(bench: Bench, **changes: Any) -> Run:
    run = bench.driver(**changes).consolidate(ANA)
    assert run is not None
    return run


def test_a_quiet_night_is_charged_to_its_run_and_its_organisation(bench: Bench) -> None:
    run = night(bench, engine=Metered())
    assert run.state is RunState.PROJECTED
    calls = run.usage.calls // PER_CALL.calls
    assert calls >= 3
    assert run.usage == sum([PER_CALL] * calls, Usage())
    assert spent(bench) == run.cost


def test_pins_of_every_step_carry_their_share(bench: Bench) -> None:
    bench.say(OTHER)
    run = night(bench, engine=Metered())
    by_step = {
        step: sum((pin.usage for pin in bench.ledger.pins(run.id, step).values()), Usage())
        for step in ("distil", "compare", "fold")
    }
    assert by_step["distil"].calls > 0
    assert by_step["compare"].calls > 0
    assert sum(by_step.values(), Usage()) == run.usage


@pytest.mark.parametrize(
    ("limits", "name", "used"),
    [
        ({"max_calls": 3}, "max_calls", "used 3 of 3 calls"),
        ({"max_tokens": 150}, "max_tokens", "used 214 of 150 tokens"),
        ({"max_gpu_seconds": 0.2}, "max_gpu_seconds", "used 0.25 of 0.2 GPU-seconds"),
        ({"max_seconds": 100}, "max_seconds", "used 120 of 100 seconds"),
        ({"tenant": {"max_calls": 3}}, "tenant.max_calls", "acme has used 3 of 3 calls in 24 h"),
        ({"night": {"max_seconds": 90}}, "night.max_seconds", "all nights have used 120 of 90 s"),
    ],
)
def test_a_spent_budget_yields_and_says_which_and_how_much(
    bench: Bench, limits: dict[str, Any], name: str, used: str
) -> None:
    counter = METRICS.budget_spent.labels(name)
    before = counter._value.get()
    engine = Metered(lambda: bench.clock.advance(60))
    run = night(bench, engine=engine, policy=limited(**limits))
    assert (run.state, run.stood_at, run.attempts) == (RunState.YIELDED, RunState.PLANNED, 1)
    assert run.reason.startswith(f"policy.budget.{name}: {used}")
    assert counter._value.get() == before + 1
    assert spent(bench) == run.cost
    assert len(bench.ledger.pins(run.id, "distil")) in (SESSIONS_PER_CALL, 2 * SESSIONS_PER_CALL)


def test_a_run_goes_on_with_a_whole_budget_after_the_cool_down(bench: Bench) -> None:
    policy, states = limited(max_calls=PER_CALL.calls), list[RunState]()
    engine = Metered()
    while not states or states[-1] is not RunState.PROJECTED:
        states.append(night(bench, engine=engine, policy=policy).state)
        assert len(states) < 20
    assert states.count(RunState.YIELDED) == len(states) - 1 == 2
    assert spent(bench) == bench.run().cost == Cost(usage=engine.usage)


def test_a_tenant_that_spent_its_budget_goes_on_when_the_window_has_room(bench: Bench) -> None:
    policy = limited(tenant={"max_calls": 3}, window_s=4 * 3600)
    run = night(bench, engine=Metered(), policy=policy)
    assert run.state is RunState.YIELDED
    free = bench.clock.now() + timedelta(hours=5)  # it began on the hour
    assert f"room again from {free:%Y-%m-%d %H:%M} UTC" in run.reason
    assert bench.ledger.due(free - timedelta(seconds=1), limit=9) == []
    assert [item.scope for item in bench.ledger.due(free, limit=9)] == [ANA]
    bench.clock.advance(timedelta(hours=5))
    again = night(bench, engine=Metered(), policy=policy)
    assert len(bench.ledger.pins(again.id, "distil")) == 2 * SESSIONS_PER_CALL


class Died(BaseException):
    """What no handler catches, as a kill would not be."""


def test_a_run_whose_driver_died_keeps_what_it_spent(bench: Bench) -> None:
    """Otherwise a night that dies again and again would have a new budget each time."""
    policy = limited(max_calls=2 * PER_CALL.calls)

    def die_at(call: int) -> Callable[[], None]:
        left = [None] * call

        def tick() -> None:
            left.pop()
            if not left:
                raise Died

        return tick

    with pytest.raises(Died):
        bench.driver(engine=Metered(die_at(2)), policy=policy).consolidate(ANA)
    assert bench.run().turn_cost == Cost(usage=PER_CALL)
    run = night(bench, engine=Metered(), policy=policy)
    assert run.reason.startswith("policy.budget.max_calls: used 6 of 6 calls")
    assert run.cost == spent(bench) == Cost(usage=PER_CALL + PER_CALL)


def test_a_call_that_failed_is_paid_for_too(bench: Bench) -> None:
    """Its answers are lost, its tokens are not: a model that fails half-way burns the budget."""

    def fail() -> None:
        raise EngineUnavailable("connection lost", field="engine")

    policy = limited(max_calls=2 * PER_CALL.calls)
    for tries in (1, 2):
        run = night(bench, engine=Metered(fail), policy=policy)
        assert "connection lost" in run.reason
        assert run.cost == spent(bench) == Cost(usage=sum([PER_CALL] * tries, Usage()))
    run = night(bench, engine=Metered(fail), policy=policy)
    assert run.reason.startswith("policy.budget.max_calls: used 6 of 6 calls")


def test_a_write_that_failed_takes_its_cost_along_to_the_next(bench: Bench) -> None:
    """What could not be written with its pins is written with the yield, once."""

    def full() -> None:
        raise OSError("disk full")

    writer = cast("LedgerWriter", Hooked(bench.writer, "pin", full))
    run = night(bench, engine=Metered(), writer=writer)
    assert "disk full" in run.reason
    assert bench.ledger.pins(run.id, "distil") == {}
    assert run.cost == spent(bench) == Cost(usage=PER_CALL)


def test_a_spent_budget_crosses_processes_with_its_instant(bench: Bench) -> None:
    error = BudgetSpent("used 1 of 1", field="f", mend="m", until=bench.clock.now())
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), back.until) == (str(error), error.until)
