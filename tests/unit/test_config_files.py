"""The settings shipped for a GPU machine and for a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fake_cluster_types import node_types
from sleep_runtime.cli.doctor_engine import engine_gpus, pool_fits
from sleep_runtime.config import load
from sleep_runtime.consolidation.claims import fits, selects
from sleep_runtime.core.pool import IDLE_LABELS

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
RAYCLUSTER = ROOT / "cluster" / "kubernetes" / "base" / "raycluster.yaml"
SHIPPED = ["cluster.yaml", "gpu.yaml"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_loads(name: str) -> None:
    loaded = load(CONFIGS / name, environ={})
    given = [key for key, origin in loaded.provenance.items() if origin.startswith("file ")]
    assert len(given) >= 10


@pytest.mark.parametrize("name", SHIPPED)
def test_every_line_is_in_force(name: str) -> None:
    assert "#+" not in (CONFIGS / name).read_text("utf-8")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_model_runs_in_the_idle_pool_on_the_gpus_it_holds(name: str) -> None:
    settings = load(CONFIGS / name, environ={}).settings
    assert settings.engine.kind == "vllm"
    assert engine_gpus(settings.engine, settings.pool).state == "ok"
    assert settings.pool.start_timeout_s > settings.engine.vllm.load_timeout_s, "it never opens"
    assert settings.pool.silence_s > settings.engine.timeout_s, "ended while it answers"
    given = load(CONFIGS / name, environ={}).provenance
    assert not given["engine.max_concurrency"].startswith("file"), "is for openai"


def test_one_gpu_is_enough_for_the_machine_with_one() -> None:
    policy = load(CONFIGS / "gpu.yaml", environ={}).settings.pool
    assert pool_fits(policy, cpus=2, gpus=1).state == "ok"


def test_the_engines_fit_the_idle_nodes_of_the_cluster_files() -> None:
    policy = load(CONFIGS / "cluster.yaml", environ={}).settings.pool
    idle = [
        kind
        for kind in node_types(RAYCLUSTER).values()
        if fits(policy.bundle, kind["resources"]) and selects(IDLE_LABELS, kind["labels"])
    ]
    assert [kind["max_workers"] for kind in idle] == [policy.max_engines]


def test_a_cluster_keeps_its_stores_in_one_absolute_place_and_joins_its_ray() -> None:
    settings = load(CONFIGS / "cluster.yaml", environ={}).settings
    assert settings.data_dir.is_absolute()
    assert settings.ray.address == "auto"
    assert settings.log.format == "json"


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_listens_to_strangers_unless_it_is_told_to(name: str) -> None:
    assert load(CONFIGS / name, environ={}).settings.http.host == "127.0.0.1"
