"""Signal: how much speaks for a lesson, and whether that is enough.

Recurrence is counted in distinct sessions, people and days; belief is a posterior that fades.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from math import fsum, sqrt
from typing import NamedTuple

from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Evidence, Note, NoteStatus, Support
from sleep_runtime.core.observation import Durability, NoteKind
from sleep_runtime.core.policy import Policy, SignalPolicy
from sleep_runtime.core.scope import Scope, Tier

# How much a sighting weighs by whose word it is, and by whether it was meant to last.
TRUST_WEIGHT = {Trust.HUMAN: 1.0, Trust.AGENT: 0.3, Trust.UNTRUSTED: 0.0}
INTENT_WEIGHT = {
    Durability.STANDING: 1.0,
    Durability.UNCLEAR: 0.5,
    Durability.DOUBTFUL: 0.25,
    Durability.ONE_OFF: 0.0,
    Durability.WITHDRAWN: 0.0,
}
# Each further sighting inside one session counts this much of the one before.
REPEAT_WEIGHT = 0.4
# What one half-life without a sighting weighs against a note.
SILENCE_WEIGHT = 0.5
# A pattern only agents noticed may become knowledge, never a rule for people.
AGENT_KINDS = frozenset({NoteKind.FACT, NoteKind.PITFALL})


class Bar(NamedTuple):
    """Whether evidence is enough at a scope; on whose word; and why (not), to count and to read."""

    met: bool
    trust: Trust
    code: str
    reason: str


def _enough(trust: Trust, code: str, reason: str) -> Bar:
    return Bar(met=True, trust=trust, code=code, reason=reason)


def _short(trust: Trust, code: str, reason: str) -> Bar:
    return Bar(met=False, trust=trust, code=code, reason=reason)


_IN_DOUBT = _short(Trust.HUMAN, "in_doubt", "nobody said it clearly as a lesson")


def standing(evidence: Evidence) -> bool:
    """True for a person's sighting said with standing intent: what ``propose`` weighs in full."""
    return evidence.trust is Trust.HUMAN and evidence.weight >= INTENT_WEIGHT[Durability.STANDING]


def doubtful(evidence: Iterable[Evidence]) -> bool:
    """True when none of these sightings reads clearly as a lesson: however many, they may be
    small talk and tasks that come back."""
    return all(item.weight < INTENT_WEIGHT[Durability.UNCLEAR] for item in evidence)


def name_of(person: str) -> str:
    """Who somebody is across the teams of an organisation: a person who moves stays one person."""
    return person.rpartition("/")[2]


def support(evidence: Iterable[Evidence]) -> Support:
    """Distinct events, sessions, people and days that speak for a note. Agents are no people."""
    for_it = [item for item in evidence if item.weight > 0 and item.trust is not Trust.UNTRUSTED]
    return Support(
        events=len({item.event_id for item in for_it}),
        sessions=len(_sessions(for_it)),
        people=len(_people(for_it)),
        days=len({item.ts.date() for item in for_it}),
    )


def confidence(
    evidence: Iterable[Evidence],
    votes: Iterable[Evidence],
    policy: SignalPolicy,
    now: datetime,
) -> float:
    """Belief in a note at ``now``, 0..1: the mean of a Beta posterior that forgets.

        confidence = (a + F + V+) / (a + b + F + V+ + A + V- + s * q)

        F     what speaks for it, A against it: over everybody who speaks, the sum of their
              sessions, strongest first, the k-th divided by sqrt(k); a session is the sum of its
              sightings, strongest first, each times r = 0.4 to the power of its rank
        a sighting weighs |w| * trust * 2**(-age / H), age from its own time to ``now``
        w     intent: 1 standing, 0.5 unclear, 0.25 doubtful, < 0 against
        trust 1 a person, 0.3 an agent, 0 else
        V+/-  votes that it helped or did harm, each trust * 2**(-age / H)
        a, b  the prior (``prior_for``, ``prior_against``);  H  ``half_life_days``
        q     half-lives since the last sighting for it or vote that it helped;  s = 0.5: silence
              is weak evidence against

    So belief grows with distinct people and with distinct sessions, and more with a new person than
    with another session of the same one, whose words are not independent of each other.

    The Beta posterior mean of weighted positive and negative reports with exponential forgetting,
    after A. Josang and R. Ismail, "The Beta Reputation System", 2002. The discount of repeats, and
    silence as evidence, are our additions: what nobody says any more ends below a floor and not
    at the prior. At the defaults one standing sighting starts at 0.67 and reaches the floor of 0.2
    after about six half-lives.
    """
    sightings, ballots = list(evidence), list(votes)
    for_it = [item for item in sightings if item.weight > 0]
    helped = [item for item in ballots if item.vote > 0]
    harmed = [item for item in ballots if item.vote < 0]
    last = max((item.ts for item in (*for_it, *helped)), default=None)
    silence = SILENCE_WEIGHT * _half_lives(last, now, policy) if last else 0.0
    yes = _said(for_it, policy, now) + _voted(helped, policy, now)
    no = _said([item for item in sightings if item.weight < 0], policy, now)
    no += _voted(harmed, policy, now) + silence
    prior = policy.prior_for + policy.prior_against
    return (policy.prior_for + yes) / (prior + yes + no)


