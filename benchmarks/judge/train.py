"""scripts/train-judge [--write]: trains the pairwise judge on the development banks.

Cross-validated by domain: tagger and trees of a fold see nothing of the domain they are tried on,
and the trees are trained on roles that a tagger guessed for a domain *it* had not seen. The
thresholds come from the held-out answers. ``--write`` puts the weights into the package.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from benchmarks.harness import say
from benchmarks.judge.banks import Bank, banks
from benchmarks.judge.pairs import bare, claim
from sleep_runtime.core.observation import Claim
from sleep_runtime.engines.embedder import MiniLmEmbedder
from sleep_runtime.engines.judge import weights
from sleep_runtime.engines.judge.features import features
from sleep_runtime.engines.judge.reading import Found, Reading, found_in, reading
from sleep_runtime.engines.text import align
from sleep_runtime.engines.text.words import stem

SEED = 20261122
SAME_FROM = 0.85
"""The operating point, chosen on sets of other domains: .026 of contradictions merged there."""
EXCLUDES_PRECISION = 0.9
_KINDS = ("ways", "standing", "change")
_BARE = 0.25
_FACETS = 2
_LEAST_SEEN = 20
_TAGGER_ROWS = 16_000
_WORD = re.compile(r"[a-z0-9]+")
Array = Any
Row = tuple[int, int, int, str]


@dataclass(frozen=True, slots=True)
class Told:
    """One statement of a lesson, and which of its words are its answer or its topic."""

    claim: Claim
    domain: str
    group: tuple[str, str]
    value: str
    found: tuple[Found, ...]
    labels: tuple[int, ...]
    states: Array
    slots: align.Reading


def main() -> int:
    options = argparse.ArgumentParser(prog="scripts/train-judge")
    options.add_argument("--write", action="store_true", help="put the weights into the package")
    options.add_argument("--pairs", type=int, default=900, help="of each label, domain and facet")
    chosen = options.parse_args()
    embedder = MiniLmEmbedder(cache_size=0)
    told = [each for bank in banks("dev") for each in _told(bank, embedder)]
    say(f"{len(told)} statements")
    rows = list(_drawn(told, chosen.pairs))
    say(f"{len(rows)} pairs")
    trained = train(told, rows)
    if chosen.write:
        path = Path(weights.__file__).parent / "weights.json"
        path.write_text(json.dumps(trained, separators=(",", ":")) + "\n", encoding="utf-8")
        say(f"wrote {path} ({path.stat().st_size / 1024:.0f} KB)")
    return 0


def train(told: Sequence[Told], rows: Sequence[Row]) -> dict[str, Any]:
    """The weights, and on stderr what each held-out domain says of them."""
    domains = sorted({each.domain for each in told})
    mean = np.mean(np.concatenate([e.states for e in told[::20]]), axis=0)
    roles = {out: _roles(told, out) for out in _left_out(domains)}
    labels = np.array([row[2] for row in rows])
    of = np.array([row[3] for row in rows])
    held = np.zeros((len(rows), weights.ROLES))
    for domain in domains:
        table, _ = _table(told, rows, roles, mean, domain)
        model = _trees().fit(table[of != domain], labels[of != domain])
        held[of == domain] = model.predict_proba(table[of == domain])
        _report(domain, held[of == domain], labels[of == domain])
    excludes_from = _excludes_from(held, labels)
    merged = float((held[labels == 1, 0] >= SAME_FROM).mean())
    _report("all held out", held, labels)
    table, names = _table(told, rows, roles, mean, "")
    model = _trees().fit(table, labels)
    say(f"same from {SAME_FROM} merges {merged:.3f} held out, excludes from {excludes_from:.3f}")
    return {
        "version": "2",
        "features": names,
        "same_from": SAME_FROM,
        "excludes_from": round(excludes_from, 4),
        "mean": _rounded(mean),
        "tagger": _tagger(told, np.array([True] * sum(len(e.found) for e in told))).exported(),
        "trees": _exported(model),
    }


def _told(bank: Bank, embedder: MiniLmEmbedder) -> Iterator[Told]:
    rng = random.Random(f"{bank.domain}:{SEED}")
    facets = rng.sample(bank.facets, _FACETS)
    for topic in bank.topics:
        names = {stem(w) for name in topic["names"] for w in _WORD.findall(name.lower())}
        said = [
            {stem(w) for s in v["say"] for w in _WORD.findall(s.lower())} for v in topic["values"]
        ]
        often = Counter(word for words in said for word in words)
        heads = {word for word, n in often.items() if n >= max(2, 0.6 * len(said))}
        for way in (way for kind in _KINDS for way in topic[kind]):
            for value in topic["values"]:
                for facet in facets:
                    surface = rng.choice(value["say"])
                    former = rng.choice([v for v in topic["values"] if v is not value])["say"][0]
                    text = (
                        way.replace("{v}", surface).replace("{f}", facet).replace("{old}", former)
                    )
                    about = {} if "{f}" in way and rng.random() < 0.15 else {bank.facet: facet}
                    exact = rng.random() < _BARE
                    own = bare(text, about) if exact else claim(text, about, holding=surface)
                    yield _read(own, bank.domain, (facet, topic["id"]), value["id"], surface,
                                names | heads, heads, embedder)  # fmt: skip


def _read(
    own: Claim,
    domain: str,
    group: tuple[str, str],
    value: str,
    surface: str,
    names: set[str],
    heads: set[str],
    embedder: MiniLmEmbedder,
) -> Told:
    seen = embedder.token_states(own.statement)
    states = seen.states.astype(np.float64)
    found = tuple(found_in(own, seen, states))
    start = own.statement.lower().find(surface.lower())
    labels = tuple(_label(each, start, start + len(surface), names, heads) for each in found)
    return Told(own, domain, group, value, found, labels, states, align.read(own))


def _label(found: Found, start: int, stop: int, names: set[str], heads: set[str]) -> int:
    """1: a word of the answer; 2: of the topic, also where all answers share it; 0: neither."""
    token = found.word.token
    if start <= found.word.at < stop and token not in heads:
        return 1
    return 2 if token in names or stem(token) in names else 0


def _drawn(told: Sequence[Told], each: int) -> Iterator[Row]:
    """Pairs about one facet: same (0), excluding (1), of other topics (2)."""
    rng = random.Random(SEED)
    by_facet: dict[tuple[str, str], dict[str, dict[str, list[int]]]] = {}
    for index, one in enumerate(told):
        topics = by_facet.setdefault((one.domain, one.group[0]), {})
        topics.setdefault(one.group[1], {}).setdefault(one.value, []).append(index)
    for (domain, _), topics in sorted(by_facet.items()):
        for _ in range(each):
            values: dict[str, list[int]] = topics[rng.choice(sorted(topics))]
            left, right = rng.sample(values[rng.choice(sorted(values))], 2)
            if told[left].claim.statement != told[right].claim.statement:
                yield left, right, 0, domain
            mine, yours = rng.sample(sorted(values), 2)
            yield rng.choice(values[mine]), rng.choice(values[yours]), 1, domain
            here, there = rng.sample(sorted(topics), 2)
            yield _any(rng, topics[here]), _any(rng, topics[there]), 2, domain


def _any(rng: random.Random, values: Mapping[str, Sequence[int]]) -> int:
    return rng.choice(values[rng.choice(sorted(values))])


class _Fitted:
    """A fitted tagger: which context counts, and the linear weights."""

    def __init__(self, names: Sequence[str], model: LogisticRegression) -> None:
        self._names, self._model = names, model

    def exported(self) -> dict[str, Any]:
        own = self._model.coef_
        context = {name: _rounded(own[:, at]) for at, name in enumerate(self._names)}
        return {
            "bias": _rounded(self._model.intercept_),
            "context": context,
            "state": [_rounded(row) for row in own[:, len(self._names) :]],
        }


def _tagger(told: Sequence[Told], kept: Array) -> _Fitted:
    found = [each for one in told for each in one.found]
    labels = np.array([label for one in told for label in one.labels])
    rng = np.random.default_rng(SEED)
    rows = np.flatnonzero(kept)
    rows = rng.choice(rows, min(len(rows), _TAGGER_ROWS), replace=False)
    vectorizer = DictVectorizer()
    context = vectorizer.fit_transform([found[row].context for row in rows])
    often = np.flatnonzero(np.asarray((context != 0).sum(axis=0)).ravel() >= _LEAST_SEEN)
    states = np.stack([weights.scaled(found[row].state) for row in rows])
    table = np.hstack([context[:, often].toarray(), states])
    model = LogisticRegression(C=0.1, max_iter=300).fit(table, labels[rows])
    return _Fitted([vectorizer.feature_names_[at] for at in often], model)


def _left_out(domains: Sequence[str]) -> list[tuple[str, ...]]:
    return [*((d,) for d in domains), *combinations(domains, 2)]


def _roles(told: Sequence[Told], out: tuple[str, ...]) -> dict[int, Array]:
    """Roles of the words of the domains left out, by a tagger that has not seen them."""
    kept = np.array([one.domain not in out for one in told for _ in one.found])
    tagger = weights.Tagger(_tagger(told, kept).exported())
    return {
        index: tagger.roles([f.context for f in one.found], [f.state for f in one.found])
        for index, one in enumerate(told)
        if one.domain in out
    }


def _table(
    told: Sequence[Told],
    rows: Sequence[Row],
    roles: Mapping[tuple[str, ...], Mapping[int, Array]],
    mean: Array,
    held: str,
) -> tuple[Array, list[str]]:
    """Features of all pairs, for trees that must not know the domain ``held``."""
    readings: dict[int, Reading] = {}

    def read(index: int) -> Reading:
        if index not in readings:
            one = told[index]
            out = tuple(sorted({one.domain, held} - {""}))
            readings[index] = reading(one.claim, one.found, roles[out][index], one.states)
        return readings[index]

    found = [
        features(read(left), read(right), (told[left].slots, told[right].slots), mean)
        for left, right, _, _ in rows
    ]
    names = list(found[0])
    return np.array([[each[name] for name in names] for each in found]), names


def _trees() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=90,
        learning_rate=0.1,
        max_leaf_nodes=12,
        min_samples_leaf=60,
        l2_regularization=5.0,
        max_features=0.3,
        early_stopping=False,
        random_state=SEED,
    )


def _exported(model: HistGradientBoostingClassifier) -> dict[str, Any]:
    nodes: dict[str, list[Any]] = {
        key: [] for key in ("label", "root", "feature", "threshold", "left", "right", "value")
    }
    for turn in model._predictors:  # noqa: SLF001
        for label, predictor in enumerate(turn):
            start = len(nodes["feature"])
            nodes["label"].append(label)
            nodes["root"].append(start)
            for node in predictor.nodes:
                leaf = bool(node["is_leaf"])
                nodes["feature"].append(-1 if leaf else int(node["feature_idx"]))
                nodes["threshold"].append(0.0 if leaf else float(f"{node['num_threshold']:.9g}"))
                nodes["left"].append(0 if leaf else start + int(node["left"]))
                nodes["right"].append(0 if leaf else start + int(node["right"]))
                nodes["value"].append(float(f"{node['value']:.6g}") if leaf else 0.0)
    baseline = model._baseline_prediction.ravel()  # noqa: SLF001
    return {"baseline": _rounded(baseline), **nodes}


def _rounded(values: Array) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _excludes_from(held: Array, labels: Array) -> float:
    """From where on held-out answers exclude precisely."""
    order = np.argsort(-held[:, 1])
    precision = np.cumsum(labels[order] == 1) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(precision >= EXCLUDES_PRECISION)
    return float(held[order[good[-1]], 1]) if len(good) else 1.0


def _report(name: str, held: Array, labels: Array) -> None:
    f1 = f1_score(labels, held.argmax(axis=1), average="macro")
    apart = np.sort(held[labels == 1, 0])[::-1]
    recalls = " ".join(
        f"{share:g}: {np.mean(held[labels == 0, 0] > apart[int(share * len(apart))]):.2f}"
        for share in (0.005, 0.01, 0.02, 0.05)
    )
    say(f"{name:14} macro-F1 {f1:.3f}, same recall at merged {recalls}")


if __name__ == "__main__":
    raise SystemExit(main())
