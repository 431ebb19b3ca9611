"""The SQLite ledger keeps the contract, and the promises of its own about files and speed."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from sleep_runtime.core.errors import LeaseLost, StoreError
from sleep_runtime.core.event import Trust
from sleep_runtime.core.journal import ScopeHead
from sleep_runtime.core.ports import Commit, LedgerReader, LedgerWriter
from sleep_runtime.core.run import Lease
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger import SqliteLedger, SqliteLedgerReader, schedules, spending
from sleep_runtime.stores.ledger.schema import observations, observed_below
from sleep_runtime.stores.sqlite import connect_reader
from sleep_runtime.testing.contracts.ledger import (
    LeaseContract,
    ObservationContract,
    RunContract,
)
from sleep_runtime.testing.contracts.ledger_bench import (
    ANA,
    BEN,
    ORG,
    POLICY,
    T0,
    TEAM,
    LedgerBench,
    delta,
    evidence,
    note,
    observation,
)
from sleep_runtime.testing.contracts.ledger_fades import FadeContract
from sleep_runtime.testing.contracts.ledger_notes import (
    DigestContract,
    NoteContract,
    OutboxContract,
    ScheduleContract,
)
from sleep_runtime.testing.contracts.ledger_people import (
    JudgementContract,
    ReviewContract,
    UndoContract,
)
from sleep_runtime.testing.contracts.ledger_spending import FairDueContract, SpendingContract


def _open(path: Path) -> Iterator[LedgerBench]:
    with SqliteLedger(path, triggers=POLICY) as ledger:
        writer: LedgerWriter = ledger
        reader: LedgerReader = ledger.reader
        yield LedgerBench(writer, reader)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def bench(path: Path) -> Iterator[LedgerBench]:
    yield from _open(path)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[LedgerBench]:
    yield from _open(tmp_path / "other.sqlite")


class TestLeases(LeaseContract):
    pass


class TestFades(FadeContract):
    pass


class TestUndo(UndoContract):
    pass


class TestReviews(ReviewContract):
    pass


class TestJudgements(JudgementContract):
    pass


class TestRuns(RunContract):
    pass


class TestObservations(ObservationContract):
    pass


class TestNotes(NoteContract):
    pass


class TestSchedules(ScheduleContract):
    pass


class TestSpending(SpendingContract):
    pass


class TestFairDue(FairDueContract):
    pass


class TestOutbox(OutboxContract):
    pass


class TestDigest(DigestContract):
    pass


# ---------------------------------------------------------------------------- two owners

_MOVES = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "renew", "release"]),
        st.sampled_from(["tier-1", "tier-2", "tier-3"]),
        st.integers(0, 45),
    ),
    max_size=20,
)
_NUMBERS = itertools.count()


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(moves=_MOVES)
def test_two_owners_never_both_hold_a_valid_epoch(
    bench: LedgerBench, moves: list[tuple[str, str, int]]
) -> None:
    """Of all leases ever given out for a scope, at most the newest is good for a write."""
    scope, now = Scope(f"acme/banking/u{next(_NUMBERS)}"), T0
    given_out: list[Lease] = []
    for move, owner, wait in moves:
        now += timedelta(seconds=wait)
        own = [lease for lease in given_out if lease.owner == owner]
        if move == "acquire":
            lease = bench.writer.acquire(scope, owner, now=now, ttl_s=60)
            given_out += [lease] if lease else []
        elif own:
            _use(bench, move, own[-1], now)
        valid = [lease for lease in given_out if _may_write(bench, lease)]
        assert valid in ([], given_out[-1:])
    epochs = [lease.epoch for lease in given_out]
    assert epochs == list(range(1, len(epochs) + 1))


def _use(bench: LedgerBench, move: str, lease: Lease, now: datetime) -> None:
    with contextlib.suppress(LeaseLost):
        if move == "renew":
            bench.writer.renew(lease, now=now, ttl_s=60)
        else:
            bench.writer.release(lease)


def _may_write(bench: LedgerBench, lease: Lease) -> bool:
    """Whether the ledger would take a write under this lease (this one changes nothing)."""
    try:
        bench.writer.renew(lease, now=T0 - timedelta(days=1), ttl_s=86_400)
    except LeaseLost:
        return False
    return True


# ---------------------------------------------------------------------------- one file


def test_other_processes_read_while_the_owner_writes(bench: LedgerBench, path: Path) -> None:
    bench.night(ANA, "a", upto=2, commit=Commit(deltas=(delta(note()),)))
    program = (
        "import sys; from sleep_runtime.stores.ledger import SqliteLedgerReader\n"
        "with SqliteLedgerReader(sys.argv[1]) as reader: print(reader.digest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == bench.reader.digest(), done.stderr


def test_a_reader_opens_a_file_that_nobody_has_open(path: Path) -> None:
    for bench in _open(path):
        bench.heads(ANA, 3)
    with SqliteLedgerReader(path) as reader:
        assert reader.watermark() == 3


def test_a_reader_cannot_write(bench: LedgerBench, path: Path) -> None:
    with (
        SqliteLedgerReader(path) as reader,
        pytest.raises(StoreError),
        reader._read() as tx,
    ):
        tx.exec_driver_sql("DELETE FROM meta")


def test_a_missing_file_is_named_with_its_mend(path: Path) -> None:
    with pytest.raises(StoreError, match="start the runtime"):
        SqliteLedgerReader(path)
    assert not path.exists()


def test_a_closed_ledger_says_so(path: Path) -> None:
    ledger = SqliteLedger(path, triggers=POLICY)
    ledger.close()
    ledger.close()
    with pytest.raises(StoreError, match="was closed"):
        ledger.acquire(ANA, "tier-1", now=T0, ttl_s=60)
    with pytest.raises(StoreError, match="was closed"):
        ledger.reader.generation()


def test_threads_take_turns_and_lose_nothing(bench: LedgerBench) -> None:
    scopes = [Scope(f"acme/banking/u{n}") for n in range(4)]
    failed: list[BaseException] = []

    def work(scope: Scope) -> None:
        try:
            for upto in range(1, 6):
                bench.writer.note_heads(
                    [ScopeHead(scope=scope, last_seq=upto, events=upto, tokens=upto)],
                    watermark=upto,
                    now=T0,
                )
                bench.night(scope, upto=upto)
                bench.reader.digest()
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=work, args=(scope,)) for scope in scopes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not failed
    assert [bench.reader.cursors(scope).journal for scope in scopes] == [5] * 4
    assert len(bench.reader.runs()) == 20


def test_commits_are_fsynced(path: Path) -> None:
    with SqliteLedger(path, triggers=POLICY) as ledger, ledger._write() as tx:
        assert tx.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert tx.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


@pytest.mark.parametrize("give_up", ["yield", "abandon"])
def test_without_a_cool_down_giving_up_is_no_tight_loop(path: Path, give_up: str) -> None:
    hot = POLICY.model_copy(update={"cooldown_s": 0.0, "backlog_events": 1})
    with SqliteLedger(path, triggers=hot) as ledger:
        bench = LedgerBench(ledger, ledger.reader)
        bench.heads(ANA, 3)
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        if give_up == "yield":
            ledger.yield_run(lease, run.id, "the model is away", now=T0)
        else:
            ledger.abandon(lease, run.id, "the model is away", now=T0)
        assert bench.due(T0 + timedelta(seconds=0.9)) == []
        assert bench.due(T0 + timedelta(seconds=1)) == [ANA]


# ---------------------------------------------------------------------------- plans and speed


def _explain(path: Path, query: sa.Select[tuple[object, ...]]) -> str:
    text = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    reader = connect_reader(path)
    try:
        steps = reader.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()
    finally:
        reader.close()
    return "; ".join(step[3] for step in steps)


def test_due_grows_with_what_is_due_not_with_all_scopes(bench: LedgerBench, path: Path) -> None:
    bench.writer.note_heads(
        [
            ScopeHead(
                scope=Scope(f"acme/t{n % 50}/u{n}"),
                last_seq=n,
                events=60 if n < 10 else 1,
                tokens=1,
            )
            for n in range(10_000)
        ],
        watermark=10_000,
        now=T0,
    )
    plan = _explain(path, schedules.due(T0, limit=100))
    assert "USING COVERING INDEX ix_schedules_due_at (due_at<" in plan
    assert "SCAN schedules" not in plan
    started = time.perf_counter()
    assert len(bench.reader.due(T0, limit=100)) == 10
    assert time.perf_counter() - started < 0.05


def test_spending_of_a_window_is_one_index_range(path: Path, bench: LedgerBench) -> None:
    since = {"since": T0, "of": "acme"}
    everybody = _explain(path, spending.ALL_SINCE.params(**since))
    assert "USING INDEX ix_spending_hour (hour>?)" in everybody
    assert "(org=? AND hour>?)" in _explain(path, spending.ORG_SINCE.params(**since))


@pytest.mark.parametrize(
    ("scope", "index"), [(ORG, "org"), (TEAM, "team"), (ANA, "scope")], ids=str
)
def test_observations_of_every_tier_are_one_index_range(
    bench: LedgerBench, path: Path, scope: Scope, index: str
) -> None:
    page = (
        sa.select(observations)
        .where(observed_below(scope), observations.c.seq > 5)
        .order_by(observations.c.seq)
    )
    plan = _explain(path, page)
    assert f"USING INDEX ix_observations_{index} ({index}=? AND seq>?)" in plan
    assert "B-TREE" not in plan


def test_a_commit_of_twenty_deltas_takes_milliseconds(bench: LedgerBench) -> None:
    took = []
    for turn in range(5):
        lease = bench.lease()
        run = bench.plan(lease, upto=turn + 1)
        bench.generate(lease, run, "")
        bench.reflect(lease, run)
        changes = tuple(
            delta(note(f"n{turn}_{n}"), because=[evidence(f"{e}") for e in range(5)])
            for n in range(20)
        )
        commit = Commit(deltas=changes, vectors={d.note.id: bytes(1536) for d in changes})
        started = time.perf_counter()
        bench.writer.commit(lease, run.id, commit, now=T0)
        took.append(time.perf_counter() - started)
        bench.writer.projected(run.id, now=T0)
    assert sorted(took)[2] < 0.1, took  # measured 14 to 23 ms on two busy cores


def test_every_field_of_an_observation_comes_back(bench: LedgerBench) -> None:
    given = observation("a").model_copy(
        update={
            "feedback_on": "note_1",
            "helpful": False,
            "trust": Trust.AGENT,
            "ts": T0 + timedelta(microseconds=1),
            "evidence": ("e2", "e1"),
        }
    )
    lease = bench.lease()
    run = bench.plan(lease, upto=1)
    bench.writer.generated(lease, run.id, [given], events=1, tokens=1, counts={}, now=T0)
    (back,) = bench.reader.observations(ANA, after=0, upto=9, limit=9)
    assert back == given.model_copy(update={"seq": 1})
    assert bench.reader.observations(BEN, after=0, upto=9, limit=9) == []
