"""Slots: the questions of a trail, and the plans that answer them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from benchmarks.sharpness.bank import Bank, Topic, Value
from benchmarks.sharpness.people import Person

FACETS_IN_USE = 6
GENERAL_SHARE = 0.15


@dataclass(eq=False)
class Plan:
    """A lesson in the making."""

    cls: str
    owner: str
    bank: Bank
    topic: Topic
    facet: str
    value: Value
    audience: tuple[str, ...] = ()
    old: Value | None = None
    kept: bool = True
    pair: str = ""
    moved: bool = False
    changed_on: int = 0
    ways: dict[str, list[object]] = field(default_factory=dict)
    """Templates left, by form; each is used once before any comes again."""


@dataclass(frozen=True, eq=False)
class Mention:
    """One turn (or two) of a person that says something of a plan."""

    plan: Plan
    day: int
    person: Person
    form: str
    value: Value


class Slots:
    """Questions that are still free: (topic, facet), each taken once."""

    def __init__(self, random: Random, banks: Sequence[Bank]) -> None:
        self._random = random
        self._facets = {bank: random.sample(bank.facets, FACETS_IN_USE) for bank in banks}
        self._general: set[Topic] = set()
        self._taken: set[tuple[Topic, str]] = set()

    def facets(self, bank: Bank) -> list[str]:
        return self._facets[bank]

    def free(self, topic: Topic, facet: str) -> bool:
        if facet == "":
            return not any(taken is topic for taken, _ in self._taken)
        return topic not in self._general and (topic, facet) not in self._taken

    def take(self, topic: Topic, facet: str) -> tuple[Topic, str]:
        self._taken.add((topic, facet))
        if not facet:
            self._general.add(topic)
        return topic, facet

    def draw(self, bank: Bank, *, general: float = GENERAL_SHARE) -> tuple[Topic, str] | None:
        """A free question of work (not of taste) in this domain; None when all are taken."""
        topics = [topic for topic in bank.topics if not topic.personal]
        for topic in self._random.sample(topics, len(topics)):
            if self._random.random() < general and topic.general and self.free(topic, ""):
                return self.take(topic, "")
            for facet in self._random.sample(self._facets[bank], FACETS_IN_USE):
                if self.free(topic, facet):
                    return self.take(topic, facet)
        return None
