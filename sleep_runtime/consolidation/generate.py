"""Generate: turns raw events into what an engine reads, and its answers into observations.

``prepare`` decides what may be learned from at all; ``observe`` (see ``ground``) what of an
engine's answer is kept. Everything that is left out is counted by a reason code.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from sleep_runtime.consolidation.facets import Facet, named_in
from sleep_runtime.consolidation.ground import Observed, observe
from sleep_runtime.consolidation.injected import injected, own_words
from sleep_runtime.consolidation.quoted import Foreign
from sleep_runtime.consolidation.words import normalise, sentences
from sleep_runtime.core.event import EventKind, Role, StoredEvent, Trust, heard_as
from sleep_runtime.core.fence import inside_fences, strip_fenced
from sleep_runtime.core.ids import canonical_json, digest, stable_id
from sleep_runtime.core.observation import (
    Claim,
    Durability,
    NoteKind,
    Observation,
    SessionInput,
    Turn,
)
from sleep_runtime.core.policy import GeneratePolicy

__all__ = ["LOOK_BACK", "Observed", "Prepared", "observe", "prepare", "session_key"]

# Tool turns are context for a correction, not a source: a glance at them is enough.
MAX_TOOL_CHARS = 600
LOOK_BACK = 200
"""So many turns before a part are looked through for what was recalled or read there."""
_ECHO_WORDS = 4
_KEPT_REDACTED = 1024
_CUT = "\n[…]\n"
_DIGITS = re.compile(r"\d+")

Redact = Callable[[str], str]


class Prepared(NamedTuple):
    """What a run distils, the feedback that needs no engine, and what was left out, by code."""

    sessions: tuple[SessionInput, ...]
    feedback: tuple[Observation, ...]
    counts: dict[str, int]


def prepare(
    events: Sequence[StoredEvent],
    before: Mapping[str, Sequence[StoredEvent]],
    *,
    redact: Redact,
    policy: GeneratePolicy,
) -> Prepared:
    """Clean, redact and order events of one scope into session parts for an engine.

    ``before`` holds, by session, the last ``LOOK_BACK`` events that earlier runs distilled, all if
    there are fewer: they are read along only.
    Order of arrival does not matter: a session is ordered by event time.
    """
    counts: Counter[str] = Counter()
    feedback: dict[str, Observation] = {}
    trails: dict[str, list[StoredEvent]] = defaultdict(list)
    for stored in events:
        if stored.event.kind is not EventKind.FEEDBACK:
            trails[stored.event.session].append(stored)
        elif (seen := _feedback(stored)) is not None:
            feedback[seen.id] = seen
        else:
            counts["bad_feedback"] += 1
    sessions: list[SessionInput] = []
    at_hand = [*events, *(item for part in before.values() for item in part)]
    known = _facets_at_hand(at_hand)
    redact = lru_cache(_KEPT_REDACTED)(redact)  # a tool's text is looked at three times
    tonight = _foreign(at_hand, redact)
    for name in sorted(trails):
        cleaner = _Cleaner(redact, policy, counts, known, tonight)
        cleaner.unseen = len(before.get(name, ())) >= LOOK_BACK
        sessions += _parts(cleaner, trails[name], before.get(name, ()), policy)
    ordered = sorted(feedback.values(), key=lambda item: (item.ts, item.id))
    return Prepared(tuple(sessions), tuple(ordered), dict(sorted(counts.items())))


def _is_foreign(stored: StoredEvent) -> bool:
    return stored.trust is Trust.UNTRUSTED and stored.event.kind is not EventKind.TOOL_CALL


def _foreign(events: Iterable[StoredEvent], redact: Redact) -> Foreign:
    """The untrusted text of all sessions of a night."""
    found = Foreign()
    for stored in events:
        if _is_foreign(stored):
            found.hear(redact(stored.event.text))
    return found


def _facets_at_hand(events: Iterable[StoredEvent]) -> list[Facet]:
    """What the events of this run are about, by what stands beside them.

    What kinds of things there are (``account``) is taken from the events of people and agents
    alone: it counts as said with the thing, and a tool's may say anything.
    """
    found = list(events)
    kinds = {key for one in found if one.trust is not Trust.UNTRUSTED for key in one.event.about}
    facets = {facet for one in found for facet in one.event.about.items()}
    return sorted(facet for facet in facets if facet[0] in kinds)


def session_key(session: SessionInput, engine_name: str) -> str:
    """Names the question "what does this engine see in this part": the key of its pin."""
    return digest("distil", engine_name, canonical_json(session.model_dump(mode="json")))


# ---------------------------------------------------------------------------- feedback


def _feedback(stored: StoredEvent) -> Observation | None:
    """A thumb up or down as an observation; None when it names no note or comes from a tool."""
    event = stored.event
    note, helpful = event.data.get("note"), event.data.get("helpful")
    if not isinstance(note, str) or not note.strip() or not isinstance(helpful, bool):
        return None
    if stored.trust is Trust.UNTRUSTED:
        return None
    statement = f"feedback on {note}"[:400]
    return Observation(
        id=stable_id("obs", event.scope, event.session, statement, event.id),
        scope=event.scope,
        session=event.session,
        person=event.scope if stored.trust is Trust.HUMAN else f"agent:{event.scope}",
        ts=event.ts,
        claim=Claim(statement=statement, kind=NoteKind.FACT),
        durability=Durability.UNCLEAR,
        trust=stored.trust,
        evidence=(event.id,),
        feedback_on=note,
        helpful=helpful,
    )


# ---------------------------------------------------------------------------- sessions


def _order(stored: StoredEvent) -> tuple[datetime, int]:
    return stored.event.ts, stored.seq


def _parts(
    cleaner: _Cleaner,
    events: Sequence[StoredEvent],
    before: Sequence[StoredEvent],
    policy: GeneratePolicy,
) -> Iterator[SessionInput]:
    """One session in parts of bounded length, each with the turns that led to it."""
    fresh = {stored.event.id for stored in events}
    old = [stored for stored in before if stored.event.id not in fresh]
    trail = sorted([*old, *events], key=_order)
    cleaned = [
        turn for stored in trail if (turn := cleaner.clean(stored, stored.event.id in fresh))
    ]
    new = [turn for turn in cleaned if turn.event_id in fresh]
    if all(turn.role in (Role.TOOL, Role.SYSTEM) for turn in new):
        if new:
            cleaner.counts["nothing_to_learn"] += len(new)
        return
    place = {turn.event_id: index for index, turn in enumerate(cleaned)}
    for start in range(0, len(new), policy.max_session_turns):
        part = new[start : start + policy.max_session_turns]
        yield SessionInput(
            scope=events[0].event.scope,
            session=events[0].event.session,
            turns=tuple(part),
            context=_context(cleaned[: place[part[-1].event_id]], part, policy.context_turns),
        )


def _context(led_up: Sequence[Turn], part: Sequence[Turn], most: int) -> tuple[Turn, ...]:
    own = {turn.event_id for turn in part}
    others = [turn for turn in led_up if turn.event_id not in own]
    return tuple(others[-most:]) if most else ()


# ---------------------------------------------------------------------------- turns


class _Cleaner:
    """Cleans the turns of one session in event order; remembers what retrieval and tools said."""

    def __init__(
        self,
        redact: Redact,
        policy: GeneratePolicy,
        counts: Counter[str],
        known: Sequence[Facet],
        tonight: Foreign,
    ) -> None:
        self._redact = redact
        self._policy = policy
        self._known = known
        self._recalled: list[str] = []
        self._tonight = tonight
        self._foreign = Foreign()
        self._tool_outputs: set[str] = set()
        self.unseen = False
        """Whether the session is longer than what is looked through."""
        self.counts = counts

    def clean(self, stored: StoredEvent, fresh: bool) -> Turn | None:  # noqa: FBT001
        """The turn as an engine may read it, or None; why not is counted for fresh events."""
        after_untrusted = self.unseen or self._foreign.heard
        code, text = self._text(stored)
        if code and fresh:
            self.counts[code] += 1
        if not text:
            return None
        event = stored.event
        return Turn(
            event_id=event.id,
            ts=event.ts,
            role=heard_as(event.role, stored.trust),
            kind=event.kind,
            trust=stored.trust,
            text=text,
            about=self._facets(event.about or self._named(stored.trust, text)),
            after_untrusted=after_untrusted or self._carries_over(stored.trust, text),
        )

    def _text(self, stored: StoredEvent) -> tuple[str, str]:
        """What is left of an event's text, and the code of what was taken out of it."""
        event = stored.event
        if _is_foreign(stored):
            self._foreign.hear(self._redact(event.text))
        if event.kind is EventKind.RETRIEVAL:
            self._recall(event.text)
            return "retrieval", ""
        if event.role is Role.HUMAN and injected(event.text):
            return "injected", ""
        raw = strip_fenced(event.text)
        fenced = "fenced" if len(raw) != len(event.text) else ""
        for inside in inside_fences(event.text):
            self._recall(inside)
        raw = own_words(raw) if event.role is Role.HUMAN else raw.strip()
        if not raw:
            return fenced or "empty", ""
        if heard_as(event.role, stored.trust) is Role.TOOL:
            return self._tool(event.kind, raw)
        code, kept = self._without_echo(self._redact(raw))
        if stored.trust is Trust.HUMAN and (own := self._foreign.without(kept)) != kept:
            code, kept = "quoted", own
        return code or fenced, _shorten(kept, self._policy.max_turn_chars)

    def _tool(self, kind: EventKind, raw: str) -> tuple[str, str]:
        text = self._redact(raw)
        if kind is not EventKind.TOOL_CALL:
            shape = _DIGITS.sub("0", normalise(text))
            if shape in self._tool_outputs:
                return "repeated_tool", ""
            self._tool_outputs.add(shape)
        return "", _shorten(text, min(MAX_TOOL_CHARS, self._policy.max_turn_chars))

    def _carries_over(self, trust: Trust, text: str) -> bool:
        """Whether an agent says here what a tool said in another session of the night."""
        return trust is Trust.AGENT and self._tonight.repeated_in(text)

    def _recall(self, text: str) -> None:
        self._recalled.append(f" {normalise(self._redact(text))} ")

    def _without_echo(self, text: str) -> tuple[str, str]:
        """The text without sentences that only repeat what was recalled into this session."""
        if not self._recalled:
            return "", text
        pieces = sentences(text)
        kept = [piece for piece in pieces if not self._echo(piece)]
        if len(kept) == len(pieces):
            return "", text
        return "retrieval_echo", "\n".join(kept)

    def _echo(self, sentence: str) -> bool:
        said = normalise(sentence)
        if said.count(" ") + 1 < _ECHO_WORDS:
            return False
        return any(f" {said} " in recalled for recalled in self._recalled)

    def _named(self, trust: Trust, text: str) -> dict[str, str]:
        """What a person's turn is about by its words, where nothing stands beside it."""
        return named_in(text, self._known) if trust is Trust.HUMAN else {}

    def _facets(self, about: Mapping[str, str]) -> dict[str, str]:
        return dict(_clean_facets(about.items(), self._redact))


def _clean_facets(about: Iterable[tuple[str, str]], redact: Redact) -> Iterator[tuple[str, str]]:
    """Facets without personal data, and still telling two different ones apart."""
    for key, value in about:
        clean = redact(value)
        yield key, clean if clean == value else f"{clean}#{digest(value)[:6]}"


def _shorten(text: str, most: int) -> str:
    """Cut out the middle: what is said first and last is what a turn is about."""
    if len(text) <= most:
        return text
    keep = max(most - len(_CUT), 2)
    head = keep - keep // 2
    return (text[:head] + _CUT + text[len(text) - keep // 2 :])[:most]
