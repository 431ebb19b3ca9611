"""Erasure: what somebody asked to be gone, how far that is, and the receipt of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sleep_runtime.core.errors import InvalidInput
from sleep_runtime.core.ids import digest, stable_id
from sleep_runtime.core.note import Support
from sleep_runtime.core.scope import Scope


class Target(BaseModel):
    """Everything at and below ``scope``; of that only one session, or only one event."""

    model_config = ConfigDict(frozen=True)

    scope: Scope
    session: str = ""
    event: str = ""

    @model_validator(mode="after")
    def _one_of_both(self) -> Target:
        if self.session and self.event:
            raise InvalidInput(
                "a session and an event are two erasures", field="event", mend="name one of them"
            )
        return self

    @property
    def kind(self) -> str:
        """``scope``, ``session`` or ``event``."""
        return "session" if self.session else "event" if self.event else "scope"

    def named(self, salt: str) -> str:
        """The name of the session or the event, salted and hashed; empty for a scope."""
        name = self.session or self.event
        return digest(salt, self.kind, name) if name else ""


class ErasureState(StrEnum):
    """The step that is done. Each may be done again; ``done`` is the last."""

    REQUESTED = "requested"
    """Nights of the scopes concerned are fenced out."""
    GATHERED = "gathered"
    """What has to be gone is known, and up to which event."""
    FORGOTTEN = "forgotten"
    """The ledger holds nothing of it: one transaction."""
    REMOVED = "removed"
    """The journal holds nothing of it; nights may start again."""
    INDEXED = "indexed"
    """The vector index was made anew."""
    EXPORTED = "exported"
    """Every remembered export was made again."""
    MENDED = "mended"
    """Every backup within reach was erased in."""
    COMPACTED = "compacted"
    """No free page, log or older copy of a page holds a byte of it."""
    DONE = "done"
    """The scan ran and the receipt is kept."""


STEPS = tuple(ErasureState)

VERSION_STEP = 1 << 32
"""By so much the version of a scope grows when something of it is erased; else by one."""


def erasures_in(version: int) -> int:
    """How many erasures a scope's version counts. What was held before the last is not reused."""
    return version // VERSION_STEP


class Erasure(BaseModel):
    """One erasure as the ledger remembers it.

    The row names the scope and nothing of what was in it: a session's or an event's name is kept
    as ``named``, a hash under ``salt``. ``requested_at`` is the erasure's own time: everything
    that is derived anew uses that instant, however often it is resumed. ``upto`` is the last event
    that it erases; what is captured later is new.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    scope: Scope
    kind: str
    named: str = ""
    salt: str
    state: ErasureState = ErasureState.REQUESTED
    upto: int = 0
    requested_at: datetime
    updated_at: datetime
    counts: dict[str, int] = Field(default_factory=dict)
    receipt: dict[str, Any] = Field(default_factory=dict)

    @property
    def over(self) -> bool:
        return self.state is ErasureState.DONE

    def done_with(self, step: ErasureState) -> bool:
        """Whether this step is behind it."""
        return STEPS.index(self.state) >= STEPS.index(step)

    def means(self, target: Target) -> bool:
        """Whether this is an erasure of exactly that."""
        return (self.scope, self.kind) == (target.scope, target.kind) and target.named(
            self.salt
        ) == self.named


class Kept(BaseModel):
    """A note that others support too: its support before and after, and whether it was reworded."""

    model_config = ConfigDict(frozen=True)

    note: str
    scope: Scope
    status: str
    support_before: Support
    support_after: Support
    reworded: bool
    why: str


class Forgotten(BaseModel):
    """What the ledger's part of an erasure did. ``lacking``: new wordings without a vector.

    With ``lacking`` nothing was written: embed them and ask again.
    """

    model_config = ConfigDict(frozen=True)

    counts: dict[str, int] = Field(default_factory=dict)
    kept: tuple[Kept, ...] = ()
    lacking: tuple[str, ...] = ()


def erasure_id(target: Target, salt: str) -> str:
    """The name of an erasure; it tells nothing of a session or an event."""
    return stable_id("erasure", salt, target.scope, target.named(salt))


def public(erasure: Erasure) -> dict[str, Any]:
    """The erasure and its receipt in the public JSON contract, version 1."""
    return {
        "id": erasure.id,
        "scope": str(erasure.scope),
        "kind": erasure.kind,
        "state": erasure.state.value,
        "done": erasure.over,
        "requested_at": erasure.requested_at.isoformat(),
        "updated_at": erasure.updated_at.isoformat(),
        "removed": erasure.counts,
        **erasure.receipt,
    }
