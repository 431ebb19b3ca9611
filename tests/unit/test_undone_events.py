"""What an undo took back is known: the same events neither lift a note nor vote on it again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sleep_runtime.consolidation.book import Book
from sleep_runtime.consolidation.reflect import critique
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Evidence, Note, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, NoteKind
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.proposal import Proposal, Worth
from sleep_runtime.core.scope import Scope

ANA = Scope("acme/banking/ana")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
CLAIM = Claim(statement="use adjusted EBITDA", kind=NoteKind.CONVENTION)


def said(name: str, vote: int = 0) -> Evidence:
    return Evidence(
        event_id=name,
        observation_id=f"obs-{name}",
        scope=ANA,
        session=f"s-{name}",
        person=str(ANA),
        ts=NOW + timedelta(days=1),
        trust=Trust.HUMAN,
        weight=0.0 if vote else 1.0,
        vote=vote,
    )


RETIRED = Dossier(
    note=Note(
        id="note_1",
        scope=ANA,
        claim=CLAIM,
        status=NoteStatus.RETIRED,
        confidence=0.5,
        valid_from=NOW,
        valid_to=NOW,
        recorded_at=NOW,
        reason="undone: run run_1",
    ),
    undone=("e1",),
)


def proposal(*evidence: Evidence) -> Proposal:
    return Proposal(
        id="prop_1",
        scope=ANA,
        claim=CLAIM,
        durability=Durability.STANDING,
        trust=Trust.HUMAN,
        observations=("obs-e1",),
        evidence=evidence,
    )


def test_a_lesson_from_undone_events_alone_is_known_already() -> None:
    (found,) = critique([proposal(said("e1"))], [RETIRED], {}, policy=Policy(), now=NOW)
    assert (found.worth, found.code, found.target) == (Worth.DROP, "already_known", "note_1")


def test_of_old_and_new_events_only_the_new_ones_count() -> None:
    both = proposal(said("e1"), said("e2"))
    (found,) = critique([both], [RETIRED], {}, policy=Policy(), now=NOW)
    assert found.worth is Worth.KEEP
    page = Book(ANA, [RETIRED], Policy(), NOW).get("note_1")
    assert page is not None
    page.add(both.evidence)
    assert list(page.fresh) == ["e2"]


def test_an_undone_vote_is_not_cast_again() -> None:
    page = Book(ANA, [RETIRED], Policy(), NOW).get("note_1")
    assert page is not None
    assert page.vote([said("e1", vote=1)]) == 0
    assert page.vote([said("e2", vote=1)]) == 1
    assert page.helpful == 1
