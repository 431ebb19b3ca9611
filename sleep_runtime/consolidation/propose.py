"""Propose: turns the observations of a night into suggested changes, one lesson each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sleep_runtime.consolidation.group import Group, Unit, group
from sleep_runtime.consolidation.signal import INTENT_WEIGHT
from sleep_runtime.core.event import Trust
from sleep_runtime.core.ids import stable_id
from sleep_runtime.core.note import Evidence, wordings
from sleep_runtime.core.observation import Durability, NoteKind, Observation
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.proposal import Judgement, Proposal
from sleep_runtime.core.scope import Scope, Tier


def propose(
    scope: Scope,
    observations: Sequence[Observation],
    judgements: Mapping[str, Judgement],
    policy: Policy,  # noqa: ARG001 - part of the signature every step of a night shares
) -> list[Proposal]:
    """One proposal for each lesson, in the order of event time; listing order does not matter.

    One-offs and untrusted words are grouped by themselves, so that they lend no weight to a lesson.
    """
    apart: dict[tuple[bool, bool], list[Observation]] = defaultdict(list)
    withdrawn: list[Group] = []
    feedback: dict[tuple[str, bool, Trust], list[Observation]] = defaultdict(list)
    for item in _distinct(observations):
        if item.feedback_on:
            feedback[item.feedback_on, bool(item.helpful), item.trust].append(item)
        elif item.durability is Durability.WITHDRAWN:
            withdrawn += [Group([Unit(item)])] if may_climb(item, scope) else []
        elif may_climb(item, scope):
            key = item.durability is Durability.ONE_OFF, item.trust is Trust.UNTRUSTED
            apart[key].append(item)
    proposals = [
        _proposal(scope, found) for part in apart.values() for found in group(part, judgements)
    ]
    proposals += [_proposal(scope, found) for found in withdrawn]
    proposals += [_feedback(scope, items) for items in feedback.values()]
    return sorted(proposals, key=lambda item: (max(e.ts for e in item.evidence), item.id))


def may_climb(observation: Observation, scope: Scope) -> bool:
    """Whether a run of ``scope`` may learn from it: only what people want to last climbs.

    What was captured at the scope itself climbs nowhere and is always taken.
    """
    if observation.scope == scope or scope.tier is Tier.INDIVIDUAL:
        return True
    return (
        observation.trust is Trust.HUMAN
        and observation.durability is not Durability.ONE_OFF
        and observation.claim.kind is not NoteKind.PREFERENCE
    )


def may_climb_kind(proposal: Proposal) -> bool:
    """False for a preference that a run above its person would learn."""
    own = all(item.scope == proposal.scope for item in proposal.evidence)
    wide = proposal.scope.tier is not Tier.INDIVIDUAL
    return own or not wide or proposal.claim.kind is not NoteKind.PREFERENCE


def _distinct(observations: Iterable[Observation]) -> list[Observation]:
    """Each observation once; one that names no event can't say why and is left out."""
    return list({item.id: item for item in observations if item.evidence}.values())


def _proposal(scope: Scope, found: Group) -> Proposal:
    observations, claim = found.observations, found.claim
    return Proposal(
        id=stable_id("prop", scope, *(item.id for item in observations)),
        scope=scope,
        claim=claim,
        durability=_durability(observations),
        trust=max((item.trust for item in observations), key=lambda trust: trust.rank),
        observations=tuple(item.id for item in observations),
        evidence=_evidence(observations),
        wordings=wordings(claim, (item.claim for item in observations)),
    )


def _durability(observations: Iterable[Observation]) -> Durability:
    """Standing when a person said so; agents do not speak with standing intent."""
    observations = list(observations)
    for alone in (Durability.ONE_OFF, Durability.WITHDRAWN, Durability.DOUBTFUL):
        if all(item.durability is alone for item in observations):
            return alone
    intent = [
        item.durability is Durability.STANDING and item.trust is Trust.HUMAN
        for item in observations
    ]
    return Durability.STANDING if any(intent) else Durability.UNCLEAR


def _evidence(observations: Iterable[Observation]) -> tuple[Evidence, ...]:
    """One piece for each event: the strongest, where several observations stand on it."""
    strongest: dict[str, Evidence] = {}
    for item in observations:
        for event_id in item.evidence:
            piece = Evidence(
                event_id=event_id,
                observation_id=item.id,
                scope=item.scope,
                session=item.session,
                person=item.person,
                ts=item.ts,
                trust=item.trust,
                weight=0.0 if item.feedback_on else INTENT_WEIGHT[item.durability],
                vote=_vote(item),
            )
            known = strongest.get(event_id)
            if known is None or (piece.trust.rank, piece.weight) > (known.trust.rank, known.weight):
                strongest[event_id] = piece
    return tuple(sorted(strongest.values(), key=lambda piece: (piece.ts, piece.event_id)))


def _vote(item: Observation) -> int:
    if not item.feedback_on:
        return 0
    return 1 if item.helpful else -1


def _feedback(scope: Scope, observations: Sequence[Observation]) -> Proposal:
    ordered = sorted(observations, key=lambda item: (item.ts, item.id))
    first = ordered[0]
    return Proposal(
        id=stable_id("prop", scope, *(item.id for item in ordered)),
        scope=scope,
        claim=first.claim,
        durability=Durability.UNCLEAR,
        trust=first.trust,
        observations=tuple(item.id for item in ordered),
        evidence=_evidence(ordered),
        feedback_on=first.feedback_on,
        helpful=first.helpful,
    )
