"""Cost: what work used, and when. Budgets are held against it."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from sleep_runtime.core.observation import Usage
from sleep_runtime.core.scope import Scope

BUCKET = timedelta(hours=1)


class Cost(BaseModel):
    """What a run, or several, cost: engine calls and what they used, and wall clock."""

    model_config = ConfigDict(frozen=True)

    usage: Usage = Usage()
    seconds: float = 0.0

    @property
    def calls(self) -> int:
        return self.usage.calls

    @property
    def tokens(self) -> int:
        """Input and output."""
        return self.usage.input_tokens + self.usage.output_tokens

    @property
    def gpu_seconds(self) -> float:
        return self.usage.gpu_seconds

    def __add__(self, other: Cost) -> Cost:
        return Cost(usage=self.usage + other.usage, seconds=self.seconds + other.seconds)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(usage=self.usage - other.usage, seconds=self.seconds - other.seconds)


NO_COST = Cost()


class Bucket(BaseModel):
    """What the nights of one organisation cost in the hour that began at ``hour``."""

    model_config = ConfigDict(frozen=True)

    org: Scope
    hour: datetime
    cost: Cost


def hour_of(instant: datetime) -> datetime:
    """The beginning of the hour an instant lies in: its bucket."""
    return instant.replace(minute=0, second=0, microsecond=0)
