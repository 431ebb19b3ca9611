"""What every ledger must keep of undos, reviews and opinions: the third part of the suite."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from sleep_runtime.core.errors import Conflict, InvalidInput, NotFound, StaleRevision
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.ports import Asked, Commit
from sleep_runtime.core.proposal import DeltaKind, Judgement, Verdict
from sleep_runtime.core.review import Question, Review, ReviewKind, ReviewState, Ruling
from sleep_runtime.core.run import Run, RunState, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.undo import Undoing
from sleep_runtime.testing.contracts.ledger_bench import (
    ANA,
    BEN,
    NEXT_DOOR,
    ORG,
    SECOND,
    T0,
    TEAM,
    LedgerBench,
    claim,
    delta,
    evidence,
    note,
)

LATER = T0 + timedelta(hours=1)


def take_back(
    bench: LedgerBench, run: Run, *, cascade: bool = False, owner: str = "undo-1"
) -> Undoing:
    """Undo and project."""
    done = bench.writer.undo(
        run.id, owner=owner, cascade=cascade, vectors={}, vector_model="mini", now=LATER
    )
    assert done.run is not None
    bench.writer.projected(done.run.id, now=LATER)
    return done


def question(key: str = "note_1", kind: ReviewKind = ReviewKind.CONFLICT) -> Question:
    """Two notes of which nobody can tell which holds."""
    return Question(
        kind=kind,
        key=key,
        notes=("note_1", "note_2"),
        claims=(claim(), claim("Use reported EBITDA.")),
        wanted=NoteStatus.ACTIVE if kind is ReviewKind.CHANGE else None,
        reason="nobody can tell",
    )


class UndoContract:
    """Taking a run back writes new revisions, and nothing is lost."""

    def test_an_undo_restores_and_retires_in_a_run_of_its_own(self, bench: LedgerBench) -> None:
        first = note(status=NoteStatus.CANDIDATE)
        bench.night(upto=1, commit=Commit(deltas=(delta(first, because=[evidence("a")]),)))
        promoted = delta(note(revision=2), DeltaKind.PROMOTE, [evidence("b")])
        added = delta(note("note_2"), because=[evidence("b")])
        second = bench.night(upto=2, commit=Commit(deltas=(promoted, added)))
        done = take_back(bench, second)
        restored, retired = bench.reader.note("note_1"), bench.reader.note("note_2")
        assert restored is not None
        assert retired is not None
        changed = {"revision": 3, "recorded_at": LATER, "reason": restored.reason}
        assert restored == first.model_copy(update=changed)
        assert (retired.status, retired.revision) == (NoteStatus.RETIRED, 2)
        assert second.id in retired.reason
        run = bench.reader.runs(ANA)[0]
        assert done.run is not None
        assert (run.id, run.state, run.trigger) == (done.run.id, RunState.PROJECTED, Trigger.UNDO)
        assert (run.number, run.undoes) == (3, (second.id,))
        undone = bench.reader.run(second.id)
        assert undone is not None
        assert undone.undone_by == run.id
        assert [(d.kind, d.restores) for d in bench.reader.deltas(run.id)] == [
            (DeltaKind.RESTORE, 1),
            (DeltaKind.RETIRE, 0),
        ]
        assert {mark.note_id for mark in bench.reader.marks(limit=9)} >= {"note_1", "note_2"}
        assert bench.reader.cursors(ANA).journal == 2, "what was read stays read"

    def test_evidence_is_taken_back_and_stays_known(self, bench: LedgerBench) -> None:
        bench.night(upto=1, commit=Commit(deltas=(delta(note(), because=[evidence("a")]),)))
        again = delta(
            note(revision=2), DeltaKind.REINFORCE, [evidence("a", weight=0.5), evidence("b")]
        )
        second = bench.night(upto=2, commit=Commit(deltas=(again,)))
        undo = take_back(bench, second).run
        (dossier,) = bench.reader.dossiers(ANA)
        assert [(e.event_id, e.weight) for e in dossier.evidence] == [("event-a", 1.0)]
        assert dossier.undone == ("event-b",)
        assert [e.undone for e in bench.reader.evidence("note_1")] == [False, True]
        assert undo is not None
        take_back(bench, undo, owner="undo-2")
        (dossier,) = bench.reader.dossiers(ANA)
        assert [(e.event_id, e.weight) for e in dossier.evidence] == [
            ("event-a", 0.5),
            ("event-b", 1.0),
        ]

    def test_an_undone_undo_brings_the_run_back_into_effect(self, bench: LedgerBench) -> None:
        first = bench.night(upto=1, commit=Commit(deltas=(delta(note()),)))
        undo = take_back(bench, first).run
        assert undo is not None
        with pytest.raises(Conflict, match=undo.id):
            bench.reader.undoing(first.id, now=LATER)
        redo = take_back(bench, undo, owner="undo-2").run
        assert redo is not None
        back, undone = bench.reader.run(first.id), bench.reader.run(undo.id)
        assert back is not None
        assert undone is not None
        assert (back.undone_by, undone.undone_by) == ("", redo.id)
        stands = bench.reader.note("note_1")
        assert stands is not None
        assert stands.status is NoteStatus.ACTIVE

    def test_later_runs_are_named_and_undone_only_with_leave(self, bench: LedgerBench) -> None:
        first = bench.night(upto=1, commit=Commit(deltas=(delta(note()),)))
        again = delta(note(revision=2), DeltaKind.REINFORCE)
        second = bench.night(upto=2, commit=Commit(deltas=(again,)))
        digest, runs = bench.reader.digest(), bench.reader.runs()
        plan = bench.reader.undoing(first.id, now=LATER)
        assert [(item.run_id, item.notes) for item in plan.later] == [(second.id, ("note_1",))]
        with pytest.raises(Conflict, match=second.id):
            take_back(bench, first)
        assert (bench.reader.digest(), bench.reader.runs()) == (digest, runs)
        assert take_back(bench, first, cascade=True).undoes == (second.id, first.id)

    def test_asking_again_gives_the_run_that_was_made(self, bench: LedgerBench) -> None:
        first = bench.night(upto=1, commit=Commit(deltas=(delta(note()),)))
        done, again = take_back(bench, first), take_back(bench, first)
        assert done.run is not None
        assert again.run is not None
        assert again.run.id == done.run.id
        assert len(bench.reader.runs()) == 2
        with pytest.raises(Conflict):
            take_back(bench, first, owner="undo-2")

    def test_what_is_not_over_or_held_is_left_alone(self, bench: LedgerBench) -> None:
        first = bench.night(upto=1, commit=Commit(deltas=(delta(note()),)))
        lease = bench.lease(now=LATER)
        with pytest.raises(Conflict, match="under way"):
            take_back(bench, first)
        run = bench.plan(lease, upto=2)
        with pytest.raises(Conflict, match=run.id):
            bench.reader.undoing(first.id, now=LATER)
        assert bench.reader.note("note_1") == note()

    def test_an_undo_fences_out_who_held_the_scope_before(self, bench: LedgerBench) -> None:
        first = bench.night(upto=1, commit=Commit(deltas=(delta(note()),)))
        late = bench.lease(owner="tier-1", now=T0 - timedelta(days=1))
        take_back(bench, first)
        assert bench.lease(owner="tier-2", now=LATER).epoch > late.epoch + 1

    def test_unknown_runs_and_runs_that_changed_nothing(self, bench: LedgerBench) -> None:
        with pytest.raises(NotFound):
            bench.reader.undoing("run_unknown", now=LATER)
        empty = bench.night(upto=1)
        with pytest.raises(Conflict, match="changed nothing"):
            bench.reader.undoing(empty.id, now=LATER)

    def test_words_that_come_back_need_a_vector(self, bench: LedgerBench) -> None:
        old = claim("Use EBITDA, adjusted.")
        before = note().model_copy(update={"claim": old})
        vectors = {"note_1": b"\x01" * 8}
        bench.night(
            upto=1, commit=Commit(deltas=(delta(before),), vectors=vectors, vector_model="mini")
        )
        reworded = Commit(
            deltas=(delta(note(revision=2), DeltaKind.REINFORCE),),
            vectors={"note_1": b"\x02" * 8},
            vector_model="mini",
        )
        second = bench.night(upto=2, commit=reworded)
        plan = bench.reader.undoing(second.id, now=LATER)
        assert bench.reader.reworded(plan) == [old.statement]
        with pytest.raises(StaleRevision):
            take_back(bench, second)
        bench.writer.undo(
            second.id,
            owner="undo-2",
            cascade=False,
            vectors={old.statement: b"\x03" * 8},
            vector_model="mini",
            now=LATER,
        )
        (vector,) = bench.reader.vectors(["note_1"])
        assert (vector.revision, vector.vector) == (3, b"\x03" * 8)

    def test_the_scopes_below_look_again_at_what_had_folded(self, bench: LedgerBench) -> None:
        said = [evidence("a")]
        team = bench.night(
            TEAM, upto=1, commit=Commit(deltas=(delta(note("t", scope=TEAM), because=said),))
        )
        copy = note("c").model_copy(update={"status": NoteStatus.RETIRED, "superseded_by": "t"})
        bench.night(ANA, upto=1, commit=Commit(deltas=(delta(copy, DeltaKind.RETIRE),)))
        done = take_back(bench, team)
        assert [(item.scope, item.note_id, item.into) for item in done.folded] == [(ANA, "c", "t")]
        schedule = bench.reader.schedule(ANA)
        assert schedule is not None
        assert (schedule.folds, schedule.trigger) == (1, Trigger.FOLD)
        assert bench.reader.schedule(BEN) is None


class ReviewContract:
    """Questions of nights, answers of people."""

    def _asked(self, bench: LedgerBench, *questions: Question, upto: int = 1) -> Run:
        bench.heads(ANA, upto)
        return bench.night(upto=upto, commit=Commit(questions=questions))

    def _open(self, bench: LedgerBench, scope: Scope | None = None) -> Sequence[Review]:
        return bench.reader.reviews(scope, states=[ReviewState.OPEN])

    def test_a_question_is_open_once(self, bench: LedgerBench) -> None:
        run = self._asked(bench, question())
        (review,) = self._open(bench, TEAM)
        assert (review.scope, review.run_id, review.question) == (ANA, run.id, question())
        assert bench.reader.review(review.id) == review
        self._asked(bench, question(), upto=2)
        assert self._open(bench) == [review]
        assert self._open(bench, NEXT_DOOR) == []
        assert bench.reader.counts(ANA)["reviews.open"] == 1
        assert bench.reader.waiting(ANA) == [review]
        assert bench.reader.waiting(TEAM) == []

    def test_a_decision_makes_the_scope_due_and_is_kept_until_it_is_done(
        self, bench: LedgerBench
    ) -> None:
        self._asked(bench, question())
        (review,) = self._open(bench)
        done = bench.writer.resolve(review.id, Ruling.KEEP_LEFT, by="eve", now=LATER)
        assert (done.state, done.by, done.at) == (ReviewState.RESOLVED, "eve", LATER)
        schedule = bench.reader.schedule(ANA)
        assert schedule is not None
        assert (schedule.reviews, schedule.due_at, schedule.trigger) == (1, LATER, Trigger.REVIEW)
        assert bench.reader.waiting(ANA) == [done]
        run = bench.night(commit=Commit(applied=(review.id,)), now=LATER)
        assert run.reviews == 1
        assert bench.reader.waiting(ANA) == []
        stored = bench.reader.review(review.id)
        assert stored is not None
        assert stored.applied_by == run.id
        assert bench.due(LATER + timedelta(days=9)) == []

    def test_a_rejection_is_for_good_and_needs_no_night(self, bench: LedgerBench) -> None:
        change = question(kind=ReviewKind.CHANGE)
        self._asked(bench, change)
        (review,) = self._open(bench)
        bench.writer.resolve(review.id, Ruling.REJECT, by="eve", now=LATER)
        assert bench.due(LATER) == []
        assert bench.reader.waiting(ANA) == []
        self._asked(bench, change, upto=2)
        assert self._open(bench) == []

    def test_a_verdict_is_kept_for_the_organisation_in_order(self, bench: LedgerBench) -> None:
        self._asked(bench, question())
        (review,) = self._open(bench)
        bench.writer.resolve(review.id, Ruling.SAME, by="eve", now=LATER)
        bench.writer.resolve(review.id, Ruling.UNRELATED, by="kim", now=LATER + SECOND)
        said = bench.reader.verdicts(BEN)
        assert [(one.verdict, one.by, one.org) for one in said] == [
            (Verdict.SAME, "eve", ORG),
            (Verdict.UNRELATED, "kim", ORG),
        ]
        assert {said[0].left.statement, said[0].right.statement} == {
            one.statement for one in question().claims
        }
        assert bench.reader.verdicts(NEXT_DOOR) == []

    def test_what_does_not_answer_the_question_is_refused(self, bench: LedgerBench) -> None:
        self._asked(bench, question())
        (review,) = self._open(bench)
        with pytest.raises(InvalidInput, match="approve"):
            bench.writer.resolve(review.id, Ruling.APPROVE, by="eve", now=LATER)
        with pytest.raises(NotFound):
            bench.writer.resolve("review_unknown", Ruling.SAME, by="eve", now=LATER)
        bench.night(upto=2, commit=Commit(expired=(review.id,)))
        with pytest.raises(Conflict, match="expired"):
            bench.writer.resolve(review.id, Ruling.SAME, by="eve", now=LATER)

    def test_an_undone_run_asked_nothing(self, bench: LedgerBench) -> None:
        commit = Commit(deltas=(delta(note()),), questions=(question(),))
        run = bench.night(upto=1, commit=commit)
        take_back(bench, run)
        assert self._open(bench) == []


class JudgementContract:
    """What an engine answered in a scope is remembered there."""

    def test_the_first_usable_answer_of_each_engine_stays(self, bench: LedgerBench) -> None:
        apart = Judgement(verdict=Verdict.UNRELATED, reason="other things", score=0.25)
        same = Judgement(verdict=Verdict.SAME, reason="one thing", score=0.75)
        broken = Judgement(problem="no answer")
        first = Asked(engine="one", judgements={"a:b": apart, "a:c": broken})
        bench.night(upto=1, commit=Commit(asked=first))
        bench.night(upto=2, commit=Commit(asked=Asked(engine="one", judgements={"a:b": same})))
        keys = ["a:b", "a:c", "x:y"]
        assert bench.reader.judgements(ANA, "one", keys) == {"a:b": apart}
        assert bench.reader.judgements(ANA, "two", keys) == {}
        assert bench.reader.judgements(BEN, "one", keys) == {}
        assert bench.reader.judgements(ANA, "one", []) == {}

    def test_it_is_kept_with_the_reflection_too(self, bench: LedgerBench) -> None:
        answer = Judgement(verdict=Verdict.EXCLUDES, reason="one value each", score=0.5)
        lease = bench.lease()
        run = bench.plan(lease, upto=1)
        bench.generate(lease, run, "a", events=1)
        asked = Asked(engine="one", judgements={"a:b": answer})
        bench.writer.reflected(lease, run.id, [], counts={}, now=T0, asked=asked)
        assert bench.reader.judgements(ANA, "one", ["a:b"]) == {"a:b": answer}
