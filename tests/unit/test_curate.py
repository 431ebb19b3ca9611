"""The Curator's table, and what holds whatever engine and Reflector say."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleep_runtime.consolidation import curate
from sleep_runtime.consolidation.compare import clash, pair_of, same_topic
from sleep_runtime.consolidation.signal import bar
from sleep_runtime.consolidation.table import TABLE, Stand, look_up
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Evidence, Note, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, NoteKind
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.proposal import (
    Critique,
    Delta,
    DeltaKind,
    Judgement,
    Proposal,
    Relation,
    Verdict,
    Worth,
)
from sleep_runtime.core.scope import Scope

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
NOW = START + timedelta(days=60)
ANA, BEN, TEAM = Scope("acme/banking/ana"), Scope("acme/banking/ben"), Scope("acme/banking")
POLICY = Policy()
Judged = tuple[Proposal, Critique]


def claim(value: str, subject: str = "ebitda", applies_when: str = "", account: str = "") -> Claim:
    return Claim(
        statement=f"{subject} is {value} {applies_when} {account}",
        kind=NoteKind.FACT,
        subject=subject,
        aspect="basis",
        value=value,
        applies_when=applies_when,
        about={"account": account} if account else {},
    )


def piece(day: int, who: Scope = ANA, trust: Trust = Trust.HUMAN, weight: float = 1.0) -> Evidence:
    return Evidence(
        event_id=f"e-{who}-{day}-{trust}-{weight}",
        observation_id=f"obs-{day}",
        scope=who,
        session=f"s{day}",
        person=str(who) if trust is Trust.HUMAN else f"agent:{who}",
        ts=START + timedelta(days=day),
        trust=trust,
        weight=weight,
    )


def proposal(name: str, what: Claim, evidence: Sequence[Evidence], scope: Scope = ANA) -> Proposal:
    return Proposal(
        id=name,
        scope=scope,
        claim=what,
        durability=Durability.STANDING,
        trust=Trust.HUMAN,
        observations=(f"obs-{name}",),
        evidence=tuple(evidence),
    )


def critique(
    name: str,
    relation: Relation = Relation.NEW,
    worth: Worth = Worth.KEEP,
    target: str = "",
    rivals: Iterable[str] = (),
) -> Critique:
    return Critique(
        proposal_id=name,
        relation=relation,
        worth=worth,
        target=target,
        rivals=tuple(rivals),
        code="standing",
        reason="said with standing intent",
    )


def noted(
    name: str,
    what: Claim,
    status: NoteStatus,
    evidence: Sequence[Evidence],
    superseded_by: str = "",
) -> Dossier:
    note = Note(
        id=name,
        scope=ANA,
        claim=what,
        status=status,
        confidence=0.6,
        valid_from=START,
        recorded_at=START,
        superseded_by=superseded_by,
        revision=3,
    )
    return Dossier(note=note, evidence=tuple(evidence))


def decide(
    judged: Sequence[Judged],
    dossiers: Sequence[Dossier] = (),
    *,
    scope: Scope = ANA,
    above: Sequence[Dossier] = (),
    folds: dict[str, Judgement] | None = None,
    now: datetime = NOW,
) -> curate.Decision:
    return curate.decide(
        scope,
        judged,
        dossiers,
        above=above,
        fold_judgements=folds or {},
        policy=POLICY,
        now=now,
    )


# ---------------------------------------------------------------------------- the table

CASES = list(itertools.product([None, *NoteStatus], Relation, Worth, Stand))


def test_every_case_has_an_answer_and_only_drop_and_quarantine_do_nothing() -> None:
    for own, relation, worth, stand in CASES:
        idle = worth is Worth.DROP or own is NoteStatus.QUARANTINED
        assert (look_up(own, relation, worth, stand) is None) == idle


def test_every_row_is_the_answer_to_some_case() -> None:
    rows = [row.move for row in TABLE if row.move is not None]
    answers = [look_up(*case) for case in CASES]
    assert all(any(answer is move for answer in answers) for move in rows)


def test_only_what_is_kept_and_free_becomes_active() -> None:
    for own, relation, worth, stand in CASES:
        move = look_up(own, relation, worth, stand)
        if move is not None and move.to is NoteStatus.ACTIVE:
            assert worth is Worth.KEEP
            assert stand in (Stand.CLEAR, Stand.LATER)


# ---------------------------------------------------------------------------- invariants

claims = st.builds(
    claim,
    value=st.sampled_from(["adjusted", "reported", ""]),
    subject=st.sampled_from(["ebitda", "adjusted ebitda", "tea"]),
    applies_when=st.sampled_from(["", "for lenders"]),
    account=st.sampled_from(["", "northwind"]),
)
pieces = st.lists(
    st.builds(
        piece,
        day=st.integers(0, 50),
        who=st.sampled_from([ANA, BEN]),
        trust=st.sampled_from(Trust),
        weight=st.sampled_from([1.0, 0.5]),
    ),
    min_size=1,
    max_size=5,
)
names = st.sampled_from(["n0", "n1", "n2", "nowhere"])


@st.composite
def nights(draw: st.DrawFn) -> tuple[list[Dossier], list[Judged]]:
    dossiers: list[Dossier] = []
    for index in range(draw(st.integers(0, 3))):
        what, status = draw(claims), draw(st.sampled_from(NoteStatus))
        others = [d.note for d in dossiers if d.note.status is NoteStatus.ACTIVE]
        if status is NoteStatus.ACTIVE and any(clash(what, other.claim) for other in others):
            status = NoteStatus.CANDIDATE
        heir = draw(names) if status is NoteStatus.SUPERSEDED else ""
        dossiers.append(noted(f"n{index}", what, status, draw(pieces), heir))
    judged = []
    for index in range(draw(st.integers(0, 4))):
        name = f"p{index}"
        verdict = critique(
            name,
            draw(st.sampled_from(Relation)),
            draw(st.sampled_from(Worth)),
            draw(names),
            draw(st.lists(names, max_size=2)),
        )
        judged.append((proposal(name, draw(claims), draw(pieces)), verdict))
    return dossiers, judged


def after(dossiers: Iterable[Dossier], deltas: Iterable[Delta]) -> dict[str, Note]:
    return {d.note.id: d.note for d in dossiers} | {d.note.id: d.note for d in deltas}


@settings(max_examples=400, deadline=None)
@given(nights())
def test_whatever_the_reflector_says_the_invariants_hold(
    night: tuple[list[Dossier], list[Judged]],
) -> None:
    dossiers, judged = night
    decision = decide(judged, dossiers)
    notes = after(dossiers, decision.deltas)
    active = [note for note in notes.values() if note.status is NoteStatus.ACTIVE]
    for left, right in itertools.combinations(active, 2):
        assert not clash(left.claim, right.claim)
    before = {d.note.id: d for d in dossiers}
    assert len({delta.note.id for delta in decision.deltas}) == len(decision.deltas)
    for delta in decision.deltas:
        _check(delta, before.get(delta.note.id), notes)


def _check(delta: Delta, known: Dossier | None, notes: dict[str, Note]) -> None:
    note = delta.note
    assert delta.reason
    assert note.reason == delta.reason
    assert note.revision == (known.note.revision if known else 0) + 1
    assert all(item.trust is not Trust.UNTRUSTED for item in delta.evidence)
    was = known.note.status if known else None
    if note.status is NoteStatus.ACTIVE and was is not NoteStatus.ACTIVE:
        evidence = [*(known.evidence if known else ()), *delta.evidence]
        believed = [item for item in evidence if item.trust is not Trust.UNTRUSTED]
        assert bar(believed, ANA, note.claim.kind, POLICY).met
    if note.status is NoteStatus.SUPERSEDED and was is not NoteStatus.SUPERSEDED:
        assert same_topic([note.claim], [notes[note.superseded_by].claim])
    if note.valid_to is not None:
        assert note.valid_from <= note.valid_to


@settings(max_examples=200, deadline=None)
@given(nights(), st.randoms(use_true_random=False))
def test_the_listing_order_changes_nothing(
    night: tuple[list[Dossier], list[Judged]], chance: object
) -> None:
    dossiers, judged = night
    expected = decide(judged, dossiers)
    shuffled, shelf = list(judged), list(dossiers)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    chance.shuffle(shelf)  # type: ignore[attr-defined]
    assert decide(shuffled, shelf) == expected


# ---------------------------------------------------------------------------- single cases


def test_untrusted_words_write_nothing_even_when_the_reflector_would_keep_them() -> None:
    poison = proposal("p", claim("adjusted"), [piece(d, trust=Trust.UNTRUSTED) for d in range(50)])
    assert decide([(poison, critique("p"))]).deltas == ()


def test_two_proposals_on_one_note_make_one_delta() -> None:
    shelf = [noted("n0", claim("adjusted"), NoteStatus.ACTIVE, [piece(0)])]
    judged = [
        (
            proposal(name, claim("adjusted"), [piece(day)]),
            critique(name, Relation.SAME, target="n0"),
        )
        for name, day in (("p0", 1), ("p1", 2))
    ]
    (delta,) = decide(judged, shelf).deltas
    assert (delta.kind, delta.note.revision, len(delta.evidence)) == (DeltaKind.REINFORCE, 4, 2)
    assert delta.note.support.sessions == 3


def test_two_proposals_that_only_together_are_enough_lift_a_candidate() -> None:
    shelf = [noted("n0", claim("adjusted"), NoteStatus.CANDIDATE, [])]
    judged = [
        (
            proposal(name, claim("adjusted"), [piece(day, weight=0.5)]),
            critique(name, Relation.SAME, Worth.WAIT, "n0"),
        )
        for name, day in (("p0", 1), ("p1", 2))
    ]
    (delta,) = decide(judged, shelf).deltas
    assert (delta.kind, delta.note.status) == (DeltaKind.PROMOTE, NoteStatus.ACTIVE)


def test_lower_authority_never_replaces_a_persons_word() -> None:
    shelf = [noted("n0", claim("adjusted"), NoteStatus.ACTIVE, [piece(0)])]
    agents = proposal(
        "p", claim("reported"), [piece(day, trust=Trust.AGENT) for day in range(5, 9)]
    )
    (delta,) = decide([(agents, critique("p", Relation.CONTRADICTS, rivals=["n0"]))], shelf).deltas
    assert (delta.note.status, delta.code) == (NoteStatus.CANDIDATE, "conflict")


def test_a_note_fades_without_being_mentioned() -> None:
    shelf = [noted("n0", claim("adjusted"), NoteStatus.ACTIVE, [piece(0)])]
    decision = decide([], shelf, now=START + timedelta(days=800))
    (delta,) = decision.deltas
    assert (delta.kind, delta.code) == (DeltaKind.RETIRE, "faded")
    assert decision.counts == {"delta.retire": 1}
    assert decision.reason == "retired 1"


def test_the_nearest_word_above_decides_whether_a_copy_folds() -> None:
    own = noted("n0", claim("adjusted"), NoteStatus.ACTIVE, [piece(50)])
    org = noted("z-org", claim("adjusted"), NoteStatus.ACTIVE, [piece(50)])
    org = org.model_copy(update={"note": org.note.model_copy(update={"scope": Scope("acme")})})
    team = noted("team", claim("reported"), NoteStatus.ACTIVE, [piece(50)])
    team = team.model_copy(update={"note": team.note.model_copy(update={"scope": TEAM})})
    answers = {
        pair_of(own.note.claim, team.note.claim).key: Judgement(verdict=Verdict.EXCLUDES, score=1)
    }
    assert decide([], [own], above=[org, team], folds=answers).deltas == ()
    (delta,) = decide([], [own], above=[org]).deltas
    assert (delta.code, delta.note.superseded_by) == ("folded", "z-org")


def test_of_two_answers_nobody_can_choose_between_the_earlier_stays_however_listed() -> None:
    judged = [
        (proposal("p0", claim("reported"), [piece(2)]), critique("p0")),
        (proposal("p1", claim("adjusted"), [piece(1)]), critique("p1")),
    ]
    for listed in (judged, judged[::-1]):
        notes = [delta.note for delta in decide(listed).deltas]
        shown = {note.claim.value: note.status for note in notes}
        assert shown == {"adjusted": NoteStatus.ACTIVE, "reported": NoteStatus.CANDIDATE}


def test_without_fold_marks_nothing_folds() -> None:
    own = noted("n0", claim("adjusted"), NoteStatus.ACTIVE, [piece(50)])
    assert decide([], [own]).deltas == ()


# ---------------------------------------------------------------------------- feedback


def ballot(name: str, day: float, session: str, vote: int = -1, who: Scope = ANA) -> Evidence:
    return piece(0, who, weight=0.0).model_copy(
        update={
            "event_id": name,
            "ts": START + timedelta(days=day),
            "session": session,
            "vote": vote,
        }
    )


def feedback(evidence: Sequence[Evidence], *, helpful: bool = False) -> Judged:
    name = f"p-{evidence[0].event_id}"
    said = proposal(name, claim("adjusted"), evidence)
    vote = said.model_copy(update={"feedback_on": "n0", "helpful": helpful})
    return vote, critique(name, Relation.SAME, target="n0")


def test_many_votes_of_one_person_in_one_session_are_one() -> None:
    shelf = [noted("n0", claim("adjusted"), NoteStatus.ACTIVE, [piece(50)])]
    votes = [ballot(f"v{n}", 51 + n / 100, "s") for n in range(50)]
    (delta,) = decide([feedback(votes)], shelf).deltas
    assert (delta.note.harmful, delta.note.status) == (1, NoteStatus.ACTIVE)
    assert [item.event_id for item in delta.evidence] == ["v49"]


def test_a_vote_repeated_night_after_night_is_still_one() -> None:
    shelf = [noted("n0", claim("adjusted"), NoteStatus.ACTIVE, [piece(50)])]
    (first,) = decide([feedback([ballot("v0", 51, "s")])], shelf).deltas
    shelf = [Dossier(note=first.note, evidence=(piece(50), *first.evidence))]
    assert decide([feedback([ballot("v1", 52, "s")])], shelf).deltas == ()
    others = [ballot("v2", 52, "other"), ballot("v3", 52, "s", who=BEN)]
    (delta,) = decide([feedback(others)], shelf).deltas
    assert delta.note.harmful == 3


def test_a_second_vote_in_a_session_replaces_the_first() -> None:
    stored = (piece(49), piece(50), ballot("v0", 51, "s"), ballot("v1", 51, "t"))
    shelf = [noted("n0", claim("adjusted"), NoteStatus.ACTIVE, stored)]
    (delta,) = decide([feedback([ballot("v2", 52, "s", 1)], helpful=True)], shelf).deltas
    assert (delta.note.helpful, delta.note.harmful) == (1, 1)
    late = feedback([ballot("v3", 50.5, "s", 1)], helpful=True)
    assert decide([late], shelf).deltas == ()


def test_votes_are_no_evidence() -> None:
    votes = [ballot(f"v{n}", n, f"s{n}", 1) for n in range(9)]
    shelf = [noted("n0", claim("adjusted"), NoteStatus.CANDIDATE, [piece(50, weight=0.5)])]
    (delta,) = decide([feedback(votes, helpful=True)], shelf).deltas
    assert (delta.note.status, delta.note.support.events) == (NoteStatus.CANDIDATE, 1)
    assert delta.note.evidence == (piece(50, weight=0.5).event_id,)
    assert delta.note.helpful == 9
    shelf = [Dossier(note=delta.note, evidence=(*shelf[0].evidence, *delta.evidence))]
    (delta,) = decide([again(piece(51))], shelf).deltas
    assert (delta.note.support.events, delta.note.helpful) == (2, 9)
    assert len(delta.note.evidence) == 2


# ---------------------------------------------------------------------------- coming back


def retired(*evidence: Evidence, day: int = 10, trust: Trust = Trust.HUMAN) -> Dossier:
    known = noted("n0", claim("adjusted"), NoteStatus.RETIRED, evidence)
    faded = {"valid_to": START + timedelta(days=day), "trust": trust}
    return Dossier(note=known.note.model_copy(update=faded), evidence=known.evidence)


def again(*evidence: Evidence) -> Judged:
    said = proposal("p", claim("adjusted"), evidence)
    return said, critique("p", Relation.SAME, target="n0")


def test_what_was_weighed_when_a_note_retired_does_not_bring_it_back() -> None:
    weighed = [piece(day) for day in range(5)]
    for fresh in (piece(20, trust=Trust.AGENT), piece(20, weight=0.5)):
        decision = decide([again(fresh)], [retired(*weighed)])
        (delta,) = decision.deltas
        assert (delta.kind, delta.code) == (DeltaKind.REINFORCE, "waits")
        assert delta.note.status is NoteStatus.RETIRED
        assert delta.note.valid_to == START + timedelta(days=10)
        assert delta.evidence == (fresh,)
        assert decision.reason == "changed nothing; 1 waiting for more"


def test_a_retired_note_comes_back_on_what_was_said_since() -> None:
    (delta,) = decide([again(piece(20))], [retired(piece(0))]).deltas
    assert (delta.kind, delta.note.status) == (DeltaKind.RESTORE, NoteStatus.ACTIVE)
    kept = retired(piece(0), piece(15, weight=0.5))
    (delta,) = decide([again(piece(20, weight=0.5))], [kept]).deltas
    assert (delta.kind, delta.note.status) == (DeltaKind.RESTORE, NoteStatus.ACTIVE)


def test_a_note_that_stays_retired_keeps_the_time_it_held() -> None:
    (delta,) = decide([again(piece(20, weight=0.5))], [retired()]).deltas
    assert (delta.note.valid_from, delta.note.valid_to) == (START, START + timedelta(days=10))


def test_what_was_said_before_it_retired_and_arrives_late_counts() -> None:
    (delta,) = decide([again(piece(5))], [retired(piece(0))]).deltas
    assert delta.note.status is NoteStatus.ACTIVE


def test_agents_bring_back_what_agents_noticed_and_never_a_persons_note() -> None:
    noticed = again(*[piece(day, trust=Trust.AGENT) for day in range(20, 29)])
    (delta,) = decide([noticed], [retired(piece(0))]).deltas
    assert delta.note.status is NoteStatus.RETIRED
    agents = [piece(day, trust=Trust.AGENT) for day in range(3)]
    (delta,) = decide([noticed], [retired(*agents, trust=Trust.AGENT)]).deltas
    assert delta.note.status is NoteStatus.ACTIVE


def test_an_agent_does_not_lift_a_persons_word_that_waits_or_was_replaced() -> None:
    for status in (NoteStatus.CANDIDATE, NoteStatus.SUPERSEDED):
        shelf = [noted("n0", claim("adjusted"), status, [piece(0)])]
        (delta,) = decide([again(piece(20, trust=Trust.AGENT))], shelf).deltas
        assert delta.note.status is status


# ---------------------------------------------------------------------------- wording

BARE = claim("adjusted").model_copy(update={"statement": "adjusted EBITDA"})
CLEAR = claim("adjusted").model_copy(update={"statement": "use adjusted EBITDA"})


def reworded(status: NoteStatus, *wordings: Claim) -> str:
    shelf = [noted("n0", BARE, status, [piece(0, weight=0.5)])]
    judged = [
        (
            proposal(f"p{day}", what, [piece(day)]),
            critique(f"p{day}", Relation.SAME, target="n0"),
        )
        for day, what in enumerate(wordings, 1)
    ]
    (delta,) = decide(judged, shelf).deltas
    assert delta.note.status is NoteStatus.ACTIVE
    return delta.note.claim.statement


def test_a_note_that_comes_into_view_takes_the_clearest_words_of_the_night() -> None:
    assert reworded(NoteStatus.CANDIDATE, CLEAR) == CLEAR.statement
    assert reworded(NoteStatus.CANDIDATE, BARE, CLEAR) == CLEAR.statement


def test_an_agent_does_not_put_words_into_a_persons_mouth() -> None:
    shelf = [noted("n0", BARE, NoteStatus.CANDIDATE, [piece(0, weight=0.5)])]
    agents = proposal("p0", CLEAR, [piece(2, trust=Trust.AGENT)])
    judged = [
        (
            agents.model_copy(update={"trust": Trust.AGENT}),
            critique("p0", Relation.SAME, target="n0"),
        ),
        (proposal("p1", BARE, [piece(1, weight=0.5)]), critique("p1", Relation.SAME, target="n0")),
    ]
    (delta,) = decide(judged, shelf).deltas
    assert (delta.note.status, delta.note.claim) == (NoteStatus.ACTIVE, BARE)


def test_an_active_note_keeps_its_words() -> None:
    assert reworded(NoteStatus.ACTIVE, CLEAR) == BARE.statement
    assert reworded(NoteStatus.RETIRED, CLEAR) == BARE.statement


@pytest.mark.parametrize("rival", [claim("reported"), claim("green", "tea")])
def test_new_words_never_undo_what_the_old_words_decided(rival: Claim) -> None:
    """Words about tea would clash with the note on tea, and could not replace one on EBITDA."""
    words = claim("black", "tea").model_copy(update={"statement": "use black tea, tea basis"})
    shelf = [
        noted("n0", BARE, NoteStatus.CANDIDATE, [piece(0, weight=0.5)]),
        noted("n1", rival, NoteStatus.ACTIVE, [piece(1)]),
    ]
    said = proposal("p", words, [piece(2)])
    rivals = ["n1"] if same_topic([BARE], [rival]) else []
    found = decide([(said, critique("p", Relation.SAME, target="n0", rivals=rivals))], shelf)
    promoted = next(delta.note for delta in found.deltas if delta.note.id == "n0")
    assert (promoted.status, promoted.claim) == (NoteStatus.ACTIVE, BARE)


def test_words_that_are_no_clearer_or_mean_another_case_change_nothing() -> None:
    shelf = [noted("n0", CLEAR, NoteStatus.CANDIDATE, [piece(0)])]
    said = proposal("p", BARE, [piece(1)])
    (delta,) = decide([(said, critique("p", Relation.SAME, target="n0"))], shelf).deltas
    assert delta.note.claim == CLEAR
    wider = CLEAR.model_copy(update={"about": {"account": "northwind"}})
    assert reworded(NoteStatus.CANDIDATE, wider) == BARE.statement


def test_the_reason_of_a_night_reads_as_a_sentence() -> None:
    shelf = [noted("n0", claim("adjusted"), NoteStatus.ACTIVE, [piece(0)])]
    judged: list[Judged] = [
        (proposal("p0", claim("adjusted"), [piece(1)]), critique("p0", Relation.SAME, target="n0")),
        (proposal("p1", claim("green", "tea"), [piece(2)]), critique("p1")),
        (proposal("p2", claim("black", "ink"), [piece(2)]), critique("p2")),
    ]
    judged += [
        (
            proposal(f"d{n}", claim("x", f"s{n}"), [piece(3)]),
            critique(f"d{n}", worth=Worth.DROP).model_copy(update={"code": "one_off"}),
        )
        for n in range(14)
    ]
    decision = decide(judged, shelf)
    assert decision.reason == "wrote 2 notes, reinforced 1; 14 one-offs dropped"
    assert decide([]).reason == "changed nothing"
