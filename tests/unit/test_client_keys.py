"""Which key the client asks with, and what becomes of events whose key is refused."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import httpx
import pytest
from client_fixtures import make, recorder
from client_rig import WHO, spooled, until

from sleep_runtime.client import AccessDenied, Client, Options
from sleep_runtime.client.retry import MAX_DENIALS, MAX_DENIED_S, Circuit
from sleep_runtime.testing.recorder import CaptureRecorder

__all__ = ["make", "recorder"]
URL = "http://127.0.0.1:8377"


class Guard(httpx.BaseTransport):
    """Lets a recorder be reached with the right key only."""

    def __init__(self, behind: CaptureRecorder, key: str) -> None:
        self.behind = behind
        self.key = key
        self.refused = 0
        self.status = 401

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            self.refused += 1
            error = {"field": "authorization", "reason": "unknown", "mend": "keys create"}
            return httpx.Response(self.status, json={"error": error})
        return self.behind.handle_request(request)


def is_up(data: Path, key: str, *, url: str = URL, pid: int | None = None) -> None:
    data.mkdir(exist_ok=True)
    (data / "local.key").write_text(f"{key}\n")
    told = {"url": url, "pid": os.getpid() if pid is None else pid}
    (data / "runtime.json").write_text(json.dumps(told))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SLEEP_API_KEY", raising=False)
    monkeypatch.setenv("SLEEP_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def test_this_machines_key_is_found_whenever_it_comes_and_again_when_it_is_another(
    recorder: CaptureRecorder, data: Path, tmp_path: Path
) -> None:
    guard = Guard(recorder, "first")
    with Client(URL, transport=guard, options=Options(spool_dir=tmp_path)) as client:
        with pytest.raises(AccessDenied):
            client.search("x", scope=WHO)
        is_up(data, "first")
        client.search("x", scope=WHO)
        guard.key = "second"
        with pytest.raises(AccessDenied):
            client.search("x", scope=WHO)
        is_up(data, "second")
        client.search("x", scope=WHO)


@pytest.mark.parametrize(
    ("url", "pid"),
    [("http://127.0.0.1:1", None), (URL, 2**22 + 1), ("http://localhost:8377", None)],
)
def test_nobody_else_gets_this_machines_key(
    recorder: CaptureRecorder, data: Path, tmp_path: Path, url: str, pid: int | None
) -> None:
    is_up(data, "own", url=url, pid=pid)
    with Client(URL, transport=recorder, options=Options(spool_dir=tmp_path)) as client:
        client.search("x", scope=WHO)
    assert "authorization" not in recorder.requests[0].headers


def test_a_key_that_was_given_is_asked_with_alone(
    recorder: CaptureRecorder, data: Path, tmp_path: Path
) -> None:
    is_up(data, "own")
    options = Options(spool_dir=tmp_path)
    with Client(URL, api_key="given", transport=recorder, options=options) as client:
        client.search("x", scope=WHO)
    assert recorder.requests[0].headers["authorization"] == "Bearer given"


@pytest.mark.parametrize("status", [401, 403])
def test_events_whose_key_is_refused_wait_on_the_disk_and_arrive_with_another(
    recorder: CaptureRecorder, data: Path, tmp_path: Path, status: int
) -> None:
    guard = Guard(recorder, "right")
    guard.status = status
    options = Options(spool_dir=tmp_path / "spool", flush_interval_s=0.01)
    client = Client(URL, api_key="wrong", transport=guard, options=options)
    for number in range(3):
        client.session(WHO).message(f"m{number}", role="agent")
    until(lambda: client.stats().spooled == 3)
    client.close()
    assert guard.refused <= 2, "it is asked again and again"
    assert client.stats().dropped == client.stats().rejected == 0
    assert sorted(spooled(tmp_path / "spool")) == ["m0", "m1", "m2"]
    with Client(URL, api_key="right", transport=guard, options=options) as again:
        assert again.flush(20.0)
    assert sorted(event["text"] for event in recorder.events) == ["m0", "m1", "m2"]


def test_a_refused_key_is_asked_with_ever_less_and_then_no_more() -> None:
    circuit = Circuit(0.5, 30.0, random.Random(1))
    waits, now = [], 0.0
    for _ in range(MAX_DENIALS):
        circuit.failed(now, denied=True)
        waits.append(circuit.until - now)
        now = circuit.until
    assert 15 <= waits[0] <= 30
    assert all(MAX_DENIED_S / 2 <= wait <= MAX_DENIED_S for wait in waits[8:])
    circuit.failed(now, denied=True)
    assert circuit.is_open(now + 10**9), "it asks for ever"
    circuit.try_now()
    assert not circuit.is_open(now)
    circuit.succeeded()
    circuit.failed(now, denied=True)
    assert circuit.until - now <= 30
