"""Models fail, disks fill, directories are not ours: nothing is lost, nothing is mislearned."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from chat_server import ChatServer, serving
from daylight import ANA, BEN, DAY, capture, event, runtime, settings

from benchmarks.waiting import free_port
from sleep_runtime.actors.driver import RunDriver
from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.core.errors import StoreBusy, StoreError, StoreFull, StoreTooNew
from sleep_runtime.core.note import Note
from sleep_runtime.core.observation import (
    Claim,
    Distillation,
    Draft,
    Durability,
    NoteKind,
    SessionInput,
)
from sleep_runtime.core.ports import LedgerWriter
from sleep_runtime.core.run import Run, RunState
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.embedder import HashEmbedder
from sleep_runtime.testing.engine import ScriptedEngine
from sleep_runtime.testing.needs import small_disk

COOLDOWN_S = 600.0
WAIT_S = 30.0
SESSIONS_PER_CALL = 32
LESSONS = (
    "always date the figures in the footer",
    "never print client names on the cover",
    "always round margins to one decimal",
)


# ---------------------------------------------------------------------------- a model over HTTP


def asking(url: str, data_dir: Path, clock: ManualClock) -> Embedded:
    """A runtime whose engine is the server at ``url``, asked once and about each session alone."""
    chosen = settings(
        data_dir,
        {
            "engine.kind": "openai",
            "engine.base_url": url,
            "engine.model": "tiny",
            "engine.retries": 0,
            "engine.timeout_s": 10,
            "engine.prefilter": False,
            "engine.sessions_per_question": 1,
            "engine.pairs_per_question": 1,
            "policy.triggers.cooldown_s": COOLDOWN_S,
        },
    )
    return Embedded(chosen, clock=clock, embedder=HashEmbedder())


def url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


def talk(running: Embedded, clock: ManualClock, sessions: int) -> None:
    """Small talk in so many sessions; the first few of them hold a lesson each."""
    said = [*LESSONS, *(f"thanks, that will do, number {n}" for n in range(sessions))]
    clock.advance(1)
    capture(
        running,
        *(
            event(ANA, text, clock.now(), id=f"e{n}", session=f"s{n:03}")
            for n, text in enumerate(said[:sessions])
        ),
    )


def only_run(running: Embedded) -> Run:
    (run,) = running.ledger.runs(ANA)
    return run


def learned(running: Embedded) -> set[str]:
    return {note.claim.statement for note in running.ledger.notes([ANA])}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serving() as running:
        yield running


def test_an_unreachable_model_yields_and_the_next_turn_finishes(
    tmp_path: Path, clock: ManualClock
) -> None:
    port = free_port()
    with asking(url_of(port), tmp_path, clock) as running:
        talk(running, clock, 3)
        running.scheduler.request(None)
        running.scheduler.tick()
        run = only_run(running)
        assert (run.state, run.stood_at) == (RunState.YIELDED, RunState.PLANNED)
        assert "engine.base_url" in run.reason
        assert f":{port}" in run.reason
        assert "is the server up" in run.reason, "a mend is named"
        assert learned(running) == set()
        assert running.scheduler.tick().started == (), "not again within the cool-down"
        with serving(port) as server:
            clock.advance(COOLDOWN_S)
            assert running.scheduler.tick().started == (ANA,)
            assert only_run(running).state is RunState.PROJECTED
            assert learned(running) == set(LESSONS)
            assert len([q for q in server.asked if "<lines>" in q]) == 3


def test_a_model_that_dies_within_a_night_is_asked_only_for_what_is_not_pinned(
    tmp_path: Path, clock: ManualClock, server: ChatServer
) -> None:
    server.answers_left = SESSIONS_PER_CALL
    with asking(url_of(server.server_port), tmp_path, clock) as running:
        talk(running, clock, SESSIONS_PER_CALL + 8)
        running.scheduler.request(None)
        running.scheduler.tick()
        run = only_run(running)
        assert run.state is RunState.YIELDED
        assert "HTTP 503" in run.reason
        assert len(running.ledger.pins(run.id, "distil")) == SESSIONS_PER_CALL
    server.answers_left = 10**9
    clock.advance(DAY)
    with asking(url_of(server.server_port), tmp_path, clock) as running:
        running.scheduler.tick()
        assert only_run(running).state is RunState.PROJECTED
        assert learned(running) == set(LESSONS)
    asked = Counter(question for question in server.asked if "<lines>" in question)
    assert len(asked) == SESSIONS_PER_CALL + 8
    assert set(asked.values()) == {1}


@pytest.mark.parametrize("mode", ["nonsense", "schema", "empty", "length"])
def test_an_unusable_answer_changes_nothing_and_is_counted(
    tmp_path: Path, clock: ManualClock, server: ChatServer, mode: str
) -> None:
    with asking(url_of(server.server_port), tmp_path, clock) as running:
        talk(running, clock, 1)
        running.nights()
        (known,) = running.ledger.notes([ANA])
        server.mode = mode
        clock.advance(DAY)
        capture(running, event(ANA, LESSONS[1], clock.now()), event(ANA, "x", clock.now()))
        (run,) = running.nights()
        assert run.state is RunState.PROJECTED
        assert run.counts["engine.distil_problem"] == 1
        assert run.counts["observations"] == 0
        assert run.reason
        assert running.ledger.notes([ANA]) == [known]
        assert running.ledger.deltas(run.id) == []


def test_a_spent_budget_yields_and_each_question_is_asked_exactly_once(
    tmp_path: Path, clock: ManualClock
) -> None:
    engine = ScriptedEngine(_verbatim)
    overrides = {"policy.budget.max_calls": 1, "policy.triggers.cooldown_s": COOLDOWN_S}
    with runtime(tmp_path, clock, engine, overrides) as running:
        talk(running, clock, 2 * SESSIONS_PER_CALL + 5)
        running.scheduler.request(None)
        states: list[RunState] = []
        while not states or states[-1] is not RunState.PROJECTED:
            assert running.scheduler.tick().started == (ANA,)
            run = only_run(running)
            states.append(run.state)
            if run.state is RunState.YIELDED:
                assert "policy.budget.max_calls: used 1 of 1" in run.reason
                assert running.scheduler.tick().started == ()
            clock.advance(COOLDOWN_S)
        assert states.count(RunState.YIELDED) >= 2
        asked = Counter(session.session for session in engine.asked_sessions)
        assert len(asked) == 2 * SESSIONS_PER_CALL + 5
        assert set(asked.values()) == {1}
        pairs = Counter(pair.key for pair in engine.asked_pairs)
        assert set(pairs.values()) <= {1}
        assert learned(running) == set(LESSONS)


def _verbatim(session: SessionInput) -> Distillation:
    """Every line that starts with always or never is a standing convention in its own words."""
    return Distillation(
        drafts=tuple(
            Draft(
                claim=Claim(statement=turn.text, kind=NoteKind.CONVENTION),
                durability=Durability.STANDING,
                evidence=(turn.event_id,),
            )
            for turn in session.turns
            if turn.text.startswith(("always", "never"))
        )
    )


# ---------------------------------------------------------------------------- not our directory


def _newer_format(data_dir: Path) -> None:
    (data_dir / "FORMAT").write_text(json.dumps({"format": 99, "written_by": "99.0"}))


def _newer_journal(data_dir: Path) -> None:
    with closing(sqlite3.connect(data_dir / "journal.sqlite")) as file:
        file.execute("PRAGMA user_version=99")


def _newer_ledger(data_dir: Path) -> None:
    with closing(sqlite3.connect(data_dir / "ledger.sqlite")) as file, file:
        file.execute("UPDATE alembic_version SET version_num='9999'")


def fingerprints(data_dir: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256((data_dir / name).read_bytes()).hexdigest()
        for name in ("FORMAT", "journal.sqlite", "ledger.sqlite")
    }


@pytest.mark.parametrize("age", [_newer_format, _newer_journal, _newer_ledger])
def test_a_directory_of_a_newer_version_is_refused_and_left_as_it_is(
    tmp_path: Path, clock: ManualClock, age: Callable[[Path], None]
) -> None:
    with runtime(tmp_path, clock) as running:
        capture(running, event(ANA, LESSONS[0], clock.now()))
    age(tmp_path)
    before = fingerprints(tmp_path)
    with pytest.raises(StoreTooNew) as refused, runtime(tmp_path, clock):
        pytest.fail("opened a directory of a newer version")
    assert refused.value.field == "data_dir"
    assert "run the newer sleep-runtime" in refused.value.mend
    assert fingerprints(tmp_path) == before


def test_an_opening_that_failed_lets_go_of_what_it_had_opened(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Or the next attempt in this process would call its own leftovers another runtime."""
    with runtime(tmp_path, clock):
        pass
    _newer_ledger(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreTooNew), runtime(tmp_path, clock):
            pytest.fail("opened a directory of a newer version")


