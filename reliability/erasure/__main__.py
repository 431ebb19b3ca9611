"""``scripts/erasure [--json] [--seed S] [--rounds N]``: erase at random, crash at random, scan."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from reliability.erasure.rounds import MOST_CRASHES, Tally, a_crash, play, targets
from reliability.erasure.world import build, trail_of

EVENTS = 330


def main() -> int:
    """Exit code 0 when nothing erased was found and every store equals the undisturbed one."""
    parser = argparse.ArgumentParser(prog="scripts/erasure", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40, help="erasures, each in its own copy")
    parser.add_argument("--events", type=int, default=EVENTS, help="events of the trail")
    given = parser.parse_args()
    began = time.monotonic()
    tally, random = Tally(given.seed), Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="erasure-") as scratch:
        master = build(Path(scratch) / "master", events=given.events)
        trail = trail_of(master.data)
        for number in range(given.rounds):
            target = targets(trail, random)
            crashes = [a_crash(random) for _ in range(random.randint(0, MOST_CRASHES))]
            play(master, Path(scratch) / f"round-{number}", target, crashes, tally)
            print(f"{number + 1}/{given.rounds} {target} {crashes}", file=sys.stderr)
    figures = {**tally.as_json(), "seconds": round(time.monotonic() - began, 1)}
    if given.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name:<16} {value}")
    return 0 if tally.clean else 1


if __name__ == "__main__":
    sys.exit(main())
