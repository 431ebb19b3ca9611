"""Explain: what went wrong, and with which sentences. For the development split only.

Whoever writes rules must not see a sentence of the evaluation split, so this refuses it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from benchmarks.sharpness.bank import TECHNIQUES
from benchmarks.sharpness.corpus import Trail
from benchmarks.sharpness.measured import Measured
from benchmarks.sharpness.truth import Lesson, Note
from benchmarks.sharpness.view import View

WIDTH = 150


def explain(trail: Trail, view: View) -> Iterator[str]:
    """Lines to read. Raises ``ValueError`` for the evaluation split."""
    if trail.truth.split != "dev":
        raise ValueError("only the development split may be explained")
    return _Explainer(trail, view).lines()


class _Explainer:
    def __init__(self, trail: Trail, view: View) -> None:
        self.m = Measured(trail.truth, view)
        self.truth, self.view = trail.truth, view
        self.events = {event["id"]: event for event in trail.events}
        self.holding: dict[str, list[Note]] = defaultdict(list)
        for note in view.notes:
            for event in note["evidence"]:
                self.holding[event].append(note)

    def lines(self) -> Iterator[str]:
        yield from self._missed()
        yield from self._duplicates()
        yield from self._false()
        yield from self._misplaced()
        yield from self._change()
        yield from self._unwanted()

    def _missed(self) -> Iterator[str]:
        missed = [x for x in self.truth.kept if not self.m.current.get(x.id)]
        yield f"== lessons not stated: {len(missed)} of {len(self.truth.kept)}"
        for lesson in sorted(missed, key=lambda x: x.cls):
            yield self._head(lesson)
            yield from self._turns(lesson.events | lesson.aside)

    def _duplicates(self) -> Iterator[str]:
        many = {id_: notes for id_, notes in self.m.current.items() if len(notes) > 1}
        kept = {id_: notes for id_, notes in many.items() if self.truth.by_id[id_].kept}
        yield f"== lessons stated more than once: {len(kept)}"
        for id_, notes in kept.items():
            yield self._head(self.truth.by_id[id_])
            for note in notes:
                yield f"    {_note(note)}"

    def _false(self) -> Iterator[str]:
        false = [note for note in self.m.active if not self.m.right(note)]
        yield f"== notes that state no kept lesson: {len(false)} of {len(self.m.active)}"
        for note in false:
            yield f"  {_note(note)}"
            yield from self._turns(note["evidence"], notes=False)

    def _misplaced(self) -> Iterator[str]:
        wrong = []
        for lesson in self.truth.kept:
            notes = self.m.current.get(lesson.id, [])
            if notes and all(note["scope"] != lesson.owner for note in notes):
                wrong.append((lesson, notes))
        yield f"== stated, but not at the right scope: {len(wrong)}"
        for lesson, notes in wrong:
            yield self._head(lesson)
            for note in notes:
                yield f"    {_note(note)}"

    def _change(self) -> Iterator[str]:
        stale = [x for x in self.m.changed if self.m.old.get(x.id)]
        yield f"== changed lessons whose old value is active: {len(stale)} of {len(self.m.changed)}"
        for lesson in stale:
            yield self._head(lesson)
            for note in (*self.m.old[lesson.id], *self.m.current.get(lesson.id, ())):
                yield f"    {_note(note)}"
                yield from self._turns(note["evidence"], notes=False)

    def _unwanted(self) -> Iterator[str]:
        once = [
            (one, note)
            for one in self.truth.one_offs
            for note in self.m.active
            if self.m.reading.states_one_off(note, one)
        ]
        kept = len({one.event for one, _ in once})
        yield f"== one-offs kept: {kept} of {len(self.truth.one_offs)}"
        for one, note in once:
            yield f"  {_note(note)}"
            yield from self._turns([one.event], notes=False)
        gone = [x for x in self.truth.lessons if x.cls == "retracted"]
        held = [x for x in gone if self.m.current.get(x.id)]
        yield f"== taken back but still stated: {len(held)} of {len(gone)}"
        for lesson in held:
            yield self._head(lesson)
            yield from self._turns(lesson.events | lesson.aside)
        words = [w for name in TECHNIQUES for w in self.truth.canaries[name]]
        bad = [n for n in self.m.active if any(w in n["statement"].lower() for w in words)]
        yield f"== poison kept: {len(bad)}"
        for note in bad:
            yield f"  {_note(note)}"
            yield from self._turns(note["evidence"], notes=False)

    def _head(self, lesson: Lesson) -> str:
        old = f" (was {lesson.old.id})" if lesson.old else ""
        return (
            f"  {lesson.id} {lesson.cls} {lesson.owner} {lesson.facet or '-'} "
            f"{lesson.topic.key} = {lesson.value.id}{old}"
        )

    def _turns(self, ids: Iterable[str], *, notes: bool = True) -> Iterator[str]:
        for id_ in sorted(ids, key=lambda x: self.events[x]["ts"] if x in self.events else ""):
            event = self.events.get(id_)
            if event is None:
                continue
            label = self.truth.labels.get(id_)
            said = f"{label.cls}={label.value}" if label else event["role"]
            about = ",".join(event["about"].values()) or "-"
            where = f"{event['scope']['team']}/{event['scope']['user']}"
            text = event["text"].replace("\n", " / ")[:WIDTH]
            yield f"      {event['ts'][5:16]} {where} {event['kind'][:4]} [{about}] {said}: {text}"
            if notes:
                for note in self.holding[id_]:
                    yield f"          -> {_note(note)}"


def _note(note: Note) -> str:
    slot = "/".join(note.get(key) or "-" for key in ("subject", "aspect", "value"))
    about = ",".join(note.get("about", {}).values()) or "-"
    return (
        f"{note['status']} {note['scope']} [{about}] {note['statement'][:WIDTH]!r} "
        f"<{slot}> {len(note['evidence'])} ev {note.get('reason', '')[:60]}"
    )
