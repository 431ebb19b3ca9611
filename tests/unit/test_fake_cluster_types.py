from __future__ import annotations

import copy
from pathlib import Path

import pytest
from ray.autoscaler._private.fake_multi_node import node_provider
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig

from benchmarks.fake_cluster_types import (
    FAKE_HEAD_NODE_ID,
    FAKE_HEAD_TYPE,
    FAKE_OBJECT_STORE_BYTES,
    fake_config,
    node_types,
)

RAY_CLUSTER = Path(__file__).parents[2] / "cluster" / "kubernetes" / "base" / "raycluster.yaml"


def test_the_fake_idle_pool_is_the_one_of_the_file() -> None:
    types = node_types(RAY_CLUSTER)
    config = fake_config(types, gcs_address="127.0.0.1:6380", only=["idle-pool"])
    fake = config["available_node_types"]
    assert set(fake) == {FAKE_HEAD_TYPE, "idle-pool"}
    real = types["idle-pool"]
    for same in ("min_workers", "max_workers", "labels", "idle_timeout_s"):
        assert fake["idle-pool"][same] == real[same]
    memory = real["resources"].pop("memory")
    assert memory > 0
    assert fake["idle-pool"]["resources"] == {
        **real["resources"],
        "object_store_memory": FAKE_OBJECT_STORE_BYTES,
    }
    assert config["max_workers"] == real["max_workers"]


def test_without_a_choice_every_worker_type_is_there() -> None:
    config = fake_config(node_types(RAY_CLUSTER), gcs_address="127.0.0.1:6380")
    assert set(config["available_node_types"]) == {FAKE_HEAD_TYPE, "live", "idle-pool"}


def test_the_provider_knows_its_head_and_the_autoscaler_takes_the_config() -> None:
    assert FAKE_HEAD_NODE_ID == node_provider.FAKE_HEAD_NODE_ID
    assert FAKE_HEAD_TYPE == node_provider.FAKE_HEAD_NODE_TYPE
    config = fake_config(node_types(RAY_CLUSTER), gcs_address="127.0.0.1:6380", idle_timeout_s=90)
    validate_config(prepare_config(copy.deepcopy(config)))
    read = AutoscalingConfig(copy.deepcopy(config), skip_content_hash=True)
    idle = read.get_node_type_configs()["idle-pool"]
    assert (idle.min_worker_nodes, idle.max_worker_nodes) == (0, 2)
    assert (idle.labels, idle.idle_timeout_s) == ({"pool": "idle"}, 60.0)
    assert read.get_idle_timeout_s() == 90


def test_a_wrong_name_or_file_is_told(tmp_path: Path) -> None:
    types = node_types(RAY_CLUSTER)
    with pytest.raises(ValueError, match=r"idle_pool.*none of .*\['idle-pool', 'live'\]"):
        fake_config(types, gcs_address="127.0.0.1:6380", only=["idle_pool"])
    empty = tmp_path / "empty.yaml"
    empty.write_text("kind: Service\n", "utf-8")
    with pytest.raises(ValueError, match="holds 0 RayClusters"):
        node_types(empty)


def test_the_types_given_stay_as_they_were() -> None:
    types = node_types(RAY_CLUSTER)
    before = copy.deepcopy(types)
    fake_config(types, gcs_address="127.0.0.1:6380")
    assert types == before
