"""Erasing: what goes, what stays and on what, who is kept away meanwhile, and the proof."""

from __future__ import annotations

import json
import shutil
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
    SCRIPT,
    TEAM,
    TERSE,
    VERDICTS,
    World,
    claim,
    runtime,
)
from starlette.testclient import TestClient

from sleep_runtime.consolidation import settle
from sleep_runtime.core.erasure import Target
from sleep_runtime.core.errors import Conflict, InvalidInput, LeaseLost, StoreError
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.proposal import Verdict
from sleep_runtime.core.run import RunState, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.present import scopes
from sleep_runtime.present.search import Searcher
from sleep_runtime.stores import eraser, needles
from sleep_runtime.stores.backup import back_up, verify
from sleep_runtime.stores.backup.manifest import manifest_digest
from sleep_runtime.stores.backup.register import partial_of, registered
from sleep_runtime.stores.context_dir import export
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.erase_in import erase_in, erased, reapply
from sleep_runtime.stores.exports import remember
from sleep_runtime.stores.forgetter import Forgetter
from sleep_runtime.stores.journal import SqliteJournal
from sleep_runtime.stores.ledger import SqliteLedger, forgetting
from sleep_runtime.stores.ledger.scrubbing import Scrubber
from sleep_runtime.stores.scan import Finder, scan
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.engine import Line, ScriptedEngine

CLEO = Scope("acme/banking/cleo")
# The same lesson in somebody else's words.
OTHER_WORDS = claim("please take adjusted EBITDA as the basis", "adjusted")
SAME = {(ADJUSTED.statement, OTHER_WORDS.statement): Verdict.SAME}


@pytest.fixture(autouse=True)
def judged_by_the_script_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store's statistics make of one line is no matter of this file."""
    monkeypatch.setattr(settle, "measured", lambda *_: {})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = ManualClock()
    script = {**SCRIPT, OTHER_WORDS.statement: [Line(OTHER_WORDS)]}
    engine = ScriptedEngine(script, {**VERDICTS, **SAME})
    with runtime(tmp_path / "data", clock, engine) as running:
        yield World(running, clock, engine)


def nights(world: World) -> None:
    """Days until nothing is due any more."""
    world.clock.advance(DAY)
    while world.tick():
        pass


def left(world: World, *needles_: str) -> list[str]:
    directory = world.running.settings.data_dir
    return [hit.file for hit in scan(directory, Finder(needles_)).hits]


# ---------------------------------------------------------------------------- what goes and stays


def test_what_rested_on_the_erased_alone_goes_with_all_its_traces(world: World) -> None:
    world.say(ANA, TERSE.statement, session="session-of-ana")
    nights(world)
    assert world.active(ANA) == [TERSE.statement]
    assert left(world, TERSE.statement, "session-of-ana")
    receipt = world.running.erase(ANA)
    assert world.notes(ANA) == []
    counts = world.running.ledger.counts()
    nouns = ("notes", "revisions", "evidence", "vectors", "pins", "runs", "proposals", "deltas")
    assert {noun: counts[noun] for noun in nouns} == dict.fromkeys(nouns, 0)
    assert left(world, TERSE.statement, "session-of-ana") == []
    assert receipt["scan"]["erased_hits"] == 0
    assert receipt["digests_before"] != receipt["digests_after"]
    assert TERSE.statement not in json.dumps(receipt)


def test_what_others_support_stays_with_less_support_and_less_belief(world: World) -> None:
    for who in (ANA, BEN, CLEO):
        world.say(who, ADJUSTED.statement)
    nights(world)
    nights(world)
    (before,) = world.notes(TEAM)
    receipt = world.running.erase(ANA)
    (after,) = world.notes(TEAM)
    assert (before.support.people, after.support.people) == (3, 2)
    assert after.confidence < before.confidence
    assert after.status is NoteStatus.ACTIVE
    kept = {one["note"]: one for one in receipt["kept"]}[after.id]
    assert (kept["support_before"]["people"], kept["support_after"]["people"]) == (3, 2)
    assert kept["why"] == "2 others said it too"
    said = [item.person for item in world.running.ledger.evidence(after.id)]
    assert all("ana" not in person for person in said)
    assert all(
        set(one.evidence) <= set(after.evidence) for one in world.running.ledger.history(after.id)
    )


