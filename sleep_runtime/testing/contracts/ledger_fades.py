"""What every ledger must keep of scopes without news, and of nights that take only a part."""

from __future__ import annotations

from datetime import datetime, timedelta

from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.ports import Commit
from sleep_runtime.core.proposal import DeltaKind
from sleep_runtime.core.run import Run, Trigger
from sleep_runtime.testing.contracts.ledger_bench import (
    ANA,
    POLICY,
    SECOND,
    T0,
    LedgerBench,
    delta,
    note,
)

EARLIEST = T0 + timedelta(seconds=POLICY.fade_s * (1 - POLICY.jitter))
LATEST = T0 + timedelta(seconds=POLICY.fade_s * (1 + POLICY.jitter))


def _learn(bench: LedgerBench, status: NoteStatus = NoteStatus.ACTIVE) -> None:
    bench.heads(ANA, 1)
    bench.night(upto=1, commit=Commit(deltas=(delta(note(status=status)),)))


def _fade(bench: LedgerBench, now: datetime) -> Run | None:
    lease = bench.lease(now=now)
    return bench.writer.plan(
        lease, now=now, trigger=Trigger.FADE, requested="", journal_upto=1, max_observations=9
    )


class FadeContract:
    """A scope with notes and no news has a rare night, in which they may fade."""

    def test_a_scope_with_notes_wakes_within_the_jitter_of_its_slot(
        self, bench: LedgerBench
    ) -> None:
        _learn(bench)
        assert bench.due(EARLIEST - SECOND) == []
        assert bench.due(LATEST + SECOND) == [ANA]
        assert bench.reader.due(LATEST + SECOND, limit=1)[0].trigger is Trigger.FADE

    def test_a_candidate_is_looked_at_too(self, bench: LedgerBench) -> None:
        _learn(bench, NoteStatus.CANDIDATE)
        assert bench.due(LATEST + SECOND) == [ANA]

    def test_a_scope_without_notes_in_view_never_wakes(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 1)
        bench.night(upto=1)
        assert bench.due(T0 + timedelta(days=9999)) == []
        gone = delta(note(status=NoteStatus.RETIRED), DeltaKind.RETIRE)
        bench.heads(ANA, 2)
        bench.night(upto=2, commit=Commit(deltas=(gone,)))
        assert bench.due(T0 + timedelta(days=9999)) == []

    def test_the_night_reads_nothing_and_happens_once(self, bench: LedgerBench) -> None:
        _learn(bench)
        now = LATEST + SECOND
        run = _fade(bench, now)
        assert run is not None
        assert run.journal.empty
        assert run.observations.empty
        assert run.trigger is Trigger.FADE
        assert _fade(bench, now) is not None, "it is the same run, resumed"
        lease = bench.lease(now=now)
        bench.generate(lease, run, "", now=now)
        bench.writer.reflected(lease, run.id, [], counts={}, now=now)
        bench.writer.commit(lease, run.id, Commit(), now=now)
        bench.writer.projected(run.id, now=now)
        assert _fade(bench, now) is None, "it has happened"
        assert bench.due(now + timedelta(seconds=POLICY.fade_s / 2)) == []
        assert bench.due(now + timedelta(seconds=POLICY.fade_s * 2)) == [ANA]

    def test_a_look_that_finds_nothing_pending_leaves_the_fade_due(
        self, bench: LedgerBench
    ) -> None:
        _learn(bench)
        assert bench.try_plan(bench.lease(), upto=1) is None
        assert bench.due(EARLIEST - SECOND) == []
        assert bench.due(LATEST + SECOND) == [ANA]

    def test_nobody_can_ask_for_it_and_news_come_first(self, bench: LedgerBench) -> None:
        _learn(bench)
        assert bench.writer.request(None, now=T0) == []
        bench.heads(ANA, 2)
        (schedule,) = bench.reader.schedules(ANA)
        assert schedule.trigger is Trigger.CADENCE
        assert schedule.due_at is not None
        assert schedule.due_at < EARLIEST

    def test_what_a_night_leaves_the_next_one_takes(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 1)
        run = bench.night(names="abc", upto=1, commit=Commit(observed_upto=1))
        assert bench.reader.cursors(ANA).observations == 1
        (schedule,) = bench.reader.schedules(ANA)
        assert schedule.pending_observations == 2
        again = bench.night(upto=1)
        assert (again.observations.after, again.observations.upto) == (1, run.observations.upto)
        assert bench.reader.schedules(ANA) == []
