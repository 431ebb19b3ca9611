"""``scripts/fuzz``: every parser, the HTTP interface, and HTTP itself, with figures.

    scripts/fuzz [--seed S] [--minutes M] [--json] [--no-up]

``--minutes`` is shared out among the parts. Exit 1 when anything failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from reliability.fuzz import api, running, wire
from reliability.fuzz.parsers import TARGETS
from reliability.fuzz.target import Tried
from reliability.fuzz.target import run as run_target
from sleep_runtime.telemetry.log import configure

BATCH = 60
BODY_S = 2.0
MUTATIONS_PER_MINUTE = 200


def main() -> int:
    """Run what the arguments ask for and print the figures."""
    asked = _arguments()
    configure("error", "console")
    began = time.monotonic()
    figures: dict[str, Any] = {"seed": asked.seed, "minutes": asked.minutes, "inputs": {}}
    found: list[str] = []
    hangs = server_errors = 0
    growth: dict[str, float] = {}
    budget_s = asked.minutes * 60
    for part, made, share in (("parsers", _parsers(), 0.6), ("http", _http(), 0.4)):
        with made as rounds:
            tried, errors, growth[part] = _spend(rounds, budget_s * share, asked.seed)
        for name, one in tried.items():
            figures["inputs"][name] = one.inputs
            found += one.failures
            hangs += one.hangs
        server_errors += errors()
    if not asked.no_up:
        attacked = _attack(asked.seed, max(50, round(asked.minutes * MUTATIONS_PER_MINUTE)))
        figures["inputs"]["wire"] = attacked.inputs
        found += attacked.failures
        hangs += attacked.hangs
        server_errors += attacked.server_errors
        figures["wire_statuses"] = dict(sorted(attacked.statuses.items()))
    figures |= {
        "inputs_fuzzed": sum(figures["inputs"].values()),
        "failures": len(found),
        "server_errors": server_errors,
        "hangs": hangs,
        "growth_mb": growth,
        "seconds": round(time.monotonic() - began, 1),
        "found": found,
    }
    _print(figures, as_json=asked.json)
    return 1 if found or server_errors or hangs else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=2.0, help="for parsers and HTTP interface")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    parser.add_argument("--no-up", action="store_true", help="start no runtime for raw HTTP")
    return parser.parse_args()


Rounds = dict[str, Callable[[int, int], Tried]]
Errors = Callable[[], int]


@contextmanager
def _parsers() -> Iterator[tuple[Rounds, Errors]]:
    def of(target: Any) -> Callable[[int, int], Tried]:
        return lambda seeded, inputs: run_target(target, seeded=seeded, inputs=inputs)

    yield {target.name: of(target) for target in TARGETS}, lambda: 0


@contextmanager
def _http() -> Iterator[tuple[Rounds, Errors]]:
    answers = api.Answers()

    def of(way: api.Way) -> Callable[[int, int], Tried]:
        return lambda seeded, inputs: api.run(way, seeded=seeded, inputs=inputs, answers=answers)

    with tempfile.TemporaryDirectory() as folder, api.store(Path(folder)) as app:
        ways = [way for found in api.ways(app, api.page_of(app)) for way in found]
        yield {way.label: of(way) for way in ways}, lambda: answers.server_errors


def _spend(
    given: tuple[Rounds, Errors], seconds: float, seeded: int
) -> tuple[dict[str, Tried], Errors, float]:
    """Go round until the time is over, each round from another seed; megabytes grown meanwhile.

    The first round warms caches up and is no growth. A target that failed is not run again.
    """
    rounds, errors = given
    tried = {name: Tried() for name in rounds}
    over = time.monotonic() + seconds
    own, base, number = psutil.Process(os.getpid()), 0, 0
    while number == 0 or time.monotonic() < over:
        for name, run in rounds.items():
            if number and (tried[name].failures or time.monotonic() > over):
                continue
            tried[name].add(run(seeded + 1000 * number, BATCH))
        base = base or own.memory_info().rss
        number += 1
    return tried, errors, round((own.memory_info().rss - base) / 2**20, 1)


def _attack(seeded: int, mutations: int) -> wire.Attacked:
    with tempfile.TemporaryDirectory() as folder, running.up(Path(folder), body_s=BODY_S) as url:
        key = running.key_of(Path(folder))
        found = wire.attack(url, key, seeded=seeded, mutations=mutations, patience_s=BODY_S + 10)
        found.failures += running.problems(url, key)
        return found


def _print(figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))
        return
    for name, value in figures.items():
        if name == "inputs":
            for target, inputs in value.items():
                print(f"  {target:40} {inputs:8,}")
        elif name != "found":
            print(f"{name}: {value}")
    for failure in figures["found"]:
        print(f"FOUND {failure}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