def test_too_little_left_takes_it_from_view_and_the_copy_below_comes_back(world: World) -> None:
    world.say(ANA, ADJUSTED.statement)
    world.say(BEN, ADJUSTED.statement)
    nights(world)
    nights(world)
    assert (world.active(TEAM), world.active(BEN)) == ([ADJUSTED.statement], [])
    world.running.erase(ANA)
    assert world.active(TEAM) == []
    nights(world)
    assert world.active(BEN) == [ADJUSTED.statement]


def test_a_note_in_the_words_of_the_erased_is_put_in_the_words_of_who_stays(world: World) -> None:
    world.say(ANA, ADJUSTED.statement)
    world.clock.advance(1)
    world.say(BEN, OTHER_WORDS.statement)
    world.say(CLEO, OTHER_WORDS.statement)
    nights(world)
    nights(world)
    (note,) = world.notes(TEAM)
    mine, other = ADJUSTED.statement, OTHER_WORDS.statement
    gone, stays = (ANA, other) if note.claim.statement == mine else (None, mine)
    for who in [gone] if gone else [BEN, CLEO]:
        world.running.erase(who)
    (after,) = world.notes(TEAM)
    assert after.claim.statement == stays
    words = {one.claim.statement for one in world.running.ledger.history(note.id)}
    assert words == {stays}, "an earlier revision still says it in the erased words"
    (vector,) = world.running.ledger.vectors([note.id])
    assert world.running.embedder is not None
    assert vector.vector == world.running.embedder.embed([stays])[0]
    assert left(world, mine if gone else other) == []


def test_what_the_erased_had_replaced_holds_again(world: World) -> None:
    world.say(TEAM, ADJUSTED.statement, session="first-session")
    nights(world)
    world.say(TEAM, REPORTED.statement, session="second-session")
    nights(world)
    assert world.active(TEAM) == [REPORTED.statement]
    world.running.erase(TEAM, session="second-session")
    assert world.active(TEAM) == [ADJUSTED.statement]
    (note,) = world.notes(TEAM)
    assert note.superseded_by == ""
    assert left(world, REPORTED.statement, "second-session") == []


def test_one_event_goes_and_the_rest_of_its_session_stays(world: World) -> None:
    world.say(ANA, TERSE.statement, id="event-to-be-erased", session="one-session")
    world.say(ANA, PORT.statement, session="one-session")
    nights(world)
    receipt = world.running.erase(ANA, event="event-to-be-erased")
    assert world.active(ANA) == [PORT.statement]
    assert receipt["removed"]["events"] == 1
    assert left(world, TERSE.statement, "event-to-be-erased") == []
    assert "event-to-be-erased" not in json.dumps(receipt), "its name is kept as a salted hash"
    assert left(world, "one-session"), "others of the session are still there"


def test_a_name_of_two_letters_is_gone_though_no_scan_could_tell(world: World) -> None:
    world.say(ANA, TERSE.statement, id="e1", session="s1")
    world.say(ANA, PORT.statement, id="e2", session="s2")
    nights(world)
    receipt = world.running.erase(ANA, session="s1")
    assert receipt["looked_for"]["too_short"] == 2
    names = {
        item.event_id
        for note in world.notes(ANA)
        for item in world.running.ledger.evidence(note.id)
    }
    assert names == {"e2"}


def test_positions_are_never_given_out_twice_and_the_next_night_reads_on(world: World) -> None:
    world.say(ANA, TERSE.statement)
    nights(world)
    last = world.running.journal_reader.last_seq()
    world.running.erase(Scope("acme"))
    assert world.running.journal_reader.last_seq() == last
    world.say(ANA, PORT.statement)
    assert world.running.journal_reader.last_seq() == last + 1
    nights(world)
    assert world.active(ANA) == [PORT.statement]


def test_erasing_what_no_night_has_read_leaves_nothing_pending(world: World) -> None:
    world.say(ANA, TERSE.statement)
    world.running.erase(ANA)
    world.clock.advance(DAY)
    world.tick()
    assert world.running.ledger.pending(None).events == 0
    assert world.notes(ANA) == []


# ---------------------------------------------------------------------------- meanwhile


def test_a_night_under_way_is_fenced_out_and_can_commit_nothing(world: World) -> None:
    world.say(ANA, TERSE.statement)
    world.running.scheduler.request(None)
    writer, now = world.running.writer, world.clock.now()
    lease = writer.acquire(ANA, "a night", now=now, ttl_s=600)
    assert lease is not None
    run = writer.plan(
        lease, now=now, trigger=Trigger.MANUAL, requested="", journal_upto=9, max_observations=9
    )
    assert run is not None
    asked = world.running.eraser.request(Target(scope=ANA))
    with pytest.raises(LeaseLost):
        writer.generated(lease, run.id, [], events=1, tokens=1, counts={}, now=now)
    assert writer.acquire(ANA, "another night", now=now + 9 * DAY, ttl_s=60) is None
    world.running.eraser.finish(asked.id)
    assert world.running.ledger.run(run.id) is None
    assert writer.acquire(ANA, "another night", now=now, ttl_s=60) is not None


