"""Pairs of events: which a store put under one note, and which belong together. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

from benchmarks.sharpness.truth import Label, Note, Truth

EVENTS_A_LESSON = 60
"""Of each lesson only so many events are paired (the first), so that long trails stay linear."""


class Grouped(NamedTuple):
    """Pairs made by a store, those of one lesson, and those that are both."""

    made: int
    wanted: int
    right: int


class Merged(NamedTuple):
    """Pairs that exclude each other: all of them, and those that stand under one note."""

    merged: int
    all: int


def grouped(truth: Truth, notes: Iterable[Note]) -> Grouped:
    """Over the active notes, and over events that say a kept lesson's current value.

    A pair with an event that says no such thing is a wrong pair too; the first halves of
    corrections over two turns and retractions count neither way.
    """
    wanted = {lesson.id: set(sorted(lesson.events)[:EVENTS_A_LESSON]) for lesson in truth.kept}
    lesson_of = {event: name for name, events in wanted.items() for event in events}
    beyond = {e for lesson in truth.kept for e in lesson.events if e not in lesson_of}
    aside = {event for lesson in truth.lessons for event in lesson.aside} | beyond
    made: set[tuple[str, str]] = set()
    for note in notes:
        events = [event for event in note["evidence"] if event not in aside]
        if any(event in lesson_of for event in events):
            made |= set(combinations(sorted(events), 2))
    made = {(a, b) for a, b in made if a in lesson_of or b in lesson_of}
    right = sum(lesson_of.get(a, a) == lesson_of.get(b, b) for a, b in made)
    return Grouped(len(made), sum(_pairs(len(e)) for e in wanted.values()), right)


def merged(truth: Truth, notes: Iterable[Note]) -> Merged:
    """Pairs of turns on one question with two answers; merged when any note rests on both."""
    saying: dict[tuple[str, str], list[str]] = defaultdict(list)
    for event, label in sorted(truth.labels.items()):
        if _answers(label):
            saying[label.topic, label.facet].append(event)
    asked = {key: events[: 4 * EVENTS_A_LESSON] for key, events in saying.items()}
    known = {event for events in asked.values() for event in events}
    excluding = sum(
        _exclude(truth, a, b) for events in asked.values() for a, b in combinations(events, 2)
    )
    under_one: set[tuple[str, str]] = set()
    for note in notes:
        mine: Sequence[str] = sorted(known.intersection(note["evidence"]))
        under_one |= {(a, b) for a, b in combinations(mine, 2) if _exclude(truth, a, b)}
    return Merged(len(under_one), excluding)


def _answers(label: Label) -> bool:
    return label.cls not in ("split_first", "retract", "lure")


def _exclude(truth: Truth, left: str, right: str) -> bool:
    a, b = truth.labels[left], truth.labels[right]
    same_question = (a.topic, a.facet) == (b.topic, b.facet)
    return same_question and a.value != b.value and not _two_tastes(truth, a, b)


def _two_tastes(truth: Truth, a: Label, b: Label) -> bool:
    """Two people's own tastes answer two questions."""
    if not (a.lesson and b.lesson) or a.lesson == b.lesson:
        return False
    return all(truth.by_id[x.lesson].tier == "individual" for x in (a, b))


def _pairs(count: int) -> int:
    return count * (count - 1) // 2
