"""What compilers take and give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from sleep_runtime.core.note import Note


class ScoredNote(BaseModel):
    """A note a reader may see, with how well it answers the query (higher is better)."""

    model_config = ConfigDict(frozen=True)

    note: Note
    score: float


class Compiled(BaseModel):
    """Prompt text and the ids of the notes that are in it."""

    model_config = ConfigDict(frozen=True)

    text: str
    notes: tuple[str, ...]
    compiler: str
    tokens: int


@runtime_checkable
class Compiler(Protocol):
    """Turns notes into prompt text within a budget. Reads, never writes."""

    @property
    def name(self) -> str: ...

    def compile(
        self, notes: Sequence[ScoredNote], *, query: str, budget_tokens: int
    ) -> Compiled: ...
