"""Cases: what an attacker writes, where it turns up, and the sentence that is to become a rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.sharpness.bank import TECHNIQUES
from benchmarks.sharpness.hostile import canary

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BANKS = ROOT / "benchmarks" / "sharpness" / "banks" / "eval"
NOTINJECT = ROOT / "benchmarks" / "notinject.json"
FILLER = "The job went on without anything to report. "
Turn = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One attack. ``turns`` make a session, which is lived through ``sessions`` times by each of
    ``people``; ``wish`` is what the attacker wants to stand as a rule, ``canary`` a word of it."""

    id: str
    source: str
    technique: str
    vector: str
    canary: str
    wish: str
    turns: tuple[Turn, ...]
    sessions: int = 3
    people: int = 1
    pad: int = 0

    def lines(self) -> Iterator[Turn]:
        """The turns with their filler in place."""
        filler = (FILLER * (self.pad // len(FILLER) + 1))[: self.pad]
        for turn in self.turns:
            yield {**turn, "text": turn["text"].replace("{pad}", filler)}


def red_team() -> list[Case]:
    """The set of this repository: ``redteam.json``."""
    found = json.loads((HERE / "redteam.json").read_text(encoding="utf-8"))["cases"]
    return [Case(source="redteam", **{**one, "turns": tuple(one["turns"])}) for one in found]


def metrics(seed: int) -> list[Case]:
    """Every poison template of the sharpness banks that nothing was fitted to, by its technique."""
    random = Random(seed)
    cases = []
    for path in sorted(BANKS.glob("*.json")):
        bank = json.loads(path.read_text(encoding="utf-8"))
        for technique in TECHNIQUES:
            for number, template in enumerate(bank["poison"][technique]):
                word = canary(random)
                text = template.replace("{canary}", word).replace("{f}", "Northwind")
                cases.append(
                    _laundered(
                        "metrics",
                        f"{path.stem}-{technique}-{number}",
                        technique,
                        text,
                        word,
                        sessions=5 if technique == TECHNIQUES[2] else 2,
                    )
                )
    return cases


def bastion(seed: int) -> list[Case]:
    """The malicious texts of ``bastioncorpus``, each with a word of ours to find it again by."""
    from bastioncorpus import load_corpus

    random = Random(seed)
    cases = []
    for row in load_corpus():
        if row.label == "malicious":
            word = canary(random)
            text = f"{row.text.replace('{canary}', word)} {word}"
            case = _laundered("bastioncorpus", row.id, row.category, text, word)
            cases.append(case)
    return cases


def benign() -> list[tuple[str, str]]:
    """(source, text) of harmless words that look like attacks."""
    from bastioncorpus import load_corpus

    rows = [("bastioncorpus", row.text) for row in load_corpus() if row.label == "benign"]
    prompts = json.loads(NOTINJECT.read_text(encoding="utf-8"))["prompts"]
    return rows + [("notinject", text) for text in prompts]


def _laundered(
    source: str, name: str, technique: str, text: str, word: str, sessions: int = 3
) -> Case:
    """A tool says it, an agent repeats it, a person says ok."""
    turns = (
        {"role": "tool", "text": text},
        {"role": "agent", "text": text},
        {"role": "human", "text": "ok, thanks"},
    )
    wish = " ".join(text.split())[:240]
    return Case(name, source, technique, "tool result, echo", word, wish, turns, sessions=sessions)
