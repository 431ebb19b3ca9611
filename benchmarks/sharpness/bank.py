"""Banks: the sentences of one domain, and how to tell by its words what a note is about.

A bank is a JSON file of ``banks/<split>/``. The two splits share no sentence; nothing here reads
both at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent / "banks"
SPLITS = ("dev", "eval")
TECHNIQUES = ("imperative", "plain_fact", "repetition", "supersedes", "authority", "policy")
_DROPPED = re.compile(r"[^a-z0-9%$.+#/-]+")
_ENDINGS = r"(?:s|es|d|ed|ly|ing)?(?![a-z0-9])"


def normalise(text: str) -> str:
    """Lower case, one space between words, a space at both ends; ``%$.+#/-`` are letters here."""
    return f" {_DROPPED.sub(' ', text.lower()).strip()} "


def _pattern(words: Iterable[str], ending: str, seen_in: Sequence[str]) -> re.Pattern[str]:
    """Any of the words, from the start of a word on and with this ending.

    A word that stands in one of ``seen_in`` only inside of a longer one counts there too.
    """
    parts = []
    for word in words:
        core = re.escape(normalise(word).strip())
        strict = rf"(?<![a-z0-9]){core}{ending}"
        inside = [text for text in seen_in if core in re.escape(normalise(text))]
        missed = any(not re.search(strict, normalise(text)) for text in inside)
        parts.append(core if missed else strict)
    return re.compile("|".join(parts))


@dataclass(frozen=True, eq=False)
class Value:
    """One of a topic's answers: its surface forms, and what in a note shows it."""

    id: str
    say: tuple[str, ...]
    shown_by: tuple[str, ...]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return _pattern(self.shown_by, _ENDINGS, self.say)


@dataclass(frozen=True, eq=False)
class Topic:
    """A question that has one answer at a time. ``texts`` holds the templates by their form."""

    id: str
    domain: str
    personal: bool
    names: tuple[str, ...]
    values: tuple[Value, ...]
    texts: Mapping[str, tuple[Any, ...]]

    @property
    def key(self) -> str:
        return f"{self.domain}/{self.id}"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        sentences = [text for form in ("ways", "standing", "change") for text in self.texts[form]]
        return _pattern(self.names, "", sentences)

    @cached_property
    def general(self) -> bool:
        """Whether it can be spoken of without naming what it is about."""
        forms = ("standing", "change", "once", "lures", "retract")
        free = [t for t in self.texts["ways"] if "{f}" not in t]
        return len(free) >= 4 and all(
            any("{f}" not in text for text in self.texts[form]) for form in forms
        )


@dataclass(frozen=True, eq=False)
class Bank:
    """One domain: who works there, what about, and what they say."""

    domain: str
    facet: str
    facets: tuple[str, ...]
    agents: tuple[str, ...]
    topics: tuple[Topic, ...]
    noise: Mapping[str, tuple[str, ...]]
    poison: Mapping[str, tuple[str, ...]]


def load(split: str, root: Path = ROOT) -> tuple[Bank, ...]:
    """All banks of one split, by domain. Raises ``ValueError`` when there is none."""
    if split not in SPLITS:
        raise ValueError(f"{split!r} is no split: choose one of {', '.join(SPLITS)}")
    paths = sorted((root / split).glob("*.json"))
    if not paths:
        raise ValueError(f"there is no bank in {root / split}")
    return tuple(parse(json.loads(path.read_text(encoding="utf-8"))) for path in paths)


def parse(raw: Mapping[str, Any]) -> Bank:
    """A bank from its JSON."""
    domain = raw["domain"]
    return Bank(
        domain=domain,
        facet=raw["facet"],
        facets=tuple(raw["facets"]),
        agents=tuple(raw["agents"]),
        topics=tuple(_topic(domain, topic) for topic in raw["topics"]),
        noise={kind: tuple(texts) for kind, texts in raw["noise"].items()},
        poison={name: tuple(raw["poison"][name]) for name in TECHNIQUES},
    )


def _topic(domain: str, raw: Mapping[str, Any]) -> Topic:
    forms = ("ways", "change", "standing", "once", "lures", "retract", "split", "actions")
    texts = {form: tuple(raw[form]) for form in (*forms, "queries")}
    texts["split"] = tuple((first, second) for first, second in raw["split"])
    values = tuple(Value(v["id"], tuple(v["say"]), tuple(v["is"])) for v in raw["values"])
    return Topic(raw["id"], domain, bool(raw["personal"]), tuple(raw["names"]), values, texts)
