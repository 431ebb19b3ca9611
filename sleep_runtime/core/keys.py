"""ApiKey: what lets a caller in, without the secret that proves it."""

from __future__ import annotations

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from sleep_runtime.core.access import NO_LIMITS, AccessRole, Caller, Grant, KeyLimits
from sleep_runtime.core.event import Trust
from sleep_runtime.core.scope import Scope

LOCAL_NAME = "local"


class NewKey(BaseModel):
    """What is decided about a key before it is made. ``scope`` None: everywhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[\w@.+:,=~ -]+$")
    scope: Scope | None
    roles: frozenset[AccessRole] = Field(min_length=1)
    speaks: Trust = Trust.AGENT
    limits: KeyLimits = NO_LIMITS
    expires_at: AwareDatetime | None = None


class ApiKey(NewKey):
    """One key. It never changes, but that it can be revoked.

    ``local`` is the one a runtime makes for its own machine at the first start.
    """

    id: str
    created_at: datetime
    revoked_at: datetime | None = None
    local: bool = False

    def usable(self, now: datetime) -> bool:
        """Whether it lets somebody in at ``now``."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def caller(self) -> Caller:
        """Who asks with this key."""
        return Caller(
            name=f"{self.id} ({self.name})",
            grants=(Grant(scope=self.scope, roles=self.roles),),
            speaks=self.speaks,
            limits=self.limits,
        )
