"""A night that would lose too much stops, keeps what was good beside it, and asks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from sleep_runtime.consolidation import curate
from sleep_runtime.consolidation.breakers import too_much
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Evidence, Note, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, NoteKind
from sleep_runtime.core.policy import BreakerPolicy, CurationPolicy, Policy
from sleep_runtime.core.proposal import Critique, DeltaKind, Proposal, Relation, Worth
from sleep_runtime.core.review import Question, Review, ReviewKind, ReviewState, Ruling
from sleep_runtime.core.scope import Scope

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
ANA = Scope("acme/banking/ana")
YEARS = timedelta(days=900)
DAY = timedelta(days=1)
POLICY = Policy()
Judged = tuple[Proposal, Critique]


def claim(subject: str, value: str = "x") -> Claim:
    return Claim(
        statement=f"{subject} is {value}",
        kind=NoteKind.FACT,
        subject=subject,
        aspect="basis",
        value=value,
    )


def piece(name: str, at: datetime = START) -> Evidence:
    return Evidence(
        event_id=f"e-{name}-{at:%Y%m%d}",
        observation_id=f"obs-{name}",
        scope=ANA,
        session=f"s-{name}",
        person=str(ANA),
        ts=at,
        trust=Trust.HUMAN,
    )


def shelf(count: int, *, fresh: int = 0) -> list[Dossier]:
    """Notes in force, of which the last ``fresh`` were said lately and the others long ago."""
    found = []
    for n in range(count):
        at = START + (YEARS if n >= count - fresh else timedelta())
        note = Note(
            id=f"n{n}",
            scope=ANA,
            claim=claim(f"subject{n}"),
            status=NoteStatus.ACTIVE,
            confidence=0.6,
            valid_from=at,
            recorded_at=at,
        )
        found.append(Dossier(note=note, evidence=(piece(f"n{n}", at),)))
    return found


def lesson(subject: str, value: str = "x", *rivals: str, target: str = "") -> Judged:
    name = f"p-{subject}-{value}"
    proposal = Proposal(
        id=name,
        scope=ANA,
        claim=claim(subject, value),
        durability=Durability.STANDING,
        trust=Trust.HUMAN,
        observations=(f"obs-{name}",),
        evidence=(piece(name, START + YEARS),),
    )
    critique = Critique(
        proposal_id=name,
        relation=Relation.SAME if target else Relation.NEW,
        worth=Worth.KEEP,
        target=target,
        rivals=rivals,
        code="standing",
        reason="said with standing intent",
    )
    return proposal, critique


def night(
    dossiers: Sequence[Dossier],
    *judged: Judged,
    reviews: Sequence[Review] = (),
    policy: Policy = POLICY,
) -> curate.Decision:
    return curate.decide(
        ANA,
        judged,
        dossiers,
        above=(),
        fold_judgements={},
        policy=policy,
        now=START + YEARS + DAY,
        reviews=reviews,
    )


def statuses(decision: curate.Decision) -> dict[str, NoteStatus]:
    return {delta.note.id: delta.note.status for delta in decision.deltas}


@pytest.mark.parametrize(
    ("lost", "of", "stops"),
    [(1, 4, False), (2, 4, True), (3, 3, False), (2, 8, False), (3, 8, True), (0, 99, False)],
)
def test_more_than_a_quarter_of_at_least_four(lost: int, of: int, stops: bool) -> None:
    assert too_much(lost, of, BreakerPolicy()) is stops


def test_fading_of_everything_at_once_stops_and_asks() -> None:
    decision = night(shelf(8))
    assert decision.deltas == ()
    (question,) = decision.questions
    assert question.kind is ReviewKind.BREAKER
    assert question.notes == tuple(f"n{n}" for n in range(8))
    assert decision.counts == {"breaker.kept": 8, "breaker.quarter": 1, "review.breaker": 1}
    assert decision.reason.endswith("would have taken 8 of 8 notes in force out of view")


def test_a_quarter_may_fade() -> None:
    decision = night(shelf(8, fresh=6))
    assert set(statuses(decision).values()) == {NoteStatus.RETIRED}
    assert len(decision.deltas) == 2
    assert decision.questions == ()


def test_what_is_good_beside_the_loss_is_kept() -> None:
    dossiers = shelf(8, fresh=2)
    decision = night(dossiers, lesson("new"), lesson("subject7", target="n7"))
    kinds = {delta.kind for delta in decision.deltas}
    assert kinds == {DeltaKind.ADD, DeltaKind.REINFORCE}
    assert set(statuses(decision).values()) == {NoteStatus.ACTIVE}
    assert decision.counts["breaker.kept"] == 6


def test_a_note_with_an_heir_in_force_is_no_loss() -> None:
    dossiers = shelf(4, fresh=4)
    judged = [lesson(f"subject{n}", "y", f"n{n}") for n in range(4)]
    later = [
        (
            proposal.model_copy(
                update={"evidence": (piece(proposal.id, START + YEARS + DAY / 2),)}
            ),
            critique,
        )
        for proposal, critique in judged
    ]
    decision = night(dossiers, *later)
    assert decision.questions == ()
    found = statuses(decision)
    assert [found[f"n{n}"] for n in range(4)] == [NoteStatus.SUPERSEDED] * 4


def test_what_was_said_counts_for_a_note_that_is_kept() -> None:
    """Harm that would take half of the notes out of view: the votes are kept, the notes stay."""
    votes = []
    for n in range(4):
        ballots = [
            piece(f"v{n}{k}", START + YEARS).model_copy(update={"weight": 0.0, "vote": -1})
            for k in range(3)
        ]
        proposal, critique = lesson(f"subject{n}", target=f"n{n}")
        harm = {"feedback_on": f"n{n}", "helpful": False, "evidence": tuple(ballots)}
        votes.append((proposal.model_copy(update=harm), critique))
    decision = night(shelf(8, fresh=8), *votes)
    assert decision.counts["breaker.quarter"] == 1
    assert {delta.note.harmful for delta in decision.deltas} == {3}
    assert {delta.code for delta in decision.deltas} == {"breaker"}
    assert set(statuses(decision).values()) == {NoteStatus.ACTIVE}


def review(question: Question, state: ReviewState, decision: Ruling | None = None) -> Review:
    return Review(
        id="r1",
        scope=ANA,
        question=question,
        run_id="run",
        created_at=START,
        state=state,
        decision=decision,
        by="dora" if decision else "",
    )


def test_a_person_may_let_it_pass() -> None:
    (question,) = night(shelf(8)).questions
    approved = review(question, ReviewState.RESOLVED, Ruling.APPROVE)
    decision = night(shelf(8), reviews=[approved])
    assert set(statuses(decision).values()) == {NoteStatus.RETIRED}
    assert len(decision.deltas) == 8
    assert decision.applied == ("r1",)
    assert decision.questions == ()


def test_asking_again_is_the_same_question_and_another_loss_another() -> None:
    (first,) = night(shelf(8)).questions
    (again,) = night(shelf(8)).questions
    (other,) = night(shelf(9)).questions
    assert first.key == again.key != other.key
    waiting = review(first, ReviewState.OPEN)
    assert night(shelf(8), reviews=[waiting]).expired == ()
    assert night(shelf(9), reviews=[waiting]).expired == ("r1",)
    assert night(shelf(8, fresh=8), reviews=[waiting]).expired == ("r1",)


def test_in_review_mode_nothing_is_lost_without_a_person_anyway() -> None:
    policy = Policy(curation=CurationPolicy(mode="review"))
    decision = night(shelf(8), policy=policy)
    assert decision.deltas == ()
    assert {question.kind for question in decision.questions} == {ReviewKind.CHANGE}


def test_what_is_kept_never_stands_beside_what_contradicts_it() -> None:
    """A note that lost its heir in the same night comes back only if its slot is free."""
    dossiers = shelf(5, fresh=1)
    clashing = claim("subject0", "y")
    taken = dossiers[4].note.model_copy(update={"claim": clashing})
    dossiers[4] = Dossier(note=taken, evidence=dossiers[4].evidence)
    decision = night(dossiers)
    assert statuses(decision) == {"n0": NoteStatus.RETIRED}
    assert decision.counts["breaker.kept"] == 3
