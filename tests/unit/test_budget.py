"""Budgets: which limit is reached first, and when there is room again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleep_runtime.consolidation import budget
from sleep_runtime.core.observation import Usage
from sleep_runtime.core.policy import BudgetPolicy, WindowBudget
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.spending import BUCKET, Bucket, Cost

ACME, OTHER = Scope("acme"), Scope("other")
MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def cost(calls: int = 0, tokens: int = 0, gpu: float = 0.0, seconds: float = 0.0) -> Cost:
    usage = Usage(calls=calls, input_tokens=tokens, output_tokens=0, gpu_seconds=gpu)
    return Cost(usage=usage, seconds=seconds)


def bucket(hour: float, org: Scope = ACME, **used: Any) -> Bucket:
    return Bucket(org=org, hour=MIDNIGHT + hour * HOUR, cost=cost(**used))


def tenant(**limits: Any) -> BudgetPolicy:
    return BudgetPolicy(tenant=WindowBudget(**limits), window_s=4 * 3600)


# ---------------------------------------------------------------------------- one run


@pytest.mark.parametrize(
    ("used", "name"),
    [
        (cost(calls=3), "max_calls"),
        (cost(tokens=100), "max_tokens"),
        (cost(gpu=1.5), "max_gpu_seconds"),
        (cost(seconds=60.0), "max_seconds"),
        (cost(calls=3, tokens=100), "max_calls"),
    ],
)
def test_the_first_limit_a_run_reaches_is_named(used: Cost, name: str) -> None:
    policy = BudgetPolicy(max_calls=3, max_tokens=100, max_gpu_seconds=1.5, max_seconds=60)
    spent = budget.of_run(used, policy)
    assert spent is not None
    assert spent.field == f"policy.budget.{name}"
    assert spent.until is None


def test_below_every_limit_nothing_is_spent() -> None:
    policy = BudgetPolicy(max_calls=3, max_tokens=100, max_gpu_seconds=1.5, max_seconds=60)
    assert budget.of_run(cost(calls=2, tokens=99, gpu=1.4, seconds=59.9), policy) is None


@pytest.mark.parametrize("none", [None, 0])
def test_gpu_seconds_of_a_run_have_no_limit_unless_one_is_set(none: float | None) -> None:
    assert budget.of_run(cost(gpu=1e9), BudgetPolicy(max_gpu_seconds=none)) is None


def test_input_and_output_tokens_count() -> None:
    used = Cost(usage=Usage(input_tokens=60, output_tokens=40, cached_tokens=60))
    assert used.tokens == 100
    assert budget.of_run(used, BudgetPolicy(max_tokens=101)) is None


# ---------------------------------------------------------------------------- windows


def test_without_limits_nothing_has_to_be_looked_up() -> None:
    assert not budget.windowed(BudgetPolicy())
    assert budget.windowed(tenant(max_calls=1))
    assert budget.windowed(BudgetPolicy(night=WindowBudget(max_seconds=1)))


def test_a_tenant_is_held_by_what_it_spent_itself() -> None:
    policy = tenant(max_tokens=100)
    spent = [bucket(0, tokens=60), bucket(1, tokens=40), bucket(1, OTHER, tokens=99)]
    now = MIDNIGHT + 1.5 * HOUR
    found = budget.of_windows(ACME, spent, policy, now)
    assert found is not None
    assert (found.name, found.used, found.limit, found.who) == ("tenant.max_tokens", 100, 100, ACME)
    assert found.reason == "acme has used 100 of 100 tokens in 4 h"
    assert found.mend == "room again from 2026-11-22 05:00 UTC; raise the limit to go on now"
    assert budget.of_windows(OTHER, spent, policy, now) is None
    held = budget.held(spent, policy, now)
    assert held.orgs == frozenset({ACME})
    assert held.night is None
    assert (held.holds(ACME), held.holds(OTHER)) == (True, False)


def test_a_night_is_held_by_what_all_spent_together() -> None:
    policy = BudgetPolicy(night=WindowBudget(max_calls=10))
    spent = [bucket(0, calls=5), bucket(0, OTHER, calls=5)]
    found = budget.of_windows(Scope("third"), spent, policy, MIDNIGHT + HOUR)
    assert found is not None
    assert found.reason == "all nights have used 10 of 10 calls in 24 h"
    held = budget.held(spent, policy, MIDNIGHT + HOUR)
    assert held.holds(Scope("third"))
    assert held.all() == (found,)


def test_its_own_limit_is_named_before_that_of_all() -> None:
    both = WindowBudget(max_calls=1)
    found = budget.of_windows(
        ACME, [bucket(0, calls=1)], BudgetPolicy(tenant=both, night=both), MIDNIGHT
    )
    assert found is not None
    assert found.name == "tenant.max_calls"


def test_an_hour_counts_until_all_of_it_has_left_the_window() -> None:
    policy, spent = tenant(max_calls=1), [bucket(0, calls=1)]
    free = MIDNIGHT + HOUR + 4 * HOUR
    before = budget.of_windows(ACME, spent, policy, free - SECOND)
    assert before is not None
    assert before.until == free
    assert budget.of_windows(ACME, spent, policy, free) is None


_SPENT = st.lists(
    st.builds(
        bucket,
        st.integers(0, 9),
        st.sampled_from([ACME, OTHER]),
        calls=st.integers(0, 5),
        tokens=st.integers(0, 50),
        seconds=st.floats(0, 60),
    ),
    max_size=20,
    unique_by=lambda one: (one.org, one.hour),
)


@settings(deadline=None)  # the machine may be busy
@given(spent=_SPENT, limit=st.integers(1, 12), kind=st.sampled_from(["tenant", "night"]))
def test_there_is_room_at_the_instant_it_names_and_not_before(
    spent: list[Bucket], limit: int, kind: str
) -> None:
    """If nothing more is spent: one limit, so that no other one holds afterwards."""
    policy = BudgetPolicy.model_validate({kind: {"max_calls": limit}, "window_s": 4 * 3600})
    now = MIDNIGHT + 9.5 * HOUR
    found = budget.of_windows(ACME, spent, policy, now)
    if found is None:
        counting = [one for one in spent if one.hour + BUCKET > now - 4 * HOUR]
        mine = [one for one in counting if kind == "night" or one.org == ACME]
        assert sum(one.cost.calls for one in mine) < limit
        return
    assert found.until is not None
    assert now < found.until <= now + 4 * HOUR + BUCKET
    assert budget.of_windows(ACME, spent, policy, found.until - SECOND) is not None
    assert budget.of_windows(ACME, spent, policy, found.until) is None


@settings(deadline=None)  # the machine may be busy
@given(spent=_SPENT, limit=st.integers(1, 12))
def test_who_is_held_is_who_may_not_ask(spent: list[Bucket], limit: int) -> None:
    """The scheduler and the driver agree: no run is started only to yield at once."""
    policy, now = tenant(max_calls=limit), MIDNIGHT + 9.5 * HOUR
    held = budget.held(spent, policy, now)
    for org in (ACME, OTHER):
        assert held.holds(org) == (budget.of_windows(org, spent, policy, now) is not None)


@settings(deadline=None)  # the machine may be busy
@given(
    whole=st.builds(
        Usage,
        calls=st.integers(0, 99),
        input_tokens=st.integers(0, 9999),
        output_tokens=st.integers(0, 9999),
        cached_tokens=st.integers(0, 9999),
    ),
    among=st.integers(1, 64),
)
def test_shares_sum_up_to_the_whole(whole: Usage, among: int) -> None:
    shares = whole.shared(among)
    assert len(shares) == among
    assert sum(shares, Usage()) == whole
