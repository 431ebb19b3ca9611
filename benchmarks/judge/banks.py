"""Pairs from the sentence banks: two ways to say a lesson, two answers to a question, near misses.

A bank holds topics of one domain; a topic has values that exclude each other and many ways to say
one. Two ways of one topic, facet and value are *same*; of another value *excludes*; of another
topic or another facet *unrelated*. Everything is drawn by a seed, domain by domain.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.judge.pairs import DataSet, Pair, claim
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.proposal import Verdict

ROOT = Path(__file__).parent.parent / "sharpness" / "banks"
SPLITS = ("dev", "eval")
_SPOKEN_FACETS = 0.15
"""Share of statements whose facet is in their words alone, as in the trails."""
_OTHER_FACET = 0.2
"""Share of the unrelated pairs that say the same topic and value of another facet."""


@dataclass(frozen=True, slots=True)
class Said:
    """One statement of a lesson and what it means: facet value, topic, value."""

    claim: Claim
    facet: str
    topic: str
    value: str


class Bank:
    """One domain's sentences."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.domain: str = raw["domain"]
        self.facet: str = raw["facet"]
        self.facets: list[str] = raw["facets"]
        self.topics: list[Mapping[str, Any]] = raw["topics"]

    def say(
        self, rng: random.Random, topic: Mapping[str, Any], value: Mapping[str, Any], facet: str
    ) -> Said:
        """One of the topic's ways with a surface form of ``value``, about ``facet``."""
        in_words = rng.random() < _SPOKEN_FACETS
        ways = [w for w in topic["ways"] if "{f}" in w] if in_words else topic["ways"]
        in_words = in_words and bool(ways)
        way = rng.choice(ways or topic["ways"])
        surface = rng.choice(value["say"])
        text = way.replace("{v}", surface).replace("{f}", facet)
        about = {} if in_words else {self.facet: facet}
        return Said(claim(text, about, holding=surface), facet, topic["id"], value["id"])

    def draw(self, rng: random.Random) -> tuple[Mapping[str, Any], Mapping[str, Any], str]:
        topic = rng.choice(self.topics)
        return topic, rng.choice(topic["values"]), rng.choice(self.facets)

    def same(self, rng: random.Random) -> tuple[Said, Said]:
        topic, value, facet = self.draw(rng)
        return self.say(rng, topic, value, facet), self.say(rng, topic, value, facet)

    def excluding(self, rng: random.Random) -> tuple[Said, Said]:
        topic, value, facet = self.draw(rng)
        other = rng.choice([each for each in topic["values"] if each["id"] != value["id"]])
        return self.say(rng, topic, value, facet), self.say(rng, topic, other, facet)

    def unrelated(self, rng: random.Random) -> tuple[Said, Said]:
        topic, value, facet = self.draw(rng)
        if rng.random() < _OTHER_FACET:
            elsewhere = rng.choice([each for each in self.facets if each != facet])
            return self.say(rng, topic, value, facet), self.say(rng, topic, value, elsewhere)
        other = rng.choice([each for each in self.topics if each["id"] != topic["id"]])
        answer = rng.choice(other["values"])
        return self.say(rng, topic, value, facet), self.say(rng, other, answer, facet)


def banks(split: str, root: Path = ROOT) -> list[Bank]:
    """The banks of a split by name of domain; none where the split has no files."""
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, not one of {SPLITS}")
    files = sorted((root / split).glob("*.json"))
    return [Bank(json.loads(file.read_text(encoding="utf-8"))) for file in files]


def generated(split: str, *, seed: int, each: int, root: Path = ROOT) -> DataSet:
    """``each`` pairs of each label from every domain of the split."""
    found = [pair for bank in banks(split, root) for pair in pairs_of(bank, seed=seed, each=each)]
    note = "" if found else f"no banks in {root / split}"
    return DataSet(f"generated_{split}", found, note)


def pairs_of(bank: Bank, *, seed: int, each: int) -> Iterator[Pair]:
    """``each`` pairs of each label of one domain; no pair of equal statements."""
    makers = (
        (Verdict.SAME, bank.same),
        (Verdict.EXCLUDES, bank.excluding),
        (Verdict.UNRELATED, bank.unrelated),
    )
    for label, make in makers:
        rng = random.Random(f"{bank.domain}:{label.value}:{seed}")
        found = 0
        while found < each:
            left, right = make(rng)
            if left.claim.statement != right.claim.statement:
                found += 1
                yield Pair(left.claim, right.claim, label, bank.domain)


def statements(bank: Bank, *, seed: int, count: int) -> Sequence[Said]:
    """What a store of this domain was told before, drawn apart from every pair."""
    rng = random.Random(f"{bank.domain}:seen:{seed}")
    return [bank.say(rng, *bank.draw(rng)) for _ in range(count)]
