"""``doctor`` of a cluster: does it have what the runtime needs, and what is missing?

Every check here is a pure function of what ``cluster_facts`` found.
"""

from __future__ import annotations

import math
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sleep_runtime.cli.checks import Check
from sleep_runtime.cli.cluster_facts import ClusterFacts, NodeFacts, NodeType, gather
from sleep_runtime.cli.doctor_engine import engine_gpus
from sleep_runtime.consolidation.claims import fits, selects
from sleep_runtime.consolidation.diagnosis import diagnose
from sleep_runtime.core.errors import RuntimeUnavailable
from sleep_runtime.core.policy import PoolPolicy
from sleep_runtime.core.pool import IDLE_LABELS, IDLE_RESOURCE, NodeView, Resources

if TYPE_CHECKING:
    from sleep_runtime.compose.serve_state import ServeState
    from sleep_runtime.config import Settings

SLOW_LOADS_MS = 100
_LABEL = ",".join(f"{key}={value}" for key, value in IDLE_LABELS.items())
_START = f"""start idle nodes with --labels={_LABEL} --resources='{{"{IDLE_RESOURCE}": 1}}'"""
_MEND_OF_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "its processes hold more memory than they use",
}
_HEAD_ONLY = "RAY_gcs_pull_resource_loads_period_milliseconds"
_NICE = "RAY_worker_niceness"


def examine_cluster(settings: Settings) -> list[Check]:
    """Every check of the cluster at ``ray.address``; bounded, whatever the cluster does."""
    from sleep_runtime.compose.cluster import RAY_ENVIRONMENT, of_its_own

    return judge(gather(settings), of_its_own(settings), RAY_ENVIRONMENT)


def judge(facts: ClusterFacts, settings: Settings, wanted: Mapping[str, str]) -> list[Check]:
    """The findings, in the order in which a start would meet their subjects."""
    checks = [facts.reached]
    if facts.misplaced is not None:
        checks.append(control(facts.misplaced))
    if facts.nodes is not None:
        checks += [kinds(facts.nodes), idle_pool(facts.nodes, facts.types, settings.pool)]
    if facts.runtimes is not None:
        checks += [
            serve(facts.serve, settings),
            neighbours(facts.runtimes, settings.ray.namespace),
        ]
    if settings.engine.kind == "vllm":
        checks.append(engine_gpus(settings.engine, settings.pool))
    if facts.visited is not None:
        checks += [*visited(facts.visited, wanted), *engines(facts.visited)]
        checks.append(token(facts.visited))
    elif facts.reached.state == "ok":
        mend = "see: ray status, and the logs of Ray on its nodes"
        checks.append(Check("answers", "fail", "the cluster stopped answering", mend))
    return [*checks, token_file(Path.home() / ".ray" / "auth_token")]


def control(misplaced: RuntimeUnavailable | str) -> Check:
    """Whether this machine may hold the stores."""
    if isinstance(misplaced, RuntimeUnavailable):
        return Check("control node", "fail", misplaced.reason, misplaced.mend)
    return Check("control node", "ok", "this one holds the stores")


def kinds(nodes: Sequence[NodeView]) -> Check:
    """The nodes by their label, and whether there is one beside the idle pool."""
    labels = Counter(node.labels.get("pool", "") for node in nodes)
    found = ", ".join(
        f"{count} {f'pool={label}' if label else 'without a pool'}"
        for label, count in sorted(labels.items())
    )
    if any(not node.total.get(IDLE_RESOURCE) for node in nodes):
        return Check("nodes", "ok", found)
    detail = f"{found}; every one is of the idle pool"
    return Check("nodes", "warn", detail, "live work and nights take turns: add live nodes")


