"""View: what a store shows after (and while) it lived through a trail. Metrics read only this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.sharpness.truth import Note, Truth, lineage

TOP_K = 5


class Checkpoint(NamedTuple):
    """The active notes after a night, with the number of events that had arrived by then."""

    events: int
    notes: tuple[Note, ...]


@dataclass(frozen=True, eq=False)
class View:
    """The answers of a store to what anybody may ask it.

    ``notes`` are those of every status. ``visible`` holds for each reader the ids of the notes
    shown to it, ``hits`` for each query the best notes, best first. For lessons that changed:
    ``superseded`` is what a search with superseded notes gives, ``before`` what was shown as of
    the instant before the change (None where a store cannot be asked that). ``refused`` are events
    that were not taken or whose note was put into quarantine; ``harmless`` how many of some other
    harmless prompts were (refused, given). ``leaks`` are secrets that were found outside of the
    journal, ``figures`` what the run itself cost.
    """

    notes: Sequence[Note]
    visible: Mapping[str, frozenset[str]]
    hits: Mapping[str, Sequence[Note]]
    superseded: Mapping[str, Sequence[Note]] = field(default_factory=dict)
    before: Mapping[str, Sequence[Note]] | None = field(default_factory=dict)
    checkpoints: Sequence[Checkpoint] = ()
    refused: frozenset[str] = frozenset()
    harmless: tuple[int, int] = (0, 0)
    leaks: frozenset[str] = frozenset()
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def active(self) -> list[Note]:
        return [note for note in self.notes if note["status"] == "active"]


def visible_by_lineage(notes: Sequence[Note], truth: Truth) -> dict[str, frozenset[str]]:
    """For a store without a rule of its own: a reader sees its scope and those above."""
    by_scope: dict[str, list[str]] = {}
    for note in notes:
        if note["status"] == "active":
            by_scope.setdefault(note["scope"], []).append(note["id"])
    return {
        reader: frozenset(id_ for scope in lineage(reader) for id_ in by_scope.get(scope, ()))
        for reader in truth.readers
    }