_HOLDER = """
import sys
from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.config import load
from sleep_runtime.testing.embedder import HashEmbedder

settings = load(overrides={"data_dir": sys.argv[1]}, environ={}).settings
with Embedded(settings, embedder=HashEmbedder()):
    print("up", flush=True)
    sys.stdin.read()
"""


def test_a_directory_in_use_is_refused_and_free_again_when_its_owner_dies(
    tmp_path: Path, clock: ManualClock
) -> None:
    command = [sys.executable, "-c", _HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        with pytest.raises(StoreBusy, match=str(holder.pid)) as refused:
            runtime(tmp_path, clock).__enter__()
        assert refused.value.field == "data_dir"
        assert "SLEEP_DATA_DIR" in refused.value.mend
        holder.kill()
        holder.wait(WAIT_S)
    with runtime(tmp_path, clock) as running:
        assert running.journal_reader.count() == 0


# ---------------------------------------------------------------------------- a full disk


def lessons(running: Embedded, clock: ManualClock, number: int) -> None:
    """So many lessons, ten a session: enough for a commit of many pages."""
    now = clock.now()
    capture(
        running,
        *(
            event(ANA, f"always {_word(n)} {_word(-n - 1)}", now, id=f"l{n}", session=f"s{n // 10}")
            for n in range(number)
        ),
    )


def _word(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:12].translate(_LETTERS)


_LETTERS = str.maketrans("0123456789", "ghijklmnop")


class Twin(NamedTuple):
    digest: str
    notes: list[Note]


def undisturbed(data_dir: Path, number: int) -> Twin:
    """What a store holds in which nothing went wrong."""
    clock = ManualClock()
    with runtime(data_dir, clock, ScriptedEngine(_verbatim)) as running:
        lessons(running, clock, number)
        running.nights()
        # Of words made up at random a few pass for paraphrases of each other.
        assert number * 0.9 <= len(running.ledger.notes([ANA])) <= number
        return Twin(running.ledger.digest(), running.ledger.notes())


class FillsUp:
    """A ledger writer whose disk is full from the first call of one method on, for a while."""

    def __init__(self, running: Embedded, method: str) -> None:
        self._running = running
        self._method = method
        self.full = True

    def __getattr__(self, name: str) -> Any:
        if name == self._method and self.full:
            _limit_pages(self._running, 1)  # SQLite makes of it: as large as it is now
        return getattr(self._running.writer, name)

    def make_room(self) -> None:
        self.full = False
        _limit_pages(self._running, 1_000_000)


def _limit_pages(running: Embedded, pages: int) -> None:
    with running.writer._engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")


@pytest.mark.parametrize("method", ["pin", "generated", "reflected", "commit"])
def test_a_disk_that_fills_up_during_a_night_changes_nothing_and_the_night_resumes(
    tmp_path: Path, clock: ManualClock, method: str
) -> None:
    twin = undisturbed(tmp_path / "twin", 100)
    engine = ScriptedEngine(_verbatim)
    with runtime(tmp_path / "hurt", clock, engine) as running:
        lessons(running, clock, 100)
        writer = FillsUp(running, method)
        parts = replace(running.driver_parts, writer=cast("LedgerWriter", writer))
        running.driver = RunDriver("embedded", parts)
        running.nights()
        (run,) = running.ledger.runs()
        assert run.state is RunState.YIELDED
        assert "make room" in run.reason
        assert running.ledger.notes() == []
        writer.make_room()
        running.nights()
        assert running.ledger.digest() == twin.digest
        assert running.ledger.runs(unfinished=True) == []
        asked = Counter(session.session for session in engine.asked_sessions)
        assert method == "pin" or set(asked.values()) == {1}


def fill(disk: Path, *, leave: int) -> Path:
    """Take all the space there is but ``leave`` bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
        file.truncate(max(0, file.tell() - leave))
    return ballast


@pytest.mark.parametrize("leave", [0, 40_000, 300_000])
def test_a_really_full_disk_loses_nothing_acked_and_the_night_heals(
    tmp_path: Path, clock: ManualClock, leave: int
) -> None:
    twin = undisturbed(tmp_path / "twin", 200)
    with small_disk(tmp_path / "disk", mib=48) as disk:
        with runtime(disk / "data", clock, ScriptedEngine(_verbatim)) as running:
            lessons(running, clock, 200)
            ballast = fill(disk, leave=leave)
            with contextlib.suppress(StoreFull):  # when even the reason finds no room
                running.nights()
                assert {run.state for run in running.ledger.runs()} == {RunState.YIELDED}
            acked = _append_until_full(running, clock)
            ballast.unlink()
            assert running.journal_reader.count() == 200 + acked
            running.nights()
        with runtime(disk / "data", clock, ScriptedEngine(_verbatim)) as running:
            again = [small_talk(clock, n) for n in range(acked)]
            assert not again or capture(running, *again).duplicates == acked
            assert running.ledger.runs(unfinished=True) == []
            assert running.ledger.marks(limit=1) == []
            assert running.ledger.notes() == twin.notes


def small_talk(clock: ManualClock, number: int) -> dict[str, Any]:
    return event(BEN, "small talk", clock.now(), id=f"f{number}", session="z")


def _append_until_full(running: Embedded, clock: ManualClock) -> int:
    """How many small events were acked before the disk was full."""
    for number in range(5000):
        try:
            capture(running, small_talk(clock, number))
        except StoreFull:
            return number
    pytest.fail("the disk never got full")


def test_a_journal_older_than_its_ledger_is_refused(tmp_path: Path, clock: ManualClock) -> None:
    with runtime(tmp_path, clock, ScriptedEngine(_verbatim)) as running:
        lessons(running, clock, 3)
        journal = tmp_path / "journal.sqlite"
        kept = tmp_path / "kept.sqlite"
        with sqlite3.connect(journal) as source, contextlib.closing(sqlite3.connect(kept)) as copy:
            source.backup(copy)
        source.close()
        lessons(running, clock, 5)
        running.nights()
    for left in tmp_path.glob("journal.sqlite*"):
        left.unlink()
    kept.rename(journal)
    with (
        pytest.raises(StoreError, match="from the same moment") as refused,
        runtime(tmp_path, clock, ScriptedEngine(_verbatim)),
    ):
        pass
    assert refused.value.field == "data_dir"
