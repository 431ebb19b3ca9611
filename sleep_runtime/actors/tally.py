"""Tally: what a run has used since its last write, and whether it may use more."""

from __future__ import annotations

from datetime import timedelta

from sleep_runtime.actors.parts import DriverParts
from sleep_runtime.consolidation import budget
from sleep_runtime.core.errors import BudgetSpent
from sleep_runtime.core.run import Run
from sleep_runtime.core.spending import Bucket, Cost, hour_of


class Tally:
    """Counts one run, in the thread of its driver.

    What is written is in the ledger, where it outlives this process; only what came after the
    last write is here. A write that fails leaves it open, and the next one takes it along.
    """

    def __init__(self, parts: DriverParts, run: Run) -> None:
        self._parts = parts
        self._run = run
        self._used = parts.engine.usage
        self._at = parts.clock.now()

    def open(self) -> Cost:
        """What was used since the last write. Clocks that step back count as standing still."""
        seconds = (self._parts.clock.now() - self._at).total_seconds()
        return Cost(usage=self._parts.engine.usage - self._used, seconds=max(0.0, seconds))

    def written(self, run: Run, cost: Cost) -> Run:
        """Take note that ``cost`` is in the ledger with this run, which is returned."""
        self._run = run
        self._used += cost.usage
        self._at += timedelta(seconds=cost.seconds)
        return run

    def check(self) -> None:
        """Raise ``BudgetSpent`` when another engine call would not be allowed.

        Others spend from the same window meanwhile: each of them may go over by one call.
        """
        policy = self._parts.policy.budget
        still_open = self.open()
        spent = budget.of_run(self._run.turn_cost + still_open, policy)
        if spent is None and budget.windowed(policy):
            spent = self._windows(still_open)
        if spent is not None:
            raise BudgetSpent(spent.reason, field=spent.field, mend=spent.mend, until=spent.until)

    def _windows(self, still_open: Cost) -> budget.Spent | None:
        policy, now = self._parts.policy.budget, self._parts.clock.now()
        org = self._run.scope.org
        written = self._parts.ledger.spending(since=budget.window_start(policy, now))
        own = Bucket(org=org, hour=hour_of(now), cost=still_open)
        return budget.of_windows(org, [*written, own], policy, now)
