"""Judge the notes a night left against the gold answers of the trail.

``check`` takes notes in their public JSON form and says in words what is wrong with them;
nothing to say means the night was good. ``check_context`` does the same for the prompt text that a
reader is given. Both are pure: no I/O, nothing of the runtime is imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

Note = dict[str, Any]
Lesson = dict[str, Any]


def check(notes: list[Note], gold: dict[str, Any]) -> list[str]:
    """Every problem of these notes, one sentence each. Notes that are not active don't count."""
    active = [note for note in notes if note["status"] == "active"]
    problems: list[str] = []
    for lesson in gold["lessons"]:
        problems += _lesson_problems(lesson, active)
    problems += _forbidden(active, gold["must_not"])
    if gold["nothing_else"]:
        problems += _unexpected(active, gold["lessons"])
    return problems


def check_context(text: str, gold: dict[str, Any], reader: str) -> list[str]:
    """What is missing in, or has no place in, the prompt text given to a reader at a scope."""
    problems: list[str] = []
    for lesson in gold["lessons"]:
        said = says(text, lesson["must_contain_all"])
        if sees(reader, lesson["scope"]) and not said and lesson["min_people"] > 1:
            problems.append(f"context for {reader}: {lesson['id']} is missing")
        if said and not sees(reader, lesson["scope"]):
            problems.append(f"context for {reader}: {lesson['id']} of {lesson['scope']} leaked")
    problems += [
        f"context for {reader}: states {rule['id']} ({rule['why']})"
        for rule in gold["must_not"]
        if says(text, rule["contains_all"])
    ]
    return problems


def sees(reader: str, scope: str) -> bool:
    """True when a reader at one scope path sees what is written at the other."""
    return reader == scope or reader.startswith(scope + "/")


def says(text: str, groups: Iterable[Iterable[str]]) -> bool:
    """True when the text holds one phrase of every group, whatever the case, hyphens and spaces."""
    plain = _plain(text)
    return all(any(_plain(phrase) in plain for phrase in group) for group in groups)


def _plain(text: str) -> str:
    return re.sub(r"[\s\-\u2010-\u2014]+", " ", text.casefold().replace("\u2019", "'"))


def _states(note: Note, groups: Iterable[Iterable[str]]) -> bool:
    return says(f"{note['statement']} {note.get('value') or ''}", groups)


def _lesson_problems(lesson: Lesson, active: list[Note]) -> Iterator[str]:
    stating = [note for note in active if _states(note, lesson["must_contain_all"])]
    home = [note for note in stating if note["scope"] == lesson["scope"]]
    if len(home) != 1:
        yield f"{lesson['id']}: {len(home)} active notes at {lesson['scope']}, expected one" + (
            "".join(f"; {_name(note)}" for note in home)
        )
    for note in stating:
        if note["scope"] != lesson["scope"]:
            yield f"{lesson['id']}: {_stray(note['scope'], lesson['scope'])}: {_name(note)}"
    for note in home:
        yield from _note_problems(lesson, note)


def _stray(scope: str, home: str) -> str:
    """Why a note has no place where it is."""
    if sees(scope, home):
        return f"not folded into the note of {home}"
    if sees(home, scope):
        return f"climbed above {home}"
    return f"outside of {home}"


def _note_problems(lesson: Lesson, note: Note) -> Iterator[str]:
    if note["kind"] not in lesson["kinds"]:
        expected = " or ".join(lesson["kinds"])
        yield f"{lesson['id']}: kind is {note['kind']}, expected {expected}: {_name(note)}"
    people = note["support"]["people"]
    if not lesson["min_people"] <= people <= len(lesson["people"]):
        most = len(lesson["people"])
        yield f"{lesson['id']}: {people} people, expected {lesson['min_people']} to {most}"
    if not set(note["evidence"]) & set(lesson["evidence"]):
        yield f"{lesson['id']}: none of its evidence is a turn that says it: {_name(note)}"


def _forbidden(active: list[Note], rules: list[dict[str, Any]]) -> Iterator[str]:
    for note in active:
        for rule in rules:
            if _states(note, rule["contains_all"]):
                yield f"{rule['id']}: {rule['why']} became a note: {_name(note)}"


def _unexpected(active: list[Note], lessons: list[Lesson]) -> Iterator[str]:
    for note in active:
        if not any(_states(note, lesson["must_contain_all"]) for lesson in lessons):
            yield f"unexpected note: {_name(note)}"


def _name(note: Note) -> str:
    return f"{note['statement']!r} at {note['scope']}"
