"""Observation: what the Generator distilled from one session, once, for every tier to work on."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.core.event import EventKind, Role, Trust
from sleep_runtime.core.scope import Scope

# What somebody said must not get into a log because it was not valid.
_QUIET = ConfigDict(frozen=True, hide_input_in_errors=True)


class NoteKind(StrEnum):
    """What sort of lesson it is."""

    CORRECTION = "correction"
    PROCEDURE = "procedure"
    PREFERENCE = "preference"
    CONVENTION = "convention"
    FACT = "fact"
    PITFALL = "pitfall"


class Durability(StrEnum):
    """Whether the speaker meant it to last."""

    STANDING = "standing"
    ONE_OFF = "one_off"
    UNCLEAR = "unclear"
    DOUBTFUL = "doubtful"
    """It may be no lesson at all: it counts beside clearer words, and carries nothing alone."""
    WITHDRAWN = "withdrawn"
    """It takes back what was said before, and puts nothing in its place."""


class Claim(BaseModel):
    """What is said, apart from who said it. ``value`` is the answer to (subject, aspect).

    ``corrects`` is what an agent had done or said just before, cut to length: not part of what is
    claimed and never shown, but what tells the answer of a correction from its question.
    """

    model_config = _QUIET

    statement: str = Field(min_length=1, max_length=400)
    kind: NoteKind
    subject: str = Field(default="", max_length=120)
    aspect: str = Field(default="", max_length=120)
    value: str = Field(default="", max_length=200)
    applies_when: str = Field(default="", max_length=200)
    about: dict[str, str] = Field(default_factory=dict)
    corrects: str = Field(default="", max_length=240)


class Turn(BaseModel):
    """One event as an engine reads it: redacted, cut to length, named by its event id.

    ``after_untrusted`` tells that the speaker had read text of a tool or a document before, in this
    session. It is for the check of an engine's answer, and no part of the question.
    """

    model_config = _QUIET

    event_id: str
    ts: datetime
    role: Role
    kind: EventKind
    trust: Trust
    text: str
    about: dict[str, str] = Field(default_factory=dict)
    after_untrusted: bool = Field(default=False, exclude=True)


class SessionInput(BaseModel):
    """The part of one session that a run distils. ``context`` was distilled before: read only."""

    model_config = _QUIET

    scope: Scope
    session: str
    turns: tuple[Turn, ...]
    context: tuple[Turn, ...] = ()


class Draft(BaseModel):
    """An engine's suggestion for an observation, before the grounding check."""

    model_config = _QUIET

    claim: Claim
    durability: Durability
    evidence: tuple[str, ...] = Field(min_length=1, max_length=50)
    why: str = Field(default="", max_length=400)


class Usage(BaseModel):
    """What engine calls cost. Tokens are the engine's own count; 0 where it has none.

    ``cached_tokens`` are those of the input that a prefix cache served. ``gpu_seconds`` is the
    time answers were waited for, times the GPUs the engine holds, shared among those who waited.
    """

    model_config = ConfigDict(frozen=True)

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    gpu_seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            gpu_seconds=self.gpu_seconds + other.gpu_seconds,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls - other.calls,
            input_tokens=self.input_tokens - other.input_tokens,
            output_tokens=self.output_tokens - other.output_tokens,
            cached_tokens=self.cached_tokens - other.cached_tokens,
            gpu_seconds=self.gpu_seconds - other.gpu_seconds,
        )

    def shared(self, among: int) -> list[Usage]:
        """As many parts that sum up to the whole; what cannot be split goes to the first ones."""
        return [
            Usage(
                calls=_part(self.calls, among, place),
                input_tokens=_part(self.input_tokens, among, place),
                output_tokens=_part(self.output_tokens, among, place),
                cached_tokens=_part(self.cached_tokens, among, place),
                gpu_seconds=self.gpu_seconds / among,
            )
            for place in range(among)
        ]


def _part(whole: int, among: int, place: int) -> int:
    return whole // among + (place < whole % among)


class Distillation(BaseModel):
    """An engine's answer for one session. A ``problem`` means no usable answer: nothing changes."""

    model_config = _QUIET

    drafts: tuple[Draft, ...] = ()
    problem: str = ""
    usage: Usage = Usage()


class Observation(BaseModel):
    """A grounded draft with its provenance.

    ``seq`` is its place in the ledger, 0 before it is stored.
    """

    model_config = _QUIET

    id: str
    scope: Scope
    session: str
    person: str
    ts: datetime
    claim: Claim
    durability: Durability
    trust: Trust
    evidence: tuple[str, ...]
    feedback_on: str = ""
    helpful: bool | None = None
    seq: int = 0
