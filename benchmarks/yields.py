"""Yield: how fast the idle pool gives its bundle to live work, and whether a night survives it.

A runtime is up with one logical GPU, which its only engine holds. At random moments of a night an
actor asks for ``GPU: 1``, as a replica of live inference would. Measured from that call:

- ``yield_ms``: until the control store shows the bundle as gone, polled every 2 ms;
- ``told_ms``: the same when the pool is asked by name (``POST /v1/pool/yield``), by the watch;
- ``live_ms``: until the actor runs (Ray starts a process for it, which is most of it);
- ``resume_s``: from the actor's end until an engine answers again.

Afterwards the night goes on to its end, and its store is compared with that of a runtime nobody
disturbed, over the same events.
"""

from __future__ import annotations

import argparse
import random
import time
from typing import Any

import ray

from benchmarks.cluster_rig import Rig, distilled, doubled, learned, rig
from benchmarks.harness import Results, quantile, say, show
from benchmarks.trail import trail
from benchmarks.waiting import wait_until
from sleep_runtime.actors.cluster import ClusterEyes
from sleep_runtime.core.pool import IDLE_RESOURCE

EVENTS = 12_000
POLL_S = 0.002
MOST_WORK_S = 1.5
SETTINGS: dict[str, Any] = {
    "pool.gpus_per_engine": 1,
    "pool.cpus_per_engine": 0,
    "ray.num_gpus": 1,
    "pool.hysteresis_s": 0.05,
    "pool.backoff_s": 0.05,
    "pool.max_backoff_s": 0.05,
    # A team reads its people's day at once, so that two runs can be compared.
    "scheduler.settle_s": 3600.0,
    "policy.triggers.cooldown_s": 0.0,
}


class Live:
    """Live inference, as far as a GPU is concerned."""

    def answer(self) -> float:
        return time.monotonic()


def measure(results: Results, n: int, events: int, seed: int) -> dict[str, Any]:
    """``n`` yields of one night, then the comparison. Returns what was lost, doubled, different."""
    day = trail(events, seed=seed)
    chance = random.Random(seed)
    with rig(**SETTINGS) as hurt:
        hurt.capture(day)
        eyes = ClusterEyes()
        for turn in range(n):
            resume_s = _until_working(hurt)
            if resume_s is None:
                say(f"the night was over after {turn} yields: take more --events")
                break
            if turn:
                results.add("resume_s", resume_s, "s")
            time.sleep(chance.uniform(0.0, MOST_WORK_S))  # the random moment
            if turn % 4 == 3:
                _told(hurt, results)
            else:
                _asked(eyes, results)
            if turn % 20 == 19:
                say(f"{turn + 1} of {n} yields")
        say("the night goes on to its end")
        hurt.finish_night()
        read, unfinished = distilled(hurt.ledger)
        outcome = {
            "events": events,
            "lost_events": events - read if read < events else 0,
            "events_read_twice": read - events if read > events else 0,
            "doubled_deltas": doubled(hurt.ledger),
            "unfinished_runs": unfinished,
            "yields_in_metrics": _yields(hurt),
        }
        notes = learned(hurt.ledger)
    say("the same night, undisturbed")
    with rig(**SETTINGS) as calm:
        calm.capture(day)
        calm.begin_night()
        calm.finish_night()
        expected = learned(calm.ledger)
    return {**outcome, "notes": len(expected), "store_difference": len(notes ^ expected)}


def _until_working(hurt: Rig) -> float | None:
    """Seconds until an engine is open and has a night; None when there is nothing left to do."""
    over = False

    def working() -> bool:
        nonlocal over
        pool = hurt.pool()
        if pool["state"] == "open" and pool["nights"]:
            return True
        hurt.begin_night()
        over = hurt.quiet()
        return over

    waited_s = wait_until(working, "an engine with a night", every_s=0.05)
    return None if over else waited_s


def _asked(eyes: ClusterEyes, results: Results) -> None:
    """An actor asks for the GPU, gets it, and ends."""
    held = _groups(eyes)
    began = time.monotonic()
    live: Any = ray.remote(Live).options(num_cpus=0, num_gpus=1).remote()
    answer = live.answer.remote()
    wait_until(lambda: not (held & _groups(eyes)), "the bundle to be free", 30.0, POLL_S)
    results.add("yield_ms", (time.monotonic() - began) * 1000, "ms")
    ray.get(answer, timeout=60)
    results.add("live_ms", (time.monotonic() - began) * 1000, "ms")
    ray.kill(live)


def _told(hurt: Rig, results: Results) -> None:
    watch = hurt.running.owners.watch
    began = time.monotonic()
    answer = ray.get(watch.give_way.remote(0.05, 30.0), timeout=60)
    assert answer["freed"], answer
    results.add("told_ms", (time.monotonic() - began) * 1000, "ms")


def _groups(eyes: ClusterEyes) -> set[str]:
    look = eyes.look()
    holding = any(node.free.get(IDLE_RESOURCE, 0) < 1 for node in look.nodes)
    return set(look.groups) if holding else set()


def _yields(hurt: Rig) -> int:
    for line in hurt.http.get("/metrics").text.splitlines():
        if line.startswith("sleep_pool_yield_seconds_count"):
            return int(float(line.rsplit(" ", 1)[1]))
    return 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench yields")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("-n", type=int, default=200, help="yields")
    parser.add_argument("--events", type=int, default=EVENTS, help="events of the night")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    results = Results("yield")
    outcome = measure(results, options.n, options.events, options.seed)
    tails = {
        name: {"p99": round(quantile(samples, 0.99), 2), "max": round(max(samples), 2)}
        for name, samples in results.samples.items()
    }
    show(results, as_json=options.json, more={"tails": tails, "outcome": outcome})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
