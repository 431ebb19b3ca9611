"""``doctor`` against real clusters: it says what is missing, by the name it is mended by."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from head import OPEN, head
from living import surroundings

from benchmarks.waiting import free_port

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]


class Found(NamedTuple):
    code: int
    checks: dict[str, dict[str, str]]

    def states(self, *names: str) -> list[str]:
        return [self.checks[name]["state"] for name in names]


def doctor(home: Path, address: str, *more: str, **environment: str) -> Found:
    done = subprocess.run(
        [sys.executable, "-m", "sleep_runtime.cli.main", "doctor", "--json",
         "--address", address, *more],
        env=surroundings(home, **environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr[-3000:]
    checks: list[dict[str, Any]] = json.loads(done.stdout)["checks"]
    return Found(done.returncode, {check["name"]: check for check in checks})


def test_a_good_cluster_is_fit(tmp_path: Path) -> None:
    with head(tmp_path) as cluster:
        found = doctor(tmp_path, cluster.address, **OPEN)
    failed = {name: check for name, check in found.checks.items() if check["state"] == "fail"}
    assert not failed
    assert found.code == 0
    assert found.states("cluster", "control node", "idle pool", "serve", "neighbours") == ["ok"] * 5
    settings = ("RAY_worker_niceness", "MALLOC_ARENA_MAX", "proxy")
    assert found.states(*settings) == ["ok"] * 3
    assert found.states("RAY_gcs_pull_resource_loads_period_milliseconds") == ["ok"]
    assert found.states("token") == ["warn"], "whoever reaches the port may run code"


def test_a_wrong_label_is_named_with_the_right_one(tmp_path: Path) -> None:
    bare = {name: OPEN[name] for name in ("RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED")}
    with head(tmp_path, label="pool=idel", environment=bare) as cluster:
        found = doctor(tmp_path, cluster.address, **bare)
    assert found.code == 1
    pool = found.checks["idle pool"]
    assert pool["state"] == "fail"
    assert "not the label pool=idle (found: pool=idel)" in pool["detail"]
    assert "--labels=pool=idle" in pool["mend"]
    nice = found.checks["RAY_worker_niceness"]
    assert nice["state"] == "warn"
    assert "nice 15" in nice["detail"]
    assert "RAY_worker_niceness=0" in nice["mend"]
    assert found.states("MALLOC_ARENA_MAX", "proxy") == ["warn", "warn"]
    assert "RAY_SERVE_ENABLE_HA_PROXY=1" in found.checks["proxy"]["mend"]
    assert found.states("RAY_gcs_pull_resource_loads_period_milliseconds") == ["warn"]


def test_a_model_that_no_idle_node_has_is_named(tmp_path: Path) -> None:
    with head(tmp_path) as cluster:
        missing = ("--set", "engine.kind=vllm", "--set", f"engine.model={tmp_path}/nowhere")
        found = doctor(tmp_path, cluster.address, *missing, **OPEN)
    assert found.code == 1
    assert found.states("engine model") == ["fail"]
    assert f"there is no directory {tmp_path}/nowhere" in found.checks["engine model"]["detail"]


def test_a_token_that_is_refused_and_an_address_where_nobody_is(tmp_path: Path) -> None:
    guarded = {**OPEN, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "the-right-one"}
    with head(tmp_path, environment=guarded) as cluster:
        wrong = doctor(tmp_path, cluster.address, **{**guarded, "RAY_AUTH_TOKEN": "another"})
        right = doctor(tmp_path, cluster.address, **guarded)
    assert wrong.code == 1
    assert "refuses the token" in wrong.checks["cluster"]["detail"]
    assert "the-right-one" not in json.dumps(wrong.checks)
    assert right.states("cluster", "token") == ["ok", "ok"]
    nobody = doctor(tmp_path, f"127.0.0.1:{free_port()}", **OPEN)
    assert nobody.code == 1
    assert "nobody listens" in nobody.checks["cluster"]["detail"]
