"""Where actors sit on a cluster.

The stores are files on the disk of one node, so everything that opens them is pinned to it:
owners, tiers, the night watch and the replicas of the hot path. Engines open no file and live in
placement groups on nodes of the idle pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sleep_runtime.core.errors import RuntimeUnavailable

CONTROL_LABEL = ("pool", "control")
HEAD = "node:__internal_head__"
_NODE_LABEL = "ray.io/node-id"


def control_node() -> str:
    """The id of the node that holds the stores: the one this process runs on.

    It has to be the head, or a node labelled ``pool=control`` where there are any. Raises
    ``RuntimeUnavailable``, naming where to go, when it is neither.
    """
    here = ray.get_runtime_context().get_node_id()
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return chosen(here, [node for node in known if node["Alive"]])


def chosen(here: str, nodes: Sequence[dict[str, Any]]) -> str:
    """``control_node`` over Ray's list of living nodes."""
    key, value = CONTROL_LABEL
    labelled = [node for node in nodes if node.get("Labels", {}).get(key) == value]
    fit = labelled or [node for node in nodes if HEAD in node.get("Resources", {})]
    if any(node["NodeID"] == here for node in fit):
        return here
    names = ", ".join(f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})" for node in fit)
    raise RuntimeUnavailable(
        f"the stores would lie on node {here[:8]}, which is neither the head nor labelled "
        f"{key}={value}",
        field="ray.address",
        mend=f"run it on {names or 'the head'}, or label this node {key}={value}",
    )


def pinned(node: str) -> dict[str, Any]:
    """Options of an actor that may only live on this node."""
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


def replica_pinned(node: str) -> dict[str, Any]:
    """The same for a Serve replica, which takes labels only."""
    return {"label_selector": {_NODE_LABEL: node}}
