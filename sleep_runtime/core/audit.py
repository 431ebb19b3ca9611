"""Audit: who did what to keys, to others' scopes, to notes and to data; one entry a deed."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field


class Deed(StrEnum):
    """What is worth an entry."""

    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    READ = "read"
    RUN_REQUESTED = "run.requested"
    RUN_UNDONE = "run.undone"
    REVIEW_DECIDED = "review.decided"
    INDEX_REPAIRED = "index.repaired"
    POOL_YIELDED = "pool.yielded"
    EXPORTED = "exported"
    ERASED = "erased"
    BACKED_UP = "backed_up"
    RESTORED = "restored"
    REFUSED = "refused"


class AuditEntry(BaseModel):
    """One entry. ``hash`` covers the others and ``previous``, the hash of the entry before."""

    model_config = ConfigDict(frozen=True)

    seq: int
    at: datetime
    who: str
    deed: Deed
    scope: str
    subject: str
    detail: dict[str, Any] = Field(default_factory=dict)
    previous: str
    hash: str


class AuditLog(Protocol):
    """Append-only. What is recorded is on the disk when the call returns."""

    def record(
        self,
        who: str,
        deed: Deed,
        *,
        scope: str = "",
        subject: str = "",
        detail: dict[str, Any] | None = None,
    ) -> AuditEntry: ...
