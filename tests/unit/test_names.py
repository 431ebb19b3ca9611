"""No note of a team or an organisation names a person, and none rests on fewer than two."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from sleep_runtime.consolidation import curate
from sleep_runtime.consolidation.names import NAMES_A_PERSON, Names
from sleep_runtime.consolidation.nearest import nearest
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Evidence, Note, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, NoteKind
from sleep_runtime.core.policy import Policy, TierPolicy
from sleep_runtime.core.proposal import Critique, Proposal, Relation, Worth
from sleep_runtime.core.scope import Scope

TEAM, NOON = Scope("acme/banking"), datetime(2026, 11, 2, 12, tzinfo=UTC)
ANA, BEN = Scope("acme/banking/ana"), Scope("acme/banking/ben")
NAMED, PLAIN = "ask Ana before you change the deck", "ask the owner before you change the deck"


def says(text: str, **parts: str) -> Claim:
    return Claim(statement=text, kind=NoteKind.CONVENTION, **parts)


# ---------------------------------------------------------------------------- what is a name


@pytest.mark.parametrize(
    ("handle", "text"),
    [
        ("ana", "ask Ana before you change the deck"),
        ("ana", "ANA's decks have no footer"),
        ("jo", "jo wants the totals on top"),
        ("ana.smith@acme.com", "send it to ana.smith@acme.com"),
        ("ana.smith@acme.com", "cc ana.smith always"),
        ("ana.smith", "Ana Smith signs off"),
        ("ana.smith", "Smith, Ana: signs off"),
        ("ana_smith", "the smith deck is the template"),
        ("u4711", "u4711 keeps the macros"),
        ("user-12", "copy user-12 on the mail"),
        ("mark", "send the deck to Mark first"),
        ("will", "then ask Will to sign"),
    ],
)
def test_a_name_is_told_in_every_form_its_handle_gives_away(handle: str, text: str) -> None:
    assert Names([handle]).told_by(says(text))


@pytest.mark.parametrize(
    ("handle", "text"),
    [
        ("ana", "analysts use adjusted figures"),
        ("will", "the build will fail without it"),
        ("will", "Will it build? run the tests"),
        ("user-12", "every user gets 12 rows"),
        ("12", "show 12 rows"),
        ("ann", "annotate the chart"),
    ],
)
def test_a_word_that_is_no_name_is_left_alone(handle: str, text: str) -> None:
    assert not Names([handle]).told_by(says(text))


@pytest.mark.parametrize("part", ["subject", "aspect", "value", "applies_when"])
def test_a_name_is_found_in_every_part_that_is_shown(part: str) -> None:
    assert Names(["ana"]).told_by(says("ask first", **{part: "for Ana"}))
    about = says("ask first").model_copy(update={"about": {"owner": "ana"}})
    assert Names(["ana"]).told_by(about)


# ---------------------------------------------------------------------------- a night of a team


def piece(who: Scope, day: int) -> Evidence:
    return Evidence(
        event_id=f"e-{who}-{day}",
        observation_id=f"o-{who}-{day}",
        scope=who,
        session=f"s{day}",
        person=str(who),
        ts=NOON + timedelta(days=day),
        trust=Trust.HUMAN,
    )


def night(
    *wordings: str, known: Sequence[Dossier] = (), beside: Sequence[Dossier] = ()
) -> curate.Decision:
    """One lesson, said by these people in these words; the first are the clearest."""
    first, *others = map(says, wordings)
    lesson = Proposal(
        id="p",
        scope=TEAM,
        claim=first,
        durability=Durability.STANDING,
        trust=Trust.HUMAN,
        observations=("o",),
        evidence=tuple(piece(who, day) for day, who in enumerate((ANA, BEN))),
        wordings=tuple(others),
    )
    verdict = Critique(
        proposal_id="p",
        relation=Relation.SAME if known else Relation.NEW,
        worth=Worth.KEEP,
        target=known[0].note.id if known else "",
        code="agreed",
        reason="said by 2 people",
    )
    return curate.decide(
        TEAM,
        [(lesson, verdict)],
        [*known, *beside],
        above=(),
        fold_judgements={},
        policy=Policy(),
        now=NOON + timedelta(days=9),
    )


def note(decision: curate.Decision) -> Note:
    (delta,) = decision.deltas
    return delta.note


def dossier(statement: str, status: NoteStatus, *people: Scope) -> Dossier:
    known = Note(
        id="n0",
        scope=TEAM,
        claim=says(statement),
        status=status,
        confidence=0.7,
        valid_from=NOON,
        recorded_at=NOON,
        reason="before",
    )
    return Dossier(note=known, evidence=tuple(piece(who, -3) for who in people))


def test_a_wording_with_a_name_is_not_the_one_that_is_promoted() -> None:
    found = note(night(NAMED, PLAIN))
    assert (found.status, found.claim.statement) == (NoteStatus.ACTIVE, PLAIN)
    assert note(night(PLAIN, NAMED)).claim.statement == PLAIN


def test_a_lesson_that_nobody_put_without_a_name_waits_and_says_why() -> None:
    found = night(NAMED)
    (delta,) = found.deltas
    assert (delta.note.status, delta.code) == (NoteStatus.CANDIDATE, NAMES_A_PERSON)
    (near,) = nearest([Dossier(note=delta.note, evidence=delta.evidence)], Policy())
    assert near.needs == "words that name nobody"


def test_somebody_who_only_said_other_things_is_not_named_either() -> None:
    words = "ask Cleo before you change the deck"
    assert note(night(words)).status is NoteStatus.ACTIVE, "nobody of that name speaks here"
    other = dossier("put totals on top", NoteStatus.CANDIDATE, Scope("acme/banking/cleo"))
    found = {delta.note.claim.statement: delta for delta in night(words, beside=[other]).deltas}
    assert found[words].code == NAMES_A_PERSON
    assert found[words].note.status is NoteStatus.CANDIDATE


@pytest.mark.parametrize("before", [NoteStatus.CANDIDATE, NoteStatus.RETIRED])
def test_a_note_with_a_name_comes_into_force_in_other_words_only(before: NoteStatus) -> None:
    known = dossier(NAMED, before, BEN)
    assert note(night(NAMED, known=[known])).status is before
    found = note(night(PLAIN, known=[known]))
    assert (found.status, found.claim.statement) == (NoteStatus.ACTIVE, PLAIN)


def test_a_note_in_force_that_turns_out_to_name_somebody_is_taken_out_of_view() -> None:
    known = dossier(NAMED, NoteStatus.ACTIVE, BEN)
    assert note(night(NAMED, known=[known])).status is NoteStatus.CANDIDATE


def test_at_a_persons_own_scope_names_are_no_secret() -> None:
    lesson = Proposal(
        id="p",
        scope=ANA,
        claim=says(NAMED),
        durability=Durability.STANDING,
        trust=Trust.HUMAN,
        observations=("o",),
        evidence=(piece(ANA, 1),),
    )
    verdict = Critique(
        proposal_id="p", relation=Relation.NEW, worth=Worth.KEEP, code="standing", reason="said"
    )
    decision = curate.decide(
        ANA, [(lesson, verdict)], (), above=(), fold_judgements={}, policy=Policy(), now=NOON
    )
    assert note(decision).status is NoteStatus.ACTIVE


# ---------------------------------------------------------------------------- the least crowd


@pytest.mark.parametrize("floor", ["team_people", "org_people", "org_teams"])
def test_no_configuration_lets_one_person_speak_for_all(floor: str) -> None:
    with pytest.raises(ValidationError):
        TierPolicy(**{floor: 1})
    assert getattr(TierPolicy(**{floor: 2}), floor) == 2
