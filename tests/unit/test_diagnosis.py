"""Why no node can hold an engine: the words that ``status`` and ``doctor`` show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sleep_runtime.consolidation.diagnosis import diagnose
from sleep_runtime.core.pool import NodeView

BUNDLE = {"CPU": 1.0, "GPU": 1.0, "idle_pool": 1.0}
GOOD = {"CPU": 4.0, "GPU": 1.0, "idle_pool": 1.0}
IDLE = {"pool": "idle"}
ASKED = "CPU 1, GPU 1, idle_pool 1"
OFFERS = "node n0123456 has the resource idle_pool but not the label pool=idle"


def node(total: dict[str, float], labels: dict[str, str], **free: float) -> NodeView:
    return NodeView("n0123456789", total, {**total, **free}, labels)


def going(total: dict[str, float], labels: dict[str, str]) -> NodeView:
    return replace(node(total, labels), id="g0123456789", draining=True)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([], "no node has the label pool=idle and the resource idle_pool"),
        ([node({"CPU": 4.0}, {})], "no node has the label pool=idle and the resource idle_pool"),
        (
            [node({"CPU": 4.0, "GPU": 1.0}, IDLE)],
            "node n0123456 has the label pool=idle but not the resource idle_pool",
        ),
        (
            [node(GOOD, {"pool": "idel"})],
            OFFERS + " (found: pool=idel)",
        ),
        (
            [node(GOOD, {})],
            OFFERS,
        ),
        (
            [node({"CPU": 4.0, "idle_pool": 1.0}, IDLE)],
            f"an engine asks for {ASKED}; the largest idle node has CPU 4, GPU 0, idle_pool 1",
        ),
        (
            [node(GOOD, IDLE, GPU=0.0)],
            f"the idle nodes are taken: an engine asks for {ASKED}",
        ),
        ([node(GOOD, IDLE)], ""),
        ([going(GOOD, IDLE)], "no idle node stays: g0123456 is being taken away"),
        ([going(GOOD, IDLE), node(GOOD, IDLE)], ""),
        (
            [going(GOOD, IDLE), node(GOOD, IDLE, GPU=0.0)],
            f"the idle nodes are taken: an engine asks for {ASKED}",
        ),
    ],
)
def test_it_names_what_is_missing(nodes: list[NodeView], said: str) -> None:
    assert diagnose(nodes, BUNDLE) == said
