"""Slow, silent and greedy clients: bounded, told so, and nobody else waits for them."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator

import pytest
from living import Runtime, event, start, stop
from slow import head, lines, p99_ms

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

BODY_S = 3.0
DEAF_S = 20.0
MANY = 300
"""More than one replica works on and lets wait by default."""
NEIGHBOURLY_MS = 250.0
MAX_BODY = 1_000_000


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    running = start(
        tmp_path_factory.mktemp("runtime"),
        SLEEP_HTTP__BODY_TIMEOUT_S=str(BODY_S),
        SLEEP_HTTP__MAX_BODY_BYTES=str(MAX_BODY),
    )
    p99_ms(running, "warm")
    yield running
    assert stop(running) == 0


@pytest.mark.parametrize("path", ["/v1/events", "/v1/search", "/v1/feedback"])
def test_a_body_that_comes_byte_by_byte_is_refused_in_time(runtime: Runtime, path: str) -> None:
    with lines(runtime, MANY) as slow:
        slow.send(head(runtime, path, 1000))
        began = time.monotonic()
        slow.send(b"[")
        slow.listen(0.2)
        beside = p99_ms(runtime, f"beside{path[4:]}", requests=40)
        while len(slow.statuses()) < MANY and time.monotonic() - began < BODY_S + 10:
            slow.send(b" ")
            slow.listen(1.0)
        took_s = time.monotonic() - began
    print(f"{path}: p99 beside {MANY} slow bodies {beside:.1f} ms, all refused in {took_s:.1f} s")
    assert slow.statuses() == [408] * MANY
    error = json.loads(next(iter(slow.answers.values())).partition(b"\r\n\r\n")[2])["error"]
    assert error["field"] == "body"
    assert "http.body_timeout_s" in error["mend"]
    assert beside < NEIGHBOURLY_MS


def test_heads_that_come_byte_by_byte_delay_nobody(runtime: Runtime) -> None:
    with lines(runtime, MANY) as slow:
        for letter in b"POST /v1/":
            slow.send(bytes([letter]))
            slow.listen(0.05)
        beside = p99_ms(runtime, "heads")
    print(f"p99 beside {MANY} slow heads {beside:.1f} ms")
    assert beside < NEIGHBOURLY_MS


def test_clients_that_read_no_answer_lose_their_places_in_time(runtime: Runtime) -> None:
    """More than there are places, so that others are refused until these are given up."""
    page = head(runtime, "/openapi.json", 0, "GET")
    began = time.monotonic()
    with lines(runtime, MANY, receive_bytes=1024) as deaf:
        for _ in range(8):  # more than the buffers between us hold
            deaf.send(page)
        runtime.wait(lambda: runtime.http.get("/readyz").status_code == 200, "a place", DEAF_S + 10)
        took_s = time.monotonic() - began
        runtime.wait(lambda: runtime.capture(event(1, "heard"))["accepted"] == 1, "an ack", DEAF_S)
        beside = p99_ms(runtime, "deaf", requests=40)
    print(f"p99 beside {MANY} deaf clients {beside:.1f} ms, after {took_s:.1f} s")
    assert beside < NEIGHBOURLY_MS


@pytest.mark.parametrize("path", ["/v1/search", "/v1/context"])
def test_a_query_of_a_megabyte_is_refused_with_a_mend(runtime: Runtime, path: str) -> None:
    runtime.capture(event(1, "large"))
    answer = runtime.http.post(path, json={"scope": "large", "query": "x" * 2**20})
    assert answer.status_code == 413
    error = answer.json()["error"]
    assert (error["field"], "shorten" in error["mend"]) == ("body", True)
    long = runtime.http.post(path, json={"scope": "large", "query": "x" * 4001})
    assert (long.status_code, long.json()["error"]["field"]) == (422, "query")


def test_one_byte_too_many_is_refused_and_the_last_that_fits_is_not(runtime: Runtime) -> None:
    fits = json.dumps([event(1, "brim")]).encode()
    fits += b" " * (MAX_BODY - len(fits))
    taken = runtime.http.post("/v1/events", content=fits)
    assert taken.json()["accepted"] == 1
    refused = runtime.http.post("/v1/events", content=fits + b" ")
    assert refused.status_code == 413
    assert "http.max_body_bytes" in refused.json()["error"]["mend"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/feedback", "/v1/runs"])
def test_a_body_without_end_is_cut_off_and_costs_no_memory(runtime: Runtime, path: str) -> None:
    (replica,) = runtime.processes("HotPath")
    before, rounds = replica.memory_info().rss, 0
    with lines(runtime, 1) as greedy:
        greedy.send(head(runtime, path, 2**31))
        while not greedy.statuses() and rounds < 5000:
            greedy.send(b" " * 2**16)
            greedy.listen(0.001)
            rounds += 1
    grown = replica.memory_info().rss - before
    print(f"{path}: refused after {rounds / 16:.0f} MiB, grown by {grown / 2**20:.0f} MiB")
    assert greedy.statuses() == [413]
    assert grown < 32 * 2**20


def test_as_many_idle_clients_as_there_may_be_delay_nobody(runtime: Runtime) -> None:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(10_000, (allowed - 500) * 2 // 5 - 300)
    (proxy,) = runtime.processes("haproxy -db")
    before = proxy.memory_info().rss
    with lines(runtime, count) as idle:
        idle.send(b"GET /healthz HTTP/1.1\r\nhost: weather\r\n\r\n")
        idle.listen(5.0)
        beside = p99_ms(runtime, "idle")
        grown = proxy.memory_info().rss - before
        answered = len(idle.statuses())
    print(f"{count} idle clients: p99 beside {beside:.1f} ms, HAProxy +{grown / 2**20:.0f} MiB")
    assert answered == count
    assert not idle.ended
    assert beside < NEIGHBOURLY_MS
    assert grown < 2**30
