"""The idle pool from outside: it gives way to live inference, and says how it stands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from living import Runtime, event, start, stop

from benchmarks.trail import trail

pytestmark = [pytest.mark.ray, pytest.mark.slow]

OPEN = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
GRACE_S = 5.0
# Ray needs this long to start a process for a replica once it has its GPU, on a busy machine.
REPLICA_STARTS_S = 20.0
HERE = Path(__file__).parent
COLD = ("TierActor", "EngineActor")
NOT_COLD = ("raylet", "gcs_server", "JournalOwner", "LedgerOwner", "HotPath", "NightWatch")


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A runtime on a machine that says it has one GPU, which the pool may hold."""
    running = start(
        tmp_path_factory.mktemp("gpu"),
        SLEEP_RAY__NUM_GPUS="1",
        SLEEP_POOL__GPUS_PER_ENGINE="1",
        SLEEP_POOL__GRACE_S=str(GRACE_S),
        SLEEP_POOL__HYSTERESIS_S="0.5",
        SLEEP_POOL__BACKOFF_S="0.5",
        SLEEP_POOL__MAX_BACKOFF_S="2",
        SLEEP_POLICY__TRIGGERS__COOLDOWN_S="0",
        **OPEN,
    )
    yield running
    assert stop(running) == 0


def pool(runtime: Runtime) -> dict[str, Any]:
    found: dict[str, Any] = runtime.http.get("/v1/pool").json()
    return found


def busy_night(runtime: Runtime, org: str, events: int, seed: int = 1) -> int:
    """Capture a day of one organisation, begin its night, and wait until an engine works."""
    day = [{**item, "scope": {**item["scope"], "org": org}} for item in trail(events, seed=seed)]
    day = [{**item, "id": f"{org}-{item['id']}"} for item in day]
    for at in range(0, len(day), 100):
        runtime.http.post("/v1/events", json=day[at : at + 100]).raise_for_status()
    runtime.http.post("/v1/runs", json={"scope": org}).raise_for_status()
    runtime.wait(lambda: pool(runtime)["nights"] > 0, "a night with an engine")
    return len(day)


def finish(runtime: Runtime, org: str) -> list[dict[str, Any]]:
    """Wait for the end of the organisation's nights; their runs."""

    def quiet() -> bool:
        runtime.http.post("/v1/runs", json={"scope": org}).raise_for_status()
        return bool(runtime.status(org)["quiet"])

    runtime.wait(quiet, f"the nights of {org} to end", timeout_s=200)
    answer = runtime.http.get("/v1/runs", params={"scope": org, "limit": 500})
    runs: list[dict[str, Any]] = answer.json()["runs"]
    return runs


@pytest.mark.timeout(400)
def test_live_inference_gets_the_gpu_in_the_middle_of_a_night_which_then_goes_on(
    gpu: Runtime,
) -> None:
    events = busy_night(gpu, "live", 1500)
    assert pool(gpu)["state"] == "open"
    address = json.loads((gpu.data_dir / "runtime.json").read_text())["ray_address"]
    live = subprocess.Popen(
        [sys.executable, str(HERE / "live_inference.py"), address, "3"],
        stdout=subprocess.PIPE,
        text=True,
        env={**gpu.environment, **OPEN},
    )
    assert live.stdout is not None
    try:
        said = live.stdout.readline().split()
        assert said[:1] == ["ready"], gpu.log.read_text()[-3000:]
        waited_s = float(said[1])
        seen = pool(gpu)
        assert waited_s < GRACE_S + REPLICA_STARTS_S
        assert seen["last_yield_ms"] is not None
        assert seen["last_yield_ms"] < GRACE_S * 1000
        assert seen["state"] != "open", "it holds a GPU that live inference has"
        assert seen["yields_in_a_row"] >= 1
        assert live.stdout.readline().strip() == "gone"
    finally:
        live.kill()
        live.communicate(timeout=10)
    runs = finish(gpu, "live")
    assert {run["state"] for run in runs} == {"projected"}
    assert sum(run["counts"].get("events", 0) for run in runs) == events


@pytest.mark.timeout(200)
def test_the_command_takes_the_pool_away_and_gives_it_back(gpu: Runtime) -> None:
    events = busy_night(gpu, "told", 800)
    told = gpu.cli("pool", "yield", "--for", "600", "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["freed"]
    gpu.wait(lambda: pool(gpu)["state"] == "held back", "the pool to be held back")
    assert "asked to give way" in pool(gpu)["reason"]
    status = gpu.cli("status").stdout
    assert "idle pool:" in status
    assert "held back" in status
    assert gpu.capture(event(1, "meanwhile"))["accepted"] == 1, "the day goes on"
    assert gpu.cli("pool", "resume").returncode == 0
    runs = finish(gpu, "told")
    assert sum(run["counts"].get("events", 0) for run in runs) == events


@pytest.mark.timeout(200)
def test_every_cold_process_has_the_lowest_priority_and_no_other_one_has(gpu: Runtime) -> None:
    busy_night(gpu, "cold", 300)
    gpu.wait(lambda: bool(gpu.processes("EngineActor")), "an engine")
    for name in COLD:
        for process in gpu.processes(name):
            policies = {
                os.sched_getscheduler(int(task.name))
                for task in Path(f"/proc/{process.pid}/task").iterdir()
            }
            assert policies == {os.SCHED_IDLE}, (name, policies)
            assert process.ionice().ioclass == psutil.IOPRIO_CLASS_IDLE, name
            score = Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip()
            assert score == "1000", (name, score)
    for name in NOT_COLD:
        found = gpu.processes(name)
        assert found, name
        assert {os.sched_getscheduler(process.pid) for process in found} == {os.SCHED_OTHER}, name
    finish(gpu, "cold")


def test_the_page_of_metrics_has_the_pool(gpu: Runtime) -> None:
    page = gpu.http.get("/metrics").text
    for name in (
        'sleep_pool_state{state="open"}',
        "sleep_pool_yield_seconds_count",
        "sleep_pool_gpu_seconds_total",
        'sleep_pool_removed_total{why="yield"}',
        "sleep_backlog_age_seconds",
    ):
        assert f"\n{name}" in page, f"{name} is missing in\n{page}"


@pytest.mark.timeout(200)
def test_a_pool_no_node_can_hold_says_so_and_the_day_goes_on(tmp_path: Path) -> None:
    runtime = start(
        tmp_path,
        SLEEP_RAY__NUM_GPUS="0",
        SLEEP_POOL__GPUS_PER_ENGINE="1",
        SLEEP_POOL__NODE_TIMEOUT_S="1",
        SLEEP_POOL__BACKOFF_S="0.5",
        **OPEN,
    )
    try:
        runtime.capture(event(1, "wanting", "from now on deploy on mondays", kind="correction"))
        runtime.http.post("/v1/runs", json={"scope": "wanting"}).raise_for_status()
        runtime.wait(lambda: pool(runtime)["failures_in_a_row"] >= 2, "the breaker to count")
        runtime.wait(lambda: pool(runtime)["state"] == "waiting for a node", "another try")
        assert "an engine asks for CPU 1, GPU 1, idle_pool 1" in pool(runtime)["reason"]
        runtime.wait(lambda: pool(runtime)["state"] == "held back", "it to wait")
        assert "no node came in 1 s" in pool(runtime)["reason"]
        assert pool(runtime)["next_try_s"] is not None
        assert runtime.status("wanting")["pending"]["events"] == 1
        assert runtime.capture(event(2, "wanting"))["accepted"] == 1
    finally:
        assert stop(runtime) == 0
