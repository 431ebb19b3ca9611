"""A Ray cluster of several nodes on this machine, each with a life, and a death, of its own.

Every node is one ``ray start --block``. Only processes that were started here are ended, by their
pid: another Ray on the machine notices nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # made by Cython
from ray.autoscaler.v2.sdk import get_cluster_resource_state
from ray.core.generated import autoscaler_pb2

from benchmarks.fake_cluster import ENVIRONMENT
from benchmarks.waiting import free_port
from sleep_runtime.actors.cluster import read
from sleep_runtime.core.pool import NodeView

RAY = Path(sys.executable).with_name("ray")
OPEN = ENVIRONMENT
START_TIMEOUT_S = 90.0
START_TRIES = 2
NAME = "name"
# Made when the module is imported, so types cannot know it.
_REASON: Any = vars(autoscaler_pb2)["DrainNodeReason"]


def living_nodes(address: str) -> tuple[NodeView, ...]:
    """The nodes of a cluster as its control store knows them."""
    return read(get_cluster_resource_state(GcsClient(address))).nodes


@dataclass
class Node:
    """One node: the command that holds it, and what that started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def below(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def kill(self) -> None:
        """SIGKILL to all of it at once, as when its power goes."""
        below = self.below()
        self.process.kill()
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(timeout=10)
        _, left = psutil.wait_procs(below, timeout=10)
        assert not left, left

    def kill_raylet(self) -> None:
        """SIGKILL to its raylet alone; Ray ends the rest of the node."""
        for process in self.below():
            if process.name() == "raylet":
                process.kill()


@dataclass
class Nodes:
    """A head and the nodes that joined it. Each method returns when its node is up."""

    home: Path
    port: int = field(default_factory=free_port)
    started: list[Node] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def head(self) -> Node:
        """A head: control, and no place for anybody's tasks or engines."""
        # A temporary directory of its own: by the usual one others would find it as theirs.
        return self._start(
            "head",
            "--head",
            f"--port={self.port}",
            "--num-cpus=0",
            "--labels=pool=control,name=head",
            "--include-dashboard=false",
            f"--ray-client-server-port={free_port()}",
            f"--temp-dir={self.home}",
        )

    def live(self, name: str = "live") -> Node:
        """A node for live work."""
        labels = f"--labels=pool=live,name={name}"
        return self._start(name, f"--address={self.address}", "--num-cpus=1", labels)

    def idle(self, name: str = "idle") -> Node:
        """A node of the idle pool with room for one engine."""
        labels = f"--labels=pool=idle,name={name}"
        return self._start(
            name,
            f"--address={self.address}",
            "--num-cpus=1",
            labels,
            '--resources={"idle_pool": 1}',
        )

    def alive(self) -> dict[str, NodeView]:
        """The living nodes by their names, as the control store knows them."""
        return {node.labels.get(NAME, node.id): node for node in living_nodes(self.address)}

    def said(self, event: str) -> list[dict[str, Any]]:
        """What our actors logged of one kind, in order of time."""
        lines = [
            json.loads(line)
            for file in (self.home / "session_latest" / "logs").glob("worker-*.err")
            for line in file.read_text(errors="replace").splitlines()
            if f'"{event}"' in line and line.startswith("{")
        ]
        return sorted((line for line in lines if line["event"] == event), key=itemgetter("ts"))

    def drain(self, name: str, in_s: float) -> float:
        """Say, as a cloud does, that a node is taken away. Returns when, on the monotonic clock."""
        deadline_s = time.monotonic() + in_s
        accepted, why = GcsClient(self.address).drain_node(
            self.alive()[name].id,
            _REASON.Value("DRAIN_NODE_REASON_PREEMPTION"),
            "the spot node is taken away",
            int((time.time() + in_s) * 1000),
        )
        assert accepted, why
        return deadline_s

    def _start(self, name: str, *words: str) -> Node:
        """Start a node and wait until it is up. Ray gives one half a minute, on a busy machine too
        little: it is tried twice."""
        log = self.home / f"{name}.log"
        for _ in range(START_TRIES):
            node = Node(name, self._launch(log, words), log)
            self.started.append(node)
            give_up = time.monotonic() + START_TIMEOUT_S
            while node.process.poll() is None and time.monotonic() < give_up:
                if "Ray runtime started" in log.read_text():
                    return node
                time.sleep(0.05)
        pytest.fail(f"{name} did not start\n{log.read_text()[-3000:]}")

    def _launch(self, log: Path, words: tuple[str, ...]) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(
                [
                    RAY,
                    "start",
                    "--block",
                    *words,
                    "--object-store-memory=80000000",
                    f"--dashboard-agent-listen-port={free_port()}",
                ],
                env={**os.environ, "HOME": str(self.home), **OPEN},
                stdout=output,
                stderr=output,
            )


@contextlib.contextmanager
def nodes() -> Iterator[Nodes]:
    """No node yet; those that are started are ended with everything below them."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as home:
        cluster = Nodes(Path(home))
        try:
            yield cluster
        finally:
            for node in reversed(cluster.started):
                if node.process.poll() is None:
                    node.kill()
