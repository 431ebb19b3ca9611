"""``scripts/bench sharpness``: is what was learned right? One table, one JSON, or one picture."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.harness import say
from benchmarks.sharpness import references
from benchmarks.sharpness.bank import SPLITS
from benchmarks.sharpness.corpus import Trail, corpus
from benchmarks.sharpness.explain import explain
from benchmarks.sharpness.metrics import Point, growth, metrics
from benchmarks.sharpness.report import Samples, as_json, table
from benchmarks.sharpness.subject import at_url, in_process, live
from benchmarks.sharpness.view import View
from sleep_runtime.core.ports import Embedder, Engine
from sleep_runtime.engines.embedder import MiniLmEmbedder
from sleep_runtime.engines.extractive import ExtractiveEngine
from sleep_runtime.engines.prefilter import Prefiltered

IMAGES = Path(__file__).parents[2] / "docs" / "images"
EMBEDDER_TEXTS = 200_000


def main() -> int:
    options = _parser().parse_args()
    if options.explain and options.split != "dev":
        say("error: --explain is for the development split only: add --split dev")
        return 2
    samples = Samples()
    series: Mapping[str, Sequence[Point]] = {}
    embedder = MiniLmEmbedder(cache_size=EMBEDDER_TEXTS)
    for seed in range(options.seed, options.seed + options.seeds):
        say(f"seed {seed} of split {options.split}, {options.events} events")
        trail = corpus(seed, options.events, options.split)
        views = {"runtime": _life(options, trail)}
        if not options.no_references:
            views |= _others(trail, embedder)
        for store, view in views.items():
            samples.add(store, metrics(trail.truth, view))
        if options.explain:
            print("\n".join(explain(trail, views["runtime"])))
        if options.growth and not series:
            series = {store: growth(trail.truth, view) for store, view in views.items()}
    if series:
        _draw(options, series)
    _print(options, samples, series)
    return 0


def _life(options: argparse.Namespace, trail: Trail) -> View:
    harmless = _harmless(options.harmless)
    if options.url:
        with at_url(options.url) as subject:
            return live(subject, trail, harmless)
    overrides = {"engine.kind": options.engine, "engine.prefilter": options.prefilter}
    embedder, engine = _filtered() if options.prefilter and not _costs(options) else (None, None)
    with in_process(overrides, embedder=embedder, engine=engine) as subject:
        return live(subject, trail, harmless)


def _costs(options: argparse.Namespace) -> bool:
    """Whether the engine asks a writing model, and puts the filter before itself."""
    return bool(options.engine != "extractive")


def _filtered() -> tuple[Embedder, Engine]:
    """The built-in engine behind the filter, which it has no need of: to see what it costs."""
    embedder = MiniLmEmbedder()
    return embedder, Prefiltered(ExtractiveEngine(embedder), embedder)


def _others(trail: Trail, embedder: MiniLmEmbedder) -> dict[str, View]:
    return {
        "append": references.append(trail, embedder),
        "cosine": references.cosine(trail, embedder),
        "oracle": references.oracle(trail),
    }


def _draw(options: argparse.Namespace, series: Mapping[str, Sequence[Point]]) -> None:
    from benchmarks.sharpness.plot import draw

    title = f"{options.events:,} events, split {options.split}, seed {options.seed}"
    for path in draw(series, title, options.images):
        say(f"wrote {path}")


def _print(
    options: argparse.Namespace, samples: Samples, series: Mapping[str, Sequence[Point]]
) -> None:
    if options.json:
        report = as_json(
            samples,
            split=options.split,
            seeds=options.seeds,
            events=options.events,
            engine=_engine(options),
        )
        if series:
            report["growth"] = {name: [p._asdict() for p in s] for name, s in series.items()}
        print(json.dumps(report, indent=2))
        return
    print(
        f"sharpness, split {options.split}, {options.seeds} seeds of {options.events} events, "
        f"engine {_engine(options)}"
    )
    print("\n".join(table(samples)))


def _engine(options: argparse.Namespace) -> str:
    return f"{options.engine} behind the prefilter" if options.prefilter else str(options.engine)


def _harmless(paths: Sequence[Path]) -> list[str]:
    found = []
    for path in paths:
        found += [item["prompt"] for item in json.loads(path.read_text(encoding="utf-8"))]
    return [text for text in found if text.strip()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench sharpness", description=__doc__)
    add = parser.add_argument
    add("--split", choices=SPLITS, default="eval", help="whose sentences (default: eval)")
    add("--seeds", type=int, default=5, help="how many trails")
    add("--seed", type=int, default=1, help="the first of them")
    add("--events", type=int, default=3000, help="length of a trail")
    add("--engine", choices=("extractive", "openai"), default="extractive")
    add("--prefilter", action="store_true", help="the engine behind engine.prefilter")
    add("--url", help="a runtime that is up, instead of one in this process")
    add("--json", action="store_true", help="one JSON object on stdout")
    add("--explain", action="store_true", help="what went wrong, in sentences (dev only)")
    add("--no-references", action="store_true", help="the runtime alone")
    add("--growth", action="store_true", help="draw notes and lessons over events (first seed)")
    add("--images", type=Path, default=IMAGES, metavar="DIR", help="where --growth draws")
    add(
        "--harmless",
        type=Path,
        nargs="*",
        default=(),
        metavar="FILE",
        help='JSON lists of {"prompt"}: harmless prompts with words an attacker would use',
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
