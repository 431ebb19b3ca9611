"""Worlds: what people said about a few things, with the lesson of each claim, from dev banks.

Two manners: the banks' own sentences, each put differently, and plain frames filled in, as a
corpus from templates would have them. Sizes, styles and whether an agent's act came before vary.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sleep_runtime.core.observation import Claim, NoteKind

BANKS = Path(__file__).parent.parent / "sharpness" / "banks" / "dev"
FRAMES = (Path(__file__).parent / "frames.json").read_text(encoding="utf-8")

Lesson = tuple[str, str, str]
"""Facet, topic, value."""


class Said(NamedTuple):
    """One claim and the lesson it states; None for what is no lesson."""

    claim: Claim
    lesson: Lesson | None


def banks() -> dict[str, dict[str, Any]]:
    """The development banks by domain."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(BANKS.glob("*.json"))}


def world(bank: dict[str, Any], seed: int) -> list[Said]:
    """What one store of a run may hold: one to eight things, one to eight lessons about each."""
    chance = random.Random(seed)
    manner = _Manner(bank, chance)
    facets = chance.sample(bank["facets"], 1 + seed % 8)
    said = [item for facet in facets for item in (*_about(manner, facet), *_chat(manner, facet))]
    chance.shuffle(said)
    return said


class _Manner:
    """How one world speaks."""

    def __init__(self, bank: dict[str, Any], chance: random.Random) -> None:
        self.bank = bank
        self.chance = chance
        frames = json.loads(FRAMES)
        self.plain = chance.random() < 0.45
        self.ways = chance.sample(frames["ways"], chance.choice([5, 10, 30]))
        self.changes, self.acts = frames["changes"], frames["acts"]
        self.acting = chance.choice([0.0, 0.5, 0.9])
        self.led = chance.random() < 0.5
        self.thin = chance.random() < 0.35

    def render(self, text: str, topic: Any, value: Any, facet: str, other: Any) -> str:
        pick = self.chance.choice
        for slot, filler in (
            ("{v}", pick(value["say"])),
            ("{old}", pick(other["say"])),
            ("{wrong}", pick(other["say"])),
            ("{w}", pick(other["say"])),
            ("{n}", pick(topic["names"][:2])),
            ("{f}", facet),
        ):
            text = text.replace(slot, filler)
        return text

    def say(
        self,
        text: str,
        topic: Any,
        value: Any,
        facet: str,
        *,
        other: Any = None,
        lesson: bool = True,
    ) -> Said:
        other = other or self.chance.choice([v for v in topic["values"] if v is not value])
        words = self.render(text, topic, value, facet, other)
        if self.led and facet not in words:
            words = f"{facet}: {words}"
        acts = self.acts if self.plain else topic["actions"]
        act = ""
        if self.chance.random() < self.acting:
            act = self.render(self.chance.choice(acts), topic, value, facet, other)
        claim = Claim(
            statement=words[:400],
            kind=NoteKind.CONVENTION,
            about={self.bank["facet"]: facet},
            corrects=act[:240],
        )
        return Said(claim, (facet, topic["id"], value["id"]) if lesson else None)


def _about(manner: _Manner, facet: str) -> Iterator[Said]:
    chance, bank = manner.chance, manner.bank
    thin = manner.thin
    for topic in chance.sample(
        bank["topics"], chance.choice([1, 2, 3] if thin else [1, 2, 3, 4, 6, 8])
    ):
        old, new = chance.sample(topic["values"], 2)
        ways = manner.ways if manner.plain else topic["ways"]
        pool = [chance.choice(ways) for _ in range(14)] if manner.plain else _shuffled(ways, chance)
        first = chance.choice([1, 1, 2] if thin else [1, 2, 3, 3, 4, 5, 6, 9])
        for way in pool[:first]:
            yield manner.say(way, topic, old, facet)
        if not manner.plain and chance.random() < 0.3:
            yield manner.say(chance.choice(topic["standing"]), topic, old, facet)
        if thin and chance.random() < 0.5:
            # Somebody says otherwise, perhaps in the same words, and not that anything changed.
            yield manner.say(chance.choice(pool[: first + 1]), topic, new, facet)
        elif chance.random() < 0.4:
            changes = manner.changes if manner.plain else topic["change"]
            for change in chance.sample(changes, min(len(changes), chance.choice([1, 1, 2, 3]))):
                yield manner.say(change, topic, new, facet, other=old)
            for way in (pool[first:] or pool)[: chance.choice([0, 1, 2, 3])]:
                yield manner.say(way, topic, new, facet, other=old)
        if chance.random() < 0.15 and not manner.plain:
            yield manner.say(chance.choice(topic["once"]), topic, new, facet, lesson=False)


def _chat(manner: _Manner, facet: str) -> Iterator[Said]:
    """What was taken for a lesson and is none: some of it comes in every store."""
    chance, noise = manner.chance, manner.bank["noise"]["human"]
    for text in chance.sample(noise, chance.choice([0, 0, 1, 2, 4])):
        words = text.replace("{f}", facet)
        about = {manner.bank["facet"]: facet}
        claim = Claim(statement=words[:400], kind=NoteKind.CONVENTION, about=about)
        yield Said(claim, None)


def _shuffled(items: list[str], chance: random.Random) -> list[str]:
    return chance.sample(items, len(items))
