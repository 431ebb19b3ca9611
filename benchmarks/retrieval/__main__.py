"""``scripts/bench retrieval [--json] [-n N] [--only PART …] [--million]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import Results, say, show
from benchmarks.retrieval import parts
from sleep_runtime.telemetry.log import configure

PARTS: dict[str, Callable[[Results, Path, int], None]] = {
    "embed": parts.embedding,
    "small": parts.small,
    "spread": parts.spread_readers,
    "large": parts.large_scope,
    "memory": parts.memory,
    "compile": parts.compilers,
    "bm25s": parts.other_bm25,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench retrieval")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("-n", type=int, default=5, help="repetitions")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--million", action="store_true", help="1,000,000 notes, some 6 GB of disk")
    options = parser.parse_args()
    configure("warning", "console")
    results = Results("retrieval")
    with tempfile.TemporaryDirectory() as home:
        for name in options.only:
            say(name)
            PARTS[name](results, Path(home), options.n)
        if options.million:
            say("a million")
            parts.million(results, Path(home), options.n)
    show(results, as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
