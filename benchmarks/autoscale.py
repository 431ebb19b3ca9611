"""Autoscale: the idle pool from no node to some and back, by Ray's own autoscaler.

The nodes are fake (see ``fake_cluster``), the autoscaler, the placement groups, the engine and the
night are not. A backlog is captured; the clock runs from asking for the night:

- ``zero_to_one_s`` until the first node of the pool is alive, ``zero_to_engine_s`` until an
  engine answers;
- ``one_to_zero_s`` from the end of the night until no node of the pool is left, less the two
  timeouts that are configured (the engine's, then the node's);
- ``nodes_peak`` of one engine, and ``nodes_peak_many`` with a backlog that asks for three;
- ``nodes_without_backlog``: nodes of the pool seen before there was anything to do.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cluster_rig import Rig, rig
from benchmarks.fake_cluster import fake_cluster
from benchmarks.harness import Results, main, say
from benchmarks.trail import trail
from benchmarks.waiting import wait_until
from sleep_runtime.actors.cluster import ClusterEyes
from sleep_runtime.core.pool import IDLE_LABELS, IDLE_RESOURCE

ENGINE_IDLE_S = 1.0
NODE_IDLE_S = 5.0
EVENTS = 600
MANY_EVENTS = 1500
MANY = 3
CALM_S = 5.0
TYPES: dict[str, dict[str, Any]] = {
    "headgroup": {
        "min_workers": 0,
        "max_workers": 0,
        "resources": {"CPU": 4},
        "node_config": {},
    },
    "idle_pool": {
        "min_workers": 0,
        "max_workers": MANY,
        "resources": {"CPU": 2, "GPU": 1, IDLE_RESOURCE: 1},
        "labels": dict(IDLE_LABELS),
        "node_config": {},
    },
}
SETTINGS: dict[str, Any] = {
    "pool.gpus_per_engine": 1,
    "pool.cpus_per_engine": 1,
    "pool.idle_timeout_s": ENGINE_IDLE_S,
    "policy.triggers.cooldown_s": 0.0,
}
THREE: dict[str, Any] = {"pool.max_engines": MANY, "pool.tokens_per_engine": 2000}


def measure(results: Results, n: int) -> None:
    """``n`` days and nights with one engine, then one with three."""
    with _cluster_rig() as (one, nodes):
        say("no backlog, so no node")
        nodes.reset()
        time.sleep(CALM_S)
        results.add("nodes_without_backlog", nodes.peak, "nodes")
        for turn in range(n):
            say(f"up and down again, {turn + 1} of {n}")
            nodes.reset()
            _night(one, nodes, results, turn)
    with _cluster_rig(**{"pool.max_engines": MANY, "pool.tokens_per_engine": 2000}) as (
        many,
        nodes,
    ):
        say("a backlog for three engines")
        many.capture(trail(MANY_EVENTS, seed=0))
        many.begin_night()
        wait_until(lambda: nodes.peak >= MANY, "three nodes", 120.0)
        many.finish_night()
        wait_until(lambda: nodes.now == 0, "the nodes to go", 120.0)
        results.add("nodes_peak_many", nodes.peak, "nodes")


def _night(one: Rig, nodes: _Nodes, results: Results, seed: int) -> None:
    one.capture(trail(EVENTS, seed=seed))
    began = time.monotonic()
    one.begin_night()
    wait_until(lambda: nodes.now >= 1, "a node of the pool", 120.0)
    results.add("zero_to_one_s", time.monotonic() - began, "s")
    wait_until(lambda: one.pool()["state"] == "open", "an engine", 120.0)
    results.add("zero_to_engine_s", time.monotonic() - began, "s")
    one.finish_night()
    ended = time.monotonic()
    wait_until(lambda: nodes.now == 0, "the node to go", 120.0)
    results.add("one_to_zero_s", time.monotonic() - ended - ENGINE_IDLE_S - NODE_IDLE_S, "s")
    results.add("nodes_peak", nodes.peak, "nodes")


class _Nodes:
    """How many nodes of the pool are alive, watched by a thread, and the most there were."""

    def __init__(self) -> None:
        self.now = 0
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def reset(self) -> None:
        self.peak = self.now

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _watch(self) -> None:
        eyes = ClusterEyes()
        while not self._stop.wait(0.05):
            look = eyes.look()
            if look.known:
                self.now = sum(1 for node in look.nodes if IDLE_RESOURCE in node.total)
                self.peak = max(self.peak, self.now)


@contextmanager
def _cluster_rig(**overrides: Any) -> Iterator[tuple[Rig, _Nodes]]:
    with (
        tempfile.TemporaryDirectory() as home,
        fake_cluster(Path(home), TYPES, idle_timeout_s=NODE_IDLE_S) as cluster,
        rig(**{**SETTINGS, "ray.address": cluster.address, **overrides}) as running,
    ):
        nodes = _Nodes()
        try:
            yield running, nodes
        finally:
            nodes.stop()


if __name__ == "__main__":
    raise SystemExit(main("autoscale", measure, default_n=5))