def _said(evidence: Iterable[Evidence], policy: SignalPolicy, now: datetime) -> float:
    """What sightings on one side come to: repeats in a session, and of a speaker, count less."""
    sessions: dict[tuple[str, Scope, str], list[float]] = defaultdict(list)
    for item in evidence:
        weight = abs(item.weight) * TRUST_WEIGHT[item.trust]
        key = name_of(item.person), item.scope, item.session
        sessions[key].append(weight * 0.5 ** _half_lives(item.ts, now, policy))
    speakers: dict[str, list[float]] = defaultdict(list)
    for (speaker, _, _), weights in sessions.items():
        ranked = sorted(weights, reverse=True)
        speakers[speaker].append(fsum(w * REPEAT_WEIGHT**rank for rank, w in enumerate(ranked)))
    return fsum(
        session / sqrt(rank)
        for said in speakers.values()
        for rank, session in enumerate(sorted(said, reverse=True), 1)
    )


def _voted(votes: Iterable[Evidence], policy: SignalPolicy, now: datetime) -> float:
    return fsum(TRUST_WEIGHT[v.trust] * 0.5 ** _half_lives(v.ts, now, policy) for v in votes)


def _half_lives(since: datetime, now: datetime, policy: SignalPolicy) -> float:
    return max((now - since) / timedelta(days=policy.half_life_days), 0.0)


def bar(evidence: Sequence[Evidence], scope: Scope, kind: NoteKind, policy: Policy) -> Bar:
    """Whether this evidence makes a lesson of this kind active at ``scope``.

    A person's standing word is enough where it was said. Said without standing intent it must
    recur, and read clearly as a lesson at least once; noticed by agents only it must recur more
    often, and is then a fact or a pitfall. From below it climbs by distinct people, in enough
    teams, however often one of them repeats it.
    """
    for_it = [item for item in evidence if item.weight > 0]
    people = [item for item in for_it if item.trust is Trust.HUMAN]
    here = [item for item in for_it if scope.tier is Tier.INDIVIDUAL or item.scope == scope]
    own = _said_here(here, kind, policy.signal)
    if own.met or scope.tier is Tier.INDIVIDUAL:
        return own
    return _climbed(people, scope, policy)


def bar_again(
    note: Note | None,
    evidence: Sequence[Evidence],
    fresh: Collection[str],
    scope: Scope,
    policy: Policy,
    *,
    kind: NoteKind,
) -> Bar:
    """The bar for a lesson said tonight that may be noted already; ``fresh``: tonight's event ids.

    What had been weighed when a note retired was found too little then: only what was said since
    counts towards its coming back. And agents alone never move what rests on a person's word.
    """
    retired = note if note and note.status is NoteStatus.RETIRED else None
    found = bar(_since(retired, evidence, fresh), scope, kind, policy)
    rests_on = max(found.trust.rank, retired.trust.rank if retired else 0)
    tonight = max((item.trust.rank for item in evidence if item.event_id in fresh), default=0)
    if found.met and tonight < rests_on:
        return _short(found.trust, "agents_only", "only agents say again what a person said")
    return found


def _since(
    retired: Note | None, evidence: Sequence[Evidence], fresh: Collection[str]
) -> Sequence[Evidence]:
    if retired is None or never_held(retired):
        return evidence
    given_up = retired.valid_to or retired.recorded_at
    return [item for item in evidence if item.event_id in fresh or item.ts > given_up]


def _said_here(evidence: Sequence[Evidence], kind: NoteKind, policy: SignalPolicy) -> Bar:
    people = [item for item in evidence if item.trust is Trust.HUMAN]
    intent = _people(item for item in people if standing(item))
    if len(intent) >= policy.standing_people:
        return _enough(Trust.HUMAN, "standing", "said with standing intent")
    if people and doubtful(people):
        return _IN_DOUBT
    sessions = len(_sessions(people))
    if sessions >= policy.recurring_sessions:
        return _enough(Trust.HUMAN, "recurring", f"said in {sessions} sessions")
    if people:
        why = f"{sessions} of {policy.recurring_sessions} sessions"
        return _short(Trust.HUMAN, "not_recurring_yet", why)
    return _noticed(evidence, kind, policy)


