"""What is read out of the control store's message: nodes, asks, groups; the pool's own left out."""

from __future__ import annotations

from typing import Any

from ray.core.generated import autoscaler_pb2, common_pb2

from sleep_runtime.actors.cluster import read
from sleep_runtime.core.pool import Ask

STATUS: Any = vars(autoscaler_pb2)["NodeStatus"]
OPERATOR: Any = vars(common_pb2)["LabelSelectorOperator"]


def state() -> Any:
    return vars(autoscaler_pb2)["ClusterResourceState"]()


def add_node(to: Any, name: bytes, status: str = "RUNNING", **labels: str) -> Any:
    node = to.node_states.add(node_id=name, status=STATUS.Value(status))
    node.total_resources.update({"CPU": 4.0, "GPU_group_0_ab": 1.0, "node:10.0.0.1": 1.0})
    node.available_resources.update({"CPU": 1.0, "bundle_group_0_ab": 1000.0})
    node.labels.update(labels)
    return node


def test_nodes_without_what_only_names_groups_and_without_the_dead() -> None:
    seen = state()
    add_node(seen, b"\x01", pool="idle").dynamic_labels["_PG_abcd"] = ""
    add_node(seen, b"\x02", "DRAINING")
    add_node(seen, b"\x03", "DEAD")
    look = read(seen)
    first, second = look.nodes
    assert (first.id, first.total, first.free) == ("01", {"CPU": 4.0}, {"CPU": 1.0})
    assert first.labels == {"pool": "idle"}
    assert [first.draining, second.draining] == [False, True]
    assert look.groups == {"abcd": "01"}
    assert look.known


def test_asks_with_their_labels_and_without_any_pools_own() -> None:
    seen = state()
    waiting = seen.pending_resource_requests.add(count=2)
    waiting.request.resources_bundle.update({"GPU": 1.0})
    chosen = waiting.request.label_selectors.add()
    chosen.label_constraints.add(
        label_key="zone", operator=OPERATOR.Value("LABEL_OPERATOR_IN"), label_values=["b", "a"]
    )
    chosen.label_constraints.add(
        label_key="kind", operator=OPERATOR.Value("LABEL_OPERATOR_NOT_IN"), label_values=["x"]
    )
    ours = seen.pending_resource_requests.add(count=1)
    ours.request.resources_bundle.update({"idle_pool": 0.001})
    inside = seen.pending_resource_requests.add(count=1)
    inside.request.resources_bundle.update({"GPU_group_0_ab": 1.0})
    assert read(seen).asks == (Ask({"GPU": 1.0}, {"zone": "in(a,b)", "kind": "!in(x)"}, 2),)


def test_the_bundles_of_a_group_are_one_gang() -> None:
    seen = state()
    for _ in range(2):
        gang = seen.pending_gang_resource_requests.add()
        for _ in range(2):
            gang.requests.add().resources_bundle.update({"GPU": 1.0})
    pool = seen.pending_gang_resource_requests.add()
    pool.requests.add().resources_bundle.update({"GPU": 1.0, "idle_pool": 1.0})
    gangs = [ask.gang for ask in read(seen).asks]
    assert gangs == ["gang-0", "gang-0", "gang-1", "gang-1"]
