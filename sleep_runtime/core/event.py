"""Event: one thing that happened while an agent worked."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from sleep_runtime.core.scope import Scope

MAX_ID_CHARS = 200
MAX_NAME_CHARS = 500
MAX_TEXT_CHARS = 1_000_000


class EventKind(StrEnum):
    """What sort of thing happened."""

    MESSAGE = "message"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    RETRIEVAL = "retrieval"
    ERROR = "error"
    CORRECTION = "correction"
    FEEDBACK = "feedback"


class Role(StrEnum):
    """Who speaks."""

    HUMAN = "human"
    AGENT = "agent"
    TOOL = "tool"
    SYSTEM = "system"


class Trust(StrEnum):
    """Whose word it is. Only a person's word may become a rule (promise P8)."""

    HUMAN = "human"
    AGENT = "agent"
    UNTRUSTED = "untrusted"

    @property
    def rank(self) -> int:
        return {"human": 2, "agent": 1, "untrusted": 0}[self.value]


FOREIGN_KINDS = frozenset({EventKind.TOOL_RESULT, EventKind.RETRIEVAL})
"""What came from outside the talk, in whoever's turn a harness carries it."""


def derive_trust(role: Role, kind: EventKind | None = None) -> Trust:
    """Trust follows from who speaks, never from what the payload claims.

    Tool output is untrusted whatever it says, also in a person's turn, where several chat formats
    put it. System text is the harness speaking: it may inform like an agent, but it is nobody's
    correction.
    """
    if kind in FOREIGN_KINDS:
        return Trust.UNTRUSTED
    if role is Role.HUMAN:
        return Trust.HUMAN
    if role is Role.TOOL:
        return Trust.UNTRUSTED
    return Trust.AGENT


def lower_trust(one: Trust, other: Trust) -> Trust:
    """The one that is believed less."""
    return min(one, other, key=lambda trust: trust.rank)


def heard_as(role: Role, trust: Trust) -> Role:
    """Whose turn it is for whoever learns from it: not who the payload says speaks, but whose word
    it was let in as. What an agent's key sent as a person's is an agent's."""
    if trust is Trust.UNTRUSTED:
        return Role.TOOL
    return Role.AGENT if role is Role.HUMAN and trust is not Trust.HUMAN else role


class Event(BaseModel):
    """The public native event, version 1. ``id`` is the client's: the idempotency key."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", str_strip_whitespace=False, hide_input_in_errors=True
    )

    id: Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]
    ts: AwareDatetime
    scope: Scope
    session: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
    agent: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    kind: EventKind
    role: Role
    text: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] = ""
    about: dict[
        Annotated[str, Field(min_length=1, max_length=100)], Annotated[str, Field(max_length=500)]
    ] = Field(default_factory=dict, max_length=20)
    data: dict[str, Any] = Field(default_factory=dict)

    @property
    def trust(self) -> Trust:
        return derive_trust(self.role, self.kind)


class StoredEvent(BaseModel):
    """An event as the journal gives it back: with its place in the order of arrival."""

    model_config = ConfigDict(frozen=True)

    seq: int
    event: Event
    trust: Trust
    received_at: datetime


def estimate_tokens(event: Event) -> int:
    """About four characters a token: good enough for backlog limits, never for billing."""
    return max(1, len(event.text) // 4)
