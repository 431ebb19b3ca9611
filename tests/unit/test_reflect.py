"""Which questions the Reflector asks, and what it makes of the answers."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from sleep_runtime.consolidation import propose, reflect
from sleep_runtime.consolidation.compare import Tie, pair_of, tie
from sleep_runtime.consolidation.wording import directive
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Note, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, NoteKind, Observation
from sleep_runtime.core.policy import Policy, ReflectPolicy
from sleep_runtime.core.proposal import Critique, Judgement, Relation, Verdict, Worth
from sleep_runtime.core.scope import Scope

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
ANA, BEN, TEAM = Scope("acme/banking/ana"), Scope("acme/banking/ben"), Scope("acme/banking")
POLICY = Policy()


def claim(statement: str, value: str = "", **more: object) -> Claim:
    fields = {"kind": NoteKind.CONVENTION, "subject": "EBITDA", "aspect": "basis", **more}
    return Claim.model_validate({"statement": statement, "value": value, **fields})


def said(what: Claim, day: int = 0, who: Scope = ANA, **more: object) -> Observation:
    fields: dict[str, object] = {
        "id": f"obs-{who}-{day}-{what.statement}",
        "scope": who,
        "session": f"s{day}",
        "person": str(who),
        "ts": START + timedelta(days=day),
        "claim": what,
        "durability": Durability.STANDING,
        "trust": Trust.HUMAN,
        "evidence": (f"e-{who}-{day}-{what.statement}",),
    }
    return Observation.model_validate({**fields, **more})


def noted(what: Claim, status: NoteStatus = NoteStatus.ACTIVE, **more: object) -> Dossier:
    fields: dict[str, object] = {
        "id": f"note-{what.statement}",
        "scope": ANA,
        "claim": what,
        "status": status,
        "confidence": 0.7,
        "valid_from": START,
        "recorded_at": START,
    }
    return Dossier(note=Note.model_validate({**fields, **more}))


def vector(*numbers: float) -> bytes:
    raw = np.array(numbers, dtype="<f4")
    unit: bytes = (raw / np.linalg.norm(raw)).astype("<f4").tobytes()
    return unit


def pairs(
    observations: list[Observation],
    dossiers: list[Dossier] | None = None,
    vectors: dict[str, bytes] | None = None,
    policy: ReflectPolicy | None = None,
) -> set[tuple[str, ...]]:
    found = reflect.shortlist(observations, dossiers or [], vectors or {}, policy or POLICY.reflect)
    assert len({pair.key for pair in found}) == len(found)
    return {tuple(sorted((pair.left.statement, pair.right.statement))) for pair in found}


APART = {"subject": "", "aspect": ""}
A, B, C = claim("a", **APART), claim("b", **APART), claim("c", **APART)
VECTORS = {"a": vector(1, 0), "b": vector(1, 0.5), "c": vector(0, 1)}


# ---------------------------------------------------------------------------- shortlist


def test_only_near_claims_are_compared() -> None:
    near = ReflectPolicy(min_cosine=0.6)
    assert pairs([said(A), said(B), said(C)], vectors=VECTORS, policy=near) == {("a", "b")}


def test_the_nearest_are_compared_first_and_no_more_than_the_policy_says() -> None:
    crowd = [said(claim(f"x{n}", **APART)) for n in range(9)]
    vectors = {f"x{n}": vector(1, n / 10) for n in range(9)} | {"a": vector(1, 0)}
    few = ReflectPolicy(shortlist=2)
    found = reflect.shortlist([said(A)], [noted(o.claim) for o in crowd], vectors, few)
    assert {pair.right.statement for pair in found} | {p.left.statement for p in found} == {
        "a",
        "x0",
        "x1",
    }


def test_other_facets_are_gated_before_any_distance() -> None:
    one = claim("a", about={"account": "northwind"})
    other = claim("b", about={"account": "fabrikam"})
    assert pairs([said(one), said(other)], vectors=VECTORS) == set()


def test_the_same_words_need_no_engine() -> None:
    again = claim("A!", **APART)
    vectors = VECTORS | {"A!": vector(1, 0)}
    assert pairs([said(A), said(again, 1)], [noted(A)], vectors) == set()


def test_what_fills_the_same_slot_is_compared_without_vectors() -> None:
    assert pairs([said(claim("a", "x"))], [noted(claim("b", "y"))]) == {("a", "b")}


@pytest.mark.parametrize(
    "change",
    [
        {"durability": Durability.ONE_OFF},
        {"trust": Trust.UNTRUSTED},
        {"feedback_on": "note", "helpful": True},
    ],
)
def test_what_becomes_no_note_costs_no_question(change: dict[str, object]) -> None:
    both = [said(A).model_copy(update=change), said(B, 1).model_copy(update=change)]
    assert pairs(both, vectors=VECTORS) == set()


def test_a_pair_has_one_key_from_both_sides() -> None:
    assert pair_of(A, B) == pair_of(B, A)
    assert pair_of(A, B).key != pair_of(A, C).key


def test_only_living_notes_fold_into_active_ones_above() -> None:
    dead = noted(A, NoteStatus.SUPERSEDED)
    upper = noted(B)
    assert not reflect.fold_pairs([dead], [upper], VECTORS, POLICY.reflect)
    assert len(reflect.fold_pairs([noted(A)], [upper], VECTORS, POLICY.reflect)) == 1


# ---------------------------------------------------------------------------- ties


@pytest.mark.parametrize(
    ("left", "right", "verdict", "expected"),
    [
        (claim("a", "x"), claim("b", "x"), Verdict.SAME, Tie.SAME),
        (claim("a", "x"), claim("b", "y"), Verdict.EXCLUDES, Tie.EXCLUDES),
        (claim("a", "x"), claim("b", "y"), Verdict.UNRELATED, Tie.UNSURE),
        (claim("a", "x"), claim("b", "x"), Verdict.UNRELATED, Tie.APART),
        (claim("a", "x"), claim("b", "y", applies_when="q4"), Verdict.EXCLUDES, Tie.SCOPED),
        (claim("a", about={"k": "1"}), claim("b", about={"k": "2"}), Verdict.SAME, Tie.APART),
        (claim("a", about={"k": "1"}), claim("b", about={"k": "2"}), Verdict.EXCLUDES, Tie.APART),
        (claim("a", about={"k": "1"}), claim("b"), Verdict.EXCLUDES, Tie.SCOPED),
        (claim("a", about={"k": "north"}), claim("b for north"), Verdict.EXCLUDES, Tie.EXCLUDES),
        (claim("a", applies_when="q3"), claim("b", applies_when="q4"), Verdict.SAME, Tie.APART),
    ],
)
def test_rules_bound_what_an_engine_may_say(
    left: Claim, right: Claim, verdict: Verdict, expected: Tie
) -> None:
    judgements = {pair_of(left, right).key: Judgement(verdict=verdict, score=1)}
    assert tie(left, right, judgements) is expected
    assert tie(right, left, judgements) is expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (claim("a", "100 MB"), claim("b", "200 MB"), Tie.UNSURE),
        (claim("a", "100 MB"), claim("b", "100 GB"), Tie.UNSURE),
        (claim("a", "adjusted"), claim("b", "reported"), Tie.UNSURE),
        (claim("a", "adjusted"), claim("b", "not adjusted"), Tie.UNSURE),
        (claim("keep it below 100 MB"), claim("not above 200 MB"), Tie.UNSURE),
        (claim("use v2.1", subject=""), claim("on v2.2"), Tie.UNSURE),
        (claim("a", "light blue"), claim("b", "dark blue"), Tie.UNSURE),
        (claim("a", "on"), claim("b", "off"), Tie.UNSURE),
        (claim("a", "adjusted"), claim("b", "adjusted EBITDA"), Tie.SAME),
        (claim("a", "on adj. EBITDA"), claim("b", "adjusted EBITDA"), Tie.SAME),
        (claim("a", "QoQ"), claim("b", "quarter over quarter"), Tie.SAME),
        (claim("at most 1,000 rows"), claim("no more than 1000 rows"), Tie.SAME),
        (claim("since Q3 use adjusted"), claim("use adjusted"), Tie.SAME),
    ],
)
def test_no_engine_can_call_two_values_the_same(left: Claim, right: Claim, expected: Tie) -> None:
    judgements = {pair_of(left, right).key: Judgement(verdict=Verdict.SAME, score=1)}
    assert tie(left, right, judgements) is expected
    assert tie(right, left, judgements) is expected


def test_an_unusable_answer_means_keep_apart() -> None:
    answer = Judgement(verdict=Verdict.SAME, score=1, problem="cut off")
    assert tie(A, B, {pair_of(A, B).key: answer}) is Tie.APART


# ---------------------------------------------------------------------------- propose


def judged(**verdicts: Verdict) -> dict[str, Judgement]:
    """``ab=SAME`` judges the claims a and b."""
    known = {"a": A, "b": B, "c": C}
    return {
        pair_of(known[key[0]], known[key[1]]).key: Judgement(verdict=verdict, score=0.9)
        for key, verdict in verdicts.items()
    }


def groups(observations: list[Observation], judgements: dict[str, Judgement]) -> set[int]:
    found = propose.propose(ANA, observations, judgements, POLICY)
    return {len(item.observations) for item in found}


def test_a_chain_does_not_merge_what_excludes_each_other() -> None:
    chain = judged(ab=Verdict.SAME, bc=Verdict.SAME, ac=Verdict.EXCLUDES)
    found = propose.propose(ANA, [said(A), said(B, 1), said(C, 2)], chain, POLICY)
    together = [item for item in found if len(item.observations) == 2]
    assert len(found) == 2
    assert len(together) == 1


def test_a_chain_is_one_lesson_where_sure_links_carry_the_unknown_one() -> None:
    everything = [said(A), said(B, 1), said(C, 2)]
    assert groups(everything, likely(ab=0.99, bc=0.99)) == {3}
    assert groups(everything, likely(ab=0.99, bc=0.6)) == {1, 2}
    assert groups(everything, judged(ab=Verdict.SAME, bc=Verdict.SAME)) == {1, 2}


def likely(**shares: float) -> dict[str, Judgement]:
    """``ab=0.9``: a and b are the same lesson with this probability."""
    sure = judged(**dict.fromkeys(shares, Verdict.SAME))
    return {
        key: judgement.model_copy(update={"same": share, "excludes": 0.0})
        for (key, judgement), share in zip(sure.items(), shares.values(), strict=True)
    }


def test_the_statement_is_the_clearest_of_those_said() -> None:
    vague = claim("please do use that adjusted one", "", **APART)
    clear = claim("use adjusted EBITDA", "adjusted", **APART)
    answers = {pair_of(vague, clear).key: Judgement(verdict=Verdict.SAME, score=1)}
    unclear = said(vague, 0, durability=Durability.UNCLEAR)
    (proposal,) = propose.propose(ANA, [unclear, said(clear, 1)], answers, POLICY)
    assert proposal.claim == clear
    assert proposal.durability is Durability.STANDING
    assert [piece.weight for piece in proposal.evidence] == [0.5, 1.0]


def spoken(*observations: Observation) -> str:
    """The words of the one lesson that all of these say."""
    claims = [item.claim for item in observations]
    answers = {
        pair_of(left, right).key: Judgement(verdict=Verdict.SAME, score=1)
        for left, right in itertools.combinations(claims, 2)
    }
    (proposal,) = propose.propose(ANA, observations, answers, POLICY)
    return proposal.claim.statement


FRAGMENT = claim("adjusted EBITDA", "adjusted")
DIRECTIVE = claim("for the figures we always use adjusted EBITDA", "adjusted")
TERSE = claim("use the adjusted one", "adjusted")


def test_a_lesson_is_put_in_words_to_act_on() -> None:
    assert spoken(said(FRAGMENT), said(DIRECTIVE, 1)) == DIRECTIVE.statement
    assert spoken(said(TERSE), said(DIRECTIVE, 1)) == DIRECTIVE.statement
    shorter = claim("use adjusted EBITDA", "adjusted")
    assert spoken(said(DIRECTIVE), said(shorter, 1)) == shorter.statement


@pytest.mark.parametrize(
    "weaker", [{"durability": Durability.UNCLEAR}, {"trust": Trust.AGENT, "person": "agent:a"}]
)
def test_what_a_person_meant_to_last_goes_before_better_words(weaker: dict[str, object]) -> None:
    other = said(DIRECTIVE, 1).model_copy(update=weaker)
    assert spoken(said(FRAGMENT), other) == FRAGMENT.statement


def test_a_persons_bare_words_go_before_an_agents_clear_ones() -> None:
    unclear = said(FRAGMENT, durability=Durability.UNCLEAR)
    noticed = said(DIRECTIVE, 1, durability=Durability.UNCLEAR, trust=Trust.AGENT)
    assert spoken(unclear, noticed) == FRAGMENT.statement


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("use adjusted EBITDA", True),
        ("northwind: use adjusted EBITDA", True),
        ("Please don't push to main", True),
        ("the figures are adjusted EBITDA", True),
        ("For Northwind we quote adjusted EBITDA", True),
        ("the waterfall runs quarter over quarter", True),
        ("our decks always show adjusted EBITDA", True),
        ("table labels must be short", True),
        ("Adjusted EBITDA", False),
        ("northwind: Adjusted EBITDA", False),
        ("the waterfall always quarter over quarter for Northwind", False),
        ("three bullets on the outlook", False),
        ("no tables", False),
        ("the charts in dark blue", False),
    ],
)
def test_a_directive_has_a_verb_and_a_fragment_has_none(statement: str, expected: bool) -> None:
    assert directive(statement) is expected


def test_one_offs_and_tools_are_grouped_by_themselves() -> None:
    trail = [
        said(A, 0),
        said(A, 1, durability=Durability.ONE_OFF),
        said(A, 2, trust=Trust.UNTRUSTED),
    ]
    assert len(propose.propose(ANA, trail, {}, POLICY)) == 3


@pytest.mark.parametrize(
    "below",
    [
        said(claim("a", kind=NoteKind.PREFERENCE)),
        said(A, durability=Durability.ONE_OFF),
        said(A, trust=Trust.AGENT),
        said(A, trust=Trust.UNTRUSTED),
    ],
)
def test_only_what_people_want_to_last_climbs(below: Observation) -> None:
    assert propose.propose(TEAM, [below], {}, POLICY) == []
    here = below.model_copy(update={"scope": TEAM})
    assert len(propose.propose(TEAM, [here], {}, POLICY)) == 1


# ---------------------------------------------------------------------------- critique


def criticise(
    observations: list[Observation],
    dossiers: list[Dossier] | None = None,
    judgements: dict[str, Judgement] | None = None,
    scope: Scope = ANA,
    above: Collection[str] = (),
) -> list[Critique]:
    answers = judgements or {}
    proposals = propose.propose(scope, observations, answers, POLICY)
    critiques = reflect.critique(
        proposals,
        dossiers or [],
        answers,
        policy=POLICY,
        now=START + timedelta(days=9),
        above_active=above,
    )
    assert [item.proposal_id for item in critiques] == [item.id for item in proposals]
    assert all(item.reason for item in critiques)
    return critiques


@pytest.mark.parametrize(
    ("observation", "worth", "code"),
    [
        (said(A), Worth.KEEP, "standing"),
        (said(A, durability=Durability.UNCLEAR), Worth.WAIT, "not_recurring_yet"),
        (said(A, durability=Durability.ONE_OFF), Worth.DROP, "one_off"),
        (said(A, trust=Trust.UNTRUSTED), Worth.DROP, "untrusted"),
        (said(A, feedback_on="nowhere", helpful=True), Worth.DROP, "not_here"),
    ],
)
def test_every_verdict_has_its_code(observation: Observation, worth: Worth, code: str) -> None:
    (critique,) = criticise([observation])
    assert (critique.worth, critique.code) == (worth, code)


def test_a_known_lesson_names_its_note() -> None:
    (critique,) = criticise([said(B)], [noted(A)], judged(ab=Verdict.SAME))
    assert (critique.relation, critique.target) == (Relation.SAME, "note-a")


def test_a_contradiction_names_its_rival() -> None:
    (critique,) = criticise([said(B)], [noted(A)], judged(ab=Verdict.EXCLUDES))
    assert critique.relation is Relation.CONTRADICTS
    assert critique.rivals == ("note-a",)


def test_two_contradicting_proposals_of_one_night_name_each_other() -> None:
    first, second = criticise([said(A), said(B, 1)], [], judged(ab=Verdict.EXCLUDES))
    assert first.rivals
    assert second.rivals
    assert first.rivals != second.rivals


def test_two_that_exclude_each_other_never_say_the_same_note() -> None:
    answers = judged(ac=Verdict.SAME, bc=Verdict.SAME, ab=Verdict.EXCLUDES)
    first, second = criticise([said(A), said(B, 1)], [noted(C)], answers)
    assert (first.relation, first.target) == (Relation.SAME, "note-c")
    assert (second.relation, second.rivals) == (Relation.CONTRADICTS, ("note-c",))


def test_what_a_note_above_says_is_not_noted_again() -> None:
    folded = noted(A, NoteStatus.RETIRED, superseded_by="note_of_the_team")
    (critique,) = criticise([said(A)], [folded], above=["note_of_the_team"])
    assert (critique.worth, critique.code) == (Worth.DROP, "covered_above")


def test_what_folded_into_a_note_that_is_gone_may_be_said_again() -> None:
    folded = noted(A, NoteStatus.RETIRED, superseded_by="note_of_the_team")
    (critique,) = criticise([said(A, 1)], [folded], above=["another"])
    assert (critique.worth, critique.code) == (Worth.KEEP, "standing")


def test_the_bar_for_a_retired_note_counts_what_was_said_since() -> None:
    old = propose.propose(ANA, [said(A, 1)], {}, POLICY)[0].evidence
    faded = noted(A, NoteStatus.RETIRED, valid_to=START + timedelta(days=2))
    faded = faded.model_copy(update={"evidence": old})
    unclear = said(A, 5, durability=Durability.UNCLEAR)
    (critique,) = criticise([unclear], [faded])
    assert (critique.worth, critique.code) == (Worth.WAIT, "not_recurring_yet")


def test_a_quarantined_lesson_stays_where_it_is() -> None:
    (critique,) = criticise([said(A)], [noted(A, NoteStatus.QUARANTINED)])
    assert (critique.worth, critique.code) == (Worth.DROP, "quarantined")


def test_agents_do_not_vote_on_a_persons_note() -> None:
    vote = said(A, trust=Trust.AGENT, feedback_on="note-a", helpful=False)
    (critique,) = criticise([vote], [noted(A)])
    assert (critique.worth, critique.code) == (Worth.DROP, "lower_trust")


def test_the_team_counts_people_and_says_how_many_are_missing() -> None:
    (waiting,) = criticise([said(A), said(A, 1)], scope=TEAM)
    assert (waiting.worth, waiting.reason) == (Worth.WAIT, "1 of 2 people")
    (agreed,) = criticise([said(A), said(A, 1, BEN)], scope=TEAM)
    assert (agreed.worth, agreed.code) == (Worth.KEEP, "agreed")
