"""A Ray head node of its own, as an operator starts one; ended by its own process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from benchmarks.waiting import free_port
from sleep_runtime.compose.proxy import PROXY_ENVIRONMENT, PROXY_PORTS

RAY = Path(sys.executable).with_name("ray")
START_TIMEOUT_S = 120.0
OPEN = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_gcs_pull_resource_loads_period_milliseconds": "50",
    "MALLOC_ARENA_MAX": "2",
    **PROXY_ENVIRONMENT,
}


@dataclass
class Head:
    """A running head node."""

    address: str
    process: subprocess.Popen[bytes]
    environment: dict[str, str]

    def titles(self) -> list[str]:
        """What the processes of the node call themselves."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(" ".join(process.cmdline()))
        return found

    def python(self, code: str) -> str:
        """Run code in a process that is connected to this Ray; what it prints."""
        done = subprocess.run(
            [sys.executable, "-c", f"import ray\nray.init({self.address!r})\n{code}"],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def kill(self) -> None:
        """End every process of the node at once."""
        # Not by SIGTERM: Serve's controller stays with its cluster, and Ray waits for it to drain.
        below: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            below = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait(timeout=10)
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(below, timeout=10)


@contextlib.contextmanager
def head(
    home: Path, *flags: str, label: str = "pool=idle", environment: dict[str, str] | None = None
) -> Iterator[Head]:
    """A head that offers the idle pool under this label; ``flags`` are more of ``ray start``."""
    port = free_port()
    ports = {name: str(free_port()) for name in PROXY_PORTS}
    own = {**(OPEN if environment is None else environment), **ports, "HOME": str(home)}
    log = home / "head.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                RAY, "start", "--head", "--block", f"--port={port}", "--num-cpus=2",
                "--include-dashboard=false", '--resources={"idle_pool": 1}', f"--labels={label}",
                "--object-store-memory=100000000", f"--ray-client-server-port={free_port()}",
                f"--dashboard-agent-listen-port={free_port()}", *flags,
            ],
            env={**os.environ, **own},
            stdout=file,
            stderr=file,
        )  # fmt: skip
    running = Head(f"127.0.0.1:{port}", process, own)
    try:
        _wait_up(running, log)
        yield running
    finally:
        running.kill()


def _wait_up(running: Head, log: Path) -> None:
    give_up = time.monotonic() + START_TIMEOUT_S
    while "Ray runtime started" not in log.read_text():
        if running.process.poll() is not None or time.monotonic() > give_up:
            pytest.fail(f"no head in {START_TIMEOUT_S:g} s\n{log.read_text()[-3000:]}")
        time.sleep(0.1)
