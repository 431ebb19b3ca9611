"""The pure plan of an undo: what is in the way, what comes back, and what an undo of an undo is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sleep_runtime.consolidation.compare import pair_of
from sleep_runtime.consolidation.undo import plan_undo
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.observation import Claim, NoteKind
from sleep_runtime.core.proposal import CommittedDelta, DeltaKind, Judgement, Verdict
from sleep_runtime.core.run import Run, RunState, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.undo import Undoing

ANA = Scope("acme/banking/ana")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ACTIVE, CANDIDATE = NoteStatus.ACTIVE, NoteStatus.CANDIDATE
RETIRED = NoteStatus.RETIRED


def claim(name: str, value: str = "") -> Claim:
    slot = ("figures", "basis") if value else ("", "")
    return Claim(
        statement=f"lesson {name}",
        kind=NoteKind.CONVENTION,
        subject=slot[0],
        aspect=slot[1],
        value=value,
    )


class Chronicle:
    """Nights by number; each changes notes to a status, an undo restores a revision."""

    def __init__(self) -> None:
        self.history: dict[str, list[Note]] = {}
        self.deltas: list[CommittedDelta] = []
        self.numbers: dict[str, int] = {}

    def night(
        self,
        number: int,
        *changes: tuple[str, NoteStatus],
        restores: dict[str, int] | None = None,
        value: str = "",
    ) -> None:
        self.numbers[f"run{number}"] = number
        for note_id, status in changes:
            chain = self.history.setdefault(note_id, [])
            at = NOW + timedelta(days=number)
            chain.append(
                Note(
                    id=note_id,
                    scope=ANA,
                    claim=claim(note_id, value),
                    status=status,
                    confidence=0.1 * number,
                    valid_from=at,
                    recorded_at=at,
                    revision=len(chain) + 1,
                    reason=f"night {number}",
                )
            )
            self.deltas.append(
                CommittedDelta(
                    run_id=f"run{number}",
                    ordinal=0,
                    kind=DeltaKind.ADD,
                    note_id=note_id,
                    revision=len(chain),
                    scope=ANA,
                    code="x",
                    reason="x",
                    at=at,
                    restores=(restores or {}).get(note_id),
                )
            )

    def undo(self, number: int, judgements: dict[str, Judgement] | None = None) -> Undoing:
        target = Run(
            id=f"run{number}",
            scope=ANA,
            number=number,
            trigger=Trigger.MANUAL,
            state=RunState.PROJECTED,
            epoch=1,
            owner="t",
            planned_at=NOW,
            updated_at=NOW,
        )
        numbers = {key: n for key, n in self.numbers.items() if n >= number}
        deltas = [delta for delta in self.deltas if delta.run_id in numbers]
        touched = {delta.note_id for delta in deltas}
        newest = [chain[-1] for chain in self.history.values()]
        return plan_undo(
            target,
            numbers,
            deltas,
            {key: chain for key, chain in self.history.items() if key in touched},
            [note for note in newest if note.id not in touched and note.status is ACTIVE],
            judgements or {},
            now=NOW,
        )


def later(plan: Undoing) -> list[str]:
    return [item.run_id for item in plan.later]


def comes_to(plan: Undoing) -> Sequence[tuple[str, NoteStatus, int]]:
    return [(i.delta.note.id, i.delta.note.status, i.restores) for i in plan.restored]


def test_a_note_gets_the_revision_before_the_night_and_an_added_one_retires() -> None:
    story = Chronicle()
    story.night(1, ("a", CANDIDATE))
    story.night(2, ("a", ACTIVE), ("b", ACTIVE))
    plan = story.undo(2)
    assert later(plan) == []
    assert comes_to(plan) == [("a", CANDIDATE, 1), ("b", RETIRED, 0)]
    restored = plan.restored[0].delta.note
    kept = {"revision", "recorded_at", "reason"}
    assert restored.model_dump(exclude=kept) == story.history["a"][0].model_dump(exclude=kept)
    assert (restored.revision, restored.reason) == (3, "undone: run run2; as before: night 1")


def test_a_later_night_is_in_the_way_only_where_it_touched_the_same_notes() -> None:
    story = Chronicle()
    story.night(1, ("a", ACTIVE))
    story.night(2, ("b", ACTIVE))
    story.night(3, ("a", ACTIVE))
    assert later(story.undo(1)) == ["run3"]
    assert later(story.undo(2)) == []


def test_what_is_undone_with_a_night_draws_in_what_built_on_that() -> None:
    story = Chronicle()
    story.night(1, ("a", ACTIVE))
    story.night(2, ("a", ACTIVE), ("b", ACTIVE))
    story.night(3, ("b", ACTIVE), ("c", ACTIVE))
    story.night(4, ("c", ACTIVE))
    plan = story.undo(1)
    assert later(plan) == ["run4", "run3", "run2"]
    assert comes_to(plan) == [("a", RETIRED, 0), ("b", RETIRED, 0), ("c", RETIRED, 0)]


def test_a_later_night_that_was_undone_is_not_in_the_way() -> None:
    story = Chronicle()
    story.night(1, ("a", ACTIVE))
    story.night(2, ("a", RETIRED))
    story.night(3, ("a", ACTIVE), restores={"a": 1})
    plan = story.undo(1)
    assert later(plan) == []
    assert comes_to(plan) == [("a", RETIRED, 0)]


def test_an_undo_that_reaches_further_back_is_in_the_way() -> None:
    """The second night is back only once the first one is: its note stood on that."""
    story = Chronicle()
    story.night(1, ("a", CANDIDATE))
    story.night(2, ("a", ACTIVE))
    story.night(3, ("a", CANDIDATE), restores={"a": 1})  # undoes 2
    story.night(4, ("a", RETIRED), restores={"a": 0})  # undoes 1
    assert later(story.undo(3)) == ["run4"]
    plan = story.undo(4)
    assert later(plan) == []
    assert comes_to(plan) == [("a", CANDIDATE, 3)]


def test_a_night_that_was_brought_back_is_in_the_way_again() -> None:
    story = Chronicle()
    story.night(1, ("a", CANDIDATE))
    story.night(2, ("a", ACTIVE))
    story.night(3, ("a", CANDIDATE), restores={"a": 1})  # undoes 2
    story.night(4, ("a", ACTIVE), restores={"a": 2})  # undoes 3: 2 is back
    assert later(story.undo(1)) == ["run2"]


def test_what_came_into_force_meanwhile_and_excludes_what_comes_back_is_in_the_way() -> None:
    """A lesson faded, another answer took the slot: undoing the fading alone would show both."""
    story = Chronicle()
    story.night(1, ("a", ACTIVE), value="adjusted")
    story.night(2, ("a", RETIRED), value="adjusted")
    story.night(3, ("b", ACTIVE), value="reported")
    plan = story.undo(2)
    assert later(plan) == ["run3"]
    assert comes_to(plan) == [("a", ACTIVE, 1), ("b", RETIRED, 0)]


def test_what_an_engine_or_a_person_found_to_exclude_it_is_in_the_way_too() -> None:
    story = Chronicle()
    story.night(1, ("a", ACTIVE))
    story.night(2, ("a", RETIRED))
    story.night(3, ("b", ACTIVE))
    assert later(story.undo(2)) == []
    known = {pair_of(claim("a"), claim("b")).key: Judgement(verdict=Verdict.EXCLUDES)}
    assert later(story.undo(2, known)) == ["run3"]
