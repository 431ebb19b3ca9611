"""The run's state machine, explored exhaustively on the real ledger, with a death at every edge.

Breadth first over abstract states: where the runs stand, what is pinned, who holds the lease. In
every state every write is tried: by the owner, by an owner that came back, by another one with a
higher epoch, and by zombies of both with the leases they had. What must be refused is tried on the
file as it is; what is allowed is done on a copy, and each copy is opened as a crash left it, with
the write-ahead log unread. At each write, the files as they were just before the commit must hold
the state before. ``python -m reliability.run_states`` says how much was explored.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from sleep_runtime.core.errors import LeaseLost, SleepRuntimeError, StoreError
from sleep_runtime.core.ports import Commit, Pin
from sleep_runtime.core.run import Lease, Run, RunState
from sleep_runtime.stores.ledger import SqliteLedger
from sleep_runtime.testing.contracts.ledger_bench import (
    ANA,
    POLICY,
    T0,
    LedgerBench,
    delta,
    evidence,
    judged,
    note,
    observation,
)

EVENTS = 3
OWNERS = ("tier-1", "tier-2")
TTL = timedelta(seconds=60)
CHANGES = tuple(delta(note(f"n{n}"), because=[evidence("a")]) for n in range(2))
COMMIT = Commit(deltas=CHANGES, vectors={"n0": b"\x01" * 8}, vector_model="mini", reason="two")
ORDER = (
    RunState.PLANNED,
    RunState.GENERATED,
    RunState.REFLECTED,
    RunState.COMMITTED,
    RunState.PROJECTED,
)
STEPS = {
    "generated": RunState.PLANNED,
    "reflected": RunState.GENERATED,
    "commit": RunState.REFLECTED,
    "projected": RunState.COMMITTED,
}
PINNED = {"distil": RunState.PLANNED, "compare": RunState.GENERATED}
LEASED = ("plan", "distil", "compare", *list(STEPS)[:3], "yield", "abandon", "renew", "release")
MAX_RUNS = 2


class Wrong(AssertionError):
    """A promise that did not hold, with the way there."""


class Stand(NamedTuple):
    """Where one run stands."""

    state: RunState
    stood_at: RunState | None
    pinned: tuple[str, ...]
    generates: bool
    committed: bool


class State(NamedTuple):
    """An abstract state. ``lease``: free, held or expired; ``in_hand``: its owner still lives."""

    runs: tuple[Stand, ...]
    lease: str
    in_hand: bool


@dataclass(frozen=True)
class Node:
    """A state with the files that have it, the lease that counts, and those of zombies."""

    state: State
    files: Path
    now: datetime
    lease: Lease | None
    zombies: tuple[Lease, ...]
    pins: frozenset[str]
    way: tuple[str, ...]


@dataclass
class Explored:
    """How much there was. ``refused`` are the writes that had to be refused, and were;
    ``repeated`` those that were done before and changed nothing. ``deaths`` are deaths just before
    and just after a commit, and between the writes."""

    states: int = 0
    edges: int = 0
    refused: int = 0
    repeated: int = 0
    deaths: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    seen: set[RunState] = field(default_factory=set)


# ---------------------------------------------------------------------------- what is due


def expected(state: State, action: str) -> str:
    """``does``, ``repeats`` or ``refuses``: what the newest run must answer its lease's holder."""
    if action in ("renew", "release"):
        return "does"
    if action == "plan":
        return "does" if _may_plan(state) else "nothing"
    if not state.runs:
        return "absent"
    run = state.runs[-1]
    if action in PINNED:
        if run.state is not PINNED[action]:
            return "absent"
        return "repeats" if action in run.pinned else "does"
    if action in ("yield", "abandon"):
        given_up = run.state.terminal or (action == "yield" and run.state is RunState.YIELDED)
        if given_up:
            return "repeats"
        again = action == "abandon" and len(state.runs) == MAX_RUNS
        return "absent" if again else "does"
    return _expected_step(run, action)


def _expected_step(run: Stand, action: str) -> str:
    needs = STEPS[action]
    if action == "projected" and (run.state, run.stood_at) == (RunState.YIELDED, needs):
        return "does"
    if run.state is needs:
        owed = [step for step, at in PINNED.items() if at is needs and step not in run.pinned]
        return "absent" if owed else "does"
    reached = run.stood_at or run.state
    passed = reached in ORDER and ORDER.index(reached) > ORDER.index(needs)
    return "repeats" if passed else "refuses"


