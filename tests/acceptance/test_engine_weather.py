"""An engine that never comes up: the day goes on, the pool says why, and tries ever more seldom."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from living import Runtime, event, start, stop

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]

BACKOFF_S = 1.5
IMPATIENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "SLEEP_POOL__BACKOFF_S": str(BACKOFF_S),
    "SLEEP_POOL__MAX_BACKOFF_S": "600",
    "SLEEP_POOL__HYSTERESIS_S": "0.1",
    "SLEEP_POLICY__TRIGGERS__COOLDOWN_S": "0",
}
WITH_VLLM = importlib.util.find_spec("vllm") is not None


def pool(runtime: Runtime) -> dict[str, Any]:
    found: dict[str, Any] = runtime.http.get("/v1/pool").json()
    return found


def metric(runtime: Runtime, name: str) -> float:
    page = runtime.http.get("/metrics").text
    found = re.search(rf"^{name}(?:\{{[^}}]*\}})? ([0-9.e+]+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def held_back(runtime: Runtime, failures: int) -> dict[str, Any]:
    """Wait for the pool to stand held back after so many failures; how it stands then."""
    seen: list[dict[str, Any]] = []

    def stands() -> bool:
        seen.append(pool(runtime))
        now = seen[-1]
        return bool(now["state"] == "held back" and now["failures_in_a_row"] >= failures)

    runtime.wait(stands, f"failure {failures} of the engine", timeout_s=150)
    return seen[-1]


def check_weather(runtime: Runtime, org: str, reason: str) -> None:
    """Everything that has to hold while no engine comes up."""
    lesson = event(1, org, "from now on deploy on mondays", kind="correction")
    assert runtime.capture(lesson)["accepted"] == 1
    runtime.http.post("/v1/runs", json={"scope": org}).raise_for_status()
    stands = [held_back(runtime, failures) for failures in (1, 2, 3)]
    for at, found in enumerate(stands):
        assert reason in found["reason"], found
        waits_s = BACKOFF_S * 2 ** (found["failures_in_a_row"] - 1)
        assert found["next_try_s"] is not None, f"failure {at + 1}: {found}"
        assert waits_s / 4 < found["next_try_s"] <= waits_s, "the tries do not grow apart"
    status = runtime.cli("status")
    assert status.returncode == 0, "the runtime is up"
    assert "held back" in status.stdout
    assert reason in runtime.cli("pool", "show").stdout
    failures = pool(runtime)["failures_in_a_row"]
    assert metric(runtime, "sleep_pool_failures") >= 3
    assert metric(runtime, "sleep_pool_created_total") <= failures + 1, "a busy loop"
    assert runtime.capture(event(2, org))["accepted"] == 1, "the day does not go on"
    search = {"scope": f"{org}/team/ana", "query": "when to deploy"}
    assert runtime.http.post("/v1/search", json=search).status_code == 200
    runtime.wait(lambda: runtime.status(org)["pending"]["events"] == 2, "both events to pend")


def broken(tmp_path: Path, config: str | None) -> Path:
    """A model's directory that cannot be loaded; without a config there is no directory."""
    model = tmp_path / "model"
    if config is not None:
        model.mkdir()
        (model / "config.json").write_text(config)
    return model


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        pytest.param(None, "there is no directory", id="missing"),
        pytest.param("{", "cannot be loaded", id="broken"),
        pytest.param(
            json.dumps({"architectures": ["NoSuchModel"], "model_type": "nosuch"}),
            "cannot be loaded",
            id="unknown",
        ),
    ],
)
def test_a_model_that_cannot_be_loaded_is_named_and_the_day_goes_on(
    tmp_path: Path, config: str | None, reason: str
) -> None:
    model = broken(tmp_path, config)
    runtime = start(
        tmp_path, SLEEP_ENGINE__KIND="vllm", SLEEP_ENGINE__MODEL=str(model), **IMPATIENT
    )
    try:
        check_weather(runtime, "model", reason if WITH_VLLM else "vLLM is not installed")
    finally:
        assert stop(runtime) == 0


@contextlib.contextmanager
def killing_engines(runtime: Runtime) -> Iterator[list[int]]:
    """Kill every engine of this runtime as soon as it has a process; the pids."""
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.02):
            for process in runtime.processes("EngineActor"):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
                    killed.append(process.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def test_an_engine_that_dies_at_every_start_is_tried_ever_more_seldom_until_it_lives(
    tmp_path: Path,
) -> None:
    runtime = start(tmp_path, **IMPATIENT)
    try:
        with killing_engines(runtime) as killed:
            check_weather(runtime, "dying", "died")
        assert len(set(killed)) >= 3
        runtime.wait(lambda: bool(runtime.status("dying")["quiet"]), "the night", timeout_s=150)
        assert [note["statement"] for note in runtime.notes("dying")] == [
            "from now on deploy on mondays"
        ]
    finally:
        assert stop(runtime) == 0
