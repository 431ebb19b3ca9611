"""scripts/bench judge [--split eval|dev] [--data DIR] [--curve] [--json]: pairs, judged.

``--data`` (or the environment's SLEEP_BENCH_DATA) is a directory with the public sets; a set that
is absent is skipped, and the table says so. The ``eval`` split prints figures, never sentences.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Results, say
from benchmarks.judge.banks import SPLITS, banks, generated
from benchmarks.judge.curve import curve
from benchmarks.judge.judges import (
    REFERENCE_COSINE,
    Judge,
    OfCosine,
    OfEngine,
    OfRules,
    best_cosine,
    measure,
)
from benchmarks.judge.pairs import LABELS, DataSet
from benchmarks.judge.public import public
from benchmarks.judge.scoring import Score
from benchmarks.judge.taught import taught
from sleep_runtime.core.proposal import Verdict
from sleep_runtime.engines.embedder import MiniLmEmbedder
from sleep_runtime.engines.extractive import ExtractiveEngine

OTHERS = "others"
"""The sets the judge was not made on, together (micro): the figures without a prefix."""
Scores = Mapping[str, Mapping[str, Score]]
Lesson = tuple[str, int, Score]
"""A set, how many of its pairs people had decided, and the score on the others."""


def main() -> int:
    options = _options()
    sets = load(options.split, options.data, seed=options.seed, most=options.pairs)
    embedder = MiniLmEmbedder(cache_size=40_000)
    engine = ExtractiveEngine(embedder)
    scores: dict[str, dict[str, Score]] = {}
    cost = 0.0
    for each in sets:
        if each.pairs:
            say(f"{each.name}: {len(each.pairs)} pairs")
            scores[each.name], cost = _measured(each, engine, embedder)
    scores[OTHERS] = together(scores, made_on="generated_dev")
    pasts: list[tuple[int, Score]] = []
    lessons: list[Lesson] = []
    if options.curve:
        pasts = list(_pasts(options.split, engine, embedder, seed=options.seed, most=options.pairs))
        lessons = list(taught(sets, engine, embedder, seed=options.seed))
    results = report(scores, options.split, cost, pasts, lessons)
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        print(table(sets, scores, options.split, engine.name, results))
        print("\n".join([*_curve(pasts), *_taught(lessons)]))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench judge")
    parser.add_argument("--split", choices=SPLITS, default="eval", help="of the sentence banks")
    data = os.environ.get("SLEEP_BENCH_DATA")
    parser.add_argument("--data", type=Path, default=Path(data) if data else None, metavar="DIR")
    parser.add_argument("--pairs", type=int, default=300, help="of each label and domain or set")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--curve", action="store_true", help="also with the store's statistics")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser.parse_args()


def load(split: str, data: Path | None, *, seed: int, most: int) -> list[DataSet]:
    return [generated(split, seed=seed, each=most), *public(data, seed=seed, most=5 * most)]


def _pasts(
    split: str, engine: ExtractiveEngine, embedder: MiniLmEmbedder, *, seed: int, most: int
) -> Iterable[tuple[int, Score]]:
    """The scores with the store's statistics, for a longer and longer past of the domain."""
    found = banks(split)
    if found:
        say("the store's statistics")
        yield from curve(found, engine, embedder, seed=seed, each=max(1, most // 3))


def _measured(
    data: DataSet, engine: ExtractiveEngine, embedder: MiniLmEmbedder
) -> tuple[dict[str, Score], float]:
    """The score of every judge on one set, and the engine's milliseconds a pair, texts embedded."""
    embedder.embed([text for p in data.pairs for text in (p.left.statement, p.right.statement)])
    judges: list[Judge] = [
        OfRules(embedder),
        best_cosine(embedder, data.pairs),
        OfCosine("cosine_09", embedder, REFERENCE_COSINE, 2.0),
    ]
    OfEngine(engine).answers(data.pairs)
    started = time.perf_counter()
    found = {"engine": measure(OfEngine(engine), data.pairs)}
    cost = (time.perf_counter() - started) / len(data.pairs) * 1e3
    return found | {judge.name: measure(judge, data.pairs) for judge in judges}, cost


def together(scores: Scores, *, made_on: str) -> dict[str, Score]:
    """The scores of all sets but the one the judge was made on, added up."""
    others = [by_judge for name, by_judge in scores.items() if name != made_on]
    return {
        judge: sum((each[judge] for each in others), Score())
        for judge in (others[0] if others else {})
    }


def report(
    scores: Scores,
    split: str,
    cost: float,
    pasts: Sequence[tuple[int, Score]] = (),
    lessons: Sequence[Lesson] = (),
) -> dict[str, Any]:
    """The JSON report. The engine's figures on the other sets have no prefix."""
    results = Results("judge")
    for name, by_judge in scores.items():
        for judge, score in by_judge.items():
            prefix = "" if name == OTHERS else f"{name}_"
            prefix += "" if judge == "engine" else f"{judge}_"
            for metric, value in _metrics(score).items():
                results.add(f"{prefix}{metric}", value, "")
    for count, score in pasts:
        for metric, value in _metrics(score).items():
            results.add(f"seen_{count}_{metric}", value, "")
    for name, count, score in lessons:
        for metric, value in _metrics(score).items():
            results.add(f"{name}_taught_{count}_{metric}", value, "")
    results.add("ms_per_pair", cost, "ms")
    return {"split": split, **results.report()}


def _metrics(score: Score) -> dict[str, float]:
    return {
        "macro_f1": score.macro_f1,
        "contradictions_merged": score.contradictions_merged,
        "same_recall": score.same_recall,
        "unrelated_merged": score.unrelated_merged,
        "excludes_recall": score.recall(Verdict.EXCLUDES),
        "excludes_precision": score.precision(Verdict.EXCLUDES),
        "contradictions": float(score.contradictions),
    }


def table(
    sets: Sequence[DataSet], scores: Scores, split: str, engine: str, results: Mapping[str, Any]
) -> str:
    """The report for reading: metrics, confusion matrices and the operating curve."""
    lines = [f"judge, split {split}, {engine}", f"  {results['machine']}, load {results['load']}"]
    lines += [f"  {each.name}: {each.note}" for each in sets if each.note]
    for name, by_judge in scores.items():
        lines += ["", f"{name}", _HEAD]
        lines += [_row(judge, score) for judge, score in by_judge.items()]
        if "engine" in by_judge:
            lines += _details(by_judge["engine"])
    return "\n".join(lines)


def _curve(pasts: Sequence[tuple[int, Score]]) -> Iterable[str]:
    if pasts:
        yield "\nengine and store statistics, by statements of the domain seen before"
        yield _HEAD
        for count, score in pasts:
            yield _row(f"{count} seen", score)


def _taught(lessons: Sequence[Lesson]) -> Iterable[str]:
    if lessons:
        yield "\nengine, statistics and people's verdicts, by verdicts given in the set before"
        yield _HEAD
    for name, count, score in lessons:
        yield f"{name}"
        yield f"{_row(f'{count} taught', score)}{score.recall_at(0.02):>11.3f} at .02 merged"


_HEAD = (
    f"  {'':12}{'macro-F1':>9}{'contr. merged':>15}{'unrel. merged':>15}"
    f"{'same rec.':>10}{'excl. rec.':>11}{'excl. prec.':>12}"
)


def _row(judge: str, score: Score) -> str:
    return (
        f"  {judge:12}{score.macro_f1:>9.3f}"
        f"{score.contradictions_merged:>9.3f}/{score.contradictions:<5}"
        f"{score.unrelated_merged:>15.3f}{score.same_recall:>10.3f}"
        f"{score.recall(Verdict.EXCLUDES):>11.3f}{score.precision(Verdict.EXCLUDES):>12.3f}"
    )


def _details(score: Score) -> Iterable[str]:
    yield "  engine: label \\ verdict " + "".join(f"{label.value:>11}" for label in LABELS)
    for label in score.labels:
        row = "".join(f"{score.counts[label, verdict]:>11}" for verdict in LABELS)
        yield f"  {label.value:>24} {row}"
    points = "  ".join(f"{share:g}: {recall:.2f}" for share, recall in score.curve())
    yield f"  same recall at contradictions merged ≤  {points}"


if __name__ == "__main__":
    raise SystemExit(main())
