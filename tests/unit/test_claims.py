"""Which engines stand in the way of live work."""

from __future__ import annotations

import pytest

from sleep_runtime.consolidation.claims import MAX_ASKS, claimed, contested, fits, said, selects
from sleep_runtime.core.pool import IDLE_LABELS, Ask, EnginePhase, EngineView, NodeView

BUNDLE = {"GPU": 1.0, "CPU": 1.0, "idle_pool": 1.0}
GPU = Ask({"GPU": 1.0})


def node(name: str, gpus: float = 0, cpus: float = 0, *, draining: bool = False) -> NodeView:
    labels = IDLE_LABELS if name.startswith("idle") else {"pool": "live"}
    free = {"GPU": float(gpus), "CPU": float(cpus), "idle_pool": 0.0}
    return NodeView(name, {"GPU": 4.0, "CPU": 8.0, "idle_pool": 4.0}, free, labels, draining)


def engine(
    index: int, where: str, phase: EnginePhase = EnginePhase.OPEN, in_flight: int = 0
) -> EngineView:
    return EngineView(index, phase, 0.0, where, in_flight)


def crew(*where: str) -> list[EngineView]:
    return [engine(index, name) for index, name in enumerate(where)]


@pytest.mark.parametrize(
    ("wanted", "found", "matches"),
    [
        ("idle", "idle", True),
        ("idle", "live", False),
        ("idle", None, False),
        ("!idle", "live", True),
        ("!idle", "idle", False),
        ("!idle", None, True),
        ("in(a, b)", "b", True),
        ("in(a,b)", "c", False),
        ("in(a,b)", None, False),
        ("!in(a,b)", "c", True),
        ("!in(a,b)", "a", False),
        ("!in(a,b)", None, True),
    ],
)
def test_label_selectors(wanted: str, found: str | None, *, matches: bool) -> None:
    labels = {} if found is None else {"pool": found}
    assert selects({"pool": wanted}, labels) is matches
    assert selects({"pool": wanted, "zone": "z"}, labels) is False
    assert selects({}, labels)


def test_room_and_its_name() -> None:
    assert fits({"GPU": 0.3}, {"GPU": 0.1 + 0.2})
    assert not fits({"GPU": 1.0}, {"CPU": 1.0})
    assert fits({}, {})
    assert said({"GPU": 1.0, "CPU": 0.5}) == "CPU 0.5, GPU 1"
    assert said({}) == "room"


@pytest.mark.parametrize(
    ("why", "asks", "nodes", "engines", "found"),
    [
        ("an engine holds it", [GPU], [node("idle-0")], crew("idle-0"), {0}),
        ("it fits elsewhere", [GPU], [node("idle-0"), node("live-0", 1)], crew("idle-0"), set()),
        ("no room helps", [Ask({"GPU": 9.0})], [node("idle-0")], crew("idle-0"), set()),
        ("it asks for what no engine has", [Ask({"TPU": 1})], [node("a")], crew("a"), set()),
        ("other nodes", [Ask({"GPU": 1}, {"pool": "live"})], [node("idle-0")], crew("idle-0"), ()),
        ("its node goes", [GPU], [node("idle-0", draining=True)], crew("idle-0"), set()),
        ("an unknown node", [GPU], [node("idle-0")], crew(""), set()),
        ("two on one node", [Ask({"GPU": 2})], [node("a")], crew("a", "a", "a"), {0, 1}),
        ("one and what is free", [Ask({"GPU": 2})], [node("a", 1)], crew("a", "a"), {0}),
        ("never half on each", [Ask({"GPU": 2})], [node("a"), node("b")], crew("a", "b"), set()),
        (
            "the node that loses least",
            [Ask({"GPU": 2})],
            [node("a"), node("b", 1)],
            crew("a", "a", "b"),
            {2},
        ),
        ("each of several", [Ask({"GPU": 1}, count=2)], [node("a")], crew("a", "a", "a"), {0, 1}),
        ("as many as there are", [Ask({"GPU": 1}, count=9)], [node("a")], crew("a", "a"), {0, 1}),
        ("two share a bundle", [Ask({"GPU": 0.5}, count=2)], [node("a")], crew("a", "a"), {0}),
        (
            "one fits, the other claims",
            [Ask({"GPU": 1}), Ask({"GPU": 1})],
            [node("a", 1)],
            crew("a"),
            {0},
        ),
    ],
)
def test_what_is_claimed(
    why: str,
    asks: list[Ask],
    nodes: list[NodeView],
    engines: list[EngineView],
    found: set[int],
) -> None:
    assert set(claimed(asks, nodes, engines, BUNDLE)) == set(found), why


