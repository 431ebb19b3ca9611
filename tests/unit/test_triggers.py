"""The trigger table, row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleep_runtime.consolidation.triggers import plan_due, scope_offset
from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.core.run import Schedule, Trigger
from sleep_runtime.core.scope import Scope

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
POLICY = TriggerPolicy(
    cadence_s=3600, jitter=0, backlog_events=10, backlog_tokens=1000, cooldown_s=600
)
ANA = Scope("acme/banking/ana")


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


TABLE: dict[str, tuple[dict[str, Any], tuple[datetime | None, Trigger | None]]] = {
    "nothing pending": ({"last_run_at": at(-999)}, (None, None)),
    "requested, nothing pending": ({"requested": "*"}, (None, None)),
    "done again": ({"events_seen": 9, "events_done": 9, "tokens_seen": 5}, (None, None)),
    "requested": ({"events_seen": 1, "requested": "acme"}, (NOW, Trigger.MANUAL)),
    "requested in the cool-down": (
        {"events_seen": 1, "requested": "acme", "last_run_at": at(-1)},
        (NOW, Trigger.MANUAL),
    ),
    "requested with a fold": ({"folds": 1, "requested": "*"}, (NOW, Trigger.MANUAL)),
    "fold": ({"folds": 1}, (NOW, Trigger.FOLD)),
    "fold in the cool-down": ({"folds": 1, "last_run_at": at(-1)}, (NOW, Trigger.FOLD)),
    "fold with a backlog": (
        {"folds": 1, "events_seen": 99, "last_run_at": at(-1)},
        (NOW, Trigger.FOLD),
    ),
    "backlog of events": ({"events_seen": 10}, (NOW, Trigger.BACKLOG)),
    "backlog of tokens": ({"events_seen": 1, "tokens_seen": 1000}, (NOW, Trigger.BACKLOG)),
    "backlog of observations": ({"observations_seen": 10}, (NOW, Trigger.BACKLOG)),
    "backlog in the cool-down": (
        {"events_seen": 10, "last_run_at": at(-4)},
        (at(6), Trigger.BACKLOG),
    ),
    "backlog after the cool-down": (
        {"events_seen": 10, "last_run_at": at(-11)},
        (NOW, Trigger.BACKLOG),
    ),
    "backlog after the clock was set back": (
        {"events_seen": 10, "last_run_at": at(999)},
        (NOW, Trigger.BACKLOG),
    ),
    "pending after the clock was set back": (
        {"events_seen": 1, "last_run_at": at(999), "pending_since": at(-20)},
        (at(40), Trigger.CADENCE),
    ),
    "pending since before the clock was set back": (
        {"events_seen": 1, "last_run_at": at(999), "pending_since": at(990)},
        (at(60), Trigger.CADENCE),
    ),
    "done does not count as backlog": (
        {"events_seen": 109, "events_done": 100, "pending_since": NOW},
        (at(60), Trigger.CADENCE),
    ),
    "first night": (
        {"events_seen": 1, "pending_since": at(-20)},
        (at(40), Trigger.CADENCE),
    ),
    "next night": (
        {"events_seen": 1, "pending_since": at(-5), "last_run_at": at(-20)},
        (at(40), Trigger.CADENCE),
    ),
    "missed while nothing ran": (
        {"observations_seen": 1, "pending_since": at(-500)},
        (at(-440), Trigger.CADENCE),
    ),
    "pending since nobody knows": ({"events_seen": 1}, (at(60), Trigger.CADENCE)),
}


@pytest.mark.parametrize(("fields", "expected"), TABLE.values(), ids=TABLE)
def test_the_first_rule_that_applies_decides(
    fields: dict[str, Any], expected: tuple[datetime | None, Trigger | None]
) -> None:
    assert plan_due(Schedule(scope=ANA, **fields), POLICY, NOW) == expected


def test_a_cadence_shorter_than_the_cool_down_waits_for_it() -> None:
    hasty = POLICY.model_copy(update={"cadence_s": 60.0})
    schedule = Schedule(scope=ANA, events_seen=1, last_run_at=NOW)
    assert plan_due(schedule, hasty, NOW) == (at(10), Trigger.CADENCE)


def test_jitter_spreads_scopes_within_its_share_and_stays_put() -> None:
    spread = POLICY.model_copy(update={"jitter": 0.1})
    slots = []
    for n in range(400):
        schedule = Schedule(scope=Scope(f"acme/t/u{n}"), events_seen=1, pending_since=NOW)
        due, _ = plan_due(schedule, spread, NOW)
        assert due is not None
        assert (due, Trigger.CADENCE) == plan_due(schedule, spread, at(7))
        slots.append((due - at(60)).total_seconds())
    assert -360 <= min(slots) < -300
    assert 300 < max(slots) < 360
    assert abs(sum(slots) / len(slots)) < 30


def test_the_offset_of_a_scope_never_changes() -> None:
    """Another value would move every deployment's nights at an upgrade."""
    assert scope_offset(ANA) == pytest.approx(OFFSET_OF_ANA, abs=1e-9)


OFFSET_OF_ANA = 0.3755379474779068


@settings(deadline=None)  # the machine may be busy
@given(
    st.builds(
        Schedule,
        scope=st.just(ANA),
        events_seen=st.integers(0, 30),
        observations_seen=st.integers(0, 30),
        folds=st.integers(0, 2),
        requested=st.sampled_from(["", "*"]),
        pending_since=st.none() | st.just(at(-30)),
        last_run_at=st.none() | st.integers(-2000, 0).map(at),
    )
)
def test_due_exactly_when_something_is_pending_and_never_within_the_cool_down(
    schedule: Schedule,
) -> None:
    due, trigger = plan_due(schedule, POLICY, NOW)
    assert (due is None) == (trigger is None) == schedule.idle
    if due is not None and trigger in (Trigger.CADENCE, Trigger.BACKLOG) and schedule.last_run_at:
        assert due >= schedule.last_run_at + timedelta(seconds=POLICY.cooldown_s)
