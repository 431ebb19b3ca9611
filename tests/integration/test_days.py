"""Days pass, nights happen: when a night is due, who runs it, and what is known in the morning."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from daylight import (
    ADJUSTED,
    ANA,
    BEN,
    DAN,
    DAY,
    HOUR,
    ONCE,
    ORG,
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

from sleep_runtime.actors.driver import RunDriver
from sleep_runtime.core.errors import LeaseLost
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.ports import Commit, LedgerWriter, ScoredNote
from sleep_runtime.core.run import Lease, Run, RunState, Schedule, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.spending import Cost
from sleep_runtime.present.registry import load_compilers
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.engine import ScriptedEngine

CADENCE_S, JITTER, COOLDOWN_S = 4 * 3600.0, 0.1, 600.0
SECOND = timedelta(seconds=1)


class Open:
    """Opens runtimes on one directory, one after the other, and closes the last one."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.clock = ManualClock()
        self._open = ExitStack()

    def __call__(self, engine: ScriptedEngine | None = None, **policy: Any) -> World:
        self.close()
        engine = engine or scripted()
        overrides = {f"policy.triggers.{name}": value for name, value in policy.items()}
        running = self._open.enter_context(runtime(self.data_dir, self.clock, engine, overrides))
        return World(running, self.clock, engine)

    def close(self) -> None:
        self._open.close()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    made = Open(tmp_path)
    yield made
    made.close()


@pytest.fixture
def world(opened: Open) -> World:
    return opened()


def schedule(world: World, scope: Scope) -> Schedule:
    found = world.running.ledger.schedule(scope)
    assert found is not None
    return found


# ---------------------------------------------------------------------------- when


def test_the_cadence_fires_within_its_jitter_and_not_before(opened: Open) -> None:
    world = opened(cadence_s=CADENCE_S, jitter=JITTER)
    world.say(ANA, "hello")
    assert world.tick() == ()
    began = world.clock.now()
    due = schedule(world, ANA).due_at
    assert due is not None
    assert abs((due - began).total_seconds() - CADENCE_S) <= CADENCE_S * JITTER
    world.clock.advance(due - began - SECOND)
    assert world.tick() == ()
    world.clock.advance(SECOND)
    assert world.tick() == (ANA,)
    (run,) = world.running.ledger.runs(ANA)
    assert (run.trigger, run.state) == (Trigger.CADENCE, RunState.PROJECTED)


def test_nothing_new_is_no_night_however_long_it_lasts(world: World) -> None:
    world.say(ANA, "hello")
    world.clock.advance(DAY)
    assert len(world.tick()) == 1, "it was pending all day, though nobody looked"
    for _ in range(30):
        world.clock.advance(DAY)
        assert world.tick() == ()


def test_jitter_spreads_the_scopes_over_its_whole_window(opened: Open) -> None:
    world = opened(cadence_s=CADENCE_S, jitter=JITTER)
    scopes = [Scope(f"acme/banking/user{number}") for number in range(60)]
    now = world.clock.now()
    capture(world.running, *(event(scope, "hello", now) for scope in scopes))
    assert world.tick() == ()
    waits = [_wait_s(schedule(world, scope), now) for scope in scopes]
    early, late = CADENCE_S * (1 - JITTER), CADENCE_S * (1 + JITTER)
    assert all(early <= wait <= late for wait in waits)
    assert len({round(wait) for wait in waits}) > 50
    quarter = (late - early) / 4
    for part in range(4):
        assert any(early + part * quarter <= w <= early + (part + 1) * quarter for w in waits)
    world.clock.advance(timedelta(seconds=early) - SECOND)
    assert world.tick() == ()
    world.clock.advance(timedelta(seconds=late - early) + SECOND)
    assert set(world.tick()) == set(scopes)


def _wait_s(found: Schedule, since: datetime) -> float:
    assert found.due_at is not None
    return (found.due_at - since).total_seconds()


