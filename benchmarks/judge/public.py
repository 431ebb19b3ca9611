"""Pairs from public data sets, by path; a set whose file is absent is skipped and says so."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.judge.pairs import DataSet, Pair, claim
from sleep_runtime.core.proposal import Verdict
from sleep_runtime.engines.text.words import content

_NLI = {
    "entailment": Verdict.SAME,
    "contradiction": Verdict.EXCLUDES,
    "neutral": Verdict.UNRELATED,
}
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_MAX_CHARS = 300
_OF_THE_QUESTION = 0.5
"""Share of a question's words that a sentence must hold to count as its answer."""
Row = Mapping[str, Any]


class Texts(NamedTuple):
    """Two texts and their label, before they are read as claims."""

    left: str
    right: str
    label: Verdict
    part: str


Maker = Callable[[Sequence[Row], random.Random], Iterator[Texts]]


def public(data: Path | None, *, seed: int, most: int) -> list[DataSet]:
    """The public sets, at most ``most`` pairs of each label from each."""
    return [_load(data, name, make, seed=seed, most=most) for name, make in _SETS.items()]


def _load(
    data: Path | None,
    name: str,
    make: Maker,
    *,
    seed: int,
    most: int,
) -> DataSet:
    path = data / f"{name}.jsonl" if data else None
    if path is None or not path.exists():
        return DataSet(name, (), f"skipped: {name}.jsonl not found (--data DIR)")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    rng = random.Random(f"{name}:{seed}")
    by_label: dict[Verdict, list[Texts]] = {label: [] for label in Verdict}
    for texts in make(rows, rng):
        by_label[texts.label].append(texts)
    kept = [_read(each) for texts in by_label.values() for each in _sampled(texts, rng, most)]
    without = [label.value for label in Verdict if not by_label[label]]
    return DataSet(name, kept, f"has no {', '.join(without)} pairs" if without else "")


def _sampled(texts: list[Texts], rng: random.Random, most: int) -> list[Texts]:
    return texts if len(texts) <= most else rng.sample(texts, most)


def _read(texts: Texts) -> Pair:
    return Pair(claim(texts.left), claim(texts.right), texts.label, texts.part)


def _breaking_nli(rows: Sequence[Row], rng: random.Random) -> Iterator[Texts]:
    """One word apart. An entailment counts as *same*: the word was put for a synonym."""
    del rng
    for row in rows:
        label = _NLI[row["gold_label"]]
        yield Texts(row["sentence1"], row["sentence2"], label, row["category"])


def _fact_updates(rows: Sequence[Row], rng: random.Random) -> Iterator[Texts]:
    """An update excludes the facts it replaces; the group's other facts stand beside it."""
    for row in rows:
        update = row["update"]
        replaced = set(row["supersedes"])
        for index in sorted(replaced):
            yield Texts(row["facts"][index], update, Verdict.EXCLUDES, "facts")
        others = [i for i in range(len(row["facts"])) if i not in replaced]
        for index in rng.sample(others, 2):
            yield Texts(row["facts"][index], update, Verdict.UNRELATED, "facts")


def _ramdocs(rows: Sequence[Row], rng: random.Random) -> Iterator[Texts]:
    """Sentences that answer one question: one answer is *same*, a planted one *excludes*.

    Different answers that are both right are about different things of one name: *unrelated*.
    """
    del rng
    for row in rows:
        asked = frozenset(content(row["question"]))
        found = [
            (each, _answering(each["text"], each["answer"], asked)) for each in row["documents"]
        ]
        said = [(each, sentence) for each, sentence in found if sentence]
        for (one, left), (other, right) in combinations(said, 2):
            label = _relation(one, other)
            if label is not None and left != right:
                yield Texts(left, right, label, "questions")


def _relation(one: Row, other: Row) -> Verdict | None:
    kinds = {one["type"], other["type"]}
    if kinds == {"correct"}:
        return Verdict.SAME if one["answer"] == other["answer"] else Verdict.UNRELATED
    return Verdict.EXCLUDES if kinds == {"correct", "misinfo"} else None


def _answering(text: str, answer: str, asked: frozenset[str]) -> str:
    """The shortest sentence that holds the answer and half of the question's words, or ""."""
    wanted = answer.casefold()
    found = [
        plain
        for part in _SENTENCE.split(text)
        if wanted in (plain := " ".join(part.split())).casefold()
        and len(plain) <= _MAX_CHARS
        and len(asked & frozenset(content(plain))) >= _OF_THE_QUESTION * len(asked)
    ]
    return min(found, key=len, default="") if wanted and wanted != "unknown" else ""


_SETS: dict[str, Maker] = {
    "breaking_nli": _breaking_nli,
    "fact_updates": _fact_updates,
    "ramdocs": _ramdocs,
}
