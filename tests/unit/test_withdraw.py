"""Taking a note back: which one is meant, who may, and what becomes of it."""

from __future__ import annotations

import pytest
from regrouping import ANA, BEN, CLEO, POLICY, TEAM, Nights, at, by_first_word, likely, said

from sleep_runtime.consolidation import curate, withdraw
from sleep_runtime.consolidation.compare import pair_of
from sleep_runtime.consolidation.signal import people_needed
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Evidence, NoteStatus
from sleep_runtime.core.observation import Durability, Observation
from sleep_runtime.core.proposal import Judgement, Proposal
from sleep_runtime.core.scope import Scope

ACTIVE, CANDIDATE, RETIRED = NoteStatus.ACTIVE, NoteStatus.CANDIDATE, NoteStatus.RETIRED
RULE = "watermark every brochure page in grey"
OTHER = "sort the price list by surname"


def stands(text: str, day: float, who: Scope = ANA) -> Observation:
    return said(text, day, who, durability=Durability.STANDING)


def back(text: str, day: float, who: Scope = ANA, *, trust: Trust = Trust.HUMAN) -> Observation:
    return said(text, day, who, durability=Durability.WITHDRAWN, trust=trust)


TAKEN_BACK = "forget the watermark on the brochure"


def with_rules(scope: Scope = ANA, *speakers: Scope) -> Nights:
    """Both rules are in force."""
    nights = Nights(by_first_word, scope)
    people = speakers or (ANA,)
    told = [stands(text, day, who) for day, who in enumerate(people) for text in (RULE, OTHER)]
    nights.night(*told, day=4)
    assert {note.claim.statement for note in nights.notes(ACTIVE)} == {RULE, OTHER}
    return nights


def statements(nights: Nights, status: NoteStatus) -> set[str]:
    return {note.claim.statement for note in nights.notes(status)}


# ---------------------------------------------------------------------------- in a night


def test_what_a_person_takes_back_is_retired_and_the_rest_stays() -> None:
    nights = with_rules()
    decision = nights.night(back(TAKEN_BACK, 5), day=5.5)
    assert statements(nights, ACTIVE) == {OTHER}
    assert statements(nights, RETIRED) == {RULE}
    assert [delta.code for delta in decision.deltas] == ["withdrawn"]
    assert len(nights.notes()) == 2, "a withdrawal becomes no note"


def test_words_that_name_no_note_clearly_take_nothing_back() -> None:
    nights = with_rules()
    for text in ("forget it", "forget brochure watermark and price list"):
        assert nights.night(back(text, 5), day=5.5).deltas == ()
        assert "nothing_to_withdraw" in {critique.code for critique in nights.critiques}
    elsewhere = said(TAKEN_BACK, 5, durability=Durability.WITHDRAWN, about={"shop": "brixton"})
    assert nights.night(elsewhere, day=5.6).deltas == ()


def test_an_agent_takes_nothing_back() -> None:
    nights = with_rules()
    for trust in (Trust.AGENT, Trust.UNTRUSTED):
        assert nights.night(back(TAKEN_BACK, 5, trust=trust), day=5.5).deltas == ()
    assert statements(nights, ACTIVE) == {RULE, OTHER}


def test_what_was_said_again_since_holds() -> None:
    nights = with_rules()
    nights.night(back(TAKEN_BACK, 5), stands(RULE, 6), day=6.5)
    assert statements(nights, ACTIVE) == {RULE, OTHER}
    later = with_rules()
    later.night(back(TAKEN_BACK, 5), day=5.5)
    later.night(stands(RULE, 6), day=6.5)
    assert statements(later, ACTIVE) == {RULE, OTHER}


def test_a_withdrawal_that_arrives_late_does_not_undo_what_was_said_after_it() -> None:
    nights = with_rules()
    nights.night(stands(RULE, 6), day=6.5)
    nights.night(back(TAKEN_BACK, 5), day=7)
    assert statements(nights, ACTIVE) == {RULE, OTHER}


def test_said_and_taken_back_in_one_night_leaves_nothing_in_force() -> None:
    nights = Nights(by_first_word)
    nights.night(stands(RULE, 0), back(TAKEN_BACK, 1), day=1.5)
    assert nights.notes(ACTIVE) == []


def test_a_withdrawal_is_counted_once() -> None:
    nights = with_rules()
    nights.night(back(TAKEN_BACK, 5), day=5.5)
    before = nights.notes()
    assert nights.night(back(TAKEN_BACK, 5), day=6).deltas == ()
    assert nights.notes() == before


def test_one_of_those_who_said_it_may_take_a_team_note_back() -> None:
    nights = with_rules(TEAM, ANA, BEN)
    nights.night(back(TAKEN_BACK, 5, BEN), day=5.5)
    assert statements(nights, RETIRED) == {RULE}


def test_who_never_said_it_needs_as_many_as_it_took() -> None:
    nights = with_rules(TEAM, ANA, BEN)
    (delta,) = nights.night(back(TAKEN_BACK, 5, CLEO), day=5.5).deltas
    assert (delta.code, delta.note.status) == ("contested", ACTIVE)
    nights.night(back(TAKEN_BACK, 6, Scope("acme/tiles/dora")), day=6.5)
    assert statements(nights, RETIRED) == {RULE}


# ---------------------------------------------------------------------------- the parts