def test_a_run_above_that_had_read_it_is_planned_anew(world: World) -> None:
    world.say(ANA, ADJUSTED.statement)
    world.clock.advance(DAY)
    world.running.driver.consolidate(ANA)
    writer, now = world.running.writer, world.clock.now()
    lease = writer.acquire(TEAM, "a night", now=now, ttl_s=600)
    assert lease is not None
    run = writer.plan(
        lease, now=now, trigger=Trigger.MANUAL, requested="", journal_upto=0, max_observations=9
    )
    assert run is not None
    world.running.erase(ANA)
    found = world.running.ledger.run(run.id)
    assert found is not None
    assert found.state is RunState.ABANDONED


def test_what_is_captured_after_it_was_asked_is_new_and_stays(world: World) -> None:
    world.say(ANA, TERSE.statement, session="the-old-session")
    asked = world.running.eraser.request(Target(scope=ANA))
    world.running.eraser._gather(asked)
    world.say(ANA, PORT.statement, session="the-new-session")
    world.running.eraser.finish(asked.id)
    nights(world)
    assert world.active(ANA) == [PORT.statement]
    assert left(world, "the-new-session")
    assert left(world, "the-old-session") == []


def test_asking_again_while_it_is_under_way_is_the_same_erasure(world: World) -> None:
    world.say(ANA, TERSE.statement)
    first = world.running.eraser.request(Target(scope=ANA))
    assert world.running.eraser.request(Target(scope=ANA)).id == first.id
    assert world.running.eraser.request(Target(scope=ANA, session="x")).id != first.id
    assert all(one.over for one in world.running.eraser.resume())
    assert not list(world.running.settings.data_dir.glob("*erasing-*"))


def test_an_erasure_is_never_undone_and_no_undo_leads_past_it(world: World) -> None:
    for who in (ANA, BEN, CLEO):
        world.say(who, ADJUSTED.statement)
    nights(world)
    nights(world)
    world.running.erase(ANA)
    own = world.running.ledger.runs(TEAM, limit=1)[0]
    assert own.trigger is Trigger.ERASURE
    with pytest.raises(Conflict, match="erased what somebody said"):
        world.running.undo(own.id)
    earlier = next(
        run
        for run in world.running.ledger.runs(TEAM)
        if run.scope == TEAM and run.id != own.id and world.running.ledger.deltas(run.id)
    )
    with pytest.raises(Conflict, match="erased what somebody said"):
        world.running.undo(earlier.id, cascade=True)


# ---------------------------------------------------------------------------- copies elsewhere


def test_remembered_exports_are_made_again_and_others_are_named(
    world: World, tmp_path: Path
) -> None:
    world.say(ANA, TERSE.statement)
    world.say(BEN, PORT.statement)
    nights(world)
    directory, to = world.running.settings.data_dir, tmp_path / "export"
    export(world.running.ledger.notes(statuses=[NoteStatus.ACTIVE]), to)
    remember(directory, to, scope="")
    remember(directory, tmp_path / "taken away", scope="acme")
    assert scan(to, Finder([TERSE.statement])).hits
    there, away = world.running.erase(ANA)["exports"]
    assert scan(to, Finder([TERSE.statement])).hits == ()
    assert scan(to, Finder([PORT.statement])).hits
    assert (there["reached"], away["reached"]) == (True, False)
    assert away["mend"] == f"sleep-runtime export --to {tmp_path / 'taken away'} --scope acme"


def test_backups_within_reach_are_erased_in_and_others_are_named(
    world: World, tmp_path: Path
) -> None:
    world.say(ANA, TERSE.statement)
    nights(world)
    backup = saved(world, tmp_path / "backup")
    directory = world.running.settings.data_dir
    saved(world, tmp_path / "on a tape").rename(tmp_path / "elsewhere")
    assert scan(backup, Finder([TERSE.statement])).hits
    told = {Path(one["path"]).name: one for one in world.running.erase(ANA)["backups"]}
    there, away = told["backup"], told["on a tape"]
    assert scan(backup, Finder([TERSE.statement])).hits == ()
    known = {one.path: one.digest for one in registered(DataDir(directory))}
    assert known[backup] == manifest_digest(backup), "the list names another backup"
    assert verify(backup).journal.events == 0
    (mended,) = there["erasures"]
    assert (mended["removed"]["events"], mended["scan"]["erased_hits"]) == (1, 0)
    assert away["mend"] == f"sleep-runtime erase --again {directory} --in {tmp_path / 'on a tape'}"


