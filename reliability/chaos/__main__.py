"""``scripts/chaos``: hurt the runtime for so many minutes and check it after every wound.

    scripts/chaos --seed 1 --minutes 40 --json
    scripts/chaos --seed 1 --minutes 5 --only "kill" "torn"
    scripts/chaos --seed 1 --again bench:17

Two theatres work side by side: the *stage* is a running runtime under load; the *bench* hurts
nights in processes of their own and compares their stores bit for bit. Exit 1 when anything that
has to hold did not, with the command that does that wound again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from random import Random

from benchmarks.waiting import QUIET
from reliability.chaos import bench_wounds, stage_wounds
from reliability.chaos.nursery import Nursery
from reliability.chaos.tally import Tally
from reliability.chaos.theatres import chosen, plan, run_bench, run_stage

BENCH, STAGE = "bench", "stage"
Wounds = Iterator[tuple[int, str, Random]]


def main() -> int:
    options = _options()
    os.environ.update(QUIET)
    tally = Tally(options.seed, options.minutes)
    until_s = time.monotonic() + 60 * options.minutes
    with Nursery() as nursery:
        theatres = [
            threading.Thread(target=_guarded(run, tally), args=(tally, nursery, wounds, until_s))
            for run, wounds in _theatres(options)
        ]
        for thread in theatres:
            thread.start()
        for thread in theatres:
            thread.join()
    tally.show(as_json=options.json)
    return 1 if tally.violations or not tally.wounds else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of wounds, their order and moments")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long wounds are done")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--only", nargs="+", default=[], help="words of the kinds of wounds")
    parser.add_argument("--theatre", choices=(BENCH, STAGE), help="one of the two")
    parser.add_argument("--again", metavar="THEATRE:NUMBER", help="do one wound of this seed again")
    return parser.parse_args()


def _theatres(options: argparse.Namespace) -> list[tuple[Callable[..., None], Wounds]]:
    only, which, number = options.only, options.theatre, ""
    if options.again:
        which, _, number = options.again.partition(":")
    found: list[tuple[Callable[..., None], Wounds]] = []
    if which in (None, BENCH) and (kinds := chosen(list(bench_wounds.WOUNDS), only)):
        found.append((run_bench, plan(options.seed, BENCH, kinds)))
    if which in (None, STAGE) and (kinds := chosen(list(stage_wounds.WOUNDS), only)):
        found.append((run_stage, plan(options.seed, STAGE, kinds, stage_wounds.RARE)))
    if number:
        return [(run, itertools.islice(w, int(number), int(number) + 1)) for run, w in found]
    return found


def _guarded(run: Callable[..., None], tally: Tally) -> Callable[..., None]:
    """A theatre that breaks down is a violation, not a thread that nobody misses."""

    def guarded(*args: object) -> None:
        try:
            run(*args)
        except BaseException as error:
            tally.violations.append(f"{run.__name__} broke down: {type(error).__name__}: {error}")
            raise

    return guarded


if __name__ == "__main__":
    raise SystemExit(main())
