"""What a claim is about, where only its words say so."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sleep_runtime.consolidation.facets import facets_of, resolved
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Note, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, NoteKind, Observation
from sleep_runtime.core.scope import Scope

ANA = Scope("acme/banking/ana")
AT = datetime(2026, 11, 2, 9, tzinfo=UTC)
HARBOUR, QUAY = {"clinic": "Harbour House"}, {"clinic": "Quay"}


def said(statement: str, about: dict[str, str] | None = None, **more: object) -> Observation:
    claim = Claim(statement=statement, kind=NoteKind.FACT, about=about or {})
    fields: dict[str, object] = {
        "id": f"obs-{statement}",
        "scope": ANA,
        "session": "s1",
        "person": str(ANA),
        "ts": AT,
        "claim": claim,
        "durability": Durability.STANDING,
        "trust": Trust.HUMAN,
        "evidence": (f"e-{statement}",),
    }
    return Observation.model_validate({**fields, **more})


def noted(about: dict[str, str]) -> Dossier:
    note = Note(
        id="n1",
        scope=ANA,
        claim=Claim(statement="known before", kind=NoteKind.FACT, about=about),
        status=NoteStatus.RETIRED,
        confidence=0.5,
        valid_from=AT,
        recorded_at=AT,
    )
    return Dossier(note=note)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("doses at Harbour House are in millilitres", HARBOUR),
        ("HARBOUR-HOUSE wants millilitres", HARBOUR),
        ("doses are in millilitres", {}),
        ("the house by the harbour wants millilitres", {}),
        ("the harbour is closed", {}),
        ("move it from Quay to Harbour House", {}),
        ("the quayside is closed", {}),
    ],
)
def test_a_claim_is_about_the_one_thing_its_words_name(
    statement: str, expected: dict[str, str]
) -> None:
    (found,) = resolved([said(statement)], [noted(HARBOUR), noted(QUAY)])
    assert found.claim.about == expected
    assert found.claim.statement == statement


def test_a_neighbour_of_the_same_night_makes_a_facet_known() -> None:
    plain = said("doses at Harbour House are in millilitres")
    assert resolved([plain], [])[0] == plain
    found = resolved([plain, said("anything else", HARBOUR)], [])
    assert found[0].claim.about == HARBOUR
    assert [item.id for item in found] == [plain.id, "obs-anything else"]


def test_what_was_said_beside_a_turn_stands_above_its_words() -> None:
    (found,) = resolved([said("as in Harbour House, millilitres", QUAY)], [noted(HARBOUR)])
    assert found.claim.about == QUAY


def test_feedback_and_short_names_are_left_alone() -> None:
    vote = said("Harbour House helped", feedback_on="n1", helpful=True)
    assert resolved([vote], [noted(HARBOUR)]) == [vote]
    short = said("go to the exit")
    assert resolved([short], [noted({"door": "go"})]) == [short]


def test_each_facet_is_known_once_and_in_one_order() -> None:
    claims = [said("a", QUAY).claim, said("b", HARBOUR).claim, said("c", QUAY).claim]
    assert facets_of(claims) == [("clinic", "Harbour House"), ("clinic", "Quay")]
    assert facets_of(claims) == facets_of(reversed(claims))
