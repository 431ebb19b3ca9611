"""Nodes of a cluster come, go and die while nights run; the runtime loses and doubles nothing."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from check import check
from living import Runtime, event, start, stop
from night import NIGHT_S, begin, day, ends_once, pool
from nodes import OPEN, Node, Nodes, nodes

pytestmark = [pytest.mark.ray, pytest.mark.slow]

QUICK = {
    **OPEN,
    "SLEEP_POOL__HYSTERESIS_S": "0.5",
    "SLEEP_POOL__BACKOFF_S": "0.5",
    "SLEEP_POOL__MAX_BACKOFF_S": "2",
    "SLEEP_POLICY__TRIGGERS__COOLDOWN_S": "0",
}
CONTROL = ("journal", "ledger", "index", "hot-path", "night-watch")
TIERS = ("tier-org-0", "tier-team-0", "tier-individual-0")
ENGINE = "engine-0"
# Ray asks a raylet every few seconds whether it lives, several times; a busy machine takes longer.
NOTICE_S = 90.0
DRAIN_S = 30.0
# Ray ends a process that has not reached its control store for a minute.
ORPHAN_S = 90.0


@dataclass
class Joined:
    """A runtime on a cluster of a head, a live node and idle nodes that a test may take away."""

    cluster: Nodes
    runtime: Runtime
    live: Node
    idle: Node

    def idle_node(self) -> Node:
        """An idle node that lives: the one there is, or a new one."""
        if self.idle.name not in self.cluster.alive():
            self.idle = self.cluster.idle(f"idle-{len(self.cluster.started)}")
        return self.idle


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Joined]:
    with nodes() as cluster:
        cluster.head()
        live, idle = cluster.live(), cluster.idle()
        runtime = start(tmp_path_factory.mktemp("joined"), "--address", cluster.address, **QUICK)
        yield Joined(cluster, runtime, live, idle)
        assert stop(runtime) == 0


@pytest.mark.timeout(400)
def test_control_sits_on_the_head_and_the_engine_on_the_idle_node(joined: Joined) -> None:
    runtime = joined.runtime
    runtime.capture(event(1, "placed", "from now on deploy on mondays", kind="correction"))
    runtime.http.post("/v1/runs", json={"scope": "placed"}).raise_for_status()
    runtime.wait(lambda: ENGINE in pool(runtime)["where"], "an engine", NIGHT_S)
    where = {name: place["node"] for name, place in pool(runtime)["where"].items()}
    alive = joined.cluster.alive()
    assert where == {
        **dict.fromkeys((*CONTROL, *TIERS), alive["head"].id),
        ENGINE: alive[joined.idle.name].id,
    }
    ends_once(runtime, "placed", 1)


@pytest.mark.timeout(400)
def test_a_live_node_that_dies_in_mid_night_is_nothing_to_us(joined: Joined) -> None:
    runtime = joined.runtime
    joined.idle_node()
    events = day("neighbour", 400)
    begin(runtime, "neighbour", events)
    before = pool(runtime)["where"]
    joined.live.kill()
    for number in itertools.count():
        assert runtime.capture(event(number, "meanwhile"))["accepted"] == 1
        asked = {"scope": "meanwhile/team/ana", "query": "hello"}
        assert runtime.http.post("/v1/search", json=asked).is_success
        if "live" not in joined.cluster.alive():
            break
    assert pool(runtime)["where"] == before, "something of ours was started again"
    ends_once(runtime, "neighbour", len(events))
    assert pool(runtime)["failures_in_a_row"] == 0


@pytest.mark.timeout(400)
def test_a_night_watch_that_is_killed_takes_its_open_engine_over(joined: Joined) -> None:
    runtime = joined.runtime
    joined.idle_node()
    events = day("watched", 400)
    begin(runtime, "watched", events)
    before = pool(runtime)["where"]
    psutil.Process(before["night-watch"]["pid"]).kill()

    def adopted() -> bool:
        now = pool(runtime)
        watch = now["where"].get("night-watch", before["night-watch"])
        return watch["pid"] != before["night-watch"]["pid"] and ENGINE in now["where"]

    runtime.wait(adopted, "another night watch to find the engine", NIGHT_S)
    assert pool(runtime)["where"][ENGINE] == before[ENGINE], "the model was loaded twice"
    ends_once(runtime, "watched", len(events))


@pytest.mark.timeout(600)
def test_an_idle_node_that_dies_in_mid_night_is_waited_for(
    joined: Joined, deck: list[dict[str, Any]], gold: dict[str, Any]
) -> None:
    runtime = joined.runtime
    lost = joined.idle_node()
    begin(runtime, "acme", deck)
    lost.kill_raylet()
    runtime.wait(lambda: ENGINE not in pool(runtime)["where"], "the engine to be gone", NOTICE_S)
    gone = ("waiting for a node", "no node has the label pool=idle and the resource idle_pool")
    runtime.wait(
        lambda: (pool(runtime)["state"], pool(runtime)["reason"]) == gone,
        "the pool to say so",
        NOTICE_S,
    )
    assert '\nsleep_pool_state{state="waiting for a node"} 1' in runtime.http.get("/metrics").text
    assert not runtime.status("acme")["quiet"], "nothing was left to wait for"
    assert runtime.capture(event(1, "day"))["accepted"] == 1, "the day goes on"

    came = joined.idle_node()
    assert came is not lost
    ends_once(runtime, "acme", len({item["id"] for item in deck}))
    assert check(runtime.notes("acme", "all"), gold) == []


@pytest.mark.timeout(600)
def test_a_spot_node_that_is_taken_away_is_left_before_its_deadline(joined: Joined) -> None:
    runtime, cluster = joined.runtime, joined.cluster
    going = joined.idle_node()
    events = day("spot", 400)
    begin(runtime, "spot", events)
    deadline_s = cluster.drain(going.name, DRAIN_S)
    runtime.wait(lambda: ENGINE not in pool(runtime)["where"], "the engine to leave", DRAIN_S)
    assert time.monotonic() < deadline_s
    removed = [line for line in cluster.said("pool.engine") if line["what"] == "remove"]
    assert removed[-1]["reason"] == "its node is taken away"
    runtime.wait(lambda: going.name not in cluster.alive(), "the node to go", 2 * DRAIN_S)
    assert time.monotonic() < deadline_s, "the node could not go sooner"
    joined.idle_node()
    ends_once(runtime, "spot", len(events))


@pytest.mark.timeout(900)
def test_a_head_that_dies_with_everything_comes_back_from_the_database_alone(
    tmp_path: Path, deck: list[dict[str, Any]], gold: dict[str, Any]
) -> None:
    acked: list[dict[str, Any]] = []
    with nodes() as first:
        head = first.head()
        idle = first.idle()
        runtime = start(tmp_path, "--address", first.address, **QUICK)
        begin(runtime, "acme", deck)
        with capturing(runtime, acked):
            runtime.wait(lambda: len(acked) >= 5, "some events of the day")
            head.kill()
            idle.kill()
        # Its driver has lost its cluster: it ends by itself, and lets go of the directory.
        runtime.process.wait(timeout=ORPHAN_S)
        runtime.http.close()
    with nodes() as second:
        second.head()
        second.idle()
        runtime = start(tmp_path, "--address", second.address, **QUICK)
        try:
            told = [*acked, *{item["id"]: item for item in deck}.values()]
            answers = [runtime.capture(*told[at : at + 100]) for at in range(0, len(told), 100)]
            assert sum(answer["duplicates"] for answer in answers) == len(told), "acked, and lost"
            ends_once(runtime, "acme", len({item["id"] for item in deck}))
            assert check(runtime.notes("acme", "all"), gold) == []
        finally:
            assert stop(runtime) == 0


@contextlib.contextmanager
def capturing(runtime: Runtime, acked: list[dict[str, Any]]) -> Iterator[None]:
    """One event after the other in a thread of its own, until the first that gets no ack."""

    def capture() -> None:
        for number in itertools.count():
            said = event(number, "evening")
            try:
                if runtime.capture(said).get("accepted") != 1:
                    return
            except (httpx.HTTPError, ValueError):  # no answer, or none of ours
                return
            acked.append(said)

    thread = threading.Thread(target=capture)
    thread.start()
    yield
    thread.join(timeout=90)
    assert not thread.is_alive()