def _may_plan(state: State) -> bool:
    """A run that is not over is resumed; a new one begins while nothing was committed."""
    if not state.runs or not state.runs[-1].state.terminal:
        return True
    return not any(run.committed for run in state.runs)


# ---------------------------------------------------------------------------- doing it


def write(bench: LedgerBench, action: str, lease: Lease, run: Run | None, now: datetime) -> object:
    """One write, in the words of a process that holds ``lease``."""
    writer, run_id = bench.writer, run.id if run else "run_none"
    fresh = run is not None and not run.journal.empty
    moves: dict[str, Callable[[], object]] = {
        "renew": lambda: writer.renew(lease, now=now, ttl_s=TTL.total_seconds()),
        "release": lambda: writer.release(lease),
        "plan": lambda: bench.try_plan(lease, upto=EVENTS, now=now),
        "distil": lambda: _pin(bench, lease, run_id, "distil", now),
        "compare": lambda: _pin(bench, lease, run_id, "compare", now),
        "generated": lambda: writer.generated(
            lease,
            run_id,
            [observation(name) for name in "ab" if fresh],
            events=EVENTS if fresh else 0,
            tokens=EVENTS if fresh else 0,
            counts={},
            now=now,
        ),
        "reflected": lambda: writer.reflected(lease, run_id, [judged()], counts={}, now=now),
        "commit": lambda: writer.commit(lease, run_id, COMMIT, now=now),
        "projected": lambda: writer.projected(run_id, now=now),
        "yield": lambda: writer.yield_run(lease, run_id, "the pool is busy", now=now),
        "abandon": lambda: writer.abandon(lease, run_id, "too often", now=now),
    }
    return moves[action]()


def _pin(bench: LedgerBench, lease: Lease, run_id: str, step: str, now: datetime) -> Run:
    """A model never answers the same twice: who pinned first must be seen by everyone after."""
    answer = {"by": f"{lease.owner} at {lease.epoch}"}
    return bench.writer.pin(lease, run_id, step, [Pin(key=step, output=answer)], now=now)


@contextmanager
def opened(files: Path) -> Iterator[tuple[LedgerBench, SqliteLedger]]:
    with SqliteLedger(files / "ledger.sqlite", triggers=POLICY) as ledger:
        yield LedgerBench(ledger, ledger.reader), ledger


def copied(files: Path, to: Path) -> Path:
    """The files as a crash leaves them now: SQLite's shared memory is lost."""
    to.mkdir()
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        if (files / name).exists():
            shutil.copyfile(files / name, to / name)
    return to


def content(files: Path) -> str:
    """A hash of every row of every table."""
    connection = sqlite3.connect(files / "ledger.sqlite")
    sha = hashlib.sha256()
    try:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in sorted(tables.fetchall()):
            rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
            sha.update(repr((table, sorted(map(repr, rows)))).encode())
    finally:
        connection.close()
    return sha.hexdigest()


# ---------------------------------------------------------------------------- exploring


