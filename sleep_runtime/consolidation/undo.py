"""Undo: what it takes to stand where a scope stood before a night.

Nothing is deleted. A note gets a new revision equal to the one before the night; one that the
night added is retired. The events stay consumed, and what they said for a note stays known as
taken back, so that the same words do not bring it back.

Revisions of a note form a chain, and an undo leads back along it: its revision *restores* an
earlier one. A run is in the way when a note still stands on what that run made of it after the run
to undo; or when it brought into force what cannot be true beside a note that comes back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from sleep_runtime.consolidation.circle import Circle
from sleep_runtime.consolidation.compare import Tie
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.proposal import CommittedDelta, Delta, DeltaKind, Judgement
from sleep_runtime.core.run import Run
from sleep_runtime.core.undo import BuiltOn, Restored, Undoing

History = Mapping[str, Sequence[Note]]
"""The revisions of notes by note id, oldest first; revision n at place n - 1."""


def plan_undo(
    target: Run,
    numbers: Mapping[str, int],
    deltas: Sequence[CommittedDelta],
    history: History,
    beside: Sequence[Note],
    judgements: Mapping[str, Judgement],
    *,
    now: datetime,
) -> Undoing:
    """How to take ``target`` back, together with the later runs that built on it.

    ``numbers`` has the number of each run of the scope from the target on, ``deltas`` what these
    changed, and ``history`` the notes they changed. ``beside`` are the notes in force that none of
    them touched; ``judgements`` what is known to exclude what.
    """
    chains = _Chains(numbers, deltas, history)
    reasons: dict[str, set[str]] = {target.id: set()}
    while True:
        restored = chains.restored(reasons, target.id, now)
        found = chains.built_on(reasons)
        for run_id, notes in chains.excluded(restored, reasons, beside, judgements).items():
            found.setdefault(run_id, set()).update(notes)
        if found.keys() <= reasons.keys():
            break
        for run_id, notes in found.items():
            reasons.setdefault(run_id, set()).update(notes)
    later = [
        BuiltOn(run_id=run_id, number=numbers[run_id], notes=tuple(sorted(notes)))
        for run_id, notes in reasons.items()
        if run_id != target.id
    ]
    later.sort(key=lambda item: -item.number)
    return Undoing(
        target=target.id, scope=target.scope, later=tuple(later), restored=tuple(restored)
    )


class _Chains:
    """The chains of the notes that the runs from the target on changed."""

    def __init__(
        self, numbers: Mapping[str, int], deltas: Sequence[CommittedDelta], history: History
    ) -> None:
        self._numbers = numbers
        self._history = history
        self._made: dict[str, dict[int, CommittedDelta]] = defaultdict(dict)
        for delta in deltas:
            self._made[delta.note_id][delta.revision] = delta

    def built_on(self, undone: Mapping[str, object]) -> dict[str, set[str]]:
        """The runs on which notes stand after one of ``undone`` changed them, with these notes."""
        found: dict[str, set[str]] = defaultdict(set)
        for note_id, made in self._made.items():
            own = [r for r, delta in made.items() if delta.run_id in undone]
            if not own:
                continue
            for run_id in self._since(note_id, self._last_of_earliest(note_id, own)):
                found[run_id].add(note_id)
        return found

    def restored(self, undone: Mapping[str, object], target: str, now: datetime) -> list[Restored]:
        """What undoing all of these runs at once comes to, by note id."""
        changes = []
        for note_id in sorted(self._made):
            own = [r for r, delta in self._made[note_id].items() if delta.run_id in undone]
            if own:
                changes.append(self._restore(note_id, min(own) - 1, target, now))
        return changes

    def excluded(
        self,
        restored: Sequence[Restored],
        undone: Mapping[str, object],
        beside: Sequence[Note],
        judgements: Mapping[str, Judgement],
    ) -> dict[str, set[str]]:
        """Runs that brought into force what excludes a note that comes back into force."""
        back = {item.delta.note.id: item.delta.note for item in restored}
        shown = {
            note.id: note
            for note in (*beside, *(chain[-1] for chain in self._history.values()))
            if note.id not in back and note.status is NoteStatus.ACTIVE
        }
        circle = Circle({key: (note.claim,) for key, note in shown.items()}, judgements)
        found: dict[str, set[str]] = defaultdict(set)
        for note in back.values():
            if note.status is not NoteStatus.ACTIVE or self._history[note.id][-1] == note:
                continue
            for rival, tie in circle.ties((note.claim,)).items():
                run_id = self._came_into_force(rival, undone)
                if tie in (Tie.EXCLUDES, Tie.UNSURE) and run_id:
                    found[run_id].add(rival)
        return found

    def _came_into_force(self, note_id: str, undone: Mapping[str, object]) -> str:
        """The run after the earliest undone one that made it active; empty if it was before."""
        for revision in sorted(self._made.get(note_id, {})):
            delta = self._made[note_id][revision]
            if self._numbers[delta.run_id] <= self._earliest(undone):
                continue
            before = self._history[note_id][revision - 2].status if revision > 1 else None
            if before is NoteStatus.ACTIVE:
                return ""
            if self._history[note_id][revision - 1].status is NoteStatus.ACTIVE:
                return delta.run_id
        return ""

    def _earliest(self, undone: Mapping[str, object]) -> int:
        return min(self._numbers[run_id] for run_id in undone)

    def _last_of_earliest(self, note_id: str, revisions: Sequence[int]) -> int:
        """The last of these revisions that belongs to the earliest of their runs."""
        made = self._made[note_id]
        return max(revisions, key=lambda r: (-self._numbers[made[r].run_id], r))

    def _since(self, note_id: str, revision: int) -> Iterator[str]:
        """The runs that made what the newest revision is, after ``revision``, newest first.

        An undo of what came after ``revision`` leads past what it took back.
        """
        place = len(self._history[note_id])
        while place > revision:
            delta = self._made[note_id][place]
            if delta.restores is None or delta.restores < revision:
                yield delta.run_id
                place -= 1
            else:
                place = delta.restores

    def _restore(self, note_id: str, restores: int, target: str, now: datetime) -> Restored:
        chain = self._history[note_id]
        newest = chain[-1]
        reason = f"undone: run {target}"
        if restores:
            kind, before = DeltaKind.RESTORE, chain[restores - 1]
            before = before.model_copy(update={"reason": f"{reason}; as before: {before.reason}"})
        else:
            kind = DeltaKind.RETIRE
            gone = {"status": NoteStatus.RETIRED, "superseded_by": "", "valid_to": now}
            before = newest.model_copy(update={**gone, "reason": reason})
        note = before.model_copy(update={"revision": newest.revision + 1, "recorded_at": now})
        delta = Delta(kind=kind, note=note, code="undone", reason=reason)
        return Restored(delta=delta, restores=restores)
