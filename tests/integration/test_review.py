"""Review over whole nights: what is asked, what a decision does, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from daylight import (
    ADJUSTED,
    ANA,
    DAY,
    ORG,
    REPORTED,
    SCRIPT,
    TERSE,
    VERDICTS,
    World,
    capture,
    event,
    runtime,
)

from sleep_runtime.core.errors import Conflict, InvalidInput, NotFound
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict
from sleep_runtime.core.review import Review, ReviewKind, ReviewState, Ruling
from sleep_runtime.core.run import Trigger
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.engine import ScriptedEngine

ACTIVE, CANDIDATE = NoteStatus.ACTIVE, NoteStatus.CANDIDATE


class Counting(ScriptedEngine):
    """Remembers which pairs it was asked about."""

    def __init__(self, verdicts: dict[tuple[str, str], Verdict] | None = None) -> None:
        super().__init__(SCRIPT, VERDICTS if verdicts is None else verdicts)
        self.asked: list[str] = []

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]:
        self.asked += [pair.key for pair in pairs]
        return super().compare(pairs)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock, engine = ManualClock(), Counting()
    with runtime(tmp_path, clock, engine) as running:
        yield World(running, clock, engine)


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[World]:
    """A world in which nothing comes into force without a person."""
    clock, engine = ManualClock(), Counting()
    with runtime(tmp_path, clock, engine, {"policy.curation.mode": "review"}) as running:
        yield World(running, clock, engine)


def night(world: World) -> None:
    world.clock.advance(DAY)
    world.running.nights(ANA)


def at_once(world: World, *texts: str) -> None:
    """Said at the same instant: nobody can tell which of them is the later word."""
    world.clock.advance(1)
    now = world.clock.now()
    capture(
        world.running,
        *(event(ANA, text, now, session=f"s-{n}-{now:%H%M%S}") for n, text in enumerate(texts)),
    )


def open_reviews(world: World) -> list[Review]:
    return world.running.ledger.reviews(ANA, states=[ReviewState.OPEN])


def decide(world: World, review: Review, ruling: Ruling, by: str = "eve") -> None:
    world.running.writer.resolve(review.id, ruling, by=by, now=world.clock.now())
    world.clock.advance(1)
    assert world.tick() == (ANA,), "the scope is due at once"


def in_conflict(world: World) -> Review:
    at_once(world, ADJUSTED.statement, REPORTED.statement)
    night(world)
    (review,) = open_reviews(world)
    assert review.question.kind is ReviewKind.CONFLICT
    assert len(world.active(ANA)) == 1
    return review


def standing(world: World, review: Review) -> list[NoteStatus]:
    found = {note.id: note.status for note in world.notes(ANA)}
    return [found[name] for name in review.question.notes]


# ---------------------------------------------------------------------------- conflicts


def test_what_cannot_be_told_is_asked_once(world: World) -> None:
    review = in_conflict(world)
    assert standing(world, review) == [CANDIDATE, ACTIVE]
    world.say(ANA, TERSE.statement)
    night(world)
    assert open_reviews(world) == [review]


@pytest.mark.parametrize(
    ("ruling", "left", "right"),
    [
        (Ruling.KEEP_LEFT, ACTIVE, NoteStatus.SUPERSEDED),
        (Ruling.KEEP_RIGHT, NoteStatus.SUPERSEDED, ACTIVE),
        (Ruling.SAME, NoteStatus.RETIRED, ACTIVE),
        (Ruling.UNRELATED, ACTIVE, ACTIVE),
        (Ruling.EXCLUDES, CANDIDATE, ACTIVE),
    ],
)
def test_a_decision_is_done_by_the_next_night_and_is_a_verdict(
    world: World, ruling: Ruling, left: NoteStatus, right: NoteStatus
) -> None:
    review = in_conflict(world)
    decide(world, review, ruling)
    assert standing(world, review) == [left, right]
    (run, *_) = world.running.ledger.runs(ANA)
    assert run.trigger is Trigger.REVIEW
    stored = world.running.ledger.review(review.id)
    assert stored is not None
    assert (stored.state, stored.decision, stored.by) == (ReviewState.RESOLVED, ruling, "eve")
    assert stored.applied_by == run.id
    (verdict,) = world.running.ledger.verdicts(ORG)
    assert (verdict.verdict, verdict.by) == (ruling.verdict, "eve")
    schedule = world.running.ledger.schedule(ANA)
    assert schedule is not None
    assert schedule.reviews == 0


def test_same_moves_what_was_said_to_the_note_that_stays(world: World) -> None:
    review = in_conflict(world)
    decide(world, review, Ruling.SAME)
    (kept,) = world.notes(ANA, ACTIVE)
    assert kept.support.events == 2


def test_a_persons_word_holds_over_the_engine_that_is_not_asked_any_more(world: World) -> None:
    review = in_conflict(world)
    decide(world, review, Ruling.UNRELATED)
    assert isinstance(world.engine, Counting)
    world.engine.asked.clear()
    world.say(ANA, ADJUSTED.statement, REPORTED.statement)
    night(world)
    (verdict,) = world.running.ledger.verdicts(ANA)
    assert verdict.pair_key not in world.engine.asked
    assert len(world.active(ANA)) == 2, "the engine would have had one of them replaced"


def test_undoing_the_night_that_did_a_decision_asks_again(world: World) -> None:
    review = in_conflict(world)
    decide(world, review, Ruling.KEEP_LEFT)
    world.running.undo(world.running.ledger.runs(ANA)[0].id)
    assert standing(world, review) == [CANDIDATE, ACTIVE]
    assert [one.id for one in open_reviews(world)] == [review.id]
    decide(world, review, Ruling.KEEP_RIGHT)
    assert standing(world, review) == [NoteStatus.SUPERSEDED, ACTIVE]


def test_a_question_expires_when_its_notes_move_on(world: World) -> None:
    review = in_conflict(world)
    world.clock.advance(DAY)
    left = review.question.claims[0].statement
    world.say(ANA, left)
    night(world)
    stored = world.running.ledger.review(review.id)
    assert stored is not None
    assert world.active(ANA) == [left], "said later than the other, it holds"
    assert stored.state is ReviewState.EXPIRED
    with pytest.raises(Conflict, match="expired"):
        world.running.writer.resolve(review.id, Ruling.SAME, by="eve", now=world.clock.now())


def test_a_decision_has_to_answer_the_question_and_is_given_once(world: World) -> None:
    review = in_conflict(world)
    resolve = world.running.writer.resolve
    now = world.clock.now()
    with pytest.raises(InvalidInput, match="approve") as wrong:
        resolve(review.id, Ruling.APPROVE, by="eve", now=now)
    assert (wrong.value.field, "keep-left" in wrong.value.mend) == ("decision", True)
    with pytest.raises(NotFound):
        resolve("review_unknown", Ruling.SAME, by="eve", now=now)
    first = resolve(review.id, Ruling.SAME, by="eve", now=now)
    assert resolve(review.id, Ruling.SAME, by="eve", now=now + DAY) == first
    assert len(world.running.ledger.verdicts(ANA)) == 1
    world.tick()
    with pytest.raises(Conflict, match="has done"):
        resolve(review.id, Ruling.KEEP_LEFT, by="eve", now=now)


# ---------------------------------------------------------------------------- mode review


def test_in_review_nothing_comes_into_force_without_a_person(asking: World) -> None:
    asking.say(ANA, ADJUSTED.statement)
    night(asking)
    assert asking.active(ANA) == []
    (note,) = asking.notes(ANA)
    assert (note.status, note.support.events) == (CANDIDATE, 1)
    (review,) = open_reviews(asking)
    assert (review.question.kind, review.question.wanted) == (ReviewKind.CHANGE, ACTIVE)
    asking.say(ANA, ADJUSTED.statement)
    night(asking)
    assert [one.id for one in open_reviews(asking)] == [review.id]
    decide(asking, review, Ruling.APPROVE)
    assert asking.active(ANA) == [ADJUSTED.statement]
    (note,) = asking.notes(ANA)
    assert note.support.events == 2, "what was said meanwhile was not lost"
    assert "eve decided approve" in note.reason


def test_in_review_a_replacement_is_one_question_and_one_change(asking: World) -> None:
    asking.say(ANA, ADJUSTED.statement)
    night(asking)
    decide(asking, open_reviews(asking)[0], Ruling.APPROVE)
    asking.say(ANA, REPORTED.statement)
    night(asking)
    assert asking.active(ANA) == [ADJUSTED.statement]
    (review,) = open_reviews(asking)
    assert [c.statement for c in review.question.claims] == [
        REPORTED.statement,
        ADJUSTED.statement,
    ]
    decide(asking, review, Ruling.APPROVE)
    assert asking.active(ANA) == [REPORTED.statement]


def test_what_was_rejected_is_not_asked_again(asking: World) -> None:
    asking.say(ANA, ADJUSTED.statement)
    night(asking)
    (review,) = open_reviews(asking)
    asking.running.writer.resolve(review.id, Ruling.REJECT, by="eve", now=asking.clock.now())
    asking.say(ANA, ADJUSTED.statement)
    night(asking)
    assert open_reviews(asking) == []
    assert asking.active(ANA) == []


# ---------------------------------------------------------------------------- engines


def test_a_pair_is_asked_once_however_many_nights_it_comes_up_in(tmp_path: Path) -> None:
    """The two are kept apart: without memory each night would ask again."""
    clock, engine = ManualClock(), Counting({})
    rarely = {"policy.triggers.cadence_s": 1e9}
    with runtime(tmp_path, clock, engine, rarely) as running:
        world = World(running, clock, engine)
        for _ in range(4):
            world.say(ANA, ADJUSTED.statement, REPORTED.statement)
            night(world)
    assert engine.asked
    assert len(engine.asked) == len(set(engine.asked))
