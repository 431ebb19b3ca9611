"""Real sessions: what the nights keep of a recording, against labels given by hand.

    scripts/bench real --data FILE [--json] [--explain]

FILE holds the recorded events (native format, one a line) that ``sharpness/labels`` are of.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from benchmarks.harness import machine
from benchmarks.sharpness.real import explain, measure, nights
from sleep_runtime.telemetry.log import configure


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench real", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the recorded events")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--explain", action="store_true", help="every note and missed lesson")
    options = parser.parse_args()
    configure("error", "console")
    start = time.perf_counter()
    seen = nights(options.data)
    figures = measure(options.data, seen) | {"seconds": time.perf_counter() - start}
    if options.json:
        print(json.dumps({"bench": "real", "machine": machine(), "results": figures}, indent=2))
        return 0
    print(f"real on {machine()}")
    for name, value in figures.items():
        print(f"  {name:26} {'-' if value is None else f'{value:.3g}':>8}")
    if options.explain:
        print(*explain(options.data, seen), sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
