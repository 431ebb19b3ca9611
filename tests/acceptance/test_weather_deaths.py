"""Processes of the hot path are killed under load: what was acked is kept, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from crowd import BROKEN, Crowd, kept_once
from living import Runtime, start, stop

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

OUTAGE_S = 30.0
RETRIED = {BROKEN, 404, 429, 500, 502, 503, 504}
"""What docs/how-to/operate.md tells clients to send again; 404 is of a HAProxy without routes."""
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    running = start(tmp_path_factory.mktemp("runtime"))
    yield running
    assert stop(running) == 0


def kill(runtime: Runtime, name: str) -> None:
    victims = runtime.processes(name)
    assert victims, f"no {name}"
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=10)


@pytest.mark.parametrize("name", ["HotPath", "JournalOwner", "haproxy"])
def test_whoever_is_killed_under_load_no_acked_event_is_lost(
    runtime: Runtime, name: str, record_property: Callable[[str, object], None]
) -> None:
    with Crowd(runtime, f"killed{name.lower()}") as crowd:
        crowd.wait_acks(100)
        killed = time.monotonic()
        kill(runtime, name)
        crowd.wait_acks(300, PATIENCE_S)
    back_s = min(at for at in crowd.acks if at > killed + 0.05) - killed
    print(
        f"{name}: outage {crowd.longest_gap_s():.2f} s, back {back_s:.2f} s, {crowd.answers}, "
        f"slowest {crowd.slowest_s:.2f} s, {crowd.said}"
    )
    record_property("outage_s", crowd.longest_gap_s())
    assert set(crowd.answers) - RETRIED == {200}, crowd.said
    assert crowd.longest_gap_s() < OUTAGE_S
    assert not crowd.unacked
    kept_once(runtime, crowd)