@pytest.mark.parametrize(
    ("limit", "almost", "enough"),
    [
        ({"backlog_events": 5}, ["hm"] * 4, "hm"),
        ({"backlog_tokens": 100}, ["x" * 390], "y" * 60),
    ],
    ids=["events", "tokens"],
)
def test_a_backlog_fires_at_once_but_not_inside_the_cool_down(
    opened: Open, limit: dict[str, Any], almost: Sequence[str], enough: str
) -> None:
    world = opened(cooldown_s=COOLDOWN_S, **limit)
    world.say(ANA, *almost)
    assert world.tick() == ()
    world.say(ANA, enough)
    assert world.tick() == (ANA,)
    (first,) = world.running.ledger.runs(ANA)
    assert first.trigger is Trigger.BACKLOG
    world.say(ANA, *almost, enough)
    assert world.tick() == ()
    left = first.planned_at + timedelta(seconds=COOLDOWN_S) - world.clock.now()
    world.clock.advance(left - SECOND)
    assert world.tick() == ()
    world.clock.advance(SECOND)
    assert world.tick() == (ANA,)


def test_a_night_missed_while_the_runtime_was_down_happens_at_the_first_tick(
    opened: Open,
) -> None:
    world = opened()
    world.say(ANA, ADJUSTED.statement)
    assert world.tick() == ()
    opened.close()
    opened.clock.advance(3 * DAY)
    morning = opened()
    assert ANA in morning.tick()
    assert morning.active(ANA) == [ADJUSTED.statement]


# ---------------------------------------------------------------------------- who


class LateCommit:
    """A ledger writer in whose hands a commit waits until somebody else has run the scope."""

    def __init__(self, inner: LedgerWriter, meanwhile: Any) -> None:
        self._inner = inner
        self._meanwhile = meanwhile
        self.refused: list[LeaseLost] = []

    def commit(
        self, lease: Lease, run_id: str, commit: Commit, *, now: datetime, cost: Cost
    ) -> Run:
        self._meanwhile()
        try:
            return self._inner.commit(lease, run_id, commit, now=now, cost=cost)
        except LeaseLost as lost:
            self.refused.append(lost)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_two_drivers_never_run_one_scope_twice(world: World) -> None:
    """The second is refused while the lease lives, takes over after it, and shuts the first out."""
    parts = world.running.driver_parts
    second = RunDriver("second", parts)
    told: list[Run | None] = []
    digests: list[str] = []

    def meanwhile() -> None:
        told.append(second.consolidate(ANA))
        world.clock.advance(parts.pulse.ttl_s)
        told.append(second.consolidate(ANA))
        digests.append(world.running.ledger.digest())

    late = LateCommit(world.running.writer, meanwhile)
    first = RunDriver("first", replace(parts, writer=cast("LedgerWriter", late)))
    world.say(ANA, ADJUSTED.statement)
    assert world.tick() == ()
    assert first.consolidate(ANA) is None
    assert len(late.refused) == 1
    refused, taken = told
    assert refused is None
    assert taken is not None
    assert (taken.owner, taken.epoch, taken.state) == ("second", 2, RunState.PROJECTED)
    assert world.running.ledger.digest() == digests[0]
    assert [run.id for run in world.running.ledger.runs(ANA)] == [taken.id]
    assert len(world.engine.asked_sessions) == 1, "the second reads what the first had pinned"
    (note,) = world.notes(ANA)
    assert (note.revision, note.support.events) == (1, 1)


def test_two_schedulers_on_one_ledger_start_a_night_once(world: World) -> None:
    world.say(ANA, ADJUSTED.statement)
    world.tick()
    world.clock.advance(DAY)
    other = RunDriver("other", world.running.driver_parts)
    busy: list[Run | None] = []

    def ask_the_other(session: Any) -> Any:
        busy.append(other.consolidate(session.scope))
        return scripted().distil([session])[0]

    asking = ScriptedEngine(ask_the_other)
    world.running.driver = RunDriver("one", replace(world.running.driver_parts, engine=asking))
    assert ANA in world.tick()
    assert busy == [None]
    assert len(world.running.ledger.runs(ANA)) == 1


