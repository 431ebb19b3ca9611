"""Why no node can hold an engine of the idle pool, in words that say what to change."""

from __future__ import annotations

from collections.abc import Sequence

from sleep_runtime.consolidation.claims import fits, said, selects
from sleep_runtime.core.pool import IDLE_LABELS, IDLE_RESOURCE, NodeView, Resources

_LABEL = ", ".join(f"{key}={value}" for key, value in IDLE_LABELS.items())


def diagnose(nodes: Sequence[NodeView], bundle: Resources) -> str:
    """What keeps ``bundle`` from every node; empty when one has room for it.

    A cluster without any idle node may be one whose autoscaler brings it: that is said too. A node
    that is being taken away holds nothing new.
    """
    staying = [node for node in nodes if not node.draining]
    leaving = [node for node in nodes if node.draining and _idle(node)]
    if leaving and not any(_idle(node) for node in staying):
        names = ", ".join(node.id[:8] for node in leaving[:3])
        return f"no idle node stays: {names} is being taken away"
    return _missing(staying, bundle)


def _idle(node: NodeView) -> bool:
    return node.total.get(IDLE_RESOURCE, 0) > 0 and selects(IDLE_LABELS, node.labels)


def _missing(nodes: Sequence[NodeView], bundle: Resources) -> str:
    offering = [node for node in nodes if node.total.get(IDLE_RESOURCE, 0) > 0]
    labelled = [node for node in nodes if selects(IDLE_LABELS, node.labels)]
    if not offering and not labelled:
        return f"no node has the label {_LABEL} and the resource {IDLE_RESOURCE}"
    both = [node for node in offering if node in labelled]
    if not both and labelled:
        return f"{_named(labelled)} the label {_LABEL} but not the resource {IDLE_RESOURCE}"
    if not both:
        found = sorted({node.labels.get("pool", "") for node in offering} - {""})
        other = f" (found: {', '.join(f'pool={value}' for value in found)})" if found else ""
        missing = f"the resource {IDLE_RESOURCE} but not the label {_LABEL}"
        return f"{_named(offering)} {missing}{other}"
    if not any(fits(bundle, node.total) for node in both):
        best = max(both, key=lambda node: sum(node.total.get(name, 0) for name in bundle))
        has = {name: best.total.get(name, 0.0) for name in bundle}
        return f"an engine asks for {said(bundle)}; the largest idle node has {said(has)}"
    if not any(fits(bundle, node.free) for node in both):
        return f"the idle nodes are taken: an engine asks for {said(bundle)}"
    return ""


def _named(nodes: Sequence[NodeView]) -> str:
    names = ", ".join(node.id[:8] for node in nodes[:3])
    return f"node {names} has" if len(nodes) == 1 else f"nodes {names} have"
