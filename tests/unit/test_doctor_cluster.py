"""What ``doctor`` makes of what a cluster says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sleep_runtime.cli import doctor_cluster as judged
from sleep_runtime.cli.checks import Check
from sleep_runtime.cli.cluster_facts import ClusterFacts, NodeFacts, NodeType, versions
from sleep_runtime.cli.doctor_engine import engine_gpus, model_directory, pool_fits
from sleep_runtime.compose.proxy import PROXY_ENVIRONMENT
from sleep_runtime.compose.serve_state import Application, ServeState
from sleep_runtime.config import Settings, load
from sleep_runtime.core.errors import RuntimeUnavailable
from sleep_runtime.core.policy import PoolPolicy
from sleep_runtime.core.pool import NodeView

WANTED = {
    "RAY_worker_niceness": "0",
    "RAY_gcs_pull_resource_loads_period_milliseconds": "50",
    "MALLOC_ARENA_MAX": "2",
    **PROXY_ENVIRONMENT,
}
REACHED = Check("cluster", "ok", "10.0.0.1:6379")
LIVE = NodeView("live0001", {"CPU": 8.0}, {"CPU": 8.0}, {"pool": "live"})
GPU = PoolPolicy(gpus_per_engine=1)
SPOT = NodeType("idle", {"CPU": 8.0, "GPU": 1.0, "idle_pool": 1.0}, 2)


def idle(name: str = "idle0001", label: str = "idle", **other: float) -> NodeView:
    total = {"CPU": 8.0, "GPU": 1.0, "idle_pool": 1.0, **other}
    return NodeView(name, total, total, {"pool": label})


def settings(**overrides: Any) -> Settings:
    return load(environ={}, overrides=overrides).settings


@pytest.mark.parametrize(
    ("nodes", "types", "state", "said"),
    [
        ([LIVE, idle()], [], "ok", "room for 1 engines"),
        ([LIVE], [SPOT], "ok", "the autoscaler starts up to 2 of idle"),
        ([LIVE], [], "fail", "no node has the label pool=idle and the resource idle_pool"),
        ([LIVE, idle(label="idel")], [], "fail", "not the label pool=idle (found: pool=idel)"),
        ([LIVE, idle(label="idel")], [SPOT], "fail", "(found: pool=idel)"),
        ([LIVE, idle(idle_pool=0)], [], "fail", "but not the resource idle_pool"),
        ([LIVE, idle(GPU=0)], [], "fail", "an engine asks for CPU 1, GPU 1, idle_pool 1"),
        ([LIVE], [NodeType("small", {"CPU": 2.0, "idle_pool": 1.0}, 2)], "fail", "no node has"),
        ([LIVE], [NodeType("none", SPOT.resources, 0)], "fail", "no node has"),
    ],
)
def test_the_idle_pool_has_room_or_it_is_said_why_not(
    nodes: list[NodeView], types: list[NodeType], state: str, said: str
) -> None:
    check = judged.idle_pool(nodes, types, GPU)
    assert (check.state, bool(check.mend)) == (state, state != "ok")
    assert said in check.detail


def test_less_room_than_engines_is_a_warning_unless_more_nodes_come() -> None:
    two = PoolPolicy(gpus_per_engine=1, max_engines=2)
    assert judged.idle_pool([idle()], [], two).state == "warn"
    assert judged.idle_pool([idle()], [SPOT], two).state == "ok"
    assert judged.idle_pool([idle(idle_pool=2, GPU=2)], [], two).state == "ok"


def test_a_cluster_without_live_nodes_is_a_warning() -> None:
    assert judged.kinds([LIVE, idle()]) == Check("nodes", "ok", "1 pool=idle, 1 pool=live")
    assert judged.kinds([idle()]).state == "warn"


def test_a_machine_that_may_not_hold_the_stores_is_told_where_to_go() -> None:
    assert judged.control("").state == "ok"
    check = judged.control(RuntimeUnavailable("is no head", mend="run it on 10.0.0.1"))
    assert (check.state, check.mend) == ("fail", "run it on 10.0.0.1")


def test_the_hot_path_gets_its_place_or_the_setting_is_named() -> None:
    chosen = settings()
    own = chosen.ray.namespace
    assert judged.serve(None, chosen).state == "ok"
    assert judged.serve("timed out", chosen).state == "fail"

    def state(**applications: Application) -> ServeState:
        return ServeState("127.0.0.1", 8377, applications)

    assert "beside chat" in judged.serve(state(chat=Application("/chat", "RUNNING")), chosen).detail
    taken = judged.serve(state(other=Application("/", "RUNNING")), chosen)
    assert taken.state == "fail"
    assert "SLEEP_HTTP__ROUTE_PREFIX" in taken.mend
    ill = judged.serve(state(**{own: Application("/", "UNHEALTHY")}), chosen)
    assert (ill.state, "UNHEALTHY" in ill.detail) == ("fail", True)
    assert judged.serve(state(**{own: Application("/", "RUNNING")}), chosen).state == "ok"


def test_another_runtime_on_the_cluster_is_named() -> None:
    assert judged.neighbours(["ours"], "ours").state == "ok"
    check = judged.neighbours(["ours", "theirs"], "ours")
    assert (check.state, check.detail) == ("warn", "theirs shares the idle pool")


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_what_a_node_lacks_is_named_with_the_node_and_the_variable() -> None:
    good = NodeFacts("head0001", WANTED, head=True)
    found = by_name(judged.visited([good, NodeFacts("node0002", {}, nice=15)], WANTED))
    assert found["RAY_worker_niceness"].state == "warn"
    assert "node node0002: workers run at nice 15" in found["RAY_worker_niceness"].detail
    assert "node node0002" in found["MALLOC_ARENA_MAX"].detail
    assert found["RAY_gcs_pull_resource_loads_period_milliseconds"].state == "ok", "the head's"
    assert {check.state for check in judged.visited([good], WANTED)} == {"ok"}


@pytest.mark.parametrize("value", [{}, {"RAY_gcs_pull_resource_loads_period_milliseconds": "x"}])
def test_a_head_that_looks_seldom_is_a_warning(value: dict[str, str]) -> None:
    head = NodeFacts("head0001", value, head=True)
    found = by_name(judged.visited([head, NodeFacts("node0002", WANTED)], WANTED))
    check = found["RAY_gcs_pull_resource_loads_period_milliseconds"]
    assert (check.state, "head0001" in check.detail) == ("warn", True)


def test_a_proxy_that_is_off_or_set_up_by_halves_is_named_with_its_variables() -> None:
    good = NodeFacts("head0001", WANTED, head=True)
    assert judged.proxy([good]).state == "ok"
    off = judged.proxy([good, NodeFacts("node0002", {**WANTED, "RAY_SERVE_ENABLE_HA_PROXY": "0"})])
    assert (off.state, "node node0002: Serve's own proxy" in off.detail) == ("warn", True)
    assert off.mend == "export RAY_SERVE_ENABLE_HA_PROXY=1 before ray start"
    half = {key: value for key, value in WANTED.items() if "TIMEOUT_CLIENT" not in key}
    found = judged.proxy([NodeFacts("node0002", half)])
    assert (found.state, "own settings" in found.detail) == ("warn", True)
    assert "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S=20" in found.mend
    chosen = {**WANTED, "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "30"}
    assert judged.proxy([NodeFacts("node0002", chosen)]).state == "ok", "somebody's choice"


def test_a_node_without_the_package_is_named() -> None:
    lost = NodeFacts("node0002", {}, problem="ModuleNotFoundError: No module named 'sleep_runtime'")
    check = by_name(judged.visited([lost], WANTED))["node"]
    assert (check.state, check.mend) == ("fail", "install the same sleep-runtime on every node")


def test_a_cluster_without_a_token_is_a_warning() -> None:
    assert judged.token([NodeFacts("a", {}, auth="token")]).state == "ok"
    check = judged.token([NodeFacts("a", {}, auth="token"), NodeFacts("b", {}, auth="disabled")])
    assert (check.state, check.detail[:7]) == ("warn", "node b:")


def test_a_token_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "auth_token"
    assert judged.token_file(file).state == "ok"
    file.write_text("secret")
    file.chmod(0o644)
    assert judged.token_file(file).mend == f"chmod 600 {file}"
    file.chmod(0o600)
    assert judged.token_file(file).state == "ok"


def test_the_worst_idle_node_speaks_for_the_engine() -> None:
    well, ill = Check("vllm", "ok", "there"), Check("vllm", "fail", "is not installed", "pip")
    found = judged.engines([NodeFacts("a", {}, engine=(well,)), NodeFacts("b", {}, engine=(ill,))])
    assert found == [Check("vllm", "fail", "node b: is not installed", "pip")]


def test_a_cluster_that_stops_answering_in_the_middle_fails() -> None:
    facts = ClusterFacts(REACHED, misplaced="", nodes=(idle(),))
    assert by_name(judged.judge(facts, settings(), WANTED))["answers"].state == "fail"
    refused = ClusterFacts(REACHED._replace(state="fail"))
    names = [check.name for check in judged.judge(refused, settings(), WANTED)]
    assert names == ["cluster", "token file"]


def test_another_version_is_told_beside_ours() -> None:
    check = versions("10.0.0.1:6379", "2.49.0", "3.12.1")
    assert check.state == "fail"
    assert "Ray 2.49.0, Python 3.12.1" in check.detail
    assert "here are Ray" in check.mend


# ---------------------------------------------------------------------------- without a cluster


@pytest.mark.parametrize(
    ("policy", "state", "mend"),
    [
        (PoolPolicy(), "ok", ""),
        (PoolPolicy(gpus_per_engine=2), "fail", "lower pool.gpus_per_engine, or add GPUs"),
        (PoolPolicy(cpus_per_engine=9), "fail", "lower pool.cpus_per_engine, or add processors"),
        (PoolPolicy(gpus_per_engine=1, max_engines=2), "warn", "lower pool.max_engines"),
        (PoolPolicy(enabled=False), "warn", "set pool.enabled: true"),
    ],
)
def test_the_settings_of_the_pool_fit_the_machine(
    policy: PoolPolicy, state: str, mend: str
) -> None:
    check = pool_fits(policy, cpus=8, gpus=1)
    assert (check.state, check.mend[: len(mend)]) == (state, mend)


def test_a_model_is_split_over_the_gpus_its_engine_holds() -> None:
    split = settings(**{"engine.vllm.tensor_parallel_size": 2}).engine
    assert engine_gpus(split, PoolPolicy(gpus_per_engine=1)).state == "fail"
    assert engine_gpus(split, PoolPolicy(gpus_per_engine=2)).state == "ok"
    assert engine_gpus(split, PoolPolicy(gpus_per_engine=4)).state == "warn"
    assert engine_gpus(split, PoolPolicy()).state == "ok"


def model(path: Path, config: str, weights: int = 1000) -> str:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(config)
    if weights:
        (path / "model.safetensors").write_bytes(b"\0" * weights)
    return str(path)


GOOD = json.dumps({"architectures": ["LlamaForCausalLM"]})


@pytest.mark.parametrize(
    ("config", "weights", "memory", "state", "said"),
    [
        (GOOD, 1000, None, "ok", "LlamaForCausalLM"),
        (GOOD, 1000, 2000, "ok", "LlamaForCausalLM"),
        (GOOD, 1000, 1050, "warn", "LlamaForCausalLM"),
        (GOOD, 1000, 999, "fail", "LlamaForCausalLM"),
        (GOOD, 0, None, "fail", "holds no weights"),
        ("{", 1000, None, "fail", "config.json cannot be read"),
        ("[]", 1000, None, "fail", "names no architecture"),
        ('{"architectures": []}', 1000, None, "fail", "names no architecture"),
    ],
)
def test_a_model_can_be_loaded_or_it_is_said_why_not(
    tmp_path: Path, config: str, weights: int, memory: int | None, state: str, said: str
) -> None:
    check = model_directory(model(tmp_path / "model", config, weights), memory)
    assert check.state == state
    assert said in check.detail


def test_a_model_that_is_not_there_or_has_no_config(tmp_path: Path) -> None:
    assert "there is no directory" in model_directory(str(tmp_path / "nowhere"), None).detail
    assert "holds no config.json" in model_directory(str(tmp_path), None).detail
    assert model_directory("Qwen/Qwen2.5-7B-Instruct", None).state == "warn"
