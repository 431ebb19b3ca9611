"""What every ledger must keep of notes, schedules and the outbox: the second half of the suite."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sleep_runtime.core.errors import StaleRevision, StoreError
from sleep_runtime.core.journal import ScopeHead
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.ports import Commit, Mark, NoteVector, Pending, Pin
from sleep_runtime.core.proposal import DeltaKind
from sleep_runtime.core.run import RunState, Trigger
from sleep_runtime.core.scope import Scope, Tier
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
    note,
)


class NoteContract:
    """Notes are chains of revisions; a commit is all or nothing."""

    def test_revisions_are_appended_and_the_newest_is_read(self, bench: LedgerBench) -> None:
        first, second = note(), note(revision=2, status=NoteStatus.RETIRED, at=T0 + SECOND)
        bench.night(upto=1, commit=Commit(deltas=(delta(first),)))
        retired = Commit(deltas=(delta(second, DeltaKind.RETIRE),))
        bench.night(upto=2, commit=retired, now=T0 + SECOND)
        assert bench.reader.note("note_1") == second
        assert bench.reader.history("note_1") == [first, second]
        assert bench.reader.note("note_2") is None
        assert bench.reader.named(["note_2", "note_1", "note_1"]) == [second]
        assert bench.reader.named([]) == []
        assert bench.reader.notes() == [second]
        assert bench.reader.notes(as_of=T0) == [first]
        assert bench.reader.notes(as_of=T0 - SECOND) == []
        assert bench.reader.notes(as_of=T0, statuses=[NoteStatus.RETIRED]) == []

    def test_a_change_is_recorded_when_it_is_committed(self, bench: LedgerBench) -> None:
        """A night may take hours: nobody could have known before what it learned."""
        lease = bench.lease()
        run = bench.plan(lease, upto=1)
        bench.generate(lease, run, "a", events=1)
        bench.reflect(lease, run)
        committed = T0 + timedelta(hours=3)
        bench.writer.commit(lease, run.id, Commit(deltas=(delta(note()),)), now=committed)
        assert bench.reader.notes(as_of=committed - SECOND) == []
        assert bench.reader.notes(as_of=committed) == [note(at=committed)]
        assert [change.at for change in bench.reader.deltas(run.id)] == [committed]
        schedule = bench.reader.schedule(ANA)
        assert schedule is not None
        assert schedule.last_run_at == committed

    def test_only_a_scope_whose_notes_changed_has_a_new_version(self, bench: LedgerBench) -> None:
        lineage = [*ANA.lineage(), NEXT_DOOR]
        assert set(bench.reader.versions(lineage).values()) == {0}
        bench.night(NEXT_DOOR, upto=1, commit=Commit(deltas=(delta(note(scope=NEXT_DOOR)),)))
        bench.night(TEAM, upto=1, commit=Commit(deltas=(delta(note("t", scope=TEAM)),)))
        bench.night(TEAM, upto=2, commit=Commit(reason="nothing learned", folds=(ANA,)))
        again = delta(note("t", scope=TEAM, revision=2))
        bench.night(TEAM, upto=3, commit=Commit(deltas=(again,)))
        expected = {ANA: 0, TEAM: 2, ORG: 0, NEXT_DOOR: 1}
        assert bench.reader.versions(lineage) == expected
        bench.writer.clear_marks(bench.reader.marks(limit=9))
        bench.writer.mark_all(generation=0)
        assert bench.reader.versions(lineage) == expected
        assert bench.reader.versions([]) == {}

    def test_a_segment_is_the_active_notes_of_one_scope_with_their_vectors(
        self, bench: LedgerBench
    ) -> None:
        held = [note("n1", scope=TEAM), note("n2", scope=TEAM), note("n3", scope=TEAM)]
        gone = note("n4", scope=TEAM, status=NoteStatus.RETIRED)
        vectors = {"n1": b"\x01" * 8, "n4": b"\x04" * 8}
        commit = Commit(
            deltas=tuple(delta(one) for one in (*held, gone)), vectors=vectors, vector_model="mini"
        )
        bench.night(TEAM, upto=1, commit=commit)
        bench.night(ANA, upto=1, commit=Commit(deltas=(delta(note("mine")),)))
        rows = bench.reader.segment(TEAM, limit=9)
        assert [(row.note_id, row.model, row.vector) for row in rows] == [
            ("n1", "mini", b"\x01" * 8),
            ("n2", "", b""),
            ("n3", "", b""),
        ]
        assert [row.note_id for row in bench.reader.segment(TEAM, limit=1, after="n1")] == ["n2"]
        bare = bench.reader.segment(TEAM, limit=9, vectors=False)
        assert [(row.model, row.vector) for row in bare] == [("mini", b""), ("", b""), ("", b"")]
        assert bench.reader.active(TEAM) == {"n1": 1, "n2": 1, "n3": 1}
        assert bench.reader.segment(ORG, limit=9) == []
        assert bench.reader.active(ORG) == {}

    def test_a_segment_says_of_a_note_what_the_note_says(self, bench: LedgerBench) -> None:
        bench.night(upto=1, commit=Commit(deltas=(delta(note()),)))
        (row,) = bench.reader.segment(ANA, limit=9)
        (held,) = bench.reader.named([row.note_id])
        claim = held.claim
        assert row[:8] == (
            *(held.id, held.revision, claim.statement, claim.subject, claim.aspect),
            *(claim.value, claim.applies_when, claim.about),
        )
        assert row.confidence == held.confidence
        assert timedelta(microseconds=row.since_us) == held.valid_from - datetime(
            1970, 1, 1, tzinfo=UTC
        )

    def test_one_commit_may_revise_a_note_twice(self, bench: LedgerBench) -> None:
        twice = (delta(note()), delta(note(revision=2), DeltaKind.REINFORCE))
        bench.night(upto=1, commit=Commit(deltas=twice))
        assert [n.revision for n in bench.reader.history("note_1")] == [1, 2]
        assert bench.reader.marks(limit=9) == [Mark(note_id="note_1", revision=2)]

    @pytest.mark.parametrize("revision", [1, 3])
    def test_a_stale_revision_changes_nothing(self, bench: LedgerBench, revision: int) -> None:
        bench.night(upto=1, commit=Commit(deltas=(delta(note()),)))
        lease = bench.lease()
        run = bench.plan(lease, upto=2)
        bench.generate(lease, run, "")
        bench.reflect(lease, run)
        before = bench.reader.digest(), bench.reader.counts(), bench.reader.schedule(ANA)
        fresh, stale = delta(note("note_0")), delta(note(revision=revision))
        with pytest.raises(StaleRevision):
            bench.writer.commit(lease, run.id, Commit(deltas=(fresh, stale)), now=T0)
        with pytest.raises(StoreError, match="no delta"):
            bench.writer.commit(lease, run.id, Commit(vectors={"note_1": b""}), now=T0)
        after = bench.reader.digest(), bench.reader.counts(), bench.reader.schedule(ANA)
        assert after == before
        stored = bench.reader.run(run.id)
        assert stored is not None
        assert stored.state is RunState.REFLECTED

    def test_notes_by_scope_status_and_page(self, bench: LedgerBench) -> None:
        for scope, names in ((ORG, "a"), (TEAM, "bc"), (ANA, "d"), (NEXT_DOOR, "e")):
            added = tuple(delta(note(name, scope=scope)) for name in names)
            bench.night(scope, upto=1, commit=Commit(deltas=added))
        off = delta(note("b", scope=TEAM, revision=2, status=NoteStatus.SUPERSEDED))
        bench.night(TEAM, upto=2, commit=Commit(deltas=(off,)))

        def ids(*scopes: Scope, within: Scope | None = None, after: str = "") -> str:
            found = bench.reader.notes(
                scopes or None, within=within, statuses=[NoteStatus.ACTIVE], after=after, limit=3
            )
            return "".join(n.id for n in found)

        assert [ids(), ids(after="c"), ids(*ANA.lineage()), ids(within=TEAM)] == [
            "acd",
            "de",
            "acd",
            "cd",
        ]
        assert bench.reader.notes([]) == []
        counts = bench.reader.counts()
        assert (counts["notes"], counts["notes.active"], counts["notes.superseded"]) == (5, 4, 1)
        assert counts["notes.retired"] == 0

    def test_counts_of_a_subtree_are_of_nobody_else(self, bench: LedgerBench) -> None:
        for scope, names in ((TEAM, "bc"), (ANA, "d"), (NEXT_DOOR, "efg")):
            bench.heads(scope, 1)
            lease = bench.lease(scope)
            run = bench.plan(lease, upto=1)
            bench.writer.pin(lease, run.id, "distil", [Pin(key="k", output={})], now=T0)
            bench.generate(lease, run, names)
            bench.reflect(lease, run)
            # What is said at ANA, whoever learns from it.
            added = tuple(delta(note(name, scope=scope), because=[evidence()]) for name in names)
            vectors = {change.note.id: b"v" for change in added}
            bench.writer.commit(lease, run.id, Commit(deltas=added, vectors=vectors), now=T0)
        nouns = ("notes", "revisions", "evidence", "vectors", "deltas", "outbox", "observations")
        per_run = ("runs", "pins", "proposals")

        def counted(within: Scope | None) -> tuple[set[int], set[int]]:
            counts = bench.reader.counts(within)
            assert counts["notes.active"] == counts["notes"]
            return {counts[noun] for noun in nouns}, {counts[noun] for noun in per_run}

        assert counted(None) == ({6}, {3})
        assert counted(ORG) == counted(TEAM) == ({3}, {2})
        assert counted(ANA) == ({1}, {1})
        assert counted(BEN) == ({0}, {0})
        assert counted(NEXT_DOOR) == ({3}, {1})
        assert bench.reader.counts(BEN).keys() == bench.reader.counts().keys()
        assert bench.reader.counts(ANA)["schedules"] == 1

    def test_a_dossier_holds_all_that_speaks_for_a_note(self, bench: LedgerBench) -> None:
        first = delta(note(), because=[evidence("b"), evidence("a")])
        again = delta(note(revision=2), because=[evidence("a", weight=-1.0), evidence("c")])
        other = delta(note("note_2", status=NoteStatus.CANDIDATE))
        bench.night(upto=1, commit=Commit(deltas=(first, other)))
        bench.night(upto=2, commit=Commit(deltas=(again,)))
        one, two = bench.reader.dossiers(ANA)
        assert one.note == note(revision=2)
        assert [(e.observation_id, e.weight) for e in one.evidence] == [
            ("a", -1.0),
            ("b", 1.0),
            ("c", 1.0),
        ]
        assert list(one.evidence) == bench.reader.evidence("note_1")
        assert (two.note.id, two.evidence) == ("note_2", ())
        assert bench.reader.dossiers(TEAM) == []

    def test_a_vote_is_kept_beside_what_speaks_for_a_note(self, bench: LedgerBench) -> None:
        because = [evidence("a"), evidence("b", weight=0.0, vote=-1)]
        bench.night(upto=1, commit=Commit(deltas=(delta(note(), because=because),)))
        (one,) = bench.reader.dossiers(ANA)
        assert list(one.evidence) == because

    def test_vectors_follow_the_newest_wording(self, bench: LedgerBench) -> None:
        for revision in (1, 2):
            bench.night(
                upto=revision,
                commit=Commit(
                    deltas=(delta(note(revision=revision)),),
                    vectors={"note_1": bytes([revision])},
                    vector_model="mini",
                ),
            )
        (version,) = bench.reader.versions([ANA]).values()
        stale = NoteVector(note_id="note_1", revision=1, model="new", vector=b"x")
        ghost = NoteVector(note_id="ghost", revision=1, model="new", vector=b"x")
        bench.writer.store_vectors([stale, ghost])
        (held,) = bench.reader.vectors(["note_1", "ghost"])
        assert (held.revision, held.model, held.vector) == (2, "mini", b"\x02")
        assert bench.reader.versions([ANA, TEAM]) == {ANA: version, TEAM: 0}
        bench.writer.store_vectors([stale.model_copy(update={"revision": 2})])
        assert bench.reader.vectors(["note_1"])[0].model == "new"
        assert bench.reader.versions([ANA, TEAM]) == {ANA: version + 1, TEAM: 0}


class ScheduleContract:
    """What is pending, when it is due, and who asked."""

    def test_heads_only_grow_and_the_watermark_never_goes_back(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 5, tokens=70)
        bench.heads(ANA, 3, now=T0 + SECOND)
        schedule = bench.reader.schedule(ANA)
        assert schedule is not None
        assert (schedule.pending_events, schedule.pending_tokens) == (5, 70)
        assert schedule.pending_since == T0
        assert bench.reader.watermark() == 5
        assert bench.reader.knows(Scope("acme/other"))
        assert not bench.reader.knows(NEXT_DOOR)

    def test_a_backlog_is_due_at_once_and_keeps_its_place(self, bench: LedgerBench) -> None:
        bench.heads(BEN, 50, now=T0)
        bench.heads(ANA, 50, now=T0 + SECOND)
        bench.heads(BEN, 99, now=T0 + 9 * SECOND)
        due = bench.reader.due(T0 + 9 * SECOND, limit=9)
        assert [(s.scope, s.due_at, s.trigger) for s in due] == [
            (BEN, T0, Trigger.BACKLOG),
            (ANA, T0 + SECOND, Trigger.BACKLOG),
        ]
        assert bench.reader.next_due() == due[0]
        assert bench.reader.due(T0 + 9 * SECOND, limit=1) == due[:1]

    def test_a_backlog_waits_for_the_cool_down_after_a_night(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 50)
        bench.night(ANA, upto=50)
        bench.heads(ANA, 110, now=T0 + SECOND)
        assert bench.due(T0 + COOL - SECOND) == []
        assert bench.due(T0 + COOL) == [ANA]

    def test_a_request_reaches_what_is_pending_below(self, bench: LedgerBench) -> None:
        for scope in (TEAM, ANA, NEXT_DOOR):
            bench.heads(scope, 3)
        bench.night(TEAM, upto=3)
        assert bench.writer.request(ORG, now=T0) == [ANA]
        assert bench.writer.request(None, now=T0) == [NEXT_DOOR, ANA]
        schedule = bench.reader.schedule(ANA)
        assert schedule is not None
        assert (schedule.requested, schedule.trigger, schedule.due_at) == ("*", Trigger.MANUAL, T0)
        assert bench.writer.request(TEAM, now=T0 + SECOND) == [ANA]
        assert bench.reader.schedule(ANA) == schedule
        bench.night(ANA, upto=3, requested="*")
        assert bench.due(T0 + timedelta(hours=1)) == [NEXT_DOOR]

    def test_a_request_ends_a_cool_down(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 3)
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        bench.writer.yield_run(lease, run.id, "pool taken", now=T0)
        assert bench.writer.request(ANA, now=T0) == [ANA]
        assert bench.due(T0) == [ANA]

    @pytest.mark.parametrize(
        ("requested", "reached"),
        [("", {TEAM, ORG}), ("*", {TEAM, ORG}), ("acme/banking", {TEAM}), (str(ANA), set())],
    )
    def test_a_request_climbs_with_the_work(
        self, bench: LedgerBench, requested: str, reached: set[Scope]
    ) -> None:
        bench.heads(ANA, 3)
        bench.night(ANA, "a", upto=3, requested=requested)
        due = bench.reader.due(T0, limit=9)
        assert {s.scope for s in due} == reached
        assert all(s.trigger is Trigger.MANUAL for s in due)

    def test_a_request_during_a_run_climbs_too(self, bench: LedgerBench) -> None:
        bench.heads(ANA, 3)
        lease = bench.lease()
        run = bench.plan(lease, upto=3)
        bench.writer.request(None, now=T0)
        bench.generate(lease, run, "a", events=3)
        assert set(bench.due(T0)) == {ANA, TEAM, ORG}

    def test_a_fold_makes_the_scope_below_due(self, bench: LedgerBench) -> None:
        bench.night(TEAM, upto=1, commit=Commit(folds=(ANA, BEN)))
        bench.night(TEAM, upto=2, commit=Commit(folds=(ANA,)))
        due = bench.reader.due(T0, limit=9)
        assert {(s.scope, s.folds, s.trigger) for s in due} == {
            (ANA, 2, Trigger.FOLD),
            (BEN, 1, Trigger.FOLD),
        }
        lease = bench.lease(ANA)
        run = bench.plan(lease)
        assert run.folds == 2
        bench.night(TEAM, upto=3, commit=Commit(folds=(ANA,)))
        bench.generate(lease, run, "")
        bench.reflect(lease, run)
        bench.writer.commit(lease, run.id, Commit(), now=T0)
        schedule = bench.reader.schedule(ANA)
        assert schedule is not None
        assert (schedule.folds, schedule.last_run_at) == (1, T0)

    def test_a_request_goes_with_a_fold(self, bench: LedgerBench) -> None:
        bench.night(TEAM, upto=1, commit=Commit(folds=(ANA,)), requested="acme/banking")
        (schedule,) = bench.reader.due(T0, limit=9)
        assert (schedule.scope, schedule.requested) == (ANA, "acme/banking")

    def test_a_postponed_scope_waits_whatever_arrives(self, bench: LedgerBench) -> None:
        until = T0 + timedelta(hours=1)
        bench.writer.postpone(BEN, until=until)
        assert bench.reader.schedule(BEN) is None
        bench.heads(ANA, 60)
        bench.writer.postpone(ANA, until=until)
        bench.writer.postpone(ANA, until=T0 + SECOND)
        bench.heads(ANA, 90)
        assert bench.due(until - SECOND) == []
        assert bench.due(until) == [ANA]

    def test_lists_what_is_pending_by_due_time(self, bench: LedgerBench) -> None:
        bench.heads(TEAM, 3)
        bench.heads(ANA, 60)
        bench.heads(NEXT_DOOR, 60)
        bench.heads(BEN, 3)
        bench.night(BEN, upto=3)
        listed = [s.scope for s in bench.reader.schedules(ORG)]
        assert listed == [ANA, TEAM]
        assert len(bench.reader.schedules()) == 3
        assert len(bench.reader.schedules(limit=1)) == 1

    def test_many_heads_in_one_call(self, bench: LedgerBench) -> None:
        heads = [
            ScopeHead(scope=Scope(f"acme/t/u{n}"), last_seq=n, events=1, tokens=1)
            for n in range(2500)
        ]
        bench.writer.note_heads(heads, watermark=2500, now=T0)
        assert bench.reader.counts()["schedules"] == 2500
        everywhere = Pending(scopes=2500, events=2500, tokens=2500)
        assert bench.reader.pending() == everywhere, "however many rows a list stops at"
        assert bench.reader.pending(ORG) == everywhere

    def test_sums_what_is_pending_by_subtree_and_tier(self, bench: LedgerBench) -> None:
        assert bench.reader.pending() == Pending()
        assert bench.reader.pending_by_tier() == dict.fromkeys(Tier, Pending())
        bench.heads(ANA, 3, tokens=30)
        bench.night(BEN, "ab", upto=2, commit=Commit())
        bench.heads(NEXT_DOOR, 5, tokens=50)
        bench.night(TEAM, upto=1, commit=Commit(folds=(ANA, BEN)))
        ana = Pending(scopes=1, events=3, tokens=30, folds=1)
        assert bench.reader.pending(ANA) == ana
        assert bench.reader.pending(TEAM) == Pending(scopes=2, events=3, tokens=30, folds=2)
        org = Pending(scopes=3, events=3, tokens=30, observations=2, folds=2)
        assert bench.reader.pending(ORG) == org
        assert bench.reader.pending() == org.model_copy(
            update={"scopes": 4, "events": 8, "tokens": 80}
        )
        assert bench.reader.pending_by_tier() == {
            Tier.ORG: Pending(scopes=1, observations=2),
            Tier.TEAM: Pending(scopes=1, events=5, tokens=50),
            Tier.INDIVIDUAL: Pending(scopes=2, events=3, tokens=30, folds=2),
        }

    def test_the_next_night_of_a_subtree(self, bench: LedgerBench) -> None:
        bench.heads(NEXT_DOOR, 50, now=T0)
        bench.heads(ANA, 50, now=T0 + SECOND)
        for scope, following in ((None, NEXT_DOOR), (ORG, ANA), (TEAM, ANA), (BEN, None)):
            found = bench.reader.next_due(scope)
            assert (found and found.scope) == following

    def test_remembers_how_far_it_relies_on_the_journal(self, bench: LedgerBench) -> None:
        assert bench.reader.furthest() == 0
        bench.heads(ANA, 3)
        assert bench.reader.furthest() == 3
        lease = bench.lease()
        run = bench.plan(lease, upto=7)
        assert bench.reader.furthest() == 7, "a run is about to read that far"
        bench.generate(lease, run, "a")
        bench.writer.abandon(lease, run.id, "enough", now=T0)
        assert bench.reader.furthest() == 7, "the cursor stays there"
        bench.heads(BEN, 9)
        assert bench.reader.furthest() == 9


class OutboxContract:
    """Marks say what the index may not show yet."""

    def test_a_mark_outlives_a_projection_of_an_older_revision(self, bench: LedgerBench) -> None:
        bench.night(upto=1, commit=Commit(deltas=(delta(note()), delta(note("note_2")))))
        seen = bench.reader.marks(limit=9)
        bench.night(upto=2, commit=Commit(deltas=(delta(note(revision=2)),)))
        assert bench.writer.clear_marks(seen) == 1
        assert bench.reader.marks(limit=9) == [Mark(note_id="note_1", revision=2)]
        assert bench.writer.clear_marks([Mark(note_id="note_1", revision=2)]) == 1
        assert bench.writer.clear_marks(seen) == 0

    def test_a_new_generation_marks_everything(self, bench: LedgerBench) -> None:
        bench.night(upto=1, commit=Commit(deltas=(delta(note()), delta(note("note_2")))))
        bench.writer.clear_marks(bench.reader.marks(limit=1))
        bench.night(upto=2, commit=Commit(deltas=(delta(note(revision=2)),)))
        assert bench.writer.mark_all(generation=1) == 2
        assert bench.reader.marks(limit=9) == [
            Mark(note_id="note_1", revision=2),
            Mark(note_id="note_2", revision=1),
        ]
        assert bench.reader.generation() == 0
        bench.writer.flip_generation(1)
        assert bench.reader.generation() == 1
        assert bench.writer.mark_all(generation=1) == 2, "or the one in use, which was lost"
        with pytest.raises(StoreError, match="generation 0 is over"):
            bench.writer.flip_generation(0)


class DigestContract:
    """Equal nights have equal digests, whoever did them and in whatever order."""

    def test_the_order_of_scopes_does_not_matter(
        self, bench: LedgerBench, other: LedgerBench
    ) -> None:
        for which, scopes in ((bench, (ANA, BEN)), (other, (BEN, ANA))):
            for scope in scopes:
                added = Commit(deltas=(delta(note(f"note_{scope[-3:]}", scope=scope)),))
                which.night(scope, scope[-1], upto=2, commit=added)
        assert bench.reader.digest() == other.reader.digest()

    def test_owner_attempts_and_clock_do_not_matter(
        self, bench: LedgerBench, other: LedgerBench
    ) -> None:
        bench.night(ANA, "a", upto=2, commit=Commit(deltas=(delta(note()),)))
        later = T0 + timedelta(days=1)
        lease = other.lease(owner="tier-9", now=later)
        other.writer.abandon(lease, other.plan(lease, upto=2).id, "no", now=later)
        added = Commit(deltas=(delta(note(at=later)),))
        other.night(ANA, "a", upto=2, commit=added, now=later + timedelta(days=1))
        assert bench.reader.digest() == other.reader.digest()

    @pytest.mark.parametrize(
        "night",
        [
            {"names": "b", "upto": 2},
            {"names": "a", "upto": 3},
            {"names": "a", "upto": 2, "commit": Commit(deltas=(delta(note()),))},
        ],
    )
    def test_a_difference_in_what_was_learned_shows(
        self, bench: LedgerBench, other: LedgerBench, night: dict[str, object]
    ) -> None:
        bench.night(ANA, "a", upto=2)
        other.night(ANA, **night)  # type: ignore[arg-type]
        assert bench.reader.digest() != other.reader.digest()

    @pytest.mark.parametrize(
        "change",
        [
            delta(note("note_2")),
            delta(note(status=NoteStatus.CANDIDATE)),
            delta(note().model_copy(update={"confidence": 0.75001})),
            delta(note().model_copy(update={"superseded_by": "note_2"})),
            delta(note(), because=[evidence()]),
            delta(note(), DeltaKind.PROMOTE),
        ],
    )
    def test_a_difference_in_a_note_shows(
        self, bench: LedgerBench, other: LedgerBench, change: object
    ) -> None:
        bench.night(ANA, "a", upto=2, commit=Commit(deltas=(delta(note()),)))
        other.night(ANA, "a", upto=2, commit=Commit.model_validate({"deltas": (change,)}))
        assert bench.reader.digest() != other.reader.digest()

    def test_a_confidence_that_differs_by_rounding_does_not(
        self, bench: LedgerBench, other: LedgerBench
    ) -> None:
        close = note().model_copy(update={"confidence": 0.75 + 1e-9})
        bench.night(ANA, "a", upto=2, commit=Commit(deltas=(delta(note()),)))
        other.night(ANA, "a", upto=2, commit=Commit(deltas=(delta(close),)))
        assert bench.reader.digest() == other.reader.digest()
