"""What a waiting note lacks, in words, and which of several is closest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sleep_runtime.consolidation.nearest import nearest
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Evidence, Note, NoteStatus
from sleep_runtime.core.observation import Claim, NoteKind
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.scope import Scope

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = Policy()
ANA, BEN, DAN = Scope("acme/banking/ana"), Scope("acme/banking/ben"), Scope("acme/retail/dan")


def said(who: Scope, day: int = 0, trust: Trust = Trust.HUMAN, weight: float = 0.5) -> Evidence:
    return Evidence(
        event_id=f"{who}-{day}",
        observation_id=f"{who}-{day}",
        scope=who,
        session=f"s{day}",
        person=str(who),
        ts=NOW + timedelta(days=day),
        trust=trust,
        weight=weight,
    )


def waiting(
    scope: str,
    *evidence: Evidence,
    name: str = "n",
    kind: NoteKind = NoteKind.FACT,
    confidence: float = 0.5,
    status: NoteStatus = NoteStatus.CANDIDATE,
) -> Dossier:
    note = Note(
        id=name,
        scope=Scope(scope),
        claim=Claim(statement=f"lesson {name}", kind=kind),
        status=status,
        confidence=confidence,
        valid_from=NOW,
        recorded_at=NOW,
    )
    return Dossier(note=note, evidence=evidence)


AGENT = Trust.AGENT


@pytest.mark.parametrize(
    ("dossier", "needs"),
    [
        (waiting(ANA, said(ANA)), "1 more session"),
        (waiting(ANA, said(ANA, trust=AGENT)), "2 more sessions, or a person's word"),
        (waiting(ANA, said(ANA, trust=AGENT), kind=NoteKind.CONVENTION), "a person's word"),
        (waiting("acme/banking", said(ANA)), "1 more person"),
        (waiting("acme", said(ANA)), "2 more people, in 1 more team"),
        (waiting("acme", said(ANA), said(DAN)), "1 more person"),
        (
            waiting("acme", said(ANA), said(BEN), said(Scope("acme/banking/cat"))),
            "somebody in 1 more team",
        ),
        (
            waiting(ANA, said(ANA), said(ANA, 1)),
            "a person's decision: see sleep-runtime review list",
        ),
    ],
)
def test_what_is_lacking_is_said_in_words(dossier: Dossier, needs: str) -> None:
    assert [one.needs for one in nearest([dossier], POLICY)] == [needs]


def test_the_closest_come_first_and_only_what_waits_is_named() -> None:
    found = nearest(
        [
            waiting(ANA, said(ANA, trust=AGENT), name="far"),
            waiting(ANA, said(ANA), name="likely", confidence=0.6),
            waiting(ANA, said(ANA), name="near", confidence=0.4),
            waiting(ANA, said(ANA), name="shown", status=NoteStatus.ACTIVE),
        ],
        POLICY,
        limit=2,
    )
    assert [one.note.id for one in found] == ["likely", "near"]
