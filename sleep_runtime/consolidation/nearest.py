"""Nearest: which waiting notes are closest to coming into force, and what each of them lacks."""

from __future__ import annotations

from collections.abc import Sequence

from sleep_runtime.consolidation.names import WHY
from sleep_runtime.consolidation.signal import AGENT_KINDS, bar, doubtful, name_of
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Evidence, NoteStatus
from sleep_runtime.core.observation import NoteKind
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.ports import Nearest
from sleep_runtime.core.scope import Scope, Tier

_FAR = 1000


def nearest(dossiers: Sequence[Dossier], policy: Policy, *, limit: int = 5) -> list[Nearest]:
    """The candidates among these, those that lack least first, the likelier of two before."""
    found = [_lack(one, policy) for one in dossiers if one.note.status is NoteStatus.CANDIDATE]
    found.sort(key=lambda one: (one.missing, -one.note.confidence, one.note.id))
    return found[:limit]


def _lack(dossier: Dossier, policy: Policy) -> Nearest:
    note = dossier.note
    missing, needs = _short_of(dossier.evidence, note.scope, note.claim.kind, policy)
    if not missing and WHY in note.reason:
        needs = "words that name nobody"
    return Nearest(note=note, missing=missing, needs=needs)


def _short_of(
    evidence: Sequence[Evidence], scope: Scope, kind: NoteKind, policy: Policy
) -> tuple[int, str]:
    if bar(evidence, scope, kind, policy).met:
        return 0, "a person's decision: see sleep-runtime review list"
    for_it = [item for item in evidence if item.weight > 0]
    here = [item for item in for_it if scope.tier is Tier.INDIVIDUAL or item.scope == scope]
    options = [_said_here(here, kind, policy)]
    if scope.tier is not Tier.INDIVIDUAL:
        options.append(_from_below(for_it, scope, policy))
    return min(options)


def _said_here(evidence: Sequence[Evidence], kind: NoteKind, policy: Policy) -> tuple[int, str]:
    people = [item for item in evidence if item.trust is Trust.HUMAN]
    if people and doubtful(people):
        return max(policy.signal.recurring_sessions - _sessions(people), 1), "a clearer word"
    if people:
        return _more(policy.signal.recurring_sessions - _sessions(people), "session")
    agents = [item for item in evidence if item.trust is Trust.AGENT]
    if agents and kind in AGENT_KINDS:
        lacking = policy.signal.agent_sessions - _sessions(agents)
        return _more(lacking, "session", ", or a person's word")
    return _FAR, "a person's word"


def _from_below(evidence: Sequence[Evidence], scope: Scope, policy: Policy) -> tuple[int, str]:
    said = [item for item in evidence if item.trust is Trust.HUMAN]
    people = len({name_of(item.person) for item in said})
    if said and doubtful(said):
        return 1, "a clearer word"
    if scope.tier is Tier.TEAM:
        return _more(policy.tiers.team_people - people, "person")
    teams = len({item.scope.parts[:2] for item in said if item.scope.tier > Tier.ORG})
    lacking, needs = _more(policy.tiers.org_people - people, "person")
    missing_teams, other = _more(policy.tiers.org_teams - teams, "team")
    if lacking and missing_teams:
        return max(lacking, missing_teams), f"{needs}, in {other}"
    return (lacking, needs) if lacking else (missing_teams, f"somebody in {other}")


def _more(number: int, noun: str, rest: str = "") -> tuple[int, str]:
    if number <= 0:
        return 0, ""
    many = {"person": "people"}.get(noun, f"{noun}s")
    return number, f"{number} more {noun if number == 1 else many}{rest}"


def _sessions(evidence: Sequence[Evidence]) -> int:
    return len({(item.scope, item.session) for item in evidence})