# ---------------------------------------------------------------------------- what


def test_an_event_that_arrives_late_is_taken_by_the_next_night(world: World) -> None:
    yesterday = world.clock.now() - DAY
    world.say(ANA, REPORTED.statement)
    world.running.nights()
    capture(world.running, event(ANA, PORT.statement, yesterday))
    world.running.nights()
    assert set(world.active(ANA)) == {REPORTED.statement, PORT.statement}
    port = next(note for note in world.notes(ANA) if note.claim == PORT)
    assert port.valid_from == yesterday


def test_what_was_said_earlier_does_not_win_by_arriving_later(world: World) -> None:
    yesterday = world.clock.now() - DAY
    world.say(ANA, ADJUSTED.statement)
    world.running.nights()
    capture(world.running, event(ANA, REPORTED.statement, yesterday))
    world.running.nights()
    assert world.active(ANA) == [ADJUSTED.statement]
    (older,) = world.notes(ANA, NoteStatus.SUPERSEDED)
    assert older.claim == REPORTED


def test_a_session_is_read_in_the_order_of_its_events_not_of_their_arrival(world: World) -> None:
    now = world.clock.now()
    times = [now + minutes * timedelta(minutes=1) for minutes in (2, 0, 1)]
    capture(
        world.running,
        *(event(ANA, f"turn {at:%M}", at, session="one", id=f"e{at:%M}") for at in times),
    )
    world.clock.advance(HOUR)
    world.running.nights()
    (session,) = world.engine.asked_sessions
    assert [turn.ts for turn in session.turns] == sorted(times)


def test_a_session_is_distilled_once_for_all_three_tiers(world: World) -> None:
    for who in (ANA, BEN, DAN):
        world.say(who, ADJUSTED.statement)
    world.running.nights()
    asked = [session.scope for session in world.engine.asked_sessions]
    assert sorted(asked) == [ANA, BEN, DAN]
    assert world.active(ORG) == [ADJUSTED.statement]
    assert world.notes(TEAM), "the team drew its own conclusion before it folded"
    for scope in (ANA, TEAM, ORG):
        assert schedule(world, scope).idle


def test_two_people_make_a_team_note_and_their_own_copies_fold(world: World) -> None:
    world.say(ANA, ADJUSTED.statement)
    world.running.nights()
    assert (world.active(ANA), world.active(TEAM)) == ([ADJUSTED.statement], [])
    world.say(BEN, ADJUSTED.statement)
    world.running.nights()
    assert (world.active(ANA), world.active(BEN)) == ([], [])
    (team,) = world.notes(TEAM, NoteStatus.ACTIVE)
    assert team.support.people == 2
    (folded,) = world.notes(ANA)
    assert (folded.status, folded.superseded_by) == (NoteStatus.RETIRED, team.id)
    assert world.active(ORG) == []


def test_three_people_of_two_teams_make_an_org_note(world: World) -> None:
    cleo = Scope("acme/banking/cleo")
    for who in (ANA, BEN, cleo):
        world.say(who, ADJUSTED.statement)
    world.running.nights()
    assert world.active(ORG) == [], "three people, but of one team"
    world.say(DAN, ADJUSTED.statement)
    world.running.nights()
    (org,) = world.notes(ORG, NoteStatus.ACTIVE)
    assert org.support.people == 4
    assert world.active(TEAM) == [], "the team's copy folds into it"


def test_one_person_never_climbs_however_often_they_say_it(world: World) -> None:
    for _ in range(20):
        world.say(ANA, ADJUSTED.statement)
        world.clock.advance(HOUR)
    world.running.nights()
    assert world.active(ANA) == [ADJUSTED.statement]
    assert world.active(TEAM) == world.active(ORG) == []
    (note,) = world.notes(ANA)
    assert (note.support.sessions, note.support.people) == (20, 1)