def idle_pool(nodes: Sequence[NodeView], types: Sequence[NodeType], policy: PoolPolicy) -> Check:
    """Whether there is room for the engines, now or once the autoscaler has brought it."""
    bundle = policy.bundle
    if not policy.enabled:
        return Check("idle pool", "warn", "switched off: no night runs", "set pool.enabled: true")
    room = sum(_holds(node, bundle) for node in nodes)
    able = [each for each in types if fits(bundle, each.resources)]
    coming = ", ".join(f"up to {each.max_count} of {each.name}" for each in able if each.max_count)
    if room >= policy.max_engines:
        taken = diagnose(nodes, bundle)
        return Check("idle pool", "ok", f"room for {room} engines" + (taken and f"; {taken}"))
    if coming and (room or not _half_made(nodes)):
        detail = f"room for {room} of {policy.max_engines} engines; the autoscaler starts {coming}"
        return Check("idle pool", "ok", detail)
    if room:
        detail = f"room for {room} of {policy.max_engines} engines"
        return Check("idle pool", "warn", detail, "lower pool.max_engines, or add idle nodes")
    mend = _START
    if any(node.total.get(IDLE_RESOURCE) and _labelled(node) for node in nodes):
        mend = "lower pool.gpus_per_engine or pool.cpus_per_engine, or take larger idle nodes"
    return Check("idle pool", "fail", diagnose(nodes, bundle), mend)


def _holds(node: NodeView, bundle: Resources) -> int:
    """How many engines the node holds when nothing else is on it."""
    if not (_labelled(node) and fits(bundle, node.total)):
        return 0
    return math.floor(min(node.total[name] / amount for name, amount in bundle.items()) + 1e-6)


def _labelled(node: NodeView) -> bool:
    return selects(IDLE_LABELS, node.labels)


def _half_made(nodes: Sequence[NodeView]) -> bool:
    """Whether some node looks as if it were meant for the idle pool."""
    return any(node.total.get(IDLE_RESOURCE) or _labelled(node) for node in nodes)


def serve(found: ServeState | str | None, settings: Settings) -> Check:
    """Whether the hot path gets its place: the port, and its route."""
    where = f"{settings.http.host}:{settings.http.port}{settings.http.route_prefix}"
    if isinstance(found, str):
        return Check("serve", "fail", f"its controller does not answer: {found}", "serve status")
    if found is None:
        return Check("serve", "ok", f"none yet: up starts it at {where}")
    try:
        found.check(settings)
    except RuntimeUnavailable as problem:
        return Check("serve", "fail", problem.reason, problem.mend)
    others = [name for name in found.applications if name != settings.ray.namespace]
    beside = f", beside {', '.join(sorted(others))}" if others else ""
    own = found.applications.get(settings.ray.namespace)
    if own is None:
        return Check("serve", "ok", f"runs; {where} is free{beside}")
    if own.status != "RUNNING":
        detail = f"our application is {own.status}"
        return Check("serve", "fail", detail, "see: serve status; then start the runtime again")
    return Check("serve", "ok", f"our application runs at {where}{beside}")


def neighbours(runtimes: Sequence[str], own: str) -> Check:
    """Whether other runtimes share the idle pool of this cluster."""
    others = [name for name in runtimes if name != own]
    if not others:
        return Check("neighbours", "ok", "no other runtime on this cluster")
    detail = f"{', '.join(others)} shares the idle pool"
    return Check("neighbours", "warn", detail, "they take turns: add idle nodes if nights are late")


def visited(nodes: Sequence[NodeFacts], wanted: Mapping[str, str]) -> list[Check]:
    """What the nodes' processes say of their surroundings."""
    failed = [node for node in nodes if node.problem]
    answered = [node for node in nodes if not node.problem]
    checks = [
        Check("node", "fail", f"node {node.node[:8]}: {node.problem}", _mend_of(node.problem))
        for node in failed
    ]
    nice = [node for node in answered if node.nice > 0]
    if nice:
        levels = ", ".join(sorted({str(node.nice) for node in nice}))
        detail = f"{_names(nice)}: workers run at nice {levels}, any other process crushes them"
        checks.append(Check(_NICE, "warn", detail, f"export {_NICE}=0 before ray start"))
    else:
        checks.append(Check(_NICE, "ok", "workers run at normal priority"))
    for name in wanted:
        if name == _HEAD_ONLY:
            checks.append(_resource_loads(answered, wanted[name]))
        elif name in _MEND_OF_ENVIRONMENT:
            checks.append(_set_everywhere(answered, name, wanted[name]))
    return [*checks, proxy(answered)]


