"""Nights without effect are told from the rows of the runs."""

from __future__ import annotations

from datetime import UTC, datetime

from sleep_runtime.consolidation.effect import (
    WITHOUT_EFFECT,
    had_input,
    sentence,
    streak,
    top_reasons,
)
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.observation import Claim, NoteKind
from sleep_runtime.core.proposal import Delta, DeltaKind
from sleep_runtime.core.run import CursorRange, Run, RunState, Trigger
from sleep_runtime.core.scope import Scope

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
ANA = Scope("acme/banking/ana")
DELTA = Delta(
    kind=DeltaKind.ADD,
    note=Note(
        id="n",
        scope=ANA,
        claim=Claim(statement="x", kind=NoteKind.FACT),
        status=NoteStatus.ACTIVE,
        confidence=0.5,
        valid_from=NOW,
        recorded_at=NOW,
    ),
    code="new",
    reason="x",
)


def run(observed: int = 0, **counts: int) -> Run:
    return Run(
        id="r",
        scope=ANA,
        number=2,
        trigger=Trigger.CADENCE,
        state=RunState.PROJECTED,
        epoch=1,
        owner="o",
        planned_at=NOW,
        updated_at=NOW,
        observations=CursorRange(after=0, upto=observed),
        counts={name.replace("__", "."): count for name, count in counts.items()},
    )


def after(nights: int) -> Run:
    return run().model_copy(update={"counts": {WITHOUT_EFFECT: nights}})


def test_input_is_an_event_read_or_an_observation_weighed() -> None:
    assert had_input(run(events=1))
    assert had_input(run(observed=1))
    assert not had_input(run())


def test_a_row_grows_with_input_and_ends_with_a_change() -> None:
    assert streak(run(events=5), None, ()) == 1
    assert streak(run(events=5), after(2), ()) == 3
    assert streak(run(events=5), after(2), [DELTA]) == 0


def test_a_night_without_input_neither_counts_nor_ends_the_row() -> None:
    assert streak(run(), after(2), ()) == 2
    assert streak(run(), None, ()) == 0


def test_the_commonest_reasons_are_named_and_no_counts_of_work() -> None:
    counts = run(
        events=90,
        observations=40,
        proposals=30,
        drop__one_off=12,
        wait__not_recurring_yet=4,
        drop__untrusted=1,
        drop__already_known=1,
        keep__standing=9,
        delta__add=3,
    ).counts
    top = "drop.one_off 12, wait.not_recurring_yet 4, drop.already_known 1"
    assert top_reasons(counts) == top
    assert sentence(3, counts) == f"3 nights in a row without effect: {top}"
    assert sentence(3, {}).endswith("there was nothing to learn")
