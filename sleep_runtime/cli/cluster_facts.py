"""What a Ray cluster says of itself, for ``doctor``: asked by a process of its own, bounded.

Ray ends a process that cannot go on, and waits long for what is not there. So the questions are
asked by a child that is killed when its time is over; what it had found by then is kept.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import platform
import socket
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from sleep_runtime.cli.checks import Check
from sleep_runtime.core.errors import RuntimeUnavailable
from sleep_runtime.core.pool import IDLE_RESOURCE, NodeView

if TYPE_CHECKING:
    from sleep_runtime.compose.serve_state import ServeState
    from sleep_runtime.config import Settings

TIMEOUT_S = 150.0
CONNECT_S = 5.0
NODES_S = 60.0
MAX_NODES = 200
_METADATA = (b"CLUSTER_METADATA", b"cluster")


@dataclass(frozen=True)
class NodeType:
    """A type of node that the autoscaler may start. Ray does not tell its labels."""

    name: str
    resources: dict[str, float]
    max_count: int


@dataclass(frozen=True)
class NodeFacts:
    """What a task found on one node; ``problem`` when it could not run there."""

    node: str
    environment: dict[str, str]
    nice: int = 0
    auth: str = ""
    engine: tuple[Check, ...] = ()
    problem: str = ""
    head: bool = False


@dataclass
class ClusterFacts:
    """Everything found. ``reached`` says how far it came; what was not asked any more is None."""

    reached: Check
    misplaced: RuntimeUnavailable | str | None = None
    nodes: tuple[NodeView, ...] | None = None
    types: tuple[NodeType, ...] = ()
    serve: ServeState | str | None = None
    runtimes: tuple[str, ...] | None = None
    visited: tuple[NodeFacts, ...] | None = None


def gather(settings: Settings, timeout_s: float = TIMEOUT_S) -> ClusterFacts:
    """Ask the cluster at ``settings.ray.address`` everything, within ``timeout_s``."""
    facts = ClusterFacts(unanswered(settings.ray.address, timeout_s))
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_ask, args=(settings, sender), daemon=True)
    child.start()
    sender.close()
    give_up = time.monotonic() + timeout_s
    try:
        while receiver.poll(max(0.0, give_up - time.monotonic())):
            name, value = receiver.recv()
            setattr(facts, name, value)
    except EOFError:  # it is done, or was ended by Ray
        if time.monotonic() < give_up and facts.reached.state == "fail":
            facts.reached = facts.reached._replace(mend=_SEE)
    finally:
        child.kill()
        child.join(CONNECT_S)
        receiver.close()
    return facts


_SEE = "is it up? see: ray status"


def unanswered(address: str, timeout_s: float) -> Check:
    """The finding of a cluster that says nothing."""
    return Check("cluster", "fail", f"{address} did not answer in {timeout_s:g} s", _SEE)


# ---------------------------------------------------------------------------- in the child


def _ask(settings: Settings, sender: Connection) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    address, reached = _reach(settings.ray.address)
    sender.send(("reached", reached))
    if reached.state == "fail":
        return
    import ray

    try:
        ray.init(
            address=address,
            namespace="sleep-runtime-doctor",
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # noqa: BLE001 - whatever Ray refuses with is the finding
        sender.send(("reached", _refused(address, error)))
        return
    _look(settings, sender)


def _reach(chosen: str) -> tuple[str, Check]:
    """The address, and whether a control store we can talk to answers there."""
    from ray._private.services import canonicalize_bootstrap_address
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # made by Cython

    try:
        address = canonicalize_bootstrap_address(chosen)
    except Exception as error:  # noqa: BLE001 - Ray raises what it likes for a bad address
        return chosen, _refused(chosen, error)
    if address is None:
        mend = "run it on a node of the cluster, or give --address HOST:PORT"
        return chosen, Check("cluster", "fail", f"no Ray runs on this machine ({chosen})", mend)
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, ValueError) as error:
        mend = "start the cluster, or check --address: HOST:PORT of the head, 6379 by default"
        return address, Check("cluster", "fail", f"nobody listens at {address}: {error}", mend)
    try:
        raw = GcsClient(address=address).internal_kv_get(*_METADATA, timeout=CONNECT_S)
        told = json.loads(raw)
    except Exception as error:  # noqa: BLE001 - whatever it answers with is the finding
        return address, _refused(address, error)
    return address, versions(address, told["ray_version"], told["python_version"])


def versions(address: str, theirs: str, python: str) -> Check:
    """Whether the cluster runs our versions of Ray and Python, to the patch, as Ray demands."""
    import ray

    found = f"{address}, Ray {theirs}, Python {python}"
    if (theirs, python) == (ray.__version__, platform.python_version()):
        return Check("cluster", "ok", found)
    ours = f"Ray {ray.__version__} and Python {platform.python_version()}"
    mend = f"here are {ours}: install the same on every node"
    return Check("cluster", "fail", found, mend)


def _refused(address: str, error: Exception) -> Check:
    reason = str(error).strip().partition("\n")[0][:300] or type(error).__name__
    if type(error).__name__ == "AuthenticationError" or "AuthToken" in reason:
        mend = (
            "give the cluster's token as RAY_AUTH_TOKEN or ~/.ray/auth_token, RAY_AUTH_MODE=token"
        )
        return Check("cluster", "fail", f"{address} refuses the token", mend)
    return Check("cluster", "fail", f"{address}: {reason}", "check --address; see: ray status")


def _look(settings: Settings, sender: Connection) -> None:
    import ray
    from ray.exceptions import RayError

    from sleep_runtime.actors.cluster import ClusterEyes
    from sleep_runtime.compose.placement import control_node
    from sleep_runtime.compose.serve_state import serve_state

    try:
        control_node()
        sender.send(("misplaced", ""))
    except RuntimeUnavailable as problem:
        sender.send(("misplaced", problem))
    nodes = ClusterEyes().look().nodes
    sender.send(("nodes", nodes))
    sender.send(("types", _types()))
    try:
        sender.send(("serve", serve_state()))
    except RayError as error:
        sender.send(("serve", str(error).strip().partition("\n")[0]))
    named: Any = ray.util.list_named_actors(all_namespaces=True)
    running = {each["namespace"] for each in named if each["name"] == "night-watch"}
    sender.send(("runtimes", tuple(sorted(running))))
    sender.send(("visited", _visit(settings, nodes)))


def _types() -> tuple[NodeType, ...]:
    from ray._private.state import state

    config: Any = state.get_cluster_config()
    groups = config.node_group_configs if config is not None else ()
    return tuple(
        NodeType(group.name, dict(group.resources), int(group.max_count)) for group in groups
    )


def _visit(settings: Settings, nodes: tuple[NodeView, ...]) -> tuple[NodeFacts, ...]:
    """Run a small task on every node (the first ``MAX_NODES``); none holds any resource."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from sleep_runtime.compose.placement import HEAD

    asked: dict[Any, str] = {}
    for node in nodes[:MAX_NODES]:
        engine = settings if node.total.get(IDLE_RESOURCE) else None
        task: Any = ray.remote(facts_of_node).options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        )
        asked[task.remote(node.id, engine)] = node.id
    done, silent = ray.wait(list(asked), num_returns=len(asked), timeout=NODES_S)
    found = [NodeFacts(asked[ref], {}, problem=f"no answer in {NODES_S:g} s") for ref in silent]
    for ref in done:
        try:
            found.append(ray.get(ref))
        except RayError as error:
            found.append(NodeFacts(asked[ref], {}, problem=_last_line(error)))
    alive: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    heads = {node["NodeID"] for node in alive if HEAD in node["Resources"]}
    return tuple(
        replace(each, head=each.node in heads) for each in sorted(found, key=lambda one: one.node)
    )


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else type(error).__name__


def facts_of_node(node: str, settings: Settings | None) -> NodeFacts:
    """Runs on the node as any worker of its Ray. ``settings`` where an engine may come."""
    from ray._private.authentication.authentication_utils import get_authentication_mode_name
    from ray._raylet import get_authentication_mode  # type: ignore[attr-defined]

    from sleep_runtime.cli.doctor_engine import vllm_checks
    from sleep_runtime.compose.cluster import RAY_ENVIRONMENT

    engine: tuple[Check, ...] = ()
    if settings is not None and settings.engine.kind == "vllm":
        engine = tuple(vllm_checks(settings.engine, settings.pool.gpus_per_engine))
    return NodeFacts(
        node,
        {name: os.environ[name] for name in RAY_ENVIRONMENT if name in os.environ},
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        auth=get_authentication_mode_name(get_authentication_mode()),
        engine=engine,
    )
