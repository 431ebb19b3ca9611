"""The vector index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from sleep_runtime.core.note import Note
from sleep_runtime.core.scope import Scope


class Hit(BaseModel):
    """One neighbour the index named. ``score`` is cosine similarity."""

    model_config = ConfigDict(frozen=True)

    note_id: str
    revision: int
    score: float


class Index(Protocol):
    """Vectors of notes, disposable: it can always be rebuilt from the ledger.

    Raises ``IndexBroken`` when what it keeps cannot be used any more.
    """

    def upsert(self, generation: int, entries: Sequence[tuple[Note, bytes]]) -> None: ...

    def delete(self, generation: int, note_ids: Sequence[str]) -> None: ...

    def revisions(self, generation: int, note_ids: Sequence[str] | None = None) -> dict[str, int]:
        """The revision held for each of these notes (or all); absent ones are left out."""

    def query(
        self, generation: int, vector: bytes, scopes: Sequence[Scope], *, k: int
    ) -> list[Hit]: ...

    def drop(self, generation: int) -> None: ...

    def start_over(self) -> None:
        """Put whatever is there out of the way and be empty, as after ``IndexBroken``.

        The caller marks every note in the ledger before it fills the index again.
        """

    def close(self) -> None: ...
