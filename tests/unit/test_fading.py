"""What a night does about notes that nobody talks about, or talks against."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import correlation, fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleep_runtime.consolidation import curate, departed
from sleep_runtime.consolidation.signal import (
    agreement,
    bar,
    bar_again,
    confidence,
    never_held,
    support,
)
from sleep_runtime.consolidation.triggers import plan_due
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Evidence, Note, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, NoteKind
from sleep_runtime.core.policy import BudgetPolicy, Policy, SignalPolicy, TriggerPolicy
from sleep_runtime.core.proposal import Critique, Delta, DeltaKind, Proposal, Relation, Worth
from sleep_runtime.core.review import Question, Review, ReviewKind
from sleep_runtime.core.run import Schedule, Trigger
from sleep_runtime.core.scope import Scope

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
ORG, TEAM = Scope("acme"), Scope("acme/banking")
ANA, BEN, CLEO = (Scope(f"acme/banking/{name}") for name in ("ana", "ben", "cleo"))
POLICY, SIGNAL = Policy(), SignalPolicy()
DAY = timedelta(days=1)


def claim(value: str, subject: str = "ebitda") -> Claim:
    return Claim(
        statement=f"{subject} is {value}",
        kind=NoteKind.CONVENTION,
        subject=subject,
        aspect="basis",
        value=value,
    )


def piece(
    day: float,
    who: Scope = ANA,
    weight: float = 1.0,
    trust: Trust = Trust.HUMAN,
    n: int = 0,
    session: str = "",
) -> Evidence:
    return Evidence(
        event_id=f"e-{who}-{day}-{n}",
        observation_id=f"obs-{who}-{day}",
        scope=who,
        session=session or f"s{day}-{n}",
        person=str(who) if trust is Trust.HUMAN else f"agent:{who}",
        ts=START + day * DAY,
        trust=trust,
        weight=weight,
    )


def noted(
    name: str,
    what: Claim,
    evidence: Sequence[Evidence],
    status: NoteStatus = NoteStatus.ACTIVE,
    scope: Scope = TEAM,
    **fields: object,
) -> Dossier:
    note = Note(
        id=name,
        scope=scope,
        claim=what,
        status=status,
        confidence=0.6,
        support=support(evidence),
        valid_from=START,
        recorded_at=START,
    )
    return Dossier(note=note.model_copy(update=fields), evidence=tuple(evidence))


def said(
    name: str,
    what: Claim,
    evidence: Sequence[Evidence],
    scope: Scope = TEAM,
    *,
    worth: Worth = Worth.WAIT,
    target: str = "",
    rivals: Sequence[str] = (),
) -> tuple[Proposal, Critique]:
    proposal = Proposal(
        id=name,
        scope=scope,
        claim=what,
        durability=Durability.STANDING,
        trust=Trust.HUMAN,
        observations=(f"obs-{name}",),
        evidence=tuple(evidence),
    )
    relation = Relation.SAME if target else Relation.CONTRADICTS
    critique = Critique(
        proposal_id=name,
        relation=relation,
        worth=worth,
        target=target,
        rivals=tuple(rivals),
        code="x",
        reason="x",
    )
    return proposal, critique


def night(
    day: float,
    dossiers: Sequence[Dossier],
    *judged: tuple[Proposal, Critique],
    scope: Scope = TEAM,
    above: Sequence[Dossier] = (),
    reviews: Sequence[Review] = (),
    policy: Policy = POLICY,
) -> curate.Decision:
    return curate.decide(
        scope,
        judged,
        dossiers,
        above=above,
        fold_judgements={},
        policy=policy,
        now=START + day * DAY,
        reviews=reviews,
    )


def after(dossiers: Sequence[Dossier], decision: curate.Decision) -> list[Dossier]:
    """The dossiers of the next night."""
    known = {one.note.id: one for one in dossiers}
    for delta in decision.deltas:
        was = known.get(delta.note.id)
        pieces = {item.event_id: item for item in (was.evidence if was else ())}
        pieces.update({item.event_id: item for item in delta.evidence})
        known[delta.note.id] = Dossier(note=delta.note, evidence=tuple(pieces.values()))
    return list(known.values())


def only(decision: curate.Decision) -> Delta:
    (delta,) = decision.deltas
    return delta


# ---------------------------------------------------------------------------- when


def test_a_scope_with_notes_and_no_news_is_due_to_fade_and_nothing_else() -> None:
    policy = TriggerPolicy(jitter=0)
    rested = Schedule(scope=ANA, last_run_at=START)
    due = START + timedelta(seconds=policy.fade_s)
    assert plan_due(rested, policy, START + DAY, fading=True) == (due, Trigger.FADE)
    assert plan_due(rested, policy, START + DAY, fading=False) == (None, None)
    busy = rested.model_copy(update={"events_seen": 1})
    assert plan_due(busy, policy, START, fading=True)[1] is Trigger.CADENCE


# ---------------------------------------------------------------------------- belief


def test_belief_is_ranked_like_distinct_people_times_sessions() -> None:
    notes = []
    for people in range(1, 6):
        for sessions in range(1, 6):
            evidence = [
                piece(0, Scope(f"acme/banking/u{person}"), n=session)
                for person in range(people)
                for session in range(sessions)
            ]
            counted = support(evidence)
            believed = confidence(evidence, (), SIGNAL, START)
            notes.append((counted.people * counted.sessions, believed))
    sizes, beliefs = zip(*notes, strict=True)
    assert correlation(_ranks(sizes), _ranks(beliefs)) > 0.97


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]


@given(st.integers(1, 9), st.integers(1, 9))
def test_belief_grows_with_a_session_and_more_with_a_person(people: int, sessions: int) -> None:
    def believed(extra: Sequence[Evidence]) -> float:
        known = [
            piece(0, Scope(f"acme/banking/u{person}"), n=session)
            for person in range(people)
            for session in range(sessions)
        ]
        return confidence([*known, *extra], (), SIGNAL, START)

    same = piece(0, Scope("acme/banking/u0"), n=99)
    other = piece(0, Scope("acme/banking/new"), n=99)
    assert believed([]) < believed([same]) < believed([other])


def test_one_person_of_two_teams_is_one_speaker() -> None:
    moved = [piece(0, Scope("acme/banking/ana")), piece(0, Scope("acme/retail/ana"), n=1)]
    two = [piece(0, Scope("acme/banking/ana")), piece(0, Scope("acme/retail/dan"), n=1)]
    assert confidence(moved, (), SIGNAL, START) < confidence(two, (), SIGNAL, START)


def test_belief_tells_true_lessons_from_false_ones_better_than_no_belief() -> None:
    """Brier score on lessons that hold or not; who says one is right more often than wrong."""
    chance = random.Random(7)
    scores, blind = [], []
    for _ in range(400):
        true = chance.random() < 0.5
        evidence = [
            piece(0, Scope(f"acme/banking/u{n}"), 1.0 if chance.random() < right else -1.0)
            for n in range(chance.randint(1, 6))
            for right in (0.8 if true else 0.2,)
        ]
        scores.append((confidence(evidence, (), SIGNAL, START) - true) ** 2)
        blind.append((0.5 - true) ** 2)
    assert fmean(scores) < 0.65 * fmean(blind)


def test_votes_fade_like_words_and_an_agents_weighs_less() -> None:
    def vote(day: float, sign: int, trust: Trust = Trust.HUMAN) -> Evidence:
        return piece(day, BEN, 0.0, trust, n=7).model_copy(update={"vote": sign})

    def believed(day: float, *votes: Evidence) -> float:
        return confidence([piece(0)], votes, SIGNAL, START + day * DAY)

    harm = believed(0) - believed(0, vote(0, -1))
    assert 0 < believed(900) - believed(900, vote(0, -1)) < harm / 4
    assert believed(0, vote(0, -1)) < believed(0, vote(0, -1, Trust.AGENT)) < believed(0)
    assert believed(900, *[vote(0, 1)] * 10) < SIGNAL.retire_below * 2, "no help lasts for ever"
    assert believed(300, vote(299, 1)) > believed(300), "helping is a sign of life"


# ---------------------------------------------------------------------------- candidates


def waiting(day: float, scope: Scope = ANA) -> Dossier:
    status = NoteStatus.CANDIDATE
    return noted("n0", claim("adjusted"), [piece(day, weight=0.5)], status, scope)


def test_a_candidate_nobody_says_again_expires_and_not_a_day_before() -> None:
    assert night(59.9, [waiting(0)], scope=ANA).deltas == ()
    expired = only(night(60, [waiting(0)], scope=ANA))
    assert (expired.kind, expired.code) == (DeltaKind.RETIRE, "expired")
    assert expired.note.status is NoteStatus.RETIRED
    assert expired.note.valid_from == expired.note.valid_to == START, "it never held"


def test_an_expired_candidate_loses_nothing_that_speaks_for_it() -> None:
    shelf = after([waiting(0)], night(61, [waiting(0)], scope=ANA))
    assert never_held(shelf[0].note)
    again = said("p", claim("adjusted"), [piece(70, weight=0.5)], ANA, target="n0")
    restored = only(night(71, shelf, again, scope=ANA))
    assert (restored.kind, restored.note.status) == (DeltaKind.RESTORE, NoteStatus.ACTIVE)


def test_a_note_that_faded_does_not_count_what_was_weighed_before() -> None:
    old = noted("n0", claim("adjusted"), [piece(0, weight=0.5)], scope=ANA)
    shelf = after([old], night(900, [old], scope=ANA))
    assert shelf[0].note.status is NoteStatus.RETIRED
    assert not never_held(shelf[0].note)
    fresh = piece(910, weight=0.5)
    found = bar_again(
        shelf[0].note,
        [*shelf[0].evidence, fresh],
        {fresh.event_id},
        ANA,
        POLICY,
        kind=NoteKind.CONVENTION,
    )
    assert not found.met


def test_a_candidate_that_people_were_asked_about_waits_for_them() -> None:
    question = Question(kind=ReviewKind.CONFLICT, key="n0", notes=("n0",), reason="which?")
    asked = Review(id="r", scope=ANA, question=question, run_id="run", created_at=START)
    assert night(61, [waiting(0)], scope=ANA, reviews=[asked]).deltas == ()


def test_a_candidate_said_tonight_stays_however_old_the_word_is() -> None:
    again = said("p", claim("adjusted"), [piece(1, n=3, session="s0-0", weight=0.5)], ANA)
    proposal, critique = again
    again = proposal, critique.model_copy(update={"relation": Relation.SAME, "target": "n0"})
    assert only(night(99, [waiting(0)], again, scope=ANA)).note.status is NoteStatus.CANDIDATE


# ---------------------------------------------------------------------------- against


def agreed(*who: Scope, day: float = 0) -> Dossier:
    return noted("n0", claim("adjusted"), [piece(day, one) for one in who])


def test_a_team_whose_people_each_say_something_else_gives_up_its_note() -> None:
    """Neither of the other answers has enough people; the old one has lost its own."""
    shelf = [agreed(ANA, BEN)]
    one = said("p1", claim("reported"), [piece(5, ANA)], rivals=["n0"])
    first = night(6, shelf, one)
    shelf = after(shelf, first)
    assert next(d for d in shelf if d.note.id == "n0").note.status is NoteStatus.ACTIVE
    other = said("p2", claim("pro forma"), [piece(7, BEN)], rivals=["n0"])
    second = night(8, shelf, other)
    delta = next(d for d in second.deltas if d.note.id == "n0")
    assert (delta.kind, delta.note.status) == (DeltaKind.DEMOTE, NoteStatus.CANDIDATE)
    assert "2 of 2 people say otherwise since" in delta.reason
    assert second.folds == (ANA, BEN), "their own copies come back"


def test_two_of_three_who_say_otherwise_together_replace_the_teams_note() -> None:
    shelf = [agreed(ANA, BEN, CLEO)]
    otherwise = said(
        "p", claim("reported"), [piece(5, ANA), piece(6, BEN)], worth=Worth.KEEP, rivals=["n0"]
    )
    decision = night(7, shelf, otherwise)
    status = {delta.note.claim.value: delta.note.status for delta in decision.deltas}
    assert status == {"reported": NoteStatus.ACTIVE, "adjusted": NoteStatus.SUPERSEDED}


def test_a_contradiction_lowers_belief_and_is_no_support() -> None:
    shelf = [agreed(ANA, BEN, CLEO)]
    decision = night(6, shelf, said("p", claim("reported"), [piece(5, ANA)], rivals=["n0"]))
    delta = next(d for d in decision.deltas if d.note.id == "n0")
    assert (delta.code, delta.note.status) == ("contradicted", NoteStatus.ACTIVE)
    quiet = confidence(shelf[0].evidence, (), SIGNAL, START + 6 * DAY)
    assert delta.note.confidence < quiet
    assert delta.note.support == support(shelf[0].evidence)
    assert piece(5, ANA).event_id not in delta.note.evidence
    assert "doubted 1" in decision.reason


def test_who_returns_to_the_teams_word_counts_for_it_again() -> None:
    pieces = [piece(0, ANA), piece(0, BEN), piece(5, ANA, -1.0), piece(6, BEN, -1.0)]
    assert agreement(pieces) == (2, 2)
    assert agreement([*pieces, piece(7, BEN)]) == (2, 1)
    assert not agreement([*pieces, piece(7, BEN)]).lost
    assert agreement([piece(0, ANA), piece(1, CLEO, -1.0)]) == (1, 0), "not one of theirs"


def test_what_was_said_before_the_note_was_said_last_does_not_count_against_it() -> None:
    shelf = [agreed(ANA, BEN, day=10)]
    late = said("p", claim("reported"), [piece(5, ANA)], rivals=["n0"])
    assert all(delta.note.id != "n0" for delta in night(12, shelf, late).deltas)


def test_agents_do_not_count_against_what_people_said() -> None:
    shelf = [agreed(ANA, BEN)]
    noticed = said("p", claim("reported"), [piece(5, ANA, trust=Trust.AGENT)], rivals=["n0"])
    assert all(delta.note.id != "n0" for delta in night(6, shelf, noticed).deltas)


def test_a_copy_whose_person_says_otherwise_does_not_come_back_into_force() -> None:
    own = noted(
        "own",
        claim("adjusted"),
        [piece(0, ANA), piece(5, ANA, -1.0, n=1)],
        NoteStatus.RETIRED,
        ANA,
        superseded_by="n0",
        valid_to=START + DAY,
    )
    given_up = noted("n0", claim("adjusted"), [piece(0, ANA)], NoteStatus.CANDIDATE)
    restored = only(night(6, [own], scope=ANA, above=[given_up]))
    assert (restored.code, restored.note.status) == ("unfolded", NoteStatus.CANDIDATE)


# ---------------------------------------------------------------------------- departure


def left(found: Dossier, *gone: Scope) -> Dossier:
    """The note as a night sees it once these people have left."""
    (seen,) = departed.dossiers([found], departed.listed(gone))
    return seen


def test_without_a_person_their_words_are_gone_in_every_team_of_their_organisation() -> None:
    evidence = (
        piece(0, ANA),
        piece(1, Scope("acme/retail/ana")),
        piece(2, ANA, trust=Trust.AGENT),
        piece(3, BEN),
        piece(4, Scope("acme/banking/anais")),
        piece(5, Scope("other/banking/ana")),
    )
    found = Dossier(note=agreed(ANA, BEN).note, evidence=evidence)
    assert left(found).evidence == evidence
    kept = left(found, ANA).evidence
    assert [item.ts for item in kept] == [piece(d).ts for d in (3, 4, 5)]


def test_a_note_whose_evidence_was_erased_waits_until_enough_say_it_again() -> None:
    whole = agreed(ANA, BEN)
    seen = left(whole, BEN)
    decision = night(1, [seen])
    delta = only(decision)
    assert (delta.kind, delta.code) == (DeltaKind.DEMOTE, "unsupported")
    assert delta.note.status is NoteStatus.CANDIDATE
    assert delta.reason == "what spoke for it is gone: 1 of 2 people"
    assert delta.note.support.people == 1
    assert decision.folds == (ANA,)
    shelf = after([seen], decision)
    cleo = said("p", claim("adjusted"), [piece(2, CLEO)], worth=Worth.KEEP, target="n0")
    assert only(night(3, shelf, cleo)).note.status is NoteStatus.ACTIVE


def test_a_note_with_enough_left_stays() -> None:
    whole = agreed(ANA, BEN, CLEO)
    seen = left(whole, BEN)
    assert night(1, [seen]).deltas == ()


def test_a_note_a_person_let_in_is_not_measured_by_the_bar() -> None:
    decided = noted("n0", claim("adjusted"), [piece(0, ANA)])
    assert night(1, [decided]).deltas == ()


def test_who_moved_counts_for_a_team_through_what_was_said_in_it() -> None:
    """Ana said it in banking, and says it again in retail: one person, who counts for both."""
    moved = Scope("acme/retail/ana")
    evidence = [piece(0, ANA), piece(9, moved)]
    assert bar(evidence, ORG, NoteKind.CONVENTION, POLICY).reason == "1 of 3 people"
    for team, own in ((TEAM, [piece(0, ANA)]), (Scope("acme/retail"), [piece(9, moved)])):
        assert bar(own, team, NoteKind.CONVENTION, POLICY).reason == "1 of 2 people"
    with_ben = [piece(0, ANA), piece(0, BEN)]
    assert bar(with_ben, TEAM, NoteKind.CONVENTION, POLICY).met, "moving away takes nothing back"


# ---------------------------------------------------------------------------- in parts


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(0, 12))
def test_a_night_changes_no_more_than_it_may_and_the_next_ones_the_rest(
    most: int, lessons: int
) -> None:
    policy = Policy(budget=BudgetPolicy(max_deltas=most))
    judged = [
        said(f"p{n}", claim("x", f"subject {n}"), [piece(n, ANA)], ANA, worth=Worth.KEEP)
        for n in range(lessons)
    ]
    shelf: list[Dossier] = []
    rounds = 0
    while judged:
        decision = night(20, shelf, *judged, scope=ANA, policy=policy)
        assert 0 < len(decision.deltas) <= most
        assert decision.counts.get("night.deferred", 0) == len(judged) - len(decision.deltas)
        waits = set(decision.deferred)
        judged = [one for one in judged if set(one[0].observations) & waits]
        shelf = after(shelf, decision)
        rounds += 1
    assert len(shelf) == lessons
    assert rounds == -(-lessons // most)


def test_a_lesson_is_taken_with_what_it_replaces() -> None:
    policy = Policy(budget=BudgetPolicy(max_deltas=1))
    shelf = [noted("n0", claim("adjusted"), [piece(0, ANA)], scope=ANA)]
    other = said("p", claim("reported"), [piece(5, ANA)], ANA, worth=Worth.KEEP, rivals=["n0"])
    decision = night(6, shelf, other, scope=ANA, policy=policy)
    assert {delta.note.status for delta in decision.deltas} == {
        NoteStatus.ACTIVE,
        NoteStatus.SUPERSEDED,
    }


def test_what_a_sweep_leaves_the_next_night_finds() -> None:
    policy = Policy(budget=BudgetPolicy(max_deltas=2))
    shelf = [
        noted(f"n{n}", claim("x", f"s{n}"), [piece(0, weight=0.5)], NoteStatus.CANDIDATE, ANA)
        for n in range(5)
    ]
    sizes = []
    for _ in range(4):
        decision = night(99, shelf, scope=ANA, policy=policy)
        sizes.append(len(decision.deltas))
        shelf = after(shelf, decision)
    assert sizes == [2, 2, 1, 0]


@pytest.mark.parametrize("worth", [Worth.DROP, Worth.WAIT])
def test_only_what_would_be_learned_waits(worth: Worth) -> None:
    policy = Policy(budget=BudgetPolicy(max_deltas=1))
    judged = [
        said("p0", claim("x", "a"), [piece(0)], ANA, worth=Worth.KEEP),
        said("p1", claim("x", "b"), [piece(1)], ANA, worth=worth),
    ]
    deferred = night(2, [], *judged, scope=ANA, policy=policy).deferred
    assert deferred == (() if worth is Worth.DROP else ("obs-p1",))