def test_a_backup_that_comes_back_is_erased_in_as_soon_as_it_is_there(
    world: World, tmp_path: Path
) -> None:
    world.say(ANA, TERSE.statement, session="to-be-erased")
    nights(world)
    backup = saved(world, tmp_path / "backup")
    backup.rename(tmp_path / "taken out")
    receipt = world.running.erase(ANA, session="to-be-erased")
    assert [one["reached"] for one in receipt["backups"]] == [False]
    (tmp_path / "taken out").rename(backup)
    assert scan(backup, Finder([TERSE.statement])).hits
    world.running.eraser.resume()
    assert scan(backup, Finder([TERSE.statement, "to-be-erased"])).hits == ()
    amended = world.running.ledger.erasure(receipt["id"])
    assert amended is not None
    assert [one["reached"] for one in amended.receipt["backups"]] == [True]


@pytest.mark.parametrize(
    "names", [{}, {"session": "to-be-erased"}, {"event": "event-to-be-erased"}]
)
def test_what_was_erased_after_a_backup_is_erased_again_when_it_is_restored(
    names: dict[str, str], world: World, tmp_path: Path
) -> None:
    world.say(ANA, TERSE.statement, id="event-to-be-erased", session="to-be-erased")
    world.say(BEN, PORT.statement)
    nights(world)
    backup = saved(world, tmp_path / "backup").rename(tmp_path / "out of reach")
    world.running.erase(ANA, **names)
    known = world.running.ledger.erasures()
    (receipt,) = reapply(backup, known)
    assert receipt["scan"]["erased_hits"] == 0
    assert scan(backup, Finder([TERSE.statement, "event-to-be-erased"])).hits == ()
    assert scan(backup, Finder([PORT.statement])).hits
    assert [one.id for one in erased(backup)] == [one.id for one in known]
    assert reapply(backup, known) == [] if names else True


def saved(world: World, to: Path) -> Path:
    """A backup of both stores."""
    back_up(DataDir(world.running.settings.data_dir), to)
    return to


def test_what_a_backup_that_died_has_copied_is_removed(world: World, tmp_path: Path) -> None:
    world.say(ANA, TERSE.statement)
    nights(world)
    backup = saved(world, tmp_path / "backup")
    left = partial_of(backup)
    shutil.copytree(backup, left)
    assert scan(left, Finder([TERSE.statement])).hits
    world.running.erase(ANA)
    assert not left.exists()
    assert backup.exists()


def test_a_backup_that_holds_nothing_of_it_stays_whole(world: World, tmp_path: Path) -> None:
    world.say(BEN, PORT.statement)
    nights(world)
    backup = saved(world, tmp_path / "backup")
    world.say(ANA, TERSE.statement)
    nights(world)
    (told,) = world.running.erase(ANA)["backups"]
    assert told["reached"]
    assert verify(backup).journal.events == 1


def test_a_damaged_backup_is_not_sealed_over(world: World, tmp_path: Path) -> None:
    world.say(ANA, TERSE.statement)
    nights(world)
    backup = saved(world, tmp_path / "backup")
    with (backup / "journal.sqlite").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 255]))
    (told,) = world.running.erase(ANA)["backups"]
    assert not told["reached"]
    assert "backup" in told["mend"]
    with pytest.raises(StoreError):
        verify(backup)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        erase_in(tmp_path, Target(scope=ANA))
    with pytest.raises(InvalidInput, match="two erasures"):
        Target(scope=ANA, session="s", event="e")


# ---------------------------------------------------------------------------- planted


def planted_no_compaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SqliteJournal, "compact", lambda _: None)


def planted_no_ledger_compaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SqliteLedger, "compact", lambda _: None)


def planted_pins_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "delete_of_runs", lambda *_: {})
    monkeypatch.setattr(Scrubber, "everything", lambda *_, **__: None)


def planted_stale_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eraser, "export", lambda *_: None)


