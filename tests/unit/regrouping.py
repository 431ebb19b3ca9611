"""Nights of one scope in memory that group anew what was said before, with scripted judgements."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from sleep_runtime.consolidation import curate, propose, reflect
from sleep_runtime.consolidation.again import again
from sleep_runtime.consolidation.compare import pair_of
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Note, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, NoteKind, Observation
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.proposal import ClaimPair, Critique, Judgement, Proposal, Verdict
from sleep_runtime.core.scope import Scope

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
TEAM, ANA, BEN = Scope("acme/tiles"), Scope("acme/tiles/ana"), Scope("acme/tiles/ben")
CLEO = Scope("acme/tiles/cleo")
ARLEN = {"shop": "arlen"}
POLICY = Policy()
ONE = b"\x00\x00\x80\x3f"
"""A vector for every statement: whatever is about the same things is near."""

Judge = Callable[[ClaimPair], Judgement | None]


def at(day: float) -> datetime:
    return START + timedelta(days=day)


def said(
    statement: str,
    day: float,
    who: Scope = ANA,
    *,
    durability: Durability = Durability.UNCLEAR,
    about: dict[str, str] | None = None,
    trust: Trust = Trust.HUMAN,
) -> Observation:
    """Something said in a session of that day."""
    claim = Claim(statement=statement, kind=NoteKind.FACT, about=ARLEN if about is None else about)
    name = f"{who}-{day}-{statement}-{','.join(claim.about.values())}"
    return Observation(
        id=f"obs-{name}",
        scope=who,
        session=f"s{day}",
        person=str(who),
        ts=at(day),
        claim=claim,
        durability=durability,
        trust=trust,
        evidence=(f"e-{name}",),
        seq=int(day * 10) + 1,
    )


def likely(share: float, excludes: float = 0.0) -> Judgement:
    """What the statistics would say of a pair."""
    verdict = Verdict.SAME if share >= 0.5 else Verdict.UNRELATED
    if excludes >= 0.5:
        verdict = Verdict.EXCLUDES
    return Judgement(verdict=verdict, score=max(share, excludes), same=share, excludes=excludes)


def by_first_word(pair: ClaimPair) -> Judgement:
    """One lesson when both begin alike."""
    alike = pair.left.statement.split()[0] == pair.right.statement.split()[0]
    return likely(0.97 if alike else 0.02)


class Nights:
    """The notes of a scope, one night after the other; the judge may change between nights."""

    def __init__(self, judge: Judge = by_first_word, scope: Scope = ANA) -> None:
        self.judge = judge
        self._scope = scope
        self._known: dict[str, Observation] = {}
        self._shelf: dict[str, Dossier] = {}
        self.critiques: list[Critique] = []

    def night(self, *observations: Observation, day: float) -> curate.Decision:
        """Takes tonight's observations, and keeps what was decided."""
        decision = self.decided(observations, day)
        self._known |= {item.id: item for item in observations}
        for delta in decision.deltas:
            known = self._shelf.get(delta.note.id)
            before = known.evidence if known else ()
            assert not {e.event_id for e in before} & {e.event_id for e in delta.evidence}
            assert delta.note.revision == (known.note.revision + 1 if known else 1)
            self._shelf[delta.note.id] = self._dossier(
                Dossier(note=delta.note, evidence=before + delta.evidence)
            )
        return decision

    def decided(self, observations: Sequence[Observation], day: float) -> curate.Decision:
        """What a night would decide; nothing is kept."""
        judged = self.judged(observations, day)
        self.critiques = [critique for _, critique in judged]
        return curate.decide(
            self._scope,
            judged,
            self.dossiers(),
            above=[],
            fold_judgements={},
            policy=POLICY,
            now=at(day),
        )

    def judged(
        self, observations: Sequence[Observation], day: float
    ) -> list[tuple[Proposal, Critique]]:
        dossiers = self.dossiers()
        vectors = dict.fromkeys((item.claim.statement for item in observations), ONE)
        vectors |= dict.fromkeys((found.note.claim.statement for found in dossiers), ONE)
        near = reflect.near_notes(observations, dossiers, vectors, POLICY.reflect)
        every = [*again(observations, dossiers, near), *observations]
        claims = [*(item.claim for item in every), *(c for d in dossiers for c in d.claims)]
        judgements = self.judgements(claims)
        proposals = propose.propose(self._scope, every, judgements, POLICY)
        found = reflect.critique(proposals, dossiers, judgements, policy=POLICY, now=at(day))
        return list(zip(proposals, found, strict=True))

    def judgements(self, claims: Iterable[Claim]) -> dict[str, Judgement]:
        pairs = (pair_of(one, other) for one, other in itertools.combinations(claims, 2))
        answers = {pair.key: self.judge(pair) for pair in pairs}
        return {key: answer for key, answer in answers.items() if answer is not None}

    def dossiers(self) -> list[Dossier]:
        return [self._shelf[key] for key in sorted(self._shelf)]

    def notes(self, *statuses: NoteStatus) -> list[Note]:
        every = [found.note for found in self.dossiers()]
        return [note for note in every if not statuses or note.status in statuses]

    def _dossier(self, found: Dossier) -> Dossier:
        names = {item.observation_id for item in found.evidence if item.weight > 0}
        behind = [item for key, item in self._known.items() if key in names]
        wordings = dict.fromkeys(i.claim.model_dump_json() for i in behind)
        claims = [Claim.model_validate_json(text) for text in wordings]
        return found.model_copy(
            update={
                "said": tuple(behind),
                "wordings": tuple(claim for claim in claims if claim != found.note.claim),
            }
        )
