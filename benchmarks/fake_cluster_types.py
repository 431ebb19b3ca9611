"""The node types of a cluster file, for a Ray that only plays a cluster.

A RayCluster is read as the autoscaler on Kubernetes reads it, and its node types are written into
a configuration for Ray's fake nodes. So what is measured or tested without a cloud scales by the
minimum, maximum, resources, labels and idle timeouts of the very file that is deployed::

    types = node_types(Path("cluster/kubernetes/base/raycluster.yaml"))
    config = fake_config(types, gcs_address="127.0.0.1:6380", only=["idle-pool"])
    Path("fake.yaml").write_text(yaml.safe_dump(config))
    # FAKE_ENVIRONMENT ray start --head --block --autoscaling-config=fake.yaml …
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

FAKE_HEAD_NODE_ID = "f" * 51 + "00000"
FAKE_HEAD_TYPE = "ray.head.default"  # the provider knows its head by this name
KUBERAY_HEAD_TYPE = "headgroup"
FAKE_OBJECT_STORE_BYTES = 80_000_000
FAKE_PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"

# What has to be in the environment of ``ray start`` for fake nodes to come and go.
FAKE_ENVIRONMENT = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}

NodeTypes = dict[str, dict[str, Any]]


def node_types(path: Path) -> NodeTypes:
    """What the autoscaler makes of the RayCluster in this file.

    Raises ``ValueError`` when there is not exactly one RayCluster in it.
    """
    documents = [doc for doc in yaml.safe_load_all(path.read_text("utf-8")) if doc]
    clusters = [doc for doc in documents if doc.get("kind") == "RayCluster"]
    if len(clusters) != 1:
        raise ValueError(f"{path}: holds {len(clusters)} RayClusters, one is needed")
    return node_types_of(clusters[0])


def node_types_of(ray_cluster: Mapping[str, Any]) -> NodeTypes:
    """The ``available_node_types`` that the autoscaler derives from this RayCluster."""
    from ray.autoscaler._private.kuberay import autoscaling_config

    resource = copy.deepcopy(dict(ray_cluster))
    resource["metadata"].setdefault("namespace", "default")
    derive = autoscaling_config._derive_autoscaling_config_from_ray_cr  # noqa: SLF001 - no public one
    types: NodeTypes = derive(resource)["available_node_types"]
    return types


def fake_config(
    types: Mapping[str, Mapping[str, Any]],
    *,
    gcs_address: str,
    only: Collection[str] | None = None,
    idle_timeout_s: float = 60.0,
) -> dict[str, Any]:
    """An autoscaling configuration in which these node types are fake nodes of this machine.

    ``only`` keeps the named worker types, so that no live nodes are started where only the idle
    pool matters. ``idle_timeout_s`` holds for types that have none of their own. Memory is left
    out: a fake node has this machine's. Raises ``ValueError`` for a name that is no worker type.
    """
    workers = {name: spec for name, spec in types.items() if name != KUBERAY_HEAD_TYPE}
    unknown = set(only or ()) - workers.keys()
    if unknown:
        raise ValueError(f"only: {sorted(unknown)} are none of the worker types {sorted(workers)}")
    kept = {name: spec for name, spec in workers.items() if only is None or name in only}
    fake = {name: _fake_type(spec) for name, spec in kept.items()}
    head = _fake_type(types[KUBERAY_HEAD_TYPE])
    return {
        "cluster_name": "fake",
        "max_workers": sum(spec["max_workers"] for spec in fake.values()),
        "upscaling_speed": 1000,
        "idle_timeout_minutes": idle_timeout_s / 60,
        "provider": {
            "type": "external",
            "module": FAKE_PROVIDER,
            "head_node_id": FAKE_HEAD_NODE_ID,
            "gcs_address": gcs_address,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "launch_multiple": True,
        },
        "head_node_type": FAKE_HEAD_TYPE,
        "available_node_types": {FAKE_HEAD_TYPE: head, **fake},
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        "initialization_commands": [],
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
    }


def _fake_type(spec: Mapping[str, Any]) -> dict[str, Any]:
    fake = copy.deepcopy(dict(spec))
    fake["resources"].pop("memory", None)
    if fake["max_workers"]:
        fake["resources"]["object_store_memory"] = FAKE_OBJECT_STORE_BYTES
    return fake
