"""Nodes come when there is something to consolidate, as many as it asks for, and go again.

Ray's autoscaler is the real one, and what it may start is what the file for Kubernetes says. The
nodes are fake: raylets of this machine, with logical GPUs.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from living import ROOT, Runtime, event, start, stop
from night import begin, day, ends_once, pool
from nodes import OPEN, living_nodes

from benchmarks.fake_cluster import FakeCluster, fake_cluster
from benchmarks.fake_cluster_types import NodeTypes, fake_config, node_types
from sleep_runtime.core.pool import IDLE_RESOURCE

pytestmark = [pytest.mark.ray, pytest.mark.slow]

FILE = ROOT / "cluster" / "kubernetes" / "base" / "raycluster.yaml"
GROUP = "idle-pool"
NODE_TIMEOUT_S = 5.0
CALM_S = 4.0
SETTINGS = {
    **OPEN,
    "SLEEP_POOL__GPUS_PER_ENGINE": "1",
    "SLEEP_POOL__TOKENS_PER_ENGINE": "2000",
    "SLEEP_POOL__IDLE_TIMEOUT_S": "1",
    "SLEEP_POOL__NODE_TIMEOUT_S": str(NODE_TIMEOUT_S),
    "SLEEP_POOL__HYSTERESIS_S": "0.5",
    "SLEEP_POOL__BACKOFF_S": "2",
    "SLEEP_POOL__MAX_BACKOFF_S": "4",
    "SLEEP_POLICY__TRIGGERS__COOLDOWN_S": "0",
}


@dataclass
class Watched:
    """How many nodes of the pool are alive, and the most there were, seen by a thread."""

    address: str
    now: int = 0
    peak: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        while not self.stopped.wait(0.1):
            self.now = sum(1 for n in living_nodes(self.address) if IDLE_RESOURCE in n.total)
            self.peak = max(self.peak, self.now)


@dataclass
class Scaled:
    """A runtime on a cluster whose autoscaler reads ``file`` at every look."""

    cluster: FakeCluster
    file: Path
    types: NodeTypes
    runtime: Runtime
    idle: Watched

    def allow(self, most: int) -> None:
        """Let the autoscaler have that many nodes of the pool."""
        types = copy.deepcopy(self.types)
        types[GROUP]["max_workers"] = most
        config = fake_config(types, gcs_address=self.cluster.address, only=[GROUP])
        fresh = self.file.with_suffix(".new")
        fresh.write_text(yaml.safe_dump(config), encoding="utf-8")
        fresh.replace(self.file)


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaled]:
    home, directory = tmp_path_factory.mktemp("cluster"), tmp_path_factory.mktemp("scaled")
    types = node_types(FILE)
    types[GROUP]["idle_timeout_s"] = 3.0  # the file's minute is too long to watch
    most = types[GROUP]["max_workers"]
    with fake_cluster(home, types, only=[GROUP]) as cluster:
        idle = Watched(cluster.address)
        thread = threading.Thread(target=idle.watch)
        thread.start()
        settings = {**SETTINGS, "SLEEP_POOL__MAX_ENGINES": str(most)}
        try:
            runtime = start(directory, "--address", cluster.address, **settings)
            yield Scaled(cluster, home / "autoscaler.yaml", types, runtime, idle)
            assert stop(runtime) == 0
        finally:
            idle.stopped.set()
            thread.join(timeout=10)


def created(runtime: Runtime) -> float:
    """How many engines were asked for so far."""
    page = runtime.http.get("/metrics").text
    found = [line for line in page.splitlines() if line.startswith("sleep_pool_created_total ")]
    return float(found[0].split()[1]) if found else 0.0


@pytest.mark.timeout(400)
def test_a_backlog_for_two_engines_brings_two_nodes_for_as_long_as_it_lasts(
    scaled: Scaled,
) -> None:
    runtime, idle = scaled.runtime, scaled.idle
    time.sleep(CALM_S)  # what is watched is that nothing happens
    assert idle.peak == 0, "a node came without a backlog"
    assert pool(runtime)["state"] == "asleep"

    events = day("tide", 1500)
    begin(runtime, "tide", events)
    runtime.wait(lambda: idle.now == 2, "two nodes", 120)
    runtime.wait(lambda: len(opened(runtime)) == 2, "an engine on each", 120)
    ends_once(runtime, "tide", len(events))
    runtime.wait(lambda: idle.now == 0, f"the nodes to go; the pool is {pool(runtime)}", 120)
    assert pool(runtime)["state"] == "asleep"
    assert idle.peak == scaled.types[GROUP]["max_workers"] == 2


@pytest.mark.timeout(400)
def test_a_node_that_never_comes_is_asked_for_with_patience_and_used_when_it_comes(
    scaled: Scaled,
) -> None:
    runtime, idle = scaled.runtime, scaled.idle
    scaled.allow(0)
    began_s, before = time.monotonic(), created(runtime)
    runtime.capture(event(1, "dry", "from now on deploy on mondays", kind="correction"))
    runtime.http.post("/v1/runs", json={"scope": "dry"}).raise_for_status()
    for failures in (1, 2):
        runtime.wait(lambda: pool(runtime)["state"] == "waiting for a node", "it to ask", 60)
        assert pool(runtime)["reason"] == NO_NODE
        runtime.wait(lambda: pool(runtime)["state"] == "held back", "it to wait", 60)
        held = pool(runtime)
        assert f"no node came in {NODE_TIMEOUT_S:g} s" in held["reason"]
        assert held["failures_in_a_row"] == failures
        assert f"\nsleep_pool_failures {failures}.0" in runtime.http.get("/metrics").text
    asked, lasted_s = created(runtime) - before, time.monotonic() - began_s
    assert 2 <= asked <= 1 + lasted_s / NODE_TIMEOUT_S, "a busy loop"
    assert idle.now == 0
    assert runtime.capture(event(2, "meanwhile"))["accepted"] == 1

    scaled.allow(2)
    ends_once(runtime, "dry", 1)
    assert len(runtime.notes("dry")) == 1


NO_NODE = f"no node has the label pool=idle and the resource {IDLE_RESOURCE}"


def opened(runtime: Runtime) -> set[str]:
    """The nodes on which an engine answers."""
    where: dict[str, Any] = pool(runtime)["where"]
    return {place["node"] for name, place in where.items() if name.startswith("engine-")}
