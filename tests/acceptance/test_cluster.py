"""The runtime on a Ray cluster that was there before it and stays after it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from living import event, start, stop

from benchmarks.waiting import free_port

pytestmark = [pytest.mark.ray, pytest.mark.slow]

RAY = Path(sys.executable).with_name("ray")


class Cluster(NamedTuple):
    """A running head node."""

    address: str
    pid: int

    def titles(self) -> list[str]:
        """What the processes of the node call themselves."""
        found = []
        for process in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(" ".join(process.cmdline()))
        return found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A head node that offers the idle pool; ended by its own process."""
    port = free_port()
    environment = {**os.environ, "HOME": str(tmp_path), **OPEN}
    head = subprocess.Popen(
        [
            RAY, "start", "--head", "--block", f"--port={port}", "--num-cpus=2",
            "--include-dashboard=false", '--resources={"idle_pool": 1}', "--labels=pool=idle",
            "--object-store-memory=100000000", f"--ray-client-server-port={free_port()}",
            f"--dashboard-agent-listen-port={free_port()}",
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield Cluster(f"127.0.0.1:{port}", head.pid)
    # Not by SIGTERM: Serve's controller stays with its cluster, and Ray waits 30 s for it to drain.
    below = psutil.Process(head.pid).children(recursive=True)
    head.kill()
    head.wait(timeout=10)
    for process in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(below, timeout=10)


OPEN = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.mark.timeout(240)
def test_it_joins_a_cluster_works_there_and_leaves_nothing_behind(
    cluster: Cluster, tmp_path: Path
) -> None:
    guest = start(tmp_path, SLEEP_RAY__ADDRESS=cluster.address, **OPEN)
    try:
        guest.capture(event(1, "guest", "from now on deploy on mondays", kind="correction"))
        guest.night("guest")
        assert len(guest.notes("guest")) == 1
    finally:
        code = stop(guest)
    assert code == 0
    assert "warning: Serve's own proxy answers" in guest.log.read_text(), "HAProxy is off there"
    ours = ("TierActor", "EngineActor", "JournalOwner", "LedgerOwner", "IndexOwner", "NightWatch")
    guest.wait(
        lambda: not [title for title in cluster.titles() if any(name in title for name in ours)],
        f"the cluster to be as it was; there is {cluster.titles()}",
    )
