"""``scripts/isolation [--json] [--seed S]``: builds a world, walks it, and says what it found."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from reliability.isolation.walk import counted_queries, walk
from reliability.isolation.world import built
from sleep_runtime.telemetry.log import configure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="figures as one object")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    configure("warning")
    with (
        tempfile.TemporaryDirectory() as data_dir,
        counted_queries() as count,
        built(Path(data_dir), args.seed) as world,
    ):
        report = walk(world, count, seed=args.seed)
    if args.json:
        print(json.dumps(asdict(report), indent=1))
    else:
        print(
            f"{report.routes_walked} routes, {report.callers} callers, {report.requests} requests,"
            f" {report.canaries} canaries: {report.leaks} leaks, {report.broken} broken answers"
            f" ({report.seconds} s, seed {report.seed})"
        )
        for told in report.told:
            print(json.dumps(told))
    return 1 if report.leaks or report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