def pieces(*observations: Observation) -> list[Evidence]:
    (proposal, *_) = (p for p, _ in Nights().judged(observations, 9))
    return list(proposal.evidence)


def against(who: Scope, day: float, **changes: object) -> Evidence:
    piece = pieces(stands(RULE, day, who))[0]
    return piece.model_copy(update={"weight": withdraw.AGAINST, **changes})


def test_the_last_word_counts_and_a_tie_goes_to_the_withdrawal() -> None:
    for_it = pieces(stands(RULE, 3))
    assert not withdraw.withdrawn(for_it)
    assert withdraw.withdrawn([*for_it, against(ANA, 3)])
    assert not withdraw.withdrawn([*for_it, against(ANA, 2)])
    assert not withdraw.withdrawn([*for_it, against(ANA, 4, trust=Trust.AGENT)])
    assert not withdraw.withdrawn([*for_it, against(ANA, 4, weight=-1.0)]), "says otherwise only"


def test_a_person_who_moved_teams_still_takes_back_their_own_word() -> None:
    for_it = pieces(stands(RULE, 3))
    moved = Scope("acme/retail/ana")
    assert withdraw.is_enough([*for_it, against(moved, 4, person=str(moved))], people=3)
    assert not withdraw.is_enough([*for_it, against(BEN, 4)], people=2)
    assert withdraw.is_enough([*for_it, against(BEN, 4), against(CLEO, 4)], people=2)
    assert not withdraw.is_enough([*for_it, against(BEN, 4), against(BEN, 5)], people=2)


@pytest.mark.parametrize(("scope", "people"), [("a/b/c", 1), ("a/b", 2), ("a", 3)])
def test_the_wider_the_scope_the_more_it_takes(scope: str, people: int) -> None:
    assert people_needed(Scope(scope), POLICY) == people


def lesson(
    name: str, text: str, *, active: bool = True, by: frozenset[str] = frozenset()
) -> withdraw.Lesson:
    return withdraw.Lesson(name, active, (said(text, 0).claim,), by)


def proposal(text: str) -> Proposal:
    (found,) = (p for p, _ in Nights().judged([back(text, 5)], 6))
    return found


def test_the_note_that_is_meant_stands_out() -> None:
    near, far = lesson("n1", RULE), lesson("n2", OTHER)
    assert withdraw.meant(proposal(TAKEN_BACK), [far, near], {}) == "n1"
    twin = lesson("n3", "watermark the brochure twice")
    assert withdraw.meant(proposal(TAKEN_BACK), [near, twin], {}) == ""
    assert withdraw.meant(proposal(TAKEN_BACK), [far], {}) == ""
    assert withdraw.meant(proposal(TAKEN_BACK), [], {}) == ""


def test_what_somebody_said_themselves_is_meant_first_and_need_not_be_so_near() -> None:
    own = lesson("n1", "the brochure is printed on silk", by=frozenset({"ana"}))
    text = "forget what I said about the brochure"
    assert withdraw.meant(proposal(text), [own, lesson("n2", OTHER)], {}) == "n1"
    others = own._replace(speakers=frozenset({"ben"}))
    assert withdraw.meant(proposal(text), [others, lesson("n2", OTHER)], {}) == ""
    nearer = lesson("n3", "what I said about the brochure", by=frozenset({"ben"}))
    assert withdraw.meant(proposal(text), [own, nearer], {}) == "n1"


def test_a_candidate_does_not_stand_in_the_way_of_a_note_in_force() -> None:
    near, twin = lesson("n1", RULE), lesson("n3", "watermark brochure", active=False)
    assert withdraw.meant(proposal(TAKEN_BACK), [near, twin], {}) == "n1"


def test_a_judgement_tells_notes_apart_that_share_as_many_words() -> None:
    ours = proposal(TAKEN_BACK)
    near, twin = lesson("n1", RULE), lesson("n3", "watermark the brochure twice")
    judged: dict[str, Judgement] = {
        pair_of(ours.claim, twin.claims[0]).key: likely(0.1, 0.85),
        pair_of(ours.claim, near.claims[0]).key: likely(0.05, 0.05),
    }
    assert withdraw.meant(ours, [near, twin], judged) == "n3"


# ---------------------------------------------------------------------------- copies


@pytest.mark.parametrize("taken_back", [False, True])
def test_copies_come_back_when_the_note_above_is_given_up_but_not_when_it_was_taken_back(
    *, taken_back: bool
) -> None:
    own, above = with_rules(), with_rules(TEAM, ANA, BEN)
    upper = next(d for d in above.dossiers() if d.note.claim.statement == RULE)
    evidence = [*upper.evidence, *([against(ANA, 9)] if taken_back else [])]
    gone = Dossier(note=upper.note.model_copy(update={"status": RETIRED}), evidence=tuple(evidence))
    copies = [
        found.model_copy(
            update={
                "note": found.note.model_copy(
                    update={"status": RETIRED, "superseded_by": upper.note.id}
                )
            }
        )
        for found in own.dossiers()
        if found.note.claim.statement == RULE
    ]
    decision = curate.decide(
        ANA, [], copies, above=[gone], fold_judgements={}, policy=POLICY, now=at(10)
    )
    back_in_force = [delta.note.status for delta in decision.deltas]
    assert back_in_force == ([] if taken_back else [ACTIVE])
