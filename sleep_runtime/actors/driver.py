"""RunDriver: takes one scope through one night, from whatever state it finds it in.

    plan -> generate -> reflect -> commit -> project

The driver holds no rules. Each step reads a snapshot, asks a pure function, and hands the answer
to the ledger in one transaction. It runs in the thread that calls it, in any process; whatever
kills it, the next driver of the scope goes on from the ledger's state and the pins in it.
"""

from __future__ import annotations

import time
from typing import Any

from sleep_runtime.actors import meter
from sleep_runtime.actors.heartbeat import Heartbeat
from sleep_runtime.actors.parts import DriverParts
from sleep_runtime.actors.shelf import Shelf
from sleep_runtime.actors.steps import Steps
from sleep_runtime.actors.tally import Tally
from sleep_runtime.consolidation import departed
from sleep_runtime.core.errors import (
    BudgetSpent,
    EngineUnavailable,
    LeaseLost,
    PoolAway,
    StoreError,
)
from sleep_runtime.core.run import Lease, Run, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.failpoint import failpoint
from sleep_runtime.telemetry.log import get_logger
from sleep_runtime.telemetry.metrics import METRICS

__all__ = ["MAX_ATTEMPTS", "DriverParts", "RunDriver"]

MAX_ATTEMPTS = 20
MAX_REASON_CHARS = 500

log = get_logger(__name__)


class RunDriver:
    """Drives the runs of many scopes, one after the other. ``owner`` names the process."""

    def __init__(self, owner: str, parts: DriverParts) -> None:
        self._owner = owner
        self._parts = parts
        self._shelf = Shelf(parts.ledger, departed.listed(parts.policy.tiers.departed))

    def forget(self) -> None:
        """Drop the notes that are held: something was erased. From any thread."""
        self._shelf.forget()

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
        tally = Tally(parts, run)
        steps = Steps(parts, lease, heart, self._shelf, tally)
        try:
            while not run.state.terminal:
                run = steps.next(run)
        except BudgetSpent as spent:
            meter.budget_spent(run, spent)
            until = spent.until or parts.clock.now()
            return self._yield(lease, run, tally, str(spent), spent_until=until)
        except PoolAway as away:
            return self._yield(lease, run, tally, str(away), at_once=True)
        except EngineUnavailable as away:
            return self._yield(lease, run, tally, str(away))
        except LeaseLost:
            raise
        except StoreError as error:
            # A disk that is full for the commit may still take this line. If it does not, the
            # error goes up and the run is taken up again from where it stands.
            return self._yield(lease, run, tally, str(error))
        except Exception as error:  # whatever it is, the run has to say it
            log.exception(LogEvent.RUN_FAILED, scope=run.scope, run=run.id)
            reason = f"failed while {run.state.value}: {type(error).__name__}: {error}"
            return self._yield(lease, run, tally, reason[:MAX_REASON_CHARS], failed=True)
        log.info(LogEvent.RUN_DONE, scope=run.scope, run=run.id, reason=run.reason)
        return run

    def _yield(self, lease: Lease, run: Run, tally: Tally, reason: str, **how: Any) -> Run:
        """Leave the run where it stands, with what it used and did not get to write."""
        log.warning(LogEvent.RUN_YIELDED, scope=run.scope, run=run.id, reason=reason)
        parts = self._parts
        return parts.writer.yield_run(
            lease, run.id, reason, now=parts.clock.now(), cost=tally.open(), **how
        )

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
