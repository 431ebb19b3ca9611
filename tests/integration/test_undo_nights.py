"""Undo over whole nights: what stood before a night stands again, and can be had back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daylight import (
    ADJUSTED,
    ANA,
    BEN,
    DAY,
    PORT,
    REPORTED,
    TEAM,
    TERSE,
    World,
    capture,
    event,
    runtime,
    scripted,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sleep_runtime.core.errors import Conflict, NotFound
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.run import Run, RunState, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.clock import ManualClock

SAID = (ADJUSTED.statement, REPORTED.statement, TERSE.statement, PORT.statement)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = ManualClock()
    with runtime(tmp_path, clock) as running:
        yield World(running, clock)


def state(world: World, scope: Scope) -> dict[str, Any]:
    """What is known at a scope: every note's content and evidence. What an undo retired is gone."""
    return {
        found.note.id: (
            found.note.model_dump(exclude={"revision", "recorded_at", "reason"}),
            sorted(item.model_dump_json() for item in found.evidence),
        )
        for found in world.running.ledger.dossiers(scope)
        if not added_and_undone(found.note)
    }


def added_and_undone(note: Note) -> bool:
    told = note.reason
    return told.startswith("undone: run ") and "as before" not in told


def night(world: World, scope: Scope = ANA) -> Run:
    world.clock.advance(DAY)
    done = [run for run in world.running.nights(scope) if run.scope == scope]
    assert done
    return done[-1]


def test_a_night_is_undone_and_can_be_had_back(world: World) -> None:
    world.say(ANA, ADJUSTED.statement)
    night(world)
    before = state(world, ANA)
    world.say(ANA, REPORTED.statement, TERSE.statement)
    second = night(world)
    after = state(world, ANA)
    assert world.active(ANA) != [ADJUSTED.statement]

    undone = world.running.undo(second.id)
    assert state(world, ANA) == before
    assert world.active(ANA) == [ADJUSTED.statement]
    assert undone.run is not None
    stored = world.running.ledger.run(undone.run.id)
    assert stored is not None
    assert (stored.trigger, stored.state) == (Trigger.UNDO, RunState.PROJECTED)
    assert stored.undoes == (second.id,)
    assert world.running.ledger.runs(ANA)[0] == stored
    assert world.running.ledger.marks(limit=9) == []

    world.running.undo(stored.id)
    assert state(world, ANA) == after


def test_history_and_evidence_of_an_undone_night_are_not_lost(world: World) -> None:
    world.say(ANA, ADJUSTED.statement)
    first = night(world)
    (note,) = world.notes(ANA)
    world.running.undo(first.id)
    assert [n.status for n in world.running.ledger.history(note.id)] == [
        NoteStatus.ACTIVE,
        NoteStatus.RETIRED,
    ]
    (kept,) = world.running.ledger.evidence(note.id)
    assert kept.undone


def test_undone_events_are_not_learned_from_again_and_new_words_are(world: World) -> None:
    world.say(ANA, ADJUSTED.statement)
    first = night(world)
    (note,) = world.notes(ANA)
    world.running.undo(first.id)
    assert world.running.nights(ANA) == [], "the events stay consumed"
    world.say(ANA, ADJUSTED.statement)
    night(world)
    assert world.active(ANA) == [ADJUSTED.statement]
    (again,) = world.notes(ANA, NoteStatus.ACTIVE)
    assert (again.id, again.support.events) == (note.id, 1), "what was taken back counts no more"


def test_a_note_that_comes_back_in_other_words_is_found_by_them(world: World) -> None:
    world.say(ANA, ADJUSTED.statement)
    night(world)
    world.say(ANA, REPORTED.statement)
    second = night(world)
    world.running.undo(second.id)
    (note,) = world.notes(ANA, NoteStatus.ACTIVE)
    (vector,) = world.running.ledger.vectors([note.id])
    assert vector.revision == note.revision
    assert world.running.embedder is not None
    assert vector.vector == world.running.embedder.embed([note.claim.statement])[0]


def test_later_nights_are_named_and_undone_only_when_asked(world: World) -> None:
    world.say(ANA, ADJUSTED.statement)
    first = night(world)
    world.say(ANA, ADJUSTED.statement)
    second = night(world)
    before = world.running.ledger.digest()
    with pytest.raises(Conflict, match=second.id) as refused:
        world.running.undo(first.id)
    assert "--cascade" in refused.value.mend
    assert world.running.ledger.digest() == before
    done = world.running.undo(first.id, cascade=True)
    assert done.undoes == (second.id, first.id)
    assert state(world, ANA) == {}


def test_a_run_is_undone_once_and_only_one_that_changed_something(world: World) -> None:
    world.say(ANA, "hello")
    empty = night(world)
    with pytest.raises(Conflict, match="changed nothing"):
        world.running.undo(empty.id)
    world.say(ANA, ADJUSTED.statement)
    first = night(world)
    undone = world.running.undo(first.id).run
    assert undone is not None
    with pytest.raises(Conflict, match=undone.id):
        world.running.undo(first.id)
    with pytest.raises(NotFound):
        world.running.undo("run_unknown")


def test_a_night_under_way_is_not_disturbed(world: World) -> None:
    world.say(ANA, ADJUSTED.statement)
    first = night(world)
    held = world.running.writer.acquire(ANA, "somebody", now=world.clock.now(), ttl_s=60)
    assert held is not None
    with pytest.raises(Conflict, match="under way"):
        world.running.undo(first.id)
    world.running.writer.release(held)
    world.running.undo(first.id)


def test_copies_that_had_folded_come_back_when_the_note_above_is_undone(world: World) -> None:
    for who in (ANA, BEN):
        world.say(who, ADJUSTED.statement)
    world.clock.advance(DAY)
    world.running.nights()
    assert (world.active(ANA), world.active(BEN)) == ([], [])
    assert world.active(TEAM) == [ADJUSTED.statement]
    promoted = next(
        run
        for run in world.running.ledger.runs(TEAM)
        if run.scope == TEAM and world.running.ledger.deltas(run.id)
    )
    plan = world.running.undo(promoted.id)
    assert {item.scope for item in plan.folded} == {ANA, BEN}
    assert world.active(TEAM) == []
    world.running.nights()
    assert world.active(ANA) == world.active(BEN) == [ADJUSTED.statement]

    assert plan.run is not None
    world.running.undo(plan.run.id)
    world.running.nights()
    assert world.active(TEAM) == [ADJUSTED.statement]
    assert (world.active(ANA), world.active(BEN)) == ([], [])


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    nights=st.lists(
        st.lists(st.sampled_from(SAID), min_size=1, max_size=3), min_size=2, max_size=5
    ),
    pick=st.integers(min_value=0, max_value=4),
)
def test_any_night_can_be_undone_with_what_built_on_it(
    tmp_path_factory: pytest.TempPathFactory, nights: list[list[str]], pick: int
) -> None:
    """Undone with everything after it, a night leaves exactly what stood before it."""
    clock = ManualClock()
    with runtime(tmp_path_factory.mktemp("night"), clock, scripted()) as running:
        world = World(running, clock)
        runs, before = [], []
        for said in nights:
            before.append(state(world, ANA))
            for text in said:
                clock.advance(1)
                capture(running, event(ANA, text, clock.now()))
            runs.append(night(world))
        chosen = pick % len(runs)
        undone: set[str] = set()
        for run in reversed(runs[chosen:]):
            if run.id in undone or not running.ledger.deltas(run.id):
                continue
            undone.update(running.undo(run.id, cascade=True).undoes)
        assert state(world, ANA) == before[chosen]
