"""The settings shipped for a GPU machine and for a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from sleep_runtime.config import leaf_keys, load

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = ["cluster.yaml", "gpu.yaml"]
WAITING = "#+"  # a line that waits for its setting
WITH_POOL = {"pool.enabled", "engine.vllm.tensor_parallel_size"} <= set(leaf_keys())


def waiting_lines(name: str) -> list[str]:
    lines = (CONFIGS / name).read_text("utf-8").splitlines()
    return [line for line in lines if line.startswith(WAITING)]


def with_waiting_lines(name: str) -> str:
    """The file with every waiting line in force and the ones they stand for left out."""
    lines = (CONFIGS / name).read_text("utf-8").splitlines()
    kept = [line for line in lines if line != "  kind: extractive"]
    return "\n".join(line.removeprefix(WAITING) for line in kept) + "\n"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_loads(name: str) -> None:
    loaded = load(CONFIGS / name, environ={})
    given = [key for key, origin in loaded.provenance.items() if origin.startswith("file ")]
    assert len(given) >= 10


@pytest.mark.parametrize("name", SHIPPED)
def test_no_line_waits_for_a_setting_that_is_there(name: str) -> None:
    assert bool(waiting_lines(name)) is not WITH_POOL, "take the marks away: sed -i 's/^#+//'"


@pytest.mark.skipif(WITH_POOL, reason="the lines are in force")
@pytest.mark.parametrize("name", SHIPPED)
def test_waiting_lines_are_settings_of_the_pool_and_of_vllm(name: str) -> None:
    import yaml

    tree = yaml.safe_load(with_waiting_lines(name))
    assert tree["engine"]["kind"] == "vllm"
    assert set(tree["engine"]["vllm"]) == {
        "tensor_parallel_size",
        "quantization",
        "max_model_len",
        "gpu_memory_utilization",
        "sleep_level",
    }
    assert set(tree["pool"]) == {
        "enabled",
        "gpus_per_engine",
        "cpus_per_engine",
        "max_engines",
        "tokens_per_engine",
        "grace_s",
        "hysteresis_s",
        "backoff_s",
        "max_backoff_s",
        "quiet_hours",
        "max_gpu_hours_per_day",
        "hot_p99_ms",
        "idle_timeout_s",
    }


def test_a_cluster_keeps_its_stores_in_one_absolute_place_and_joins_its_ray() -> None:
    settings = load(CONFIGS / "cluster.yaml", environ={}).settings
    assert settings.data_dir.is_absolute()
    assert settings.ray.address == "auto"
    assert settings.log.format == "json"


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_listens_to_strangers_before_there_is_authentication(name: str) -> None:
    assert load(CONFIGS / name, environ={}).settings.http.host == "127.0.0.1"
