"""A Ray that only plays a cluster: its autoscaler is the real one, its nodes are fake.

One head of this machine, and nodes of the types it is given that come when something waits for
them and go when they are idle, with logical GPUs. Only processes that were started here are ended,
by their pid: another Ray on the machine notices nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks.fake_cluster_types import FAKE_ENVIRONMENT, FAKE_HEAD_NODE_ID, fake_config
from benchmarks.waiting import QUIET, free_port, wait_until

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 10.0
ENVIRONMENT = {
    **QUIET,
    "RAY_worker_niceness": "0",
    "RAY_gcs_pull_resource_loads_period_milliseconds": "50",
    "MALLOC_ARENA_MAX": "2",
}
# The control store on a port of its own, nothing else on a fixed one.
_QUIET_HEAD = ("--include-dashboard=false", "--object-store-memory=100000000", "--num-gpus=0")


@dataclass(frozen=True)
class FakeCluster:
    """A running head. ``address`` is for ``ray.init`` and ``sleep-runtime up --address``."""

    address: str
    head: subprocess.Popen[bytes]
    log: Path

    def raylets(self) -> list[psutil.Process]:
        """The raylets of its nodes, the head's own among them."""
        return [p for p in _below(self.head.pid) if _is_raylet(p)]


@contextlib.contextmanager
def fake_cluster(
    home: Path,
    types: Mapping[str, Mapping[str, Any]],
    *,
    only: Collection[str] | None = None,
    idle_timeout_s: float = 5.0,
) -> Iterator[FakeCluster]:
    """A head whose autoscaler knows these node types; ended with everything it started."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    config = fake_config(types, gcs_address=address, only=only, idle_timeout_s=idle_timeout_s)
    file, log = home / "autoscaler.yaml", home / "head.log"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    head_type = config["available_node_types"][config["head_node_type"]]
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--block",
        f"--port={port}",
        f"--num-cpus={int(head_type['resources'].get('CPU', 2))}",
        f"--ray-client-server-port={free_port()}",
        f"--dashboard-agent-listen-port={free_port()}",
        f"--autoscaling-config={file}",
        *_QUIET_HEAD,
    ]
    environment = {**os.environ, **ENVIRONMENT, **FAKE_ENVIRONMENT, "HOME": str(home)}
    seen: set[psutil.Process] = set()
    with log.open("wb") as output:
        head = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        cluster = FakeCluster(address, head, log)
        _wait_up(cluster)
        yield cluster
    finally:
        seen |= set(_below(head.pid))
        _end(head, seen)


def head_node_id() -> str:
    """The node id the head of a fake cluster has."""
    return FAKE_HEAD_NODE_ID


def _wait_up(cluster: FakeCluster) -> None:
    def up() -> bool:
        if cluster.head.poll() is not None:
            raise RuntimeError(f"the head ended:\n{cluster.log.read_text()[-3000:]}")
        return "Ray runtime started" in cluster.log.read_text()

    wait_until(up, "the head of the fake cluster", START_TIMEOUT_S, every_s=0.1)


def _below(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _is_raylet(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.name() == "raylet"
    return False


def _end(head: subprocess.Popen[bytes], below: set[psutil.Process]) -> None:
    """End the head and what it started. A fake node's raylet outlives a head that is killed."""
    head.send_signal(signal.SIGTERM)
    give_up = time.monotonic() + STOP_TIMEOUT_S
    while head.poll() is None and time.monotonic() < give_up:
        time.sleep(0.05)
    if head.poll() is None:
        head.kill()
        head.wait(timeout=STOP_TIMEOUT_S)
    for process in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(list(below), timeout=STOP_TIMEOUT_S)
