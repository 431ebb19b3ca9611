"""What every ledger must keep of leases, runs and observations.

Subclass in a test module and give a ``bench`` fixture (and ``other``, a second empty ledger).
``ledger_notes`` is the other half of the suite.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from sleep_runtime.core.errors import InvalidScope, LeaseLost, NotFound, StoreError
from sleep_runtime.core.observation import Usage
from sleep_runtime.core.ports import Commit, Mark, NoteVector, Pin
from sleep_runtime.core.proposal import DeltaKind
from sleep_runtime.core.run import CursorRange, Run, RunState, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.contracts.ledger_bench import (
    ANA,
    BEN,
    COOL,
    NEXT_DOOR,
    ORG,
    SECOND,
    T0,
    TEAM,
    LedgerBench,
    delta,
    evidence,
    judged,
    note,
    observation,
)


class LeaseContract:
    """One owner a scope; the epoch is the fence."""

    def test_a_held_scope_is_refused_until_it_expires(self, bench: LedgerBench) -> None:
        first = bench.lease(owner="tier-1")
        assert first.epoch == 1
        assert bench.writer.acquire(ANA, "tier-2", now=T0 + 59 * SECOND, ttl_s=60) is None
        second = bench.lease(owner="tier-2", now=T0 + 60 * SECOND)
        assert second.epoch == 2

    def test_the_same_owner_takes_it_again_with_a_higher_epoch(self, bench: LedgerBench) -> None:
        old = bench.lease()
        assert bench.lease().epoch == old.epoch + 1
        with pytest.raises(LeaseLost, match="epoch 2"):
            bench.writer.renew(old, now=T0, ttl_s=60)

    def test_epochs_grow_across_a_release(self, bench: LedgerBench) -> None:
        first = bench.lease(owner="tier-1")
        bench.writer.release(first)
        assert bench.reader.leases(T0) == []
        assert bench.lease(owner="tier-2").epoch == 2
        with pytest.raises(LeaseLost):
            bench.writer.release(first)

    def test_a_clock_set_back_lets_no_dead_owner_keep_a_scope(self, bench: LedgerBench) -> None:
        """The expiry that a dead owner left lies hours ahead by the clock of whoever comes."""
        old = bench.lease(owner="tier-1")
        before = T0 - 3600 * SECOND
        taken = bench.writer.acquire(ANA, "another", now=before, ttl_s=60)
        assert taken is not None
        assert (taken.epoch, taken.expires_at) == (old.epoch + 1, before + 60 * SECOND)
        assert bench.writer.acquire(ANA, "third", now=before, ttl_s=60) is None
        renewed = bench.writer.renew(taken, now=before - 3600 * SECOND, ttl_s=60)
        assert renewed.expires_at == before - 3540 * SECOND, "its owner lives: it is brought along"

    def test_expiry_alone_does_not_end_a_lease(self, bench: LedgerBench) -> None:
        lease = bench.lease()
        later = T0 + timedelta(hours=1)
        renewed = bench.writer.renew(lease, now=later, ttl_s=60)
        assert (renewed.epoch, renewed.expires_at) == (lease.epoch, later + 60 * SECOND)
        earlier = later - 30 * SECOND
        assert bench.writer.renew(renewed, now=earlier, ttl_s=60).expires_at == renewed.expires_at

    def test_lists_the_leases_alive_at_and_below_a_scope(self, bench: LedgerBench) -> None:
        for scope in (ORG, ANA, NEXT_DOOR):
            bench.lease(scope)
        assert [lease.scope for lease in bench.reader.leases(T0, ORG)] == [ORG, ANA]
        assert len(bench.reader.leases(T0)) == 3
        assert bench.reader.leases(T0 + 60 * SECOND) == []

    def test_every_write_of_a_zombie_is_refused(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 3)
        old = bench.lease(owner="tier-1")
        run = bench.plan(old, upto=3)
        late = T0 + 61 * SECOND
        new = bench.lease(owner="tier-2", now=late)
        before = bench.reader.digest()
        for write in (
            lambda: bench.writer.renew(old, now=late, ttl_s=60),
            lambda: bench.writer.release(old),
            lambda: bench.try_plan(old, upto=3),
            lambda: bench.writer.pin(old, run.id, "distil", [Pin(key="k", output={})], now=T0),
            lambda: bench.generate(old, run, "ab", events=3),
            lambda: bench.reflect(old, run),
            lambda: bench.writer.commit(old, run.id, Commit(), now=late),
            lambda: bench.writer.yield_run(old, run.id, "tired", now=late),
            lambda: bench.writer.abandon(old, run.id, "tired", now=late),
        ):
            with pytest.raises(LeaseLost):
                write()
        assert bench.reader.digest() == before
        assert bench.reader.pins(run.id, "distil") == {}
        assert bench.plan(new, upto=3).state is RunState.PLANNED


class RunContract:
    """The state machine of a night."""

    def test_a_night_from_head_to_projection(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 3)
        commit = Commit(
            deltas=(delta(note(), because=[evidence()]),),
            vectors={"note_1": b"\x01" * 8},
            vector_model="mini",
            counts={"add": 1},
            reason="one lesson",
        )
        run = bench.night(names="ab", upto=3, commit=commit)
        assert run.state is RunState.PROJECTED
        assert (run.number, run.attempts, run.reason) == (1, 1, "one lesson")
        assert run.journal == CursorRange(after=0, upto=3)
        assert run.counts == {"seen": 1, "new": 1, "add": 1}
        assert bench.reader.run(run.id) == run
        cursors = bench.reader.cursors(ANA)
        assert (cursors.journal, cursors.observations) == (3, run.observations.upto)
        assert [o.id for o in bench.reader.observations(ANA, after=0, upto=99, limit=9)] == [
            "a",
            "b",
        ]
        (committed,) = bench.reader.deltas(run.id)
        assert (committed.note_id, committed.revision, committed.kind) == (
            "note_1",
            1,
            DeltaKind.ADD,
        )
        assert bench.reader.proposals(run.id) == [judged()]
        assert bench.reader.marks(limit=9) == [Mark(note_id="note_1", revision=1)]
        assert bench.reader.vectors(["note_1"]) == [
            NoteVector(note_id="note_1", revision=1, model="mini", vector=b"\x01" * 8)
        ]
        assert bench.reader.versions([ANA, BEN]) == {ANA: 1, BEN: 0}
        schedule = bench.reader.schedule(ANA)
        assert schedule is not None
        assert schedule.idle
        assert schedule.trigger is Trigger.FADE

    def test_nothing_pending_is_no_run_and_no_longer_due(self, bench: LedgerBench) -> None:
        assert bench.try_plan(bench.lease(NEXT_DOOR)) is None
        assert not bench.reader.knows(NEXT_DOOR)
        bench.heads(ANA, 3)
        bench.writer.request(None, now=T0)
        assert bench.try_plan(bench.lease(), upto=0) is None
        assert bench.due(T0 + timedelta(days=9)) == []
        assert bench.reader.runs() == []

    def test_a_run_resumes_under_a_new_owner(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 3)
        first = bench.plan(bench.lease(owner="tier-1"), upto=3)
        later = T0 + 90 * SECOND
        lease = bench.lease(owner="tier-2", now=later)
        again = bench.plan(lease, upto=9, now=later, max_observations=1)
        assert (again.id, again.journal, again.planned_at) == (first.id, first.journal, T0)
        assert (again.owner, again.epoch, again.attempts) == ("tier-2", lease.epoch, 2)

    def test_numbers_and_ids_follow_the_scope(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 3)
        first, second = bench.night(upto=2), bench.night(upto=3)
        assert (first.number, second.number) == (1, 2)
        assert second.journal == CursorRange(after=2, upto=3)
        assert bench.reader.runs(TEAM) == [second, first]
        assert bench.reader.runs(NEXT_DOOR) == []
        assert bench.reader.runs(unfinished=True) == []

    def test_pins_keep_their_first_output(self, bench: LedgerBench) -> None:
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        cost = Usage(calls=1, input_tokens=5)
        first = Pin(key="k", output={"b": 1, "a": [2]}, usage=cost)
        bench.writer.pin(lease, run.id, "distil", [first], now=T0)
        other = Pin(key="l", output={}, usage=cost)
        bench.writer.pin(
            lease,
            run.id,
            "distil",
            [Pin(key="k", output={"x": 1}, usage=cost), other, other],
            now=T0,
        )
        assert bench.reader.pins(run.id, "distil") == {"k": first, "l": other}
        assert bench.reader.pins(run.id, "compare") == {}
        stored = bench.reader.run(run.id)
        assert stored is not None
        assert stored.usage == cost + cost

    def test_every_step_may_be_called_again(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 3)
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        commit = Commit(deltas=(delta(note()),), counts={"add": 1})
        steps: tuple[Callable[[], Run], ...] = (
            lambda: bench.generate(lease, run, "ab", events=3),
            lambda: bench.reflect(lease, run),
            lambda: bench.writer.commit(lease, run.id, commit, now=T0),
            lambda: bench.writer.projected(run.id, now=T0),
        )
        for done in range(1, len(steps) + 1):
            result = steps[done - 1]()
            digest, schedule = bench.reader.digest(), bench.reader.schedule(ANA)
            for step in steps[:done]:
                assert step() == result
            assert (bench.reader.digest(), bench.reader.schedule(ANA)) == (digest, schedule)
        assert bench.reader.versions([ANA, BEN]) == {ANA: 1, BEN: 0}

    def test_no_step_may_be_skipped(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 3)
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        with pytest.raises(StoreError, match="is planned, not generated"):
            bench.reflect(lease, run)
        with pytest.raises(StoreError, match="is planned, not committed"):
            bench.writer.projected(run.id, now=T0)
        bench.generate(lease, run, "a", events=3)
        with pytest.raises(StoreError, match="not reflected"):
            bench.writer.commit(lease, run.id, Commit(), now=T0)
        with pytest.raises(NotFound):
            bench.writer.projected("run_unknown", now=T0)

    def test_a_run_writes_its_own_scope_only(self, bench: LedgerBench) -> None:
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        with pytest.raises(StoreError, match="belongs to"):
            bench.generate(bench.lease(BEN), run, "a")
        with pytest.raises(StoreError, match="cannot observe"):
            bench.writer.generated(
                lease, run.id, [observation("a", BEN)], events=1, tokens=1, counts={}, now=T0
            )
        bench.generate(lease, run, "a")
        bench.reflect(lease, run)
        commit = Commit(deltas=(delta(note(scope=TEAM)),))
        with pytest.raises(StoreError, match="cannot write"):
            bench.writer.commit(lease, run.id, commit, now=T0)

    @pytest.mark.parametrize("at", ["planned", "generated", "reflected", "committed"])
    def test_a_yielded_run_goes_on_where_it_stood(self, bench: LedgerBench, at: str) -> None:
        bench.heads(ANA, 3)
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        if at != "planned":
            run = bench.generate(lease, run, "a", events=3)
        if at in ("reflected", "committed"):
            run = bench.reflect(lease, run)
        if at == "committed":
            run = bench.writer.commit(lease, run.id, Commit(), now=T0)
        yielded = bench.writer.yield_run(lease, run.id, "pool taken", now=T0)
        assert (yielded.state, yielded.stood_at) == (RunState.YIELDED, RunState(at))
        assert bench.writer.yield_run(lease, run.id, "again", now=T0) == yielded
        assert bench.reader.runs(unfinished=True) == [yielded]
        assert bench.due(T0 + COOL - SECOND) == []
        assert bench.due(T0 + COOL) == [ANA]
        resumed = bench.plan(lease, upto=9)
        assert (resumed.state, resumed.stood_at) == (RunState(at), None)
        assert (resumed.id, resumed.counts) == (run.id, run.counts)
        assert resumed.attempts == 1, "to yield is no failure"

    def test_a_run_that_yields_between_failures_counts_the_failures(
        self, bench: LedgerBench
    ) -> None:
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        assert bench.plan(lease).attempts == 2
        bench.writer.yield_run(lease, run.id, "pool taken", now=T0)
        assert bench.plan(lease).attempts == 2
        bench.writer.yield_run(lease, run.id, "the engine broke", now=T0, failed=True)
        assert bench.plan(lease).attempts == 3
        assert bench.plan(lease).attempts == 4

    def test_a_yielded_run_has_to_be_resumed_first(self, bench: LedgerBench) -> None:
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        bench.writer.yield_run(lease, run.id, "pool taken", now=T0)
        with pytest.raises(StoreError, match="yielded"):
            bench.generate(lease, run, "a")

    def test_an_abandoned_run_leaves_its_input_for_the_next(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 3)
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        gone = bench.writer.abandon(lease, run.id, "engine unavailable", now=T0)
        assert (gone.state, gone.reason) == (RunState.ABANDONED, "engine unavailable")
        bench.heads(ANA, 60)  # a backlog does not shorten the cool-down
        assert bench.due(T0 + COOL - SECOND) == []
        assert bench.due(T0 + COOL) == [ANA]
        with pytest.raises(StoreError, match="abandoned"):
            bench.generate(lease, run, "a")
        after = bench.plan(lease, upto=3)
        assert (after.number, after.journal) == (2, run.journal)

    def test_giving_up_a_projection_loses_no_note_and_frees_the_scope(
        self, bench: LedgerBench
    ) -> None:
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        bench.generate(lease, run, "a")
        bench.reflect(lease, run)
        commit = Commit(deltas=(delta(note()),), reason="one lesson")
        bench.writer.commit(lease, run.id, commit, now=T0)
        gone = bench.writer.abandon(lease, run.id, "the index is broken", now=T0)
        assert gone.state is RunState.ABANDONED
        assert gone.reason.startswith("one lesson; committed")
        assert bench.reader.note("note_1") == note()
        assert bench.reader.marks(limit=9) == [Mark(note_id="note_1", revision=1)]
        assert bench.try_plan(lease, upto=3) is None

    def test_an_unfinished_run_stays_due(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 3)
        bench.writer.request(ANA, now=T0)
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        steps: tuple[Callable[[], Run], ...] = (
            lambda: bench.generate(lease, run, "", events=3),
            lambda: bench.reflect(lease, run),
            lambda: bench.writer.commit(lease, run.id, Commit(), now=T0),
        )
        for step in steps:
            step()
            bench.heads(ANA, 3)
            assert bench.due(T0) == [ANA]
        bench.writer.projected(run.id, now=T0)
        assert bench.due(T0 + timedelta(days=9)) == []

    def test_refuses_a_request_that_is_no_scope(self, bench: LedgerBench) -> None:
        with pytest.raises(InvalidScope):
            bench.try_plan(bench.lease(), upto=3, requested="a//b")


class ObservationContract:
    """Distilled once, seen by every scope above through its own cursor."""

    def test_observations_of_a_subtree_and_no_other(self, bench: LedgerBench) -> None:
        bench.night(ANA, "ab", upto=2)
        bench.night(NEXT_DOOR, "x", upto=2)
        bench.night(TEAM, "t", upto=2)
        bench.night(BEN, "c", upto=2)

        def seen(scope: Scope, after: int = 0, limit: int = 9) -> str:
            found = bench.reader.observations(scope, after=after, upto=99, limit=limit)
            assert [o.seq for o in found] == sorted(o.seq for o in found)
            return "".join(o.id for o in found)

        assert [seen(s) for s in (ORG, TEAM, ANA, NEXT_DOOR)] == ["abtc", "abtc", "ab", "x"]
        assert (seen(ORG, after=1, limit=2), seen(Scope("acme/bank"))) == ("bt", "")

    def test_an_observation_is_stored_once(self, bench: LedgerBench) -> None:
        bench.night(ANA, "ab", upto=2)
        bench.night(ANA, "bcc", upto=3)
        found = bench.reader.observations(ANA, after=0, upto=99, limit=9)
        assert [o.id for o in found] == ["a", "b", "c"]
        schedule = bench.reader.schedule(TEAM)
        assert schedule is not None
        assert (schedule.observations_seen, schedule.pending_observations) == (3, 3)

    def test_the_scopes_above_learn_what_waits(self, bench: LedgerBench) -> None:
        bench.night(ANA, "ab", upto=2)
        for scope in (TEAM, ORG):
            schedule = bench.reader.schedule(scope)
            assert schedule is not None
            assert (schedule.pending_observations, schedule.pending_since) == (2, T0)
            assert schedule.trigger is Trigger.CADENCE
        assert bench.due(T0) == []
        assert set(bench.due(T0 + timedelta(hours=5))) == {TEAM, ORG}

    def test_what_arrives_after_generated_stays_pending(self, bench: LedgerBench) -> None:
        bench.night(ANA, "ab", upto=2)
        lease = bench.lease(TEAM)
        run = bench.generate(lease, bench.plan(lease), "")
        assert (run.observations.after, run.observations.upto) == (0, 2)
        bench.night(BEN, "c", upto=2)
        bench.reflect(lease, run)
        bench.writer.commit(lease, run.id, Commit(), now=T0)
        schedule = bench.reader.schedule(TEAM)
        assert schedule is not None
        assert schedule.pending_observations == 1
        assert bench.reader.cursors(TEAM).observations == 2

    def test_a_run_takes_no_more_than_it_may(self, bench: LedgerBench) -> None:
        bench.night(NEXT_DOOR, "x", upto=1)
        bench.night(ANA, "abc", upto=2)
        first = bench.night(TEAM, max_observations=2)
        assert (first.observations.after, first.observations.upto) == (0, 3)
        schedule = bench.reader.schedule(TEAM)
        assert schedule is not None
        assert (schedule.pending_observations, schedule.pending_since) == (1, T0)
        second = bench.night(TEAM)
        assert (second.observations.after, second.observations.upto) == (3, 4)
        assert bench.try_plan(bench.lease(TEAM)) is None

    def test_events_read_before_their_head_was_noted(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 1)
        bench.night(ANA, upto=3)
        schedule = bench.reader.schedule(ANA)
        assert schedule is not None
        assert schedule.idle
        bench.heads(ANA, 3)
        assert bench.due(T0 + timedelta(days=9)) == []
