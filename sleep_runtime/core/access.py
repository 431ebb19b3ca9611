"""Access: who asks, and what they may see and do where.

Pure nouns. Who proves it is told by ``serve``; what a store shows is narrowed by ``Rights`` in the
store's own queries.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.core.errors import Forbidden
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import ONCE_IN_FORCE, Note
from sleep_runtime.core.scope import Scope


class AccessRole(StrEnum):
    """What a caller may do at and below a scope.

    ``capture``: append events. ``read``: search, context, notes, runs. ``curate``: read, decide
    reviews, undo and request runs. ``admin``: everything, erasure, keys and the runtime included.
    """

    CAPTURE = "capture"
    READ = "read"
    CURATE = "curate"
    ADMIN = "admin"


_IMPLIED: dict[AccessRole, frozenset[AccessRole]] = {
    AccessRole.CAPTURE: frozenset({AccessRole.CAPTURE}),
    AccessRole.READ: frozenset({AccessRole.READ}),
    AccessRole.CURATE: frozenset({AccessRole.CURATE, AccessRole.READ}),
    AccessRole.ADMIN: frozenset(AccessRole),
}


class Rights(BaseModel):
    """Which part of the tree may be looked at: these subtrees; ``None`` is the whole of it.

    What lies above a subtree may be read as notes, because a reader there is given them; who and
    what is behind these notes may not.
    """

    model_config = ConfigDict(frozen=True)

    within: tuple[Scope, ...] | None = None

    def covers(self, scope: Scope) -> bool:
        """Whether everything of this scope may be seen: it is in one of the subtrees."""
        return self.within is None or any(root.covers(scope) for root in self.within)

    def shows(self, scope: Scope) -> bool:
        """Whether notes of this scope may be read: it is in a subtree, or above one."""
        return self.covers(scope) or any(scope.covers(root) for root in self.within or ())

    @property
    def above(self) -> tuple[Scope, ...]:
        """The scopes above the subtrees that are in none of them, in order."""
        found = {scope for root in self.within or () for scope in root.lineage()}
        return tuple(sorted(scope for scope in found if not self.covers(scope)))

    def note(self, note: Note) -> Note | None:
        """The note as it may be read: whole, bare where it is from above, or not at all.

        What the stores do in their queries, for notes that are held in memory.
        """
        if self.covers(note.scope):
            return note
        if note.status in ONCE_IN_FORCE and self.shows(note.scope):
            return note.bare()
        return None


EVERYTHING = Rights()


class Grant(BaseModel):
    """Roles at and below ``scope``; ``None``: everywhere, and over the runtime itself."""

    model_config = ConfigDict(frozen=True)

    scope: Scope | None
    roles: frozenset[AccessRole]

    def allows(self, role: AccessRole) -> bool:
        return any(role in _IMPLIED[own] for own in self.roles)


class KeyLimits(BaseModel):
    """How much one caller may ask for. ``None``: what the runtime allows everybody.

    The rates are refilled steadily and may be saved up for ``burst_s`` seconds.
    ``query_cost_per_s`` is in notes that answers are chosen from, and paid afterwards.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_s: float | None = Field(default=None, gt=0)
    events_per_s: float | None = Field(default=None, gt=0)
    query_cost_per_s: float | None = Field(default=None, gt=0)
    burst_s: float = Field(default=10.0, gt=0, le=3600)
    max_concurrent: int | None = Field(default=None, gt=0)
    max_body_bytes: int | None = Field(default=None, gt=0)
    max_batch_events: int | None = Field(default=None, gt=0)
    max_text_chars: int | None = Field(default=None, gt=0)


NO_LIMITS = KeyLimits()


class Caller(BaseModel):
    """Who asks, once that is proven.

    ``name`` is what the audit log calls them. ``speaks`` is the highest trust that what they
    capture can have, whatever the payload says.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    grants: tuple[Grant, ...]
    speaks: Trust = Trust.AGENT
    limits: KeyLimits = NO_LIMITS

    def may(self, role: AccessRole, scope: Scope | None) -> bool:
        """Whether the role is theirs at this scope; ``None``: everywhere."""
        return any(
            grant.allows(role)
            and (grant.scope is None or (scope is not None and grant.scope.covers(scope)))
            for grant in self.grants
        )

    def require(self, role: AccessRole, scope: Scope | None) -> None:
        """Raise ``Forbidden`` unless ``may``. Says the same whether the scope exists or not."""
        if not self.may(role, scope):
            where = f"at {str(scope)!r}" if scope is not None else "everywhere"
            raise Forbidden(
                f"this key may not {role.value} {where}",
                field="scope",
                mend="use a key with that role there: sleep-runtime keys create",
            )

    def anywhere(self, role: AccessRole) -> None:
        """Raise ``Forbidden`` unless the role is theirs at some scope at least."""
        if not any(grant.allows(role) for grant in self.grants):
            raise Forbidden(
                f"this key may not {role.value}",
                field="key",
                mend="use a key with that role: sleep-runtime keys create",
            )

    def rights(self, role: AccessRole = AccessRole.READ) -> Rights:
        """Where the role is theirs, as stores understand it."""
        return rights_of(grant for grant in self.grants if grant.allows(role))


def rights_of(grants: Iterable[Grant]) -> Rights:
    """The subtrees of these grants together."""
    scopes = [grant.scope for grant in grants]
    if any(scope is None for scope in scopes):
        return EVERYTHING
    return Rights(within=tuple(sorted({scope for scope in scopes if scope is not None})))


ROOT = Caller(
    name="root",
    grants=(Grant(scope=None, roles=frozenset({AccessRole.ADMIN})),),
    speaks=Trust.HUMAN,
)
"""Whoever runs the process that holds the stores: nothing is hidden from them anyway."""
