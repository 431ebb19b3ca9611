"""The head pod's command with the real Ray and the real runtime, on configs/cluster.yaml."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from living import ROOT, event

from benchmarks.waiting import bearer, free_port
from sleep_runtime.compose.proxy import PROXY_PORTS

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(240)]

BASE = ROOT / "cluster" / "kubernetes" / "base"
RAY_START = (
    "ray start --head --block --port={gcs} --num-cpus=1 --labels=pool=idle"
    ' --resources="{{\\"idle_pool\\": 1}}" --include-dashboard=false'
    " --object-store-memory=100000000 --ray-client-server-port={client}"
    " --dashboard-agent-listen-port={agent}"
)


@dataclass
class Pod:
    """head.sh under way, as the only process of a container would be."""

    process: subprocess.Popen[bytes]
    url: str
    data_dir: Path
    log: Path

    def runtime_pid(self) -> int:
        try:
            return int(json.loads((self.data_dir / "runtime.json").read_text("utf-8"))["pid"])
        except (OSError, ValueError):
            return 0

    def ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False

    def wait(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        give_up = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > give_up or self.process.poll() is not None:
                pytest.fail(f"no {what} in {timeout_s:g} s\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    here = tmp_path_factory.mktemp("pod")
    lines = (BASE / "ray.env").read_text("utf-8").splitlines()
    shared = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    gcs, port = free_port(), free_port()
    commands = Path(sys.executable).parent
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SLEEP_")},
        **shared,
        **{name: str(free_port()) for name in PROXY_PORTS},
        "PATH": f"{commands}:{os.environ['PATH']}",
        "HOME": str(here),
        "RAY_AUTH_TOKEN": "a-token-for-this-test",
        "RAY_ADDRESS": f"127.0.0.1:{gcs}",
        "SLEEP_CONFIG": str(ROOT / "configs" / "cluster.yaml"),
        "SLEEP_DATA_DIR": str(here / "data"),
        "SLEEP_HTTP__PORT": str(port),
        "SLEEP_HTTP__REPLICAS": "1",
        "KUBERAY_GEN_RAY_START_CMD": RAY_START.format(
            gcs=gcs, client=free_port(), agent=free_port()
        ),
    }
    log = here / "head.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["bash", str(BASE / "head.sh")],
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    running = Pod(process, f"http://127.0.0.1:{port}", here / "data", log)
    below: list[psutil.Process] = []
    try:
        running.wait(lambda: bool(running.runtime_pid()) and running.ready(), "runtime", 120)
        below = psutil.Process(process.pid).children(recursive=True)
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        for left in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()


def test_the_cluster_settings_start_a_runtime_on_a_ray_with_a_token(pod: Pod) -> None:
    answer = httpx.post(
        f"{pod.url}/v1/events", json=[event(1, "pod")], timeout=60, headers=bearer(pod.data_dir)
    )
    assert answer.json()["accepted"] == 1
    assert "warning" not in pod.log.read_text(), "ray.env turns HAProxy on"
    titles = [
        " ".join(each.cmdline())
        for each in psutil.Process(pod.process.pid).children(recursive=True)
    ]
    assert any("haproxy -db" in title for title in titles)


def test_a_killed_runtime_comes_back_while_ray_goes_on(pod: Pod) -> None:
    killed = pod.runtime_pid()
    os.kill(killed, signal.SIGKILL)
    pod.wait(lambda: pod.runtime_pid() != killed and pod.ready(), "new runtime", 40)


def test_asked_to_stop_the_container_ends_in_order(pod: Pod) -> None:
    pod.process.send_signal(signal.SIGTERM)
    assert pod.process.wait(110) == 0
    assert "asked to stop: draining" in pod.log.read_text()