class Explorer:
    """Explores below ``folder``; ``explore`` raises ``Wrong`` at the first promise broken."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._found = Explored()
        self._known: dict[State, Node] = {}
        self._queue: deque[Node] = deque()
        self._leads_to: dict[State, set[State]] = {}

    def explore(self) -> Explored:
        """All states, from a scope that both owners have held before."""
        self._enter(self._first())
        while self._queue:
            self._expand(self._queue.popleft())
        self._nothing_is_stuck()
        self._found.states = len(self._known)
        self._found.seen = {run.state for state in self._known for run in state.runs}
        return self._found

    def _place(self) -> Path:
        self._count += 1
        return self._folder / str(self._count)

    def _first(self) -> Node:
        files = self._place()
        files.mkdir()
        with opened(files) as (bench, _):
            bench.heads(ANA, EVENTS)
            zombies = []
            for owner in OWNERS:
                zombies.append(bench.lease(owner=owner))
                bench.writer.release(zombies[-1])
            crashed = copied(files, self._place())
        state = State((), "free", in_hand=False)
        return Node(state, crashed, T0, None, tuple(zombies), frozenset(), ())

    def _enter(self, node: Node, after: Node | None = None) -> None:
        if after:
            self._leads_to.setdefault(after.state, set()).add(node.state)
        if node.state not in self._known:
            self._known[node.state] = node
            self._queue.append(node)

    def _expand(self, node: Node) -> None:
        before = self._refusals(node)
        for action in ("acquire", "renew", "release", *LEASED[:8], "projected"):
            for owner in OWNERS if action == "acquire" else ("",):
                if self._does(node, action, owner):
                    self._edge(node, action, owner, before)
        if node.state.in_hand:  # it dies between two writes; the ledger keeps its lease
            self._found.deaths += 1
            state = node.state._replace(in_hand=False)
            self._enter(replace(node, state=state, way=(*node.way, "dies")), node)
        if node.state.lease == "held":
            later = replace(node, now=node.now + TTL + timedelta(seconds=1))
            state = node.state._replace(lease="expired")
            self._enter(replace(later, state=state, way=(*node.way, "expires")), node)

    def _does(self, node: Node, action: str, owner: str) -> bool:
        if action == "acquire":
            held = node.lease is not None and node.state.lease == "held"
            return not held or owner == (node.lease and node.lease.owner)
        if action != "projected" and not node.state.in_hand:
            return False
        return expected(node.state, action) == "does"

    # ------------------------------------------------------------------ what must not be

    def _refusals(self, node: Node) -> str:
        """Everything that must change nothing, tried on the node's own files; their content."""
        before = content(node.files)
        with opened(node.files) as (bench, _):
            run = self._newest(bench)
            for zombie in node.zombies:
                for action in LEASED:
                    self._refused(node, bench, action, zombie, run, LeaseLost)
            for action in (*LEASED, "projected"):
                if action == "projected" or (node.lease and node.state.in_hand):
                    self._answer(node, bench, action, run)
            self._held_by_another(node, bench)
        if content(node.files) != before:
            raise Wrong(f"a refused or repeated write changed the file: {node.way}")
        return before

    def _refused(
        self,
        node: Node,
        bench: LedgerBench,
        action: str,
        lease: Lease,
        run: Run | None,
        error: type[SleepRuntimeError],
    ) -> None:
        self._found.refused += 1
        try:
            write(bench, action, lease, run, node.now)
        except error:
            return
        raise Wrong(f"{lease.owner} at epoch {lease.epoch} was let {action}: {node.way}")

    def _answer(self, node: Node, bench: LedgerBench, action: str, run: Run | None) -> None:
        """What the holder repeats, or does out of order."""
        due = expected(node.state, action)
        lease = node.lease or node.zombies[0]
        if due == "refuses":
            self._refused(node, bench, action, lease, run, StoreError)
        elif due == "repeats":
            self._found.repeated += 1
            if write(bench, action, lease, run, node.now) != run:
                raise Wrong(f"{action} done again answers otherwise: {node.way}")

    def _held_by_another(self, node: Node, bench: LedgerBench) -> None:
        if node.lease and node.state.lease == "held":
            (other,) = (owner for owner in OWNERS if owner != node.lease.owner)
            self._found.refused += 1
            if bench.writer.acquire(ANA, other, now=node.now, ttl_s=60):
                raise Wrong(f"{other} took a scope that is held: {node.way}")

    # ------------------------------------------------------------------ what may be

    def _edge(self, node: Node, action: str, owner: str, before: str) -> None:
        """Do it on a copy. A death just before its commit leaves the state before, one just after
        is where everything goes on from."""
        self._found.edges += 1
        way = (*node.way, f"{action} {owner}".rstrip())
        files, torn = copied(node.files, self._place()), self._place()
        with opened(files) as (bench, ledger):
            sa.event.listen(ledger._engine, "commit", lambda _: copied(files, torn))  # noqa: SLF001 - its commits are what is watched
            lease, zombies = self._act(node, action, owner, bench)
            whole = copied(files, self._place())
        shutil.rmtree(files)
        self._found.deaths += 2
        if content(torn) != before:
            raise Wrong(f"half a write was in the files before its commit: {way}")
        shutil.rmtree(torn)
        reached = self._reached(node, whole, lease, zombies, way)
        if reached.state in self._known:
            shutil.rmtree(reached.files)
        self._enter(reached, node)

    def _act(
        self, node: Node, action: str, owner: str, bench: LedgerBench
    ) -> tuple[Lease | None, tuple[Lease, ...]]:
        """The lease that counts afterwards, and the zombies' newest leases."""
        if action == "acquire":
            lease = bench.writer.acquire(ANA, owner, now=node.now, ttl_s=TTL.total_seconds())
            if lease is None:
                raise Wrong(f"{owner} could not take a scope that is free: {node.way}")
            return lease, _newer(node.zombies, node.lease)
        done = write(bench, action, node.lease or node.zombies[0], self._newest(bench), node.now)
        if action == "release":
            return None, _newer(node.zombies, node.lease)
        return (done if isinstance(done, Lease) else node.lease), node.zombies

    def _reached(
        self,
        node: Node,
        files: Path,
        lease: Lease | None,
        zombies: tuple[Lease, ...],
        way: tuple[str, ...],
    ) -> Node:
        with opened(files) as (bench, _):
            runs = bench.reader.runs(ANA)[::-1]
            pins = frozenset(
                f"{run.id} {step} {pin.output}"
                for run in runs
                for step in PINNED
                for pin in bench.reader.pins(run.id, step).values()
            )
            stands = tuple(_stand(bench, run) for run in runs)
            self._check(node, bench, stands, pins, way)
            crashed = copied(files, self._place())
        shutil.rmtree(files)
        in_hand = (node.state.in_hand or way[-1].startswith("acquire")) and lease is not None
        held = "free" if lease is None else "held" if lease.expires_at > node.now else "expired"
        state = State(stands, held, in_hand)
        return Node(state, crashed, node.now, lease, zombies, pins, way)

    def _newest(self, bench: LedgerBench) -> Run | None:
        found = bench.reader.runs(ANA, limit=1)
        return found[0] if found else None

    # ------------------------------------------------------------------ what must hold

    def _check(
        self,
        node: Node,
        bench: LedgerBench,
        stands: tuple[Stand, ...],
        pins: frozenset[str],
        way: tuple[str, ...],
    ) -> None:
        reader = bench.reader
        commits = sum(stand.committed for stand in stands)
        notes, digest = reader.notes([ANA]), reader.digest()
        phase = self._phase(stands)
        cursors = reader.cursors(ANA)
        due = {"read": (0, 0), "observed": (EVENTS, 0), "learned": (EVENTS, 2)}[phase]
        same = self._found.digests.setdefault(phase, digest)
        promises = {
            "exactly one commit": commits == (phase == "learned"),
            "each note once": all(n.revision == 1 for n in notes),
            "all notes or none": len(notes) == 2 * commits,
            "marked for projection": len(reader.marks(limit=9)) == 2 * commits,
            "the cursors moved once": (cursors.journal, cursors.observations) == due,
            "what was pinned stays": node.pins <= pins,
            "what is over stays over": all(
                now == then
                for then, now in zip(node.state.runs, stands, strict=False)
                if then.state.terminal
            ),
            "one digest on all ways": digest == same,
        }
        broken = [promise for promise, kept in promises.items() if not kept]
        if broken:
            raise Wrong(f"{', '.join(broken)}: {way}")

    def _phase(self, stands: tuple[Stand, ...]) -> str:
        if any(stand.committed for stand in stands):
            return "learned"
        return "observed" if any(stand.generates for stand in stands) else "read"

    def _nothing_is_stuck(self) -> None:
        """From every state there is a way to one in which the night's work is done."""
        done = {s for s in self._known if any(run.committed for run in s.runs)}
        while more := {s for s, to in self._leads_to.items() if s not in done and to & done}:
            done |= more
        if stuck := self._known.keys() - done:
            raise Wrong(f"no way leads on from {self._known[min(stuck, key=str)].way}")


def _newer(zombies: tuple[Lease, ...], lease: Lease | None) -> tuple[Lease, ...]:
    if lease is None:
        return zombies
    return tuple(lease if lease.owner == one.owner else one for one in zombies)


def _stand(bench: LedgerBench, run: Run) -> Stand:
    pinned = tuple(step for step in PINNED if bench.reader.pins(run.id, step))
    reached = run.stood_at or run.state
    generated = run.state is RunState.ABANDONED and not run.observations.empty
    return Stand(
        run.state,
        run.stood_at,
        pinned,
        generates=generated or (reached in ORDER and reached is not RunState.PLANNED),
        committed=bool(bench.reader.deltas(run.id)),
    )


def main() -> int:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        found = Explorer(Path(folder)).explore()
    print(
        f"{found.states} states, {found.edges} edges, {found.deaths} deaths;"
        f" {found.refused} writes refused, {found.repeated} repeated without effect;"
        f" {len(found.digests)} digests, one a phase"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
