"""The runtime is away, stuck or back: the agent notices nothing, and everything arrives once."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import pytest
from client_rig import WHO, Make, spooled, until

from sleep_runtime.client import (
    Client,
    Options,
)
from sleep_runtime.client.wire import Address
from sleep_runtime.testing.recorder import CaptureRecorder

pytest_plugins = ("client_fixtures",)


class Stuck(httpx.BaseTransport):
    """A runtime that does not answer until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = threading.Event()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.set()
        assert self.go.wait(30)
        raise httpx.ReadTimeout("too late", request=request)


def test_what_a_stuck_runtime_leaves_no_room_for_goes_to_the_spool(
    make: Make, tmp_path: Path
) -> None:
    stuck = Stuck()
    client = make(transport=stuck, max_buffer_events=100, flush_events=10, exit_s=0.05)
    session = client.session(WHO)
    session.message("first", role="agent")
    assert stuck.asked.wait(10)
    for round_ in range(10):
        for _ in range(50):
            session.message("more", role="agent")
        until(lambda round_=round_: client.stats().spooled >= round_ * 50)  # type: ignore[misc]
    assert client.stats().dropped == 0
    began = time.monotonic()
    client.close()
    assert time.monotonic() - began < 2.0
    assert sorted(set(spooled(tmp_path))) == ["first", "more"]
    assert len(spooled(tmp_path)) == 501
    stuck.go.set()


def test_without_a_spool_a_full_buffer_drops_the_newest_and_says_so_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = Stuck()
    client = make(transport=stuck, spool=False, max_buffer_events=5, exit_s=0.05)
    session = client.session(WHO)
    session.message("flying", role="agent")
    assert stuck.asked.wait(10)
    for _ in range(20):
        session.message("more", role="agent")
    assert client.stats().dropped == 15
    assert client.stats().captured == 21
    assert [r.message for r in caplog.records if "dropped" in r.message] == [
        "events were dropped: the buffer is full (said once; client.stats() counts)"
    ]
    client.close()
    stuck.go.set()


def test_what_was_spooled_arrives_once_when_the_runtime_is_back(
    make: Make, recorder: CaptureRecorder, tmp_path: Path
) -> None:
    recorder.fail(*[httpx.ConnectError("nobody")] * 3)
    client = make()
    with client.session(WHO) as session:
        session.correction("use adjusted EBITDA")
    until(lambda: client.stats().sent == 1)
    assert client.stats().spooled == 1
    assert len(recorder.events) == 1
    assert spooled(tmp_path) == []
    assert client.stats().last_error == ""


def test_the_next_client_sends_what_the_last_one_could_not(
    make: Make, recorder: CaptureRecorder
) -> None:
    recorder.fail(*[httpx.ConnectError("nobody")] * 50)
    first = make()
    first.session(WHO).correction("use adjusted EBITDA")
    first.close()
    recorder._faults.clear()
    second = make()
    second.session(WHO).message("hello", role="agent")
    assert second.flush()
    assert {e["text"] for e in recorder.events} == {"use adjusted EBITDA", "hello"}
    assert second.stats().sent == 2


def test_an_unwritable_spool_costs_nothing_while_the_runtime_is_there(
    make: Make, recorder: CaptureRecorder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    client = make(spool_dir=tmp_path / "file", flush_interval_s=0.01)
    client.session(WHO).message("one", role="agent")
    assert client.flush()
    recorder.fail(httpx.ConnectError("nobody"))
    client.session(WHO).message("two", role="agent")
    until(lambda: len(recorder.events) == 2)  # it waited in memory
    assert client.stats().dropped == 0
    assert any("the spool cannot be written" in r.message for r in caplog.records)


def test_durable_means_on_the_disk_when_capture_returns(
    make: Make, recorder: CaptureRecorder, tmp_path: Path
) -> None:
    recorder.fail(*[503] * 1000)
    client = make(durable=True)
    client.session(WHO).correction("use adjusted EBITDA")
    assert spooled(tmp_path) == ["use adjusted EBITDA"]
    recorder._faults.clear()
    assert client.flush()
    assert spooled(tmp_path) == []
    assert len(recorder.events) == 1


def test_what_is_captured_after_the_end_waits_for_the_next_client(
    make: Make, recorder: CaptureRecorder, tmp_path: Path
) -> None:
    client = make()
    client.close()
    client.close()
    client.session(WHO).message("late", role="agent")
    assert spooled(tmp_path) == ["late"]
    assert not client.flush()
    other = make()
    other.session(WHO).message("next", role="agent")
    assert other.flush()
    assert {e["text"] for e in recorder.events} == {"late", "next"}


def test_captures_that_race_with_the_end_are_sent_or_spooled(
    make: Make, recorder: CaptureRecorder, tmp_path: Path
) -> None:
    for _ in range(5):
        client = make()
        ready = threading.Barrier(3)

        def talk(client: Client = client, ready: threading.Barrier = ready) -> None:
            session = client.session(WHO)
            ready.wait(10)
            for _ in range(20):
                session.message("hello", role="agent")

        threads = [threading.Thread(target=talk) for _ in range(2)]
        for thread in threads:
            thread.start()
        ready.wait(10)
        client.close()
        for thread in threads:
            thread.join()
        assert client.stats().buffered == 0
        assert client.stats().dropped == 0
    last = make()
    last.session(WHO).message("last", role="agent")
    assert last.flush(20.0)
    assert len(recorder.events) == 5 * 40 + 1


def test_a_key_is_sent_and_shown_to_nobody(
    make: Make, recorder: CaptureRecorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLEEP_API_KEY", "s3cret")
    monkeypatch.setenv("SLEEP_URL", "http://elsewhere/")
    client = Client(transport=recorder, options=Options(spool_dir=tmp_path))
    client.search("x", scope=WHO)
    assert recorder.requests[0].headers["authorization"] == "Bearer s3cret"
    assert str(recorder.requests[0].url) == "http://elsewhere/v1/search"
    assert "s3cret" not in repr(Address.find(None, None))
    client.close()