@pytest.mark.parametrize(
    "plant",
    [planted_no_compaction, planted_no_ledger_compaction, planted_pins_stay, planted_stale_export],
)
def test_a_step_left_out_is_found_by_the_scan(
    plant: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.say(ANA, TERSE.statement, session="session-of-ana")
    nights(world)
    to = world.running.settings.data_dir / "export"
    export(world.running.ledger.notes(statuses=[NoteStatus.ACTIVE]), to)
    remember(world.running.settings.data_dir, to, scope="")
    plant(monkeypatch)
    receipt = world.running.erase(ANA)
    assert receipt["scan"]["erased_hits"] > 0
    assert receipt["scan"]["where"]
    assert left(world, TERSE.statement)


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        (0, {}),
        (0, {"session": "to-be-erased"}),
        (1, {"event": "event-to-be-erased"}),
        (2, {"session": "to-be-erased"}),
        (3, {"event": "event-to-be-erased"}),
    ],
)
def test_an_erasure_whose_file_is_lost_goes_on_by_the_hash_of_the_name(
    steps: int, names: dict[str, str], world: World
) -> None:
    """A backup that was made while something was erased does not hold the file."""
    world.say(ANA, TERSE.statement, id="event-to-be-erased", session="to-be-erased")
    world.say(BEN, PORT.statement)
    nights(world)
    at_work = world.running.eraser
    asked = at_work.request(Target.model_validate({"scope": ANA, **names}))
    for step in (at_work._gather, at_work._forget, at_work._remove)[:steps]:
        asked = step(asked)
    needles.destroy(world.running.settings.data_dir, asked.id)
    assert at_work.finish(asked.id).over
    assert world.notes(ANA) == []
    assert world.active(BEN) == [PORT.statement]
    assert left(world, TERSE.statement, "to-be-erased") == []


# ---------------------------------------------------------------------------- memory and HTTP


def test_what_a_process_holds_in_memory_is_dropped_when_something_is_erased(world: World) -> None:
    """Also of a scope that nobody asks for again."""
    world.say(ANA, TERSE.statement)
    nights(world)
    searcher, ledger = searching(world), world.running.ledger
    assert searcher.search(ANA, "bullet points")
    forgetter = Forgetter(ledger, searcher.forget, every_s=3600)
    assert not forgetter.look()
    assert (searcher.segment_bytes > 0, searcher.note_bytes > 0) == (True, True)
    world.running.erase(ANA)
    assert forgetter.look()
    assert (searcher.segment_bytes, searcher.note_bytes) == (0, 0)
    assert not forgetter.look()
    forgetter.close()


def test_nothing_made_of_an_erased_note_is_kept_as_a_part_of_something_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large scope is renewed after a night: what is gone is marked and stays in memory."""
    monkeypatch.setattr(scopes, "RENEWED_FROM", 0)
    world.say(ANA, TERSE.statement, id="event-to-be-erased")
    world.say(ANA, PORT.statement)
    nights(world)
    (gone,) = (note.id for note in world.notes(ANA) if note.claim == TERSE)
    searcher = searching(world)
    searcher.search(ANA, "bullet points")
    world.running.erase(ANA, event="event-to-be-erased")
    searcher.search(ANA, "bullet points")
    held = searcher._scopes.cache.get(ANA)
    assert held is not None
    assert all(gone not in segment.ids for segment in held.segments)


def searching(world: World) -> Searcher:
    assert world.running.embedder is not None
    return Searcher(world.running.ledger, None, world.running.embedder)


def test_over_http_a_scope_a_session_and_an_event_are_erased_with_a_receipt(world: World) -> None:
    world.say(ANA, TERSE.statement, id="event-one-of-ana", session="session-one")
    world.say(ANA, PORT.statement, id="event-two-of-ana", session="session-two")
    nights(world)
    with TestClient(world.running.app()) as http:
        one = http.delete(f"/v1/subjects/{ANA}", params={"event": "event-one-of-ana"})
        assert (one.status_code, one.json()["kind"], one.json()["done"]) == (200, "event", True)
        two = http.delete(f"/v1/subjects/{ANA}", params={"session": "session-two"}).json()
        assert two["removed"]["events"] == 1
        listed = http.get("/v1/erasures", params={"scope": "acme"}).json()["erasures"]
        assert {each["id"] for each in listed} == {one.json()["id"], two["id"]}
        assert http.get(f"/v1/erasures/{two['id']}").json() == two
        assert http.get("/v1/erasures/erasure_none").status_code == 404
        assert http.delete("/v1/subjects/unknown/scope").status_code == 404
        assert http.delete("/v1/subjects/a//b").status_code == 422
        both = http.delete(f"/v1/subjects/{ANA}", params={"event": "e", "session": "s"})
        assert (both.status_code, both.json()["error"]["field"]) == (422, "event")
    assert world.notes(ANA) == []