def test_the_reason_names_what_is_asked_for() -> None:
    found = claimed([Ask({"GPU": 1.0, "CPU": 0.5})], [node("a")], crew("a"), BUNDLE)
    assert found == {0: "live work waits for CPU 0.5, GPU 1"}


def test_what_is_shut_yields_before_what_works() -> None:
    phases = [EnginePhase.OPEN, EnginePhase.STARTING, EnginePhase.CLOSED, EnginePhase.PAUSED]
    engines = [engine(index, "a", phase) for index, phase in enumerate(phases)]
    order = [set(claimed([Ask({"GPU": n})], [node("a")], engines, BUNDLE)) for n in (1, 2, 3, 4)]
    assert order == [{3}, {3, 2}, {3, 2, 1}, {3, 2, 1, 0}]
    busy = [engine(0, "a", in_flight=3), engine(1, "a", in_flight=1)]
    assert set(claimed([GPU], [node("a")], busy, BUNDLE)) == {1}


def test_a_dead_engines_group_makes_the_room() -> None:
    engines = [engine(0, "a"), engine(1, "a", EnginePhase.DEAD)]
    assert set(claimed([GPU], [node("a")], engines, BUNDLE)) == {1}


def test_an_engine_without_a_node_holds_nothing() -> None:
    waiting = engine(0, "a", EnginePhase.WAITING)
    assert claimed([GPU], [node("a")], [waiting], BUNDLE) == {}


def test_a_gang_claims_for_all_of_it_or_for_none() -> None:
    pair = [Ask({"GPU": 1.0}, gang="g"), Ask({"GPU": 1.0, "CPU": 1.0}, gang="g")]
    assert claimed(pair, [node("a")], crew("a"), BUNDLE) == {}
    assert set(claimed(pair, [node("a"), node("b")], crew("a", "b"), BUNDLE)) == {0, 1}
    assert set(claimed(pair, [node("a"), node("b", 1, 1)], crew("a"), BUNDLE)) == {0}
    assert set(claimed([*pair, GPU], [node("a")], crew("a"), BUNDLE)) == {0}
    many = [Ask({"GPU": 0.001}, count=10**9, gang="g")]
    assert claimed(many, [node("a")], crew("a"), BUNDLE) == {}


def test_what_cannot_be_helped_hides_nothing_that_can() -> None:
    """More asks than one look goes through, all larger: the small one is seen all the same."""
    hopeless = [Ask({"GPU": 8.0}, count=10 * MAX_ASKS), Ask({"GPU": 7.0}, count=10**9)]
    assert set(claimed([*hopeless, GPU], [node("a")], crew("a"), BUNDLE)) == {0}


def test_of_one_size_the_choosiest_is_placed_first() -> None:
    picky, easy = Ask({"GPU": 1.0}, {"pool": "idle"}), Ask({"GPU": 1.0})
    nodes = [node("idle-0", 1), node("live-0", 1)]
    for asks in ([picky, easy], [easy, picky]):
        assert claimed(asks, nodes, crew("idle-0"), BUNDLE) == {}
    live = Ask({"GPU": 1.0}, {"pool": "live"})
    either = Ask({"GPU": 1.0}, {"pool": "in(idle,live)"})
    found = [claimed(asks, nodes, crew("live-0"), BUNDLE) for asks in ([live, either, easy],)]
    assert found == [claimed([easy, either, live], nodes, crew("live-0"), BUNDLE)]


@pytest.mark.parametrize(
    ("why", "asks", "free", "reason"),
    [
        ("nobody waits", [], 1, ""),
        ("it would be claimed at once", [GPU], 1, "live work waits for GPU 1"),
        ("there is room for both", [GPU], 2, ""),
        ("it could not be helped", [Ask({"GPU": 4.0})], 1, ""),
        ("no room to take", [GPU], 0, ""),
    ],
)
def test_whether_a_new_engine_would_be_claimed(
    why: str, asks: list[Ask], free: float, reason: str
) -> None:
    place = NodeView("a", {}, {"GPU": free, "CPU": 4.0, "idle_pool": 4.0}, IDLE_LABELS)
    assert contested(asks, [place], BUNDLE) == reason, why
