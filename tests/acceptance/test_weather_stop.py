"""The runtime is asked to stop under load: what was acked is kept, the rest is refused clearly."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import httpx
import pytest
from crowd import BROKEN, Crowd, kept, kept_once
from living import Runtime, event, start, stop

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

STOP_S = 45.0


def test_a_stop_under_load_keeps_what_was_acked_and_lets_nobody_hang(tmp_path: Path) -> None:
    (tmp_path / "neighbour").mkdir()
    neighbour = start(tmp_path / "neighbour")
    runtime = start(tmp_path)
    with Crowd(runtime, "stopped") as crowd:
        crowd.wait_acks(100)
        asked = time.monotonic()
        runtime.process.send_signal(signal.SIGINT)
        assert runtime.process.wait(STOP_S) == 0
        took_s = time.monotonic() - asked
        crowd.leave()
    print(f"stopped in {took_s:.1f} s; {crowd.answers} {crowd.said}, slowest {crowd.slowest_s:.2f}")
    assert set(crowd.answers) <= {200, BROKEN, 404, 500, 503}, crowd.said
    assert crowd.slowest_s < STOP_S
    kept_once(runtime, crowd)
    with pytest.raises(httpx.ConnectError):
        runtime.http.get("/readyz")
    assert stop_neighbour(neighbour) == [], "another runtime of the machine took our events"
    again = start(tmp_path)
    try:
        found = again.capture(event(int(min(crowd.acked).rpartition("-")[2]), crowd.org))
        assert (found["accepted"], found["duplicates"]) == (0, 1), "an ack is an ack after a stop"
    finally:
        assert stop(again) == 0


def stop_neighbour(neighbour: Runtime) -> list[str]:
    """End it; the events it holds of the organisation that was never sent to it."""
    try:
        return kept(neighbour, "stopped")
    finally:
        assert stop(neighbour) == 0
