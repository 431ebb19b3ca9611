"""Truth: what a perfect store would hold after a trail, and which lesson a note states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from benchmarks.sharpness.bank import Topic, Value, normalise

Note = Mapping[str, Any]
"""A note in the public JSON."""

MIN_OVERLAP = 0.5


@dataclass(frozen=True, eq=False)
class Lesson:
    """Something people taught. ``kept`` is false for what they took back.

    ``events`` say the current value, ``old_events`` the former one; ``aside`` are turns that
    belong to it without saying it (the first half of a correction over two turns, the retraction).
    ``owner`` is the scope whose note it should be, ``audience`` the readers it is for.
    """

    id: str
    cls: str
    owner: str
    audience: tuple[str, ...]
    facet: str
    topic: Topic
    value: Value
    events: frozenset[str]
    old: Value | None = None
    old_events: frozenset[str] = frozenset()
    aside: frozenset[str] = frozenset()
    kept: bool = True
    pair: str = ""
    moved: bool = False
    probe: str = ""

    @property
    def tier(self) -> str:
        return ("org", "team", "individual")[self.owner.count("/")]


class OneOff(NamedTuple):
    """Something wanted for one time."""

    event: str
    facet: str
    topic: Topic
    value: Value


class Query(NamedTuple):
    """What an agent would search on behalf of ``reader``; the lesson that answers it."""

    id: str
    lesson: str
    reader: str
    text: str


class Label(NamedTuple):
    """What one human turn says. ``lesson`` is empty for one-offs and lures."""

    cls: str
    facet: str
    topic: str
    value: str
    lesson: str


class Stated(NamedTuple):
    """A lesson that a note states, with its current or its old value."""

    lesson: Lesson
    current: bool


@dataclass(frozen=True, eq=False)
class Truth:
    """Everything there is to know about a trail."""

    split: str
    org: str
    lessons: tuple[Lesson, ...]
    one_offs: tuple[OneOff, ...]
    labels: Mapping[str, Label]
    canaries: Mapping[str, tuple[str, ...]]
    secrets: tuple[str, ...]
    queries: tuple[Query, ...]
    readers: tuple[str, ...]
    facets: frozenset[str]
    sayings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """(person, session) of every human turn."""
    benign: frozenset[str] = frozenset()
    """Turns that teach something with words an attacker would also use."""
    learned_from: int = 0
    """Arrived events by which every lesson had been seen."""

    @cached_property
    def kept(self) -> tuple[Lesson, ...]:
        return tuple(lesson for lesson in self.lessons if lesson.kept)

    @cached_property
    def by_id(self) -> dict[str, Lesson]:
        return {lesson.id: lesson for lesson in self.lessons}


class Reading:
    """Reads notes against one truth. Texts are read once, however often they come."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self._lessons: dict[str, list[Lesson]] = {}
        self._topics: dict[str, Topic] = {}
        for one in truth.one_offs:
            self._topics[one.topic.key] = one.topic
        for lesson in truth.lessons:
            self._topics[lesson.topic.key] = lesson.topic
            self._lessons.setdefault(lesson.topic.key, []).append(lesson)
        self._facets = {facet: normalise(facet).strip() for facet in truth.facets}
        self._read: dict[str, tuple[frozenset[str], dict[str, frozenset[str]]]] = {}

    def says(self, text: str) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
        """The facets a text names, and by topic the values it shows."""
        found = self._read.get(text)
        if found is None:
            plain = normalise(text)
            facets = frozenset(f for f, form in self._facets.items() if form in plain)
            topics = {}
            for key, topic in self._topics.items():
                if topic.pattern.search(plain):
                    shown = frozenset(v.id for v in topic.values if v.pattern.search(plain))
                    if shown:
                        topics[key] = shown
            found = self._read[text] = (facets, topics)
        return found

    def stated(self, note: Note) -> list[Stated]:
        """The lessons a note states by its words, its facets and its evidence."""
        evidence = frozenset(note["evidence"])
        found = []
        for lesson, values in self._by_words(note):
            current = self._which(lesson, values, note, evidence)
            said = lesson.events if current else lesson.old_events
            if _overlaps(evidence - lesson.aside, said):
                found.append(Stated(lesson, current))
        return found

    def stated_by_words(self, note: Note) -> list[Stated]:
        """The same by words alone."""
        return [
            Stated(lesson, lesson.value.id in values) for lesson, values in self._by_words(note)
        ]

    def states_one_off(self, note: Note, one: OneOff) -> bool:
        """Whether the note holds what was wanted for one time only."""
        facets, topics = self._facets_and_values(note)
        if one.value.id not in topics.get(one.topic.key, ()) or not _fits(one.facet, facets):
            return False
        labels = [self.truth.labels.get(event) for event in note["evidence"]]
        return one.event in note["evidence"] or not any(x and x.lesson for x in labels)

    def _facets_and_values(self, note: Note) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
        facets, topics = self.says(note["statement"])
        about = frozenset(v for v in note.get("about", {}).values() if v in self._facets)
        return facets | about, topics

    def _by_words(self, note: Note) -> list[tuple[Lesson, frozenset[str]]]:
        facets, topics = self._facets_and_values(note)
        return [
            (lesson, values)
            for key, values in topics.items()
            for lesson in self._lessons.get(key, ())
            if _fits(lesson.facet, facets)
            and (lesson.value.id in values or (lesson.old and lesson.old.id in values))
        ]

    def _which(
        self, lesson: Lesson, values: frozenset[str], note: Note, evidence: frozenset[str]
    ) -> bool:
        """Whether it is the current value. Where the words show both, its value field says it,
        and where that does not, most of its evidence."""
        if lesson.old is None or lesson.old.id not in values:
            return True
        if lesson.value.id not in values:
            return False
        field_text = normalise(note.get("value") or "")
        new, old = (bool(v.pattern.search(field_text)) for v in (lesson.value, lesson.old))
        if new != old:
            return new
        return len(evidence & lesson.events) >= len(evidence & lesson.old_events)


def _fits(facet: str, named: frozenset[str]) -> bool:
    return facet in named if facet else not named


def _overlaps(evidence: frozenset[str], said: frozenset[str]) -> bool:
    both = len(evidence & said)
    if not both:
        return False
    return both / len(evidence) >= MIN_OVERLAP or both / len(evidence | said) >= MIN_OVERLAP


def lineage(reader: str) -> tuple[str, ...]:
    """The scopes a reader sees, nearest first."""
    parts = reader.split("/")
    return tuple("/".join(parts[:n]) for n in range(len(parts), 0, -1))


def named(notes: Sequence[Note]) -> dict[str, Note]:
    """Notes by id."""
    return {note["id"]: note for note in notes}