def _noticed(evidence: Sequence[Evidence], kind: NoteKind, policy: SignalPolicy) -> Bar:
    agents = [item for item in evidence if item.trust is Trust.AGENT]
    if not agents:
        return _short(Trust.UNTRUSTED, "untrusted", "nobody who may be believed said it")
    if kind not in AGENT_KINDS:
        return _short(Trust.AGENT, "agents_only", f"a {kind.value} needs a person's word")
    sessions = len(_sessions(agents))
    if sessions < policy.agent_sessions:
        why = f"{sessions} of {policy.agent_sessions} sessions, noticed by agents only"
        return _short(Trust.AGENT, "not_recurring_yet", why)
    return _enough(Trust.AGENT, "noticed", f"noticed by agents in {sessions} sessions")


def people_needed(scope: Scope, policy: Policy) -> int:
    """How many people of one mind it takes to speak for a scope."""
    if scope.tier is Tier.INDIVIDUAL:
        return 1
    return policy.tiers.team_people if scope.tier is Tier.TEAM else policy.tiers.org_people


def _climbed(people: Sequence[Evidence], scope: Scope, policy: Policy) -> Bar:
    wanted = people_needed(scope, policy)
    count = len(_people(people))
    if people and doubtful(people):
        return _IN_DOUBT
    if count < wanted:
        why = f"{count} of {wanted} people"
        return _short(Trust.HUMAN, "too_few_people", why)
    teams = len({item.scope.parts[:2] for item in people if item.scope.tier > Tier.ORG})
    if scope.tier is Tier.ORG and teams < policy.tiers.org_teams:
        why = f"{count} people, but {teams} of {policy.tiers.org_teams} teams"
        return _short(Trust.HUMAN, "too_few_teams", why)
    return _enough(Trust.HUMAN, "agreed", f"said by {count} people")


def asserted_at(
    evidence: Sequence[Evidence], scope: Scope, kind: NoteKind, policy: Policy
) -> datetime | None:
    """The latest instant from which on the evidence alone meets the bar; None when it never does.

    This is when a lesson was last really said: by it two lessons that exclude each other are put
    in order, whatever the order in which they arrived. One stale repetition does not move it.
    """
    since: list[Evidence] = []
    for moment in sorted({item.ts for item in evidence}, reverse=True):
        since += [item for item in evidence if item.ts == moment]
        if bar(since, scope, kind, policy).met:
            return moment
    return None


def never_held(note: Note) -> bool:
    """True for a note that was retired as a candidate, since nobody said it again.

    It was not weighed and found too little, it only waited: all that speaks for it still counts,
    so that expiring changes nothing about what comes into force later.
    """
    return note.status is NoteStatus.RETIRED and note.valid_to == note.valid_from


def expired(evidence: Iterable[Evidence], policy: SignalPolicy, now: datetime) -> bool:
    """True when nobody said it for ``candidate_days``; by when it was said, not when it arrived."""
    last = max((item.ts for item in evidence if item.weight > 0), default=None)
    return last is None or now - last >= timedelta(days=policy.candidate_days)


class Agreement(NamedTuple):
    """Of the people who ever said a lesson: how many, and how many said otherwise since."""

    people: int
    left: int

    @property
    def lost(self) -> bool:
        """True when more than half of them say otherwise now."""
        return 2 * self.left > self.people


def agreement(evidence: Iterable[Evidence]) -> Agreement:
    """Who still says it: of everybody who said it, the last word counts."""
    last: dict[str, Evidence] = {}
    said: set[str] = set()
    for item in sorted(evidence, key=lambda one: (one.ts, one.event_id)):
        if item.trust is Trust.HUMAN and item.weight:
            name = name_of(item.person)
            last[name] = item
            if item.weight > 0:
                said.add(name)
    return Agreement(len(said), sum(1 for name in said if last[name].weight < 0))


def contested(evidence: Iterable[Evidence], helpful: int, harmful: int) -> bool:
    """True when more sessions were harmed by a note than speak for it or were helped."""
    return harmful > helpful + support(evidence).sessions


def _sessions(evidence: Iterable[Evidence]) -> set[tuple[Scope, str]]:
    return {(item.scope, item.session) for item in evidence}


def _people(evidence: Iterable[Evidence]) -> set[str]:
    return {name_of(item.person) for item in evidence if item.trust is Trust.HUMAN}
