"""The ledger's owner dies at every write of a night; no file shows half a step.

Run as a program, this file forks one child for every n; the child opens a new ledger, works
through a night and kills itself (SIGKILL) just before its n-th write or commit, opening and
migrating included. Whatever n: the file equals the file after some whole call, and going on from
there ends in the store of the night in which nothing died.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.observation import Usage
from sleep_runtime.core.ports import Commit, Mark, NoteVector, Pin
from sleep_runtime.core.run import Lease, Run, RunState
from sleep_runtime.stores.ledger import SqliteLedger, SqliteLedgerReader
from sleep_runtime.stores.ledger.schema import metadata
from sleep_runtime.testing.contracts.ledger_bench import (
    ANA,
    BEN,
    POLICY,
    SECOND,
    T0,
    TEAM,
    LedgerBench,
    delta,
    evidence,
    note,
)

Tables = dict[str, list[tuple[Any, ...]]]
LATER = T0 + 61 * SECOND
CHANGES = tuple(delta(note(f"n{i}"), because=[evidence("a"), evidence("b")]) for i in range(3))
COMMIT = Commit(
    deltas=CHANGES,
    vectors={change.note.id: b"\x01" * 8 for change in CHANGES},
    vector_model="mini",
    folds=(BEN,),
    counts={"add": 3},
    reason="three lessons",
)
MARKS = [Mark(note_id=change.note.id, revision=1) for change in CHANGES]


class Night:
    """The calls of one night, each resting only on what the calls before it returned."""

    def __init__(self, bench: LedgerBench) -> None:
        self.bench = bench
        self.lease: Lease
        self.run: Run

    def calls(self) -> Iterator[Callable[[], object]]:
        yield lambda: self.bench.heads(ANA, 3)
        yield lambda: self.bench.writer.request(None, now=T0)
        yield lambda: self.begin("tier-1")
        yield self.plan
        yield from self.steps()
        yield lambda: self.bench.writer.release(self.lease)
        yield from self.index()

    def begin(self, owner: str) -> None:
        self.lease = self.bench.lease(ANA, owner, now=T0 if owner == "tier-1" else LATER)

    def plan(self) -> None:
        self.run = self.bench.plan(self.lease, upto=3, requested="*")

    def steps(self) -> Iterator[Callable[[], object]]:
        writer, lease, run = self.bench.writer, self.lease, self.run
        pins = [Pin(key=key, output={"drafts": [key]}, usage=Usage(calls=1)) for key in "kl"]
        if run.state is RunState.PLANNED:
            yield lambda: writer.pin(lease, run.id, "distil", pins, now=T0)
            yield lambda: self.bench.generate(lease, run, "ab", events=3)
        if run.state in (RunState.PLANNED, RunState.GENERATED):
            yield lambda: self.bench.reflect(lease, run)
        if run.state is not RunState.COMMITTED:
            yield lambda: writer.commit(lease, run.id, COMMIT, now=T0)
        yield lambda: writer.projected(run.id, now=T0)

    def index(self) -> Iterator[Callable[[], object]]:
        writer = self.bench.writer
        yield lambda: writer.clear_marks(MARKS)
        yield lambda: writer.mark_all(generation=1)
        vectors = [
            NoteVector(note_id=mark.note_id, revision=1, model="mini", vector=b"\x01" * 8)
            for mark in MARKS
        ]
        yield lambda: writer.store_vectors(vectors)
        yield lambda: writer.flip_generation(1)

    def finish(self) -> None:
        """What a new owner does with a file it finds."""
        self.bench.heads(ANA, 3)
        self.begin("tier-2")
        run = self.bench.try_plan(self.lease, upto=3, now=LATER, requested="*")
        if run is not None:
            self.run = run
            for call in self.steps():
                call()
        self.bench.writer.release(self.lease)
        for call in self.index():
            call()


def _opened(path: Path) -> Iterator[LedgerBench]:
    with SqliteLedger(path, triggers=POLICY) as ledger:
        yield LedgerBench(ledger, ledger.reader)


def tables(path: Path) -> Tables:
    """Every row of every table; nothing when there is no ledger in the file."""
    try:
        reader = SqliteLedgerReader(path)
    except StoreError:
        return {}
    with reader, reader._read() as tx:
        return {
            table.name: sorted(map(tuple, tx.execute(sa.select(table)).all()), key=repr)
            for table in metadata.sorted_tables
        }


@pytest.fixture(scope="module")
def legal(tmp_path_factory: pytest.TempPathFactory) -> list[Tables]:
    """The file before the night, and after each of its calls."""
    path = tmp_path_factory.mktemp("quiet") / "ledger.sqlite"
    states: list[Tables] = [{}]
    for bench in _opened(path):
        states.append(tables(path))
        for call in Night(bench).calls():
            call()
            states.append(tables(path))
    return states


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files left by children that died at their first, second, … last write."""
    folder = tmp_path_factory.mktemp("crashed")
    done = subprocess.run(
        [sys.executable, __file__, str(folder)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted(folder.glob("*.sqlite"))


def _reached(legal: list[Tables], crashed: list[Path]) -> dict[int, Path]:
    """One file for each state that a crash left, by the state's place in the night."""
    reached, place = dict[int, Path](), 0
    for path in crashed:
        state = tables(path)
        assert state in legal[place:], f"{path.name} holds half a step"
        place = legal.index(state, place)
        reached.setdefault(place, path)
    return reached


def test_a_crash_leaves_the_file_of_a_whole_call(legal: list[Tables], crashed: list[Path]) -> None:
    assert list(_reached(legal, crashed)) == list(range(len(legal)))


def test_going_on_after_a_crash_ends_in_the_same_store(
    legal: list[Tables], crashed: list[Path], tmp_path: Path
) -> None:
    for bench in _opened(tmp_path / "quiet.sqlite"):
        for call in Night(bench).calls():
            call()
        expected = _learned(bench)
    assert expected["version"] == 1
    for path in _reached(legal, crashed).values():
        for bench in _opened(path):
            Night(bench).finish()
            assert _learned(bench) == expected, path.name


def _learned(bench: LedgerBench) -> dict[str, Any]:
    reader = bench.reader
    (run,) = reader.runs()
    ben, team, ana = (reader.schedule(scope) for scope in (BEN, TEAM, ANA))
    assert ben
    assert team
    assert ana
    return {
        "digest": reader.digest(),
        "counts": reader.counts(),
        "run": (run.id, run.state, run.counts, run.usage, run.journal, run.observations),
        "version": min(reader.versions([run.scope])[run.scope], 1),
        "marks": reader.marks(limit=9),
        "folds": (ben.folds, ben.requested),
        "pending": (team.pending_observations, team.requested, ana.idle, ana.due_at),
    }


# ---------------------------------------------------------------------------- the program


def _die_before(write: int) -> Callable[[], int]:
    """Arrange for this process to die; returns how to ask for the number of writes so far."""
    count = 0

    def tick(*_: object) -> None:
        nonlocal count
        count += 1
        if count == write:
            os.kill(os.getpid(), signal.SIGKILL)

    def executing(*args: Any) -> None:
        if not args[2].lstrip().upper().startswith(("SELECT", "PRAGMA", "BEGIN")):
            tick()

    sa.event.listen(sa.Engine, "before_cursor_execute", executing)
    sa.event.listen(sa.Engine, "commit", tick)
    return lambda: count


def _child(path: Path, write: int) -> None:
    _die_before(write)
    for bench in _opened(path):
        for call in Night(bench).calls():
            call()


def main(folder: Path) -> int:
    """Crash at write 1, 2, 3, … until a child gets through."""
    for _ in _opened(folder / "warm"):  # the children inherit what this imports and compiles
        pass
    for write in range(1, 1000):
        pid = os.fork()
        if pid == 0:
            _child(folder / f"{write:03}.sqlite", write)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        if os.WTERMSIG(status) != signal.SIGKILL:
            return 1
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
