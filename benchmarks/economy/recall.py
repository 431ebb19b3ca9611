"""Recall: what the prefilter lets through of what it must not lose, against a trail's truth.

The runtime lives through the trail with the built-in engine behind the filter. Of the turns that
teach a lesson that lasts, and of the asked pairs of turns that say the same or exclude each other,
the share that passed; and how much of the rest did not. Figures only: no sentence is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import Results
from benchmarks.intent import train
from benchmarks.intent.__main__ import TEMPERATURE
from benchmarks.sharpness.corpus import Trail, night_of
from benchmarks.sharpness.subject import in_process
from benchmarks.sharpness.truth import Label, Truth
from sleep_runtime.compose.cold import make_embedder
from sleep_runtime.config import Settings
from sleep_runtime.core.event import Role
from sleep_runtime.core.observation import Claim, Distillation, SessionInput, Usage
from sleep_runtime.core.ports import Engine
from sleep_runtime.core.proposal import ClaimPair, Judgement
from sleep_runtime.engines.extractive import ExtractiveEngine
from sleep_runtime.engines.intent.intent import KINDS
from sleep_runtime.engines.prefilter import NOTHING_FROM, Prefiltered
from sleep_runtime.engines.text import cues

TEACHING = frozenset({"lesson", "standing", "change", "retract"})


class Seen:
    """An ``Engine`` that hands everything on and remembers what it was asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.sessions = 0
        self.people: set[str] = set()
        self.pairs: dict[str, ClaimPair] = {}
        self.said: dict[str, tuple[str, ...]] = {}

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def usage(self) -> Usage:
        return self._engine.usage

    def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]:
        turns = [turn for session in sessions for turn in session.turns]
        self.people |= {turn.event_id for turn in turns if turn.role is Role.HUMAN}
        self.sessions += len(sessions)
        answers = self._engine.distil(sessions)
        for answer in answers:
            self.said |= {_name(draft.claim): draft.evidence for draft in answer.drafts}
        return answers

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]:
        self.pairs |= {pair.key: pair for pair in pairs}
        return self._engine.compare(pairs)


def measure(results: Results, trail: Trail, split: str) -> None:
    """All figures of one trail, named with its split."""
    embedder = make_embedder(Settings())
    behind = Seen(ExtractiveEngine(embedder))
    before = Seen(Prefiltered(behind, embedder))
    with in_process({}, engine=before, embedder=embedder) as subject:
        for number, day in enumerate(trail.days):
            subject.fall_asleep(night_of(number))
            subject.feed(day)
            subject.night(trail.truth.org)
    labels = trail.truth.labels
    teaching = {event for event in before.people if (x := labels.get(event)) and x.lesson}
    idle = before.people - set(labels)
    results.add(f"{split}_teaching_turns", len(teaching), "turns")
    results.add(f"{split}_teaching_turns_kept", _share(teaching & behind.people, teaching), "")
    results.add(f"{split}_idle_turns_dropped", _share(idle - behind.people, idle), "")
    results.add(f"{split}_sessions_read", behind.sessions / before.sessions, "")
    related = {key for key, pair in before.pairs.items() if _related(pair, before, trail.truth)}
    asked = before.pairs.keys()
    results.add(f"{split}_related_pairs", len(related), "pairs")
    results.add(f"{split}_related_pairs_asked", _share(related & behind.pairs.keys(), related), "")
    results.add(f"{split}_pairs_asked", len(behind.pairs) / len(asked), "")


def left_out(results: Results, seed: int) -> None:
    """What the bar for messages does to dev sentences of domains the intent head never saw.

    ``filed`` counts corrections as they were filed, ``bare`` every sentence as a message.
    """
    examples, raw = train.left_out(seed)
    nothing = train.shares(raw, TEMPERATURE)[:, KINDS.index("nothing")]
    for form in ("filed", "bare"):
        kept = [
            (example.correction and form == "filed")
            or cues.read(example.text).standing
            or (score < NOTHING_FROM and not cues.is_acknowledgement(example.text))
            for example, score in zip(examples, nothing, strict=True)
        ]
        for name, labels in (("teaching", TEACHING), ("idle", frozenset({"nothing"}))):
            asked = [k for k, x in zip(kept, examples, strict=True) if x.label in labels]
            results.add(f"left_out_{form}_{name}", len(asked), "turns")
            results.add(f"left_out_{form}_{name}_kept", sum(asked) / len(asked), "")


def _related(pair: ClaimPair, seen: Seen, truth: Truth) -> bool:
    """Whether both sides answer one question."""
    left, right = (_label(claim, seen, truth) for claim in pair.claims)
    return bool(left and right) and _question(left) == _question(right)


def _question(label: Label | None) -> tuple[str, str] | None:
    return (label.topic, label.facet) if label else None


def _label(claim: Claim, seen: Seen, truth: Truth) -> Label | None:
    events = seen.said.get(_name(claim), ())
    return next((truth.labels[event] for event in events if event in truth.labels), None)


def _name(claim: Claim) -> str:
    return f"{claim.statement} {sorted(claim.about.items())}"


def _share(part: set[str], whole: set[str]) -> float:
    return len(part) / len(whole) if whole else 1.0
