"""The stores' node is the one ``up`` runs on, and that has to be the head or a control node."""

from __future__ import annotations

from typing import Any

import pytest

from sleep_runtime.compose.placement import chosen
from sleep_runtime.core.errors import RuntimeUnavailable


def node(name: str, *, head: bool = False, pool: str = "") -> dict[str, Any]:
    resources = {"CPU": 2.0, **({"node:__internal_head__": 1.0} if head else {})}
    labels = {"pool": pool} if pool else {}
    return {
        "NodeID": name,
        "NodeManagerAddress": f"10.0.0.{len(name)}",
        "Resources": resources,
        "Labels": labels,
    }


def test_without_labelled_nodes_it_is_the_head() -> None:
    assert chosen("head", [node("head", head=True), node("worker")]) == "head"


def test_a_labelled_node_comes_before_the_head() -> None:
    nodes = [node("head", head=True), node("control", pool="control")]
    assert chosen("control", nodes) == "control"
    with pytest.raises(RuntimeUnavailable, match=r"run it on 10\.0\.0\.7"):
        chosen("head", nodes)


def test_another_node_is_refused_with_where_to_go() -> None:
    with pytest.raises(RuntimeUnavailable) as refused:
        chosen("worker", [node("head", head=True), node("worker")])
    assert refused.value.field == "ray.address"
    assert "10.0.0.4 (head)" in refused.value.mend
    assert "pool=control" in refused.value.mend
