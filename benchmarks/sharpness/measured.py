"""Measured: a view read against a truth. Who states what is worked out once. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

from benchmarks.sharpness.truth import Lesson, Note, Reading, Stated, Truth
from benchmarks.sharpness.view import View


class Measured:
    """A view read against a truth: who states what, worked out once."""

    def __init__(self, truth: Truth, view: View) -> None:
        self.truth, self.view = truth, view
        self.reading = Reading(truth)
        self.active = view.active
        self._stated: dict[int, list[Stated]] = {}

    def stated(self, note: Note) -> list[Stated]:
        found = self._stated.get(id(note))
        if found is None:
            found = self._stated[id(note)] = self.reading.stated(note)
        return found

    @cached_property
    def current(self) -> dict[str, list[Note]]:
        """Active notes that state a lesson's current value, by lesson."""
        return self._by_lesson(current=True)

    @cached_property
    def old(self) -> dict[str, list[Note]]:
        """Active notes that state a lesson's former value, by lesson."""
        return self._by_lesson(current=False)

    def _by_lesson(self, *, current: bool) -> dict[str, list[Note]]:
        found: dict[str, list[Note]] = defaultdict(list)
        for note in self.active:
            for stated in self.stated(note):
                if stated.current is current:
                    found[stated.lesson.id].append(note)
        return found

    def right(self, note: Note) -> bool:
        return any(s.current and s.lesson.kept for s in self.stated(note))

    def sees(self, reader: str, notes: Iterable[Note]) -> bool:
        seen = self.view.visible.get(reader, frozenset())
        return any(note["id"] in seen for note in notes)

    @cached_property
    def changed(self) -> list[Lesson]:
        return [lesson for lesson in self.truth.kept if lesson.old is not None]

    def people_sessions(self, note: Note) -> int:
        """Distinct people times distinct sessions that said it."""
        said = [self.truth.sayings[e] for e in note["evidence"] if e in self.truth.sayings]
        return len({person for person, _ in said}) * len(set(said))
