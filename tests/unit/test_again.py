"""What was said about tonight's things is grouped anew: notes become one, and nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from regrouping import ANA, ARLEN, Judge, Nights, by_first_word, likely, said

from sleep_runtime.consolidation.again import again
from sleep_runtime.consolidation.compare import name_of
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, NoteStatus
from sleep_runtime.core.observation import Durability, Observation
from sleep_runtime.core.proposal import ClaimPair, Judgement

CANDIDATE, ACTIVE, RETIRED = NoteStatus.CANDIDATE, NoteStatus.ACTIVE, NoteStatus.RETIRED
KILN = {"kiln": "two"}
FIRST = said("tiles in celadon", 0)
SECOND = said("celadon on those tiles", 1)
THIRD = said("tiles get celadon, remember", 2)


def taken(*observations: Observation, known: Sequence[Dossier]) -> list[Observation]:
    """What is looked at again when every note is near."""
    return again(observations, known, {name_of(found.note.claim) for found in known})


def nothing_known(_: ClaimPair) -> Judgement:
    return likely(0.1)


def all_one(_: ClaimPair) -> Judgement:
    return likely(0.97)


def two_candidates() -> Nights:
    """Two sightings of one lesson that nobody could tell to be one."""
    nights = Nights(nothing_known)
    nights.night(FIRST, day=0.5)
    nights.night(SECOND, day=1.5)
    assert [note.status for note in nights.notes()] == [CANDIDATE, CANDIDATE]
    return nights


# ---------------------------------------------------------------------------- what is taken again


def test_only_what_was_said_about_tonights_things_is_taken_again() -> None:
    nights = Nights(nothing_known)
    nights.night(FIRST, said("fire slowly", 0.1, about=KILN), day=0.5)
    known = nights.dossiers()
    assert taken(THIRD, known=known) == [FIRST]
    assert taken(said("other", 2, about={}), known=known) == []
    assert taken(known=known) == []


def test_only_what_is_near_to_tonights_words_is_taken_again() -> None:
    known = two_candidates().dossiers()
    assert again([THIRD], known, {name_of(FIRST.claim)}) == [FIRST]
    assert again([THIRD], known, set()) == []


def test_one_offs_and_words_of_tools_have_nothing_looked_at_again() -> None:
    known = two_candidates().dossiers()
    assert taken(said("tiles in red", 2, durability=Durability.ONE_OFF), known=known) == []
    assert taken(said("tiles in red", 2, trust=Trust.UNTRUSTED), known=known) == []


def test_what_is_new_tonight_is_not_taken_twice_and_feedback_takes_nothing() -> None:
    nights = two_candidates()
    assert taken(FIRST, known=nights.dossiers()) == [SECOND]
    vote = THIRD.model_copy(update={"feedback_on": nights.notes()[0].id, "helpful": True})
    assert taken(vote, known=nights.dossiers()) == []


@pytest.mark.parametrize("status", [NoteStatus.SUPERSEDED, RETIRED, NoteStatus.QUARANTINED])
def test_what_is_out_of_view_stays_so(status: NoteStatus) -> None:
    nights = two_candidates()
    gone = [
        found.model_copy(update={"note": found.note.model_copy(update={"status": status})})
        for found in nights.dossiers()
    ]
    assert taken(THIRD, known=gone) == []


def test_it_comes_in_the_order_it_was_stored_with_the_facets_of_its_note() -> None:
    nights = two_candidates()
    found = [
        dossier.model_copy(
            update={
                "said": tuple(
                    item.model_copy(update={"claim": item.claim.model_copy(update={"about": {}})})
                    for item in dossier.said
                )
            }
        )
        for dossier in nights.dossiers()
    ]
    items = taken(THIRD, known=found[::-1])
    assert [item.id for item in items] == [FIRST.id, SECOND.id]
    assert all(item.claim.about == ARLEN for item in items)


# ---------------------------------------------------------------------------- notes become one


def test_two_candidates_that_turn_out_to_be_one_become_one_note() -> None:
    nights = two_candidates()
    before = {note.id for note in nights.notes()}
    nights.judge = all_one
    decision = nights.night(THIRD, day=2.5)
    (note,) = nights.notes(ACTIVE)
    assert note.id in before
    assert (note.support.events, note.support.sessions) == (3, 3)
    (merged,) = nights.notes(RETIRED)
    assert merged.superseded_by == note.id
    assert before == {note.id, merged.id}
    codes = {delta.note.id: delta.code for delta in decision.deltas}
    assert codes[merged.id] == "merged"


def test_what_was_merged_stays_so_and_is_found_under_its_heir() -> None:
    nights = two_candidates()
    nights.judge = all_one
    nights.night(THIRD, day=2.5)
    (heir,), (merged,) = nights.notes(ACTIVE), nights.notes(RETIRED)
    nights.night(said("tiles and celadon, as ever", 3), day=3.5)
    assert [note.id for note in nights.notes(ACTIVE)] == [heir.id]
    assert nights.notes(ACTIVE)[0].support.events == 4
    assert nights.notes(RETIRED) == [merged]


def test_a_note_in_view_takes_up_a_candidate_and_keeps_its_name() -> None:
    nights = Nights(nothing_known)
    nights.night(FIRST, said("tiles in celadon", 0.2), day=0.5)
    nights.night(SECOND, day=1.5)
    (shown,) = nights.notes(ACTIVE)
    nights.judge = all_one
    nights.night(THIRD, day=2.5)
    assert [note.id for note in nights.notes(ACTIVE)] == [shown.id]
    assert nights.notes(CANDIDATE) == []


def test_only_a_note_that_went_over_as_a_whole_is_merged() -> None:
    """Of one note a sighting belongs to another lesson, the others do not."""
    nights = Nights(all_one)
    nights.night(SECOND, said("scrap cobalt", 1.2), said("cobalt is scrapped", 1.4), day=1.5)
    nights.judge = nothing_known
    nights.night(FIRST, day=1.6)
    before = {note.id for note in nights.notes()}
    assert len(before) == 2
    nights.judge = lambda pair: likely(0.97 if _both(pair) - {"tiles"} else 0.02)
    nights.night(THIRD, day=2.5)
    assert {note.id for note in nights.notes(ACTIVE)} == before
    assert nights.notes(RETIRED) == []


def test_a_note_in_view_gives_its_name_to_a_lesson_half_of_which_it_said() -> None:
    nights = Nights(all_one)
    nights.night(SECOND, said("scrap the cobalt", 1.2), day=1.5)
    (shown,) = nights.notes(ACTIVE)
    nights.judge = nothing_known
    nights.night(FIRST, day=1.6)
    nights.judge = lambda pair: likely(0.97 if "celadon" in _both(pair) else 0.02)
    nights.night(THIRD, day=2.5)
    assert [note.id for note in nights.notes(ACTIVE)] == [shown.id]
    assert [note.superseded_by for note in nights.notes(RETIRED)] == [shown.id]


def _both(pair: ClaimPair) -> set[str]:
    return set(pair.left.statement.split()) & set(pair.right.statement.split())


# ---------------------------------------------------------------------------- nothing else changes


def test_a_lesson_that_falls_apart_when_looked_at_again_stays_one_note() -> None:
    nights = Nights(all_one)
    nights.night(FIRST, SECOND, THIRD, day=2.5)
    (note,) = nights.notes(ACTIVE)
    nights.judge = nothing_known
    nights.night(said("fire the kiln slowly", 3), day=3.5)
    assert nights.notes(ACTIVE) == [note]
    assert [other.claim.statement for other in nights.notes(CANDIDATE)] == ["fire the kiln slowly"]


def test_a_night_about_the_same_things_changes_only_what_it_is_about() -> None:
    nights = Nights(by_first_word)
    nights.night(said("tiles in celadon", 0), said("tiles get celadon", 1), day=1.5)
    nights.night(said("fire slowly", 2), day=2.5)
    before = nights.notes()
    decision = nights.night(said("fire very slowly", 3), day=3.5)
    assert [delta.note.claim.statement.split()[0] for delta in decision.deltas] == ["fire"]
    assert all(note in nights.notes() for note in before if note.status is ACTIVE)


@pytest.mark.parametrize("judge", [nothing_known, by_first_word, all_one])
def test_a_night_that_is_retried_decides_the_same_and_done_again_nothing(
    judge: Judge,
) -> None:
    nights = two_candidates()
    nights.judge = judge
    tonight = [THIRD, said("fire the kiln slowly", 2.2)]
    planned = nights.decided(tonight, 2.5)
    assert nights.decided(tonight, 2.5) == planned
    assert nights.decided(list(reversed(tonight)), 2.5).deltas == planned.deltas
    assert nights.night(*tonight, day=2.5) == planned
    notes = nights.notes()
    for done in tonight:
        assert nights.night(done, day=2.6).deltas == ()
    assert nights.notes() == notes


def test_no_event_is_counted_for_one_note_twice_over_many_nights() -> None:
    nights = Nights(nothing_known)
    words = ("tiles in celadon", "celadon there", "tiles celadon", "that celadon", "celadon, tiles")
    for day, (text, judge) in enumerate(
        zip(words, [nothing_known, all_one, by_first_word, all_one, nothing_known], strict=True)
    ):
        nights.judge = judge
        nights.night(said(text, day), day=day + 0.5)
        nights.night(day=day + 0.6)
    for found in nights.dossiers():
        events = [item.event_id for item in found.evidence]
        assert len(events) == len(set(events))
        assert found.note.support.events == len(set(events))
        assert found.note.scope == ANA