def proxy(nodes: Sequence[NodeFacts]) -> Check:
    """Whether Serve's HAProxy will stand in front of the hot path, and hold as much as it may."""
    from sleep_runtime.compose.proxy import DEFAULTS, HA_PROXY, PROXY_ENVIRONMENT, SLOW, lacking

    without = [(node, lacking(node.environment)) for node in nodes]
    names = {name for _, missing in without for name in missing}
    if not names:
        return Check("proxy", "ok", "HAProxy, with our settings on every node")
    affected = _names([node for node, missing in without if missing])
    values = " ".join(f"{name}={PROXY_ENVIRONMENT[name]}" for name in sorted(names))
    detail = f"{affected}: {SLOW if HA_PROXY in names else DEFAULTS}"
    return Check("proxy", "warn", detail, f"export {values} before ray start")


def _mend_of(problem: str) -> str:
    if "No module named" in problem or "ModuleNotFoundError" in problem:
        return "install the same sleep-runtime on every node"
    return "see the logs of Ray on that node"


def _resource_loads(nodes: Sequence[NodeFacts], value: str) -> Check:
    """The control store collects what waits this often. On a head it runs beside the raylet."""
    asked = [node for node in nodes if node.head]
    if not asked:
        return Check(_HEAD_ONLY, "warn", "the head did not answer", "see the logs of Ray on it")
    best = min((_number(node.environment.get(_HEAD_ONLY)) for node in asked), default=math.inf)
    if best <= SLOW_LOADS_MS:
        return Check(_HEAD_ONLY, "ok", f"{best:g} ms")
    slow = f"{best:g} ms" if best < math.inf else "not set"
    detail = f"{_names(asked)}: {slow}, so live work waits up to a second longer for the pool"
    return Check(_HEAD_ONLY, "warn", detail, f"export {_HEAD_ONLY}={value} before ray start --head")


def _number(text: str | None) -> float:
    try:
        return float(text) if text is not None else math.inf
    except ValueError:
        return math.inf


def _set_everywhere(nodes: Sequence[NodeFacts], name: str, value: str) -> Check:
    without = [node for node in nodes if name not in node.environment]
    if not without:
        return Check(name, "ok", "set on every node")
    detail = f"{_names(without)}: not set, so {_MEND_OF_ENVIRONMENT[name]}"
    return Check(name, "warn", detail, f"export {name}={value} before ray start")


def engines(nodes: Sequence[NodeFacts]) -> list[Check]:
    """What an engine would find on the idle nodes: one line each, the worst of all nodes."""
    worst: dict[str, tuple[int, Check]] = {}
    for node in nodes:
        for check in node.engine:
            rank = ("ok", "warn", "fail").index(check.state)
            if check.name not in worst or rank > worst[check.name][0]:
                told = check._replace(detail=f"node {node.node[:8]}: {check.detail}")
                worst[check.name] = (rank, told)
    return [check for _, check in worst.values()]


def token(nodes: Sequence[NodeFacts]) -> Check:
    """Whether whoever reaches Ray's ports needs the token."""
    open_to_all = [node for node in nodes if not node.problem and node.auth == "disabled"]
    if not open_to_all:
        return Check("token", "ok", "Ray asks for one")
    detail = f"{_names(open_to_all)}: whoever reaches Ray's ports runs code there"
    return Check("token", "warn", detail, "export RAY_AUTH_MODE=token before ray start, everywhere")


def token_file(path: Path) -> Check:
    """Whether only its owner may read the token."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return Check("token file", "ok", "none")
    if mode & 0o077:
        return Check("token file", "warn", f"{path} is {mode:04o}", f"chmod 600 {path}")
    return Check("token file", "ok", f"{mode:04o}")


def _names(nodes: Sequence[NodeFacts]) -> str:
    names = ", ".join(node.node[:8] for node in nodes[:3])
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return f"node {names}{more}" if len(nodes) == 1 else f"nodes {names}{more}"
