"""When a scope's night is due: a table of rules, the first that applies decides.

    | the schedule                  | due                               | trigger |
    |-------------------------------|-----------------------------------|---------|
    | has nothing pending, no notes | never                             |         |
    | has nothing pending, but notes| its next fade slot                | fade    |
    | was requested by somebody     | now, no cool-down                 | manual  |
    | has decisions of people to do | now, no cool-down: it is cheap    | review  |
    | has fold marks                | now, no cool-down: it is cheap    | fold    |
    | has a backlog over a limit    | now, not within the cool-down     | backlog |
    | has anything else pending     | its next cadence slot, not within | cadence |
    |                               | the cool-down                     |         |

A due time in the past is due at once: that is how a night happens that was missed while no
runtime was up. A last night in the future was before the clock was set back: it counts as none, or
no night would begin for as long as the clock jumped.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sleep_runtime.core.ids import digest
from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.core.run import Schedule, Trigger
from sleep_runtime.core.scope import Scope


def plan_due(
    schedule: Schedule, policy: TriggerPolicy, now: datetime, *, fading: bool = False
) -> tuple[datetime | None, Trigger | None]:
    """When the scope's next night is due and why; ``(None, None)`` when it never is.

    ``fading``: the scope has notes that may fade, active ones or candidates.
    """
    if schedule.idle:
        return (fade_slot(schedule, policy, now), Trigger.FADE) if fading else (None, None)
    if schedule.requested:
        return now, Trigger.MANUAL
    if schedule.reviews:
        return now, Trigger.REVIEW
    if schedule.folds:
        return now, Trigger.FOLD
    if backlogged(schedule, policy):
        return max(now, cooled_down(schedule, policy, now) or now), Trigger.BACKLOG
    return cadence_slot(schedule, policy, now), Trigger.CADENCE


def backlogged(schedule: Schedule, policy: TriggerPolicy) -> bool:
    """More is pending than may wait for the next cadence slot."""
    return (
        schedule.pending_events >= policy.backlog_events
        or schedule.pending_tokens >= policy.backlog_tokens
        or schedule.pending_observations >= policy.backlog_events
    )


def cooled_down(schedule: Schedule, policy: TriggerPolicy, now: datetime) -> datetime | None:
    """The earliest instant of another night after the last one; None if there was none."""
    last = _last_night(schedule, now)
    return last + timedelta(seconds=policy.cooldown_s) if last else None


def cadence_slot(schedule: Schedule, policy: TriggerPolicy, now: datetime) -> datetime:
    """One jittered cadence after the last night, or after something began to wait."""
    anchor = _last_night(schedule, now) or min(schedule.pending_since or now, now)
    slot = _jittered(schedule.scope, anchor, policy.cadence_s, policy)
    return max(slot, cooled_down(schedule, policy, now) or slot)


def fade_slot(schedule: Schedule, policy: TriggerPolicy, now: datetime) -> datetime:
    """When to look at notes nobody talks about: rarely, as they fade over months."""
    return _jittered(schedule.scope, _last_night(schedule, now) or now, policy.fade_s, policy)


def _last_night(schedule: Schedule, now: datetime) -> datetime | None:
    last = schedule.last_run_at
    return last if last and last <= now else None


def _jittered(scope: Scope, anchor: datetime, wait_s: float, policy: TriggerPolicy) -> datetime:
    spread = 1.0 + policy.jitter * scope_offset(scope)
    return anchor + timedelta(seconds=wait_s * spread)


def scope_offset(scope: Scope) -> float:
    """A number in [-1, 1) that belongs to the scope: the same in every process and version."""
    return int(digest("cadence", scope)[:13], 16) / 2**51 - 1.0
