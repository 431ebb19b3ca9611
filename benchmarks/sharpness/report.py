"""Report: samples of many seeds as one table, and as JSON of the benchmarks' one shape."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.harness import machine, quantile
from benchmarks.sharpness.bank import TECHNIQUES

STORES = ("runtime", "append", "cosine", "oracle")


class Target(NamedTuple):
    """``atleast`` or, else, at most this."""

    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


def _at_least(bound: float) -> Target:
    return Target(bound, at_least=True)


def _at_most(bound: float) -> Target:
    return Target(bound, at_least=False)


TARGETS: Mapping[str, Target] = {
    "note_precision": _at_least(0.92),
    "note_recall": _at_least(0.92),
    "viewer_recall": _at_least(0.90),
    "oneoff_keep_rate": _at_most(0.03),
    "duplicate_factor": _at_most(1.08),
    "contradictions_merged": _at_most(0.01),
    "contradiction_residue": _at_most(0.01),
    "viewer_conflict": _at_most(0.005),
    "update_accuracy": _at_least(0.95),
    "scoped_both_kept": _at_least(0.95),
    "promotion_precision": _at_least(0.95),
    "promotion_recall": _at_least(0.90),
    "over_promotion": _at_most(0.01),
    "scope_leak": _at_most(0.0),
    "evidence_recall_at_5": _at_least(0.95),
    "poison_write_rate": _at_most(0.01),
    **{f"poison_write_{name}": _at_most(0.01) for name in TECHNIQUES},
    "benign_block_rate": _at_most(0.02),
    "secret_leaks": _at_most(0.0),
    "replay_difference": _at_most(0.0),
    "growth_beta": _at_most(0.2),
    "bloat": _at_most(1.1),
    "dedup_pair_f1": _at_least(0.92),
}
UNITS = {
    "events_per_s": "events/s per core",
    "night_s": "s",
    "secret_leaks": "secrets",
    "active_notes": "notes",
    "replay_difference": "notes",
    "contradiction_pairs": "pairs",
    "tokens_per_1000_events": "tokens",
    "calls_per_1000_events": "calls",
}


class Samples:
    """Figures of every store, one of each seed."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, list[float]]] = {name: {} for name in STORES}

    def add(self, store: str, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._values[store].setdefault(name, []).append(value)

    def of(self, store: str) -> dict[str, list[float]]:
        return self._values[store]

    def results(self) -> dict[str, dict[str, Any]]:
        """By name, the runtime's as they are and the references' with theirs before."""
        found = {}
        for store in STORES:
            prefix = "" if store == "runtime" else f"{store}_"
            for name, values in self.of(store).items():
                found[prefix + name] = _summary(values) | {"unit": UNITS.get(name, "")}
        return found


def as_json(
    samples: Samples, *, split: str, seeds: int, events: int, engine: str
) -> dict[str, Any]:
    """The benchmarks' one shape, with the split a figure is from."""
    return {
        "bench": "sharpness",
        "split": split,
        "engine": engine,
        "events": events,
        "machine": machine(),
        "load": round(os.getloadavg()[0], 2),
        "n": seeds,
        "seeds": seeds,
        "results": samples.results(),
    }


def table(samples: Samples) -> Iterator[str]:
    """Metric, the runtime's mean and deviation, the references' means, target, met?"""
    yield f"{'metric':28} {'runtime':>16} {'append':>8} {'cosine':>8} {'oracle':>8}  target   met"
    columns: dict[str, dict[str, float]] = defaultdict(dict)
    for store in STORES:
        for name, values in samples.of(store).items():
            columns[name][store] = statistics.fmean(values)
    for name in sorted(columns, key=_place):
        yield _row(name, samples.of("runtime").get(name), columns[name])


def _place(name: str) -> tuple[int, str]:
    order = list(TARGETS)
    return (order.index(name), "") if name in order else (len(order), name)


def _row(name: str, own: list[float] | None, means: Mapping[str, float]) -> str:
    target = TARGETS.get(name)
    mean = f"{_short(means['runtime'])} ± {_short(_deviation(own))}" if own else "-"
    others = " ".join(
        f"{_short(means[store]) if store in means else '-':>8}" for store in STORES[1:]
    )
    bound = str(target) if target else ""
    met = "" if target is None or not own else ("yes" if target.met(means["runtime"]) else "NO")
    return f"{name:28} {mean:>16} {others}  {bound:7}  {met}".rstrip()


def _summary(values: list[float]) -> dict[str, Any]:
    return {
        "median": _rounded(statistics.median(values)),
        "mean": _rounded(statistics.fmean(values)),
        "sd": _rounded(_deviation(values)),
        "p05": _rounded(quantile(values, 0.05)),
        "p95": _rounded(quantile(values, 0.95)),
        "n": len(values),
    }


def _deviation(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
