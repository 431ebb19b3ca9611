"""What Ray's control store says of the cluster: nodes, what waits, where our groups are.

One question answers all of it, costs about a quarter of a millisecond of processor time, and
needs no dashboard. How fresh the answer is depends on the head: Ray collects what waits every
``RAY_gcs_pull_resource_loads_period_milliseconds``, a second unless it is told otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # made by Cython
from ray.core.generated import autoscaler_pb2, common_pb2
from ray.exceptions import RayError

from sleep_runtime.core.pool import IDLE_RESOURCE, Ask, NodeView
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

# The messages' classes are made when they are imported, so types cannot know them.
_REPLY: Any = vars(autoscaler_pb2)["GetClusterResourceStateReply"]
_STATUS: Any = vars(autoscaler_pb2)["NodeStatus"]
_OPERATOR: Any = vars(common_pb2)["LabelSelectorOperator"]
ANSWER_S = 2.0
_GROUP_LABEL = "_PG_"
_OURS_ONLY = ("bundle_group", "node:")

log = get_logger(__name__)


@dataclass(frozen=True)
class ClusterLook:
    """One look. ``groups`` holds the node of every placement group that has one, by group id.

    ``known`` is False when the control store did not answer.
    """

    nodes: tuple[NodeView, ...] = ()
    asks: tuple[Ask, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    known: bool = True


class ClusterEyes:
    """Looks at the cluster this process is connected to. One thread at a time."""

    def __init__(self) -> None:
        self._client: Any = None
        self._blind = False

    def look(self) -> ClusterLook:
        """The cluster as the control store knows it; unknown when it does not answer."""
        try:
            if self._client is None:
                self._client = control_store()
            found = _asked(self._client, ANSWER_S)
        except (RayError, RuntimeError, OSError) as error:
            self._client = None
            if not self._blind:
                log.warning(LogEvent.POOL_BLIND, reason=f"{type(error).__name__}: {error}"[:300])
            self._blind = True
            return ClusterLook(known=False)
        self._blind = False
        return found


def control_store() -> Any:
    """A client of the control store. Made while it answers: making one waits for it."""
    return GcsClient(ray.get_runtime_context().gcs_address)


def is_alive(client: Any, node_id: str, *, timeout_s: float) -> bool:
    """Whether the control store counts a node, by its id in hex digits, among the living.

    Raises what Ray raises when it does not answer.
    """
    return any(node.id == node_id for node in _asked(client, timeout_s).nodes)


def _asked(client: Any, timeout_s: float) -> ClusterLook:
    state = _REPLY()
    state.ParseFromString(client.get_cluster_resource_state(timeout_s=timeout_s))
    return read(state.cluster_resource_state)


def read(state: Any) -> ClusterLook:
    """A ``ClusterResourceState`` message as the governor needs it."""
    alive = [node for node in state.node_states if node.status != _STATUS.Value("DEAD")]
    return ClusterLook(
        nodes=tuple(_node(node) for node in alive),
        asks=tuple(_asks(state)),
        groups={
            label.removeprefix(_GROUP_LABEL): node.node_id.hex()
            for node in alive
            for label in node.dynamic_labels
            if label.startswith(_GROUP_LABEL)
        },
    )


def _node(node: Any) -> NodeView:
    return NodeView(
        id=node.node_id.hex(),
        total=_plain(node.total_resources),
        free=_plain(node.available_resources),
        labels=dict(node.labels),
        draining=node.status == _STATUS.Value("DRAINING"),
    )


def _plain(resources: Mapping[str, float]) -> dict[str, float]:
    """Resources without those that only name a placement group or a node."""
    return {
        name: amount
        for name, amount in resources.items()
        if "_group_" not in name and not name.startswith(_OURS_ONLY)
    }


def _asks(state: Any) -> Iterable[Ask]:
    """What waits and is no part of any idle pool: pools never push each other out."""
    for pending in state.pending_resource_requests:
        yield from _ask(pending.request, pending.count)
    for number, gang in enumerate(state.pending_gang_resource_requests):
        chosen = gang.bundle_selectors[0].resource_requests if gang.bundle_selectors else ()
        for request in chosen or gang.requests:
            yield from _ask(request, 1, gang=f"gang-{number}")


def _ask(request: Any, count: int, gang: str = "") -> Iterable[Ask]:
    resources = dict(request.resources_bundle)
    if IDLE_RESOURCE in resources or any("_group_" in name for name in resources):
        return
    # The first of several selectors is the one asked for; the others are fallbacks.
    constraints = request.label_selectors[0].label_constraints if request.label_selectors else ()
    labels = {item.label_key: _selector(item) for item in constraints}
    yield Ask(resources, labels, count, gang)


def _selector(constraint: Any) -> str:
    values = f"in({','.join(sorted(constraint.label_values))})"
    refused = constraint.operator == _OPERATOR.Value("LABEL_OPERATOR_NOT_IN")
    return f"!{values}" if refused else values
