"""Ground: holds an engine's drafts against the turns they claim to come from.

A draft is kept when somebody who may be believed really said it. Its trust is not the engine's
guess: it is that of the turn in which the statement's own words stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sleep_runtime.consolidation.quoted import own_prose
from sleep_runtime.consolidation.withdraw import takes_back
from sleep_runtime.consolidation.words import content, mentions, says, stems, words
from sleep_runtime.core.event import Role, Trust
from sleep_runtime.core.ids import stable_id
from sleep_runtime.core.observation import (
    Claim,
    Distillation,
    Draft,
    Durability,
    Observation,
    SessionInput,
    Turn,
)
from sleep_runtime.core.policy import GeneratePolicy
from sleep_runtime.core.text import one_line

MAX_CAUSE_CHARS = 240


class Observed(NamedTuple):
    """Grounded observations of one session part, and what was left out, by code."""

    observations: tuple[Observation, ...]
    counts: dict[str, int]


class _Speaker(NamedTuple):
    trust: Trust
    turns: tuple[Turn, ...]


def observe(
    session: SessionInput, distillation: Distillation, *, policy: GeneratePolicy
) -> Observed:
    """Turn an engine's answer into observations; drop, with a code, what is not grounded.

    An answer with a ``problem`` changes nothing and is counted as ``engine_problem``.
    """
    counts: Counter[str] = Counter()
    if distillation.problem:
        return Observed((), {"engine_problem": 1})
    drafts = distillation.drafts[: policy.max_drafts_per_session]
    if dropped := len(distillation.drafts) - len(drafts):
        counts["too_many_drafts"] = dropped
    kept: dict[str, Observation] = {}
    for draft in drafts:
        code, speaker = _check(session, draft := _one_line_each(draft), policy)
        if speaker is None:
            counts[code] += 1
            continue
        seen = _observation(session, draft, speaker)
        if seen.id in kept:
            counts["repeated_draft"] += 1
        kept.setdefault(seen.id, seen)
    ordered = sorted(kept.values(), key=lambda item: (item.ts, item.id))
    return Observed(tuple(ordered), dict(sorted(counts.items())))


def _one_line_each(draft: Draft) -> Draft:
    """The draft with each of its texts on one line, and nothing in them that is not seen.

    A statement of which nothing is left stays as it is: nobody said it.
    """
    claim = draft.claim
    words = {
        name: one_line(getattr(claim, name))
        for name in ("statement", "subject", "aspect", "value", "applies_when")
    }
    words["statement"] = words["statement"] or claim.statement
    return draft.model_copy(update={"claim": claim.model_copy(update=words)})


def _check(
    session: SessionInput, draft: Draft, policy: GeneratePolicy
) -> tuple[str, _Speaker | None]:
    """Who says this draft, or the code of why it is dropped."""
    claim = draft.claim
    if not (content(claim.statement) or stems(claim.statement)):
        return "empty", None
    if len(words(claim.statement)) > policy.max_statement_words:
        return "too_long", None
    turns = {turn.event_id: turn for turn in session.turns}
    if any(event_id not in turns for event_id in draft.evidence):
        return "foreign_evidence", None
    cited = [turns[event_id] for event_id in dict.fromkeys(draft.evidence)]
    if code := _ungrounded(claim, cited, session):
        return code, None
    if draft.durability is Durability.WITHDRAWN and not _taken_back(cited):
        return "nothing_taken_back", None
    return _speaker(claim, cited)


def _ungrounded(claim: Claim, cited: Sequence[Turn], session: SessionInput) -> str:
    """The code of the first part of the claim that nobody said; empty when all was said."""
    said = " ".join(map(_said, cited))
    for code, part in (
        ("ungrounded_value", claim.value),
        ("ungrounded_subject", claim.subject),
        ("ungrounded_condition", claim.applies_when),
    ):
        if part and not mentions(said, part):
            return code
    trail = (*session.context, *session.turns)
    heard = [turn for turn in trail if turn.trust is not Trust.UNTRUSTED]
    facets = {facet for turn in heard for facet in turn.about.items()}
    made_up = [v for k, v in claim.about.items() if (k, v) not in facets and not mentions(said, v)]
    return "ungrounded_about" if made_up else ""


def _taken_back(cited: Sequence[Turn]) -> bool:
    return any(takes_back(own_prose(turn.text)) for turn in _of(cited, Trust.HUMAN))


def _speaker(claim: Claim, cited: Sequence[Turn]) -> tuple[str, _Speaker | None]:
    """The highest trust that said the whole statement in one turn.

    A person's turn beside a tool's lends its authority only to its own words, not to what it
    quotes. An agent that has read untrusted text speaks for that text from then on: whatever words
    it puts it in, nobody can tell the two apart.
    """
    people = _of(cited, Trust.HUMAN)
    if _carried(people, claim):
        return "", _Speaker(Trust.HUMAN, people)
    agents = _of(cited, Trust.AGENT)
    if not any(_carries(turn, claim) for turn in agents):
        untrusted = any(turn.trust is Trust.UNTRUSTED for turn in cited)
        return ("untrusted" if untrusted else "ungrounded_statement"), None
    own = tuple(turn for turn in agents if not turn.after_untrusted)
    if not any(_carries(turn, claim) for turn in own):
        return "untrusted", None
    return "", _Speaker(Trust.AGENT, own)


def _of(turns: Iterable[Turn], trust: Trust) -> tuple[Turn, ...]:
    return tuple(turn for turn in turns if turn.trust is trust)


def _carried(turns: Sequence[Turn], claim: Claim) -> bool:
    """True when one of a person's turns, or all that are cited together, say the statement."""
    if any(_carries(turn, claim) for turn in turns):
        return True
    said = "\n".join(map(_said, turns))
    return len(turns) > 1 and says(said, claim.statement) and mentions(said, claim.value)


def _carries(turn: Turn, claim: Claim) -> bool:
    said = _said(turn)
    return says(said, claim.statement) and mentions(said, claim.value)


def _said(turn: Turn) -> str:
    """The turn's own words with its facets: what it is about need not be said again in words."""
    return "\n".join((own_prose(turn.text), *turn.about.keys(), *turn.about.values()))


def _observation(session: SessionInput, draft: Draft, speaker: _Speaker) -> Observation:
    evidence = tuple(turn.event_id for turn in speaker.turns)
    human = speaker.trust is Trust.HUMAN
    return Observation(
        id=stable_id("obs", session.scope, session.session, draft.claim.statement, *evidence),
        scope=session.scope,
        session=session.session,
        person=str(session.scope) if human else f"agent:{session.scope}",
        ts=max(turn.ts for turn in speaker.turns),
        claim=draft.claim.model_copy(update={"corrects": _cause(session, evidence)}),
        durability=draft.durability,
        trust=speaker.trust,
        evidence=evidence,
    )


def _cause(session: SessionInput, evidence: Sequence[str]) -> str:
    """What an agent had last done or said before these turns, cut to length; "" for nothing."""
    last = ""
    for turn in (*session.context, *session.turns):
        if turn.event_id in evidence:
            break
        if turn.role is Role.AGENT:
            last = turn.text
    return last[:MAX_CAUSE_CHARS]
