"""Training of the intent head: kept words, weights, temperature; the same seed, the same bytes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.intent import corpus
from benchmarks.intent.corpus import Example
from sleep_runtime.engines.intent import features
from sleep_runtime.engines.intent.intent import KINDS

MIN_DOMAINS, MIN_TOPICS = 6, 8
MIN_USES = 3
MAX_FEATURES = 8_000
SCALE = 3.0
STRENGTH = 1.0
BALANCE = 0.5
ROUGH_SHARE = 0.5
WHOLE = 100
"""Weights are kept as whole hundredths."""

Matrix = Any
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """A trained head, with floats."""

    kept: frozenset[str]
    index: Mapping[str, int]
    weights: Floats
    bias: Floats


def kept_words(examples: Iterable[Example]) -> frozenset[str]:
    """Words that several domains and topics share, beside the closed lists."""
    domains: defaultdict[str, set[str]] = defaultdict(set)
    topics: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for example in examples:
        for word in features.raw_words(example.text):
            domains[word].add(example.domain)
            topics[word].add((example.domain, example.topic))
    shared = {w for w in domains if len(domains[w]) >= MIN_DOMAINS and len(topics[w]) >= MIN_TOPICS}
    return frozenset(shared | features.CLOSED)


@lru_cache(maxsize=200_000)
def _flags(text: str, correction: bool) -> tuple[str, ...]:  # noqa: FBT001
    return tuple(features.flags(text, correction=correction))


def _rows(
    examples: Sequence[Example], kept: AbstractSet[str]
) -> list[tuple[set[str], tuple[str, ...]]]:
    return [
        (features.grams(features.tokens(e.text, kept)), _flags(e.text, e.correction))
        for e in examples
    ]


def matrix(examples: Sequence[Example], kept: AbstractSet[str], index: Mapping[str, int]) -> Matrix:
    """Examples by features, as the head sums them."""
    from scipy import sparse  # type: ignore[import-untyped,import-not-found,unused-ignore]

    rows, columns, values = [], [], []
    for row, (grams, flags) in enumerate(_rows(examples, kept)):
        known = sorted(index[gram] for gram in grams if gram in index)
        flagged = [index[flag] for flag in flags if flag in index]
        rows += [row] * (len(known) + len(flagged))
        columns += known + flagged
        values += [SCALE / np.sqrt(max(len(known), 1))] * len(known) + [1.0] * len(flagged)
    return sparse.csr_matrix((values, (rows, columns)), shape=(len(examples), len(index)))


def _candidates(examples: Sequence[Example], kept: AbstractSet[str]) -> list[str]:
    """Flags, and n-grams that enough different topics use."""
    uses: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    flags: Counter[str] = Counter()
    for example, (grams, flagged) in zip(examples, _rows(examples, kept), strict=True):
        flags.update(flagged)
        for gram in grams:
            if len(uses[gram]) < MIN_USES:
                uses[gram].add((example.domain, example.topic))
    return sorted(flags) + sorted(gram for gram, topics in uses.items() if len(topics) >= MIN_USES)


def train(examples: Sequence[Example], *, limit: int = MAX_FEATURES) -> Model:
    """Fit twice: on all n-grams, then on the ``limit`` heaviest."""
    kept = kept_words(examples)
    names = _candidates(examples, kept)
    weights, bias = _fit(examples, kept, names)
    if len(names) > limit:
        heavy = np.argsort(-np.abs(weights).max(axis=0), kind="stable")[:limit]
        flags = {i for i, name in enumerate(names) if name.startswith("!")}
        names = [names[i] for i in sorted({int(i) for i in heavy} | flags)]
        weights, bias = _fit(examples, kept, names)
    return Model(kept, {name: i for i, name in enumerate(names)}, weights, bias)


def _fit(
    examples: Sequence[Example], kept: AbstractSet[str], names: Sequence[str]
) -> tuple[Floats, Floats]:
    from sklearn.linear_model import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
        LogisticRegression,
    )

    index = {name: i for i, name in enumerate(names)}
    labels = targets(examples)
    weight = np.array([example.weight for example in examples])
    total = np.array([weight[labels == kind].sum() for kind in range(len(KINDS))])
    each = (total.sum() / len(KINDS) / total) ** BALANCE
    model = LogisticRegression(C=STRENGTH, max_iter=400, tol=1e-3)
    model.fit(matrix(examples, kept, index), labels, sample_weight=weight * each[labels])
    return np.asarray(model.coef_), np.asarray(model.intercept_)


def targets(examples: Iterable[Example]) -> npt.NDArray[np.int64]:
    """The kinds of examples as places in ``KINDS``."""
    return np.array([KINDS.index(example.label) for example in examples])  # type: ignore[arg-type,unused-ignore]


def logits(model: Model, examples: Sequence[Example]) -> Floats:
    """What a head says of examples, before it becomes probabilities."""
    found = matrix(examples, model.kept, model.index) @ model.weights.T + model.bias
    return np.asarray(found, dtype=np.float64)


def shares(raw: Floats, temperature: float) -> Floats:
    """Probabilities by kind."""
    raised = np.exp((raw - raw.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def training_set(banks: Sequence[Example], seed: int) -> list[Example]:
    """Bank examples with the project's own lines, some typed worse."""
    own = corpus.line_examples(Random(seed + 1), times=6)
    every = [example for example in [*banks, *own] if example.weight > 0]
    chat = sorted({e.text for e in every if e.topic.startswith("noise")})
    return corpus.roughened(every, chat, Random(seed + 2), share=ROUGH_SHARE)


def left_out(seed: int) -> tuple[list[Example], Floats]:
    """Every dev sentence once, judged by a head that never saw its domain."""
    banks = corpus.bank_examples("dev", Random(seed), times=2)
    asked = [e for e in corpus.bank_examples("dev", Random(seed + 9), times=1) if e.weight > 0]
    order: list[Example] = []
    found: list[Floats] = []
    for domain in sorted({example.domain for example in banks}):
        model = train(training_set([e for e in banks if e.domain != domain], seed))
        held = [example for example in asked if example.domain == domain]
        order += held
        found.append(logits(model, held))
    return order, np.concatenate(found)


def temperature(labels: npt.NDArray[np.int64], raw: Floats) -> float:
    """The temperature under which left-out answers are likeliest: a grid of twentieths."""
    grid = [step / 20 for step in range(10, 61)]
    losses = [-np.log(shares(raw, t)[np.arange(len(labels)), labels] + 1e-12).mean() for t in grid]
    return grid[int(np.argmin(losses))]


def head(model: Model, temperature: float, bars: Mapping[str, float]) -> str:
    """The head as it is shipped: whole weights, one feature a line."""
    whole = np.rint(model.weights * WHOLE).astype(int)
    weights = {
        name: [int(w) for w in whole[:, i]]
        for name, i in model.index.items()
        if np.abs(whole[:, i]).max() > 0
    }
    kept = " ".join(sorted(model.kept - features.CLOSED))
    lines = ",\n".join(
        f"{json.dumps(name, ensure_ascii=False)}:{json.dumps(each, separators=(',', ':'))}"
        for name, each in sorted(weights.items())
    )
    outline = {
        "kept": kept,
        "bias": [int(b) for b in np.rint(model.bias * WHOLE)],
        "scale": SCALE,
        "unit": round(1 / (WHOLE * temperature), 6),
        "bars": dict(bars),
    }
    return f'{json.dumps(outline, ensure_ascii=False)[:-1]}, "weights": {{\n{lines}\n}}}}\n'