def test_a_preference_never_climbs(world: World) -> None:
    for who in (ANA, BEN, DAN, Scope("acme/retail/eve")):
        world.say(who, TERSE.statement)
    world.running.nights()
    assert world.active(ANA) == world.active(DAN) == [TERSE.statement]
    assert world.notes(TEAM) == world.notes(ORG) == []


def test_the_same_lesson_ten_times_is_one_note_with_more_confidence(world: World) -> None:
    seen = []
    for _ in range(10):
        world.say(ANA, ADJUSTED.statement)
        world.running.nights()
        (note,) = world.notes(ANA)
        seen.append(note.confidence)
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


def test_a_change_of_mind_supersedes_and_as_of_still_finds_the_old_one(world: World) -> None:
    world.say(ANA, REPORTED.statement)
    world.running.nights()
    before = world.clock.now()
    world.clock.advance(DAY)
    world.say(ANA, ADJUSTED.statement)
    world.running.nights()
    assert world.active(ANA) == [ADJUSTED.statement]
    (old,) = world.notes(ANA, NoteStatus.SUPERSEDED)
    (new,) = world.notes(ANA, NoteStatus.ACTIVE)
    assert (old.claim, old.superseded_by) == (REPORTED, new.id)
    assert old.valid_to is not None
    (then,) = world.running.ledger.notes([ANA], as_of=before)
    assert (then.claim, then.status) == (REPORTED, NoteStatus.ACTIVE)


def test_a_one_off_and_a_tools_text_leave_nothing(world: World) -> None:
    world.say(ANA, ONCE.statement)
    world.say(ANA, f"note for agents: {PORT.statement}", role="tool", kind="tool_result")
    world.say(ANA, "thanks, read that file", session="tools")
    world.say(ANA, ADJUSTED.statement, role="tool", kind="tool_result", session="tools")
    runs = world.running.nights()
    assert world.running.ledger.notes() == []
    assert all(run.reason for run in runs), "a night without effect says why"


# ---------------------------------------------------------------------------- our own words


@pytest.mark.parametrize("name", ["markdown", "budget"])
def test_our_own_context_fed_back_teaches_nothing(world: World, name: str) -> None:
    world.say(ANA, ADJUSTED.statement, PORT.statement)
    world.running.nights()
    known = world.notes(ANA)
    shown = [ScoredNote(note=note, score=1.0) for note in known]
    compiled = load_compilers()[name].compile(shown, query="EBITDA", budget_tokens=800)
    assert ADJUSTED.statement in compiled.text
    world.clock.advance(DAY)
    world.say(ANA, compiled.text)
    world.say(ANA, f"Here is what we know.\n{compiled.text}\nNow, the deck please.")
    world.running.nights()
    assert world.notes(ANA) == known


def test_a_retrieved_lesson_that_is_repeated_in_the_session_is_not_support(world: World) -> None:
    world.say(ANA, ADJUSTED.statement)
    world.running.nights()
    known = world.notes(ANA)
    world.clock.advance(DAY)
    world.say(ANA, ADJUSTED.statement, role="tool", kind="retrieval", session="later")
    world.say(ANA, ADJUSTED.statement, session="later")
    world.running.nights()
    assert world.notes(ANA) == known


# ---------------------------------------------------------------------------- the index


def test_an_index_directory_that_was_deleted_is_repaired_from_the_ledger(opened: Open) -> None:
    world = opened()
    world.say(ANA, ADJUSTED.statement, PORT.statement)
    world.running.nights()
    opened.close()
    shutil.rmtree(opened.data_dir / "index")
    again = opened()
    ledger, index = again.running.ledger, again.running.index
    assert index.revisions(ledger.generation()) == {}
    report = again.running.projector.reconcile()
    assert (report.missing, report.repaired) == (2, 2)
    held = {note.id: note.revision for note in again.notes(ANA, NoteStatus.ACTIVE)}
    assert index.revisions(ledger.generation()) == held
    assert again.running.projector.reconcile().repaired == 0
