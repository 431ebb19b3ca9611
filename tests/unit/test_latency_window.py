"""What the hot path says of itself: the p99 of the last seconds, and the requests under way."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from fastapi import FastAPI

from sleep_runtime.serve.front import Front
from sleep_runtime.serve.latency import MAX_SAMPLES, WINDOW_S, LatencyWindow


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def spend(window: LatencyWindow, clock: Clock, ms: float) -> None:
    began = window.begin()
    clock.now += ms / 1000
    window.end(began)


def test_without_requests_there_is_no_p99() -> None:
    assert LatencyWindow(Clock()).read() == (None, 0)


def test_the_p99_is_that_of_the_window_and_old_requests_are_forgotten() -> None:
    clock = Clock()
    window = LatencyWindow(clock)
    for ms in [10.0] * 98 + [20.0, 900.0]:
        spend(window, clock, ms)
    assert window.read()[0] == pytest.approx(900.0)
    clock.now += WINDOW_S + 1
    spend(window, clock, 5.0)
    assert window.read()[0] == pytest.approx(5.0)


def test_requests_under_way_are_counted_and_memory_is_bounded() -> None:
    clock = Clock()
    window = LatencyWindow(clock)
    window.begin()
    for _ in range(MAX_SAMPLES + 10):
        spend(window, clock, 0.0)
    assert window.read()[1] == 1
    assert len(window._samples) == MAX_SAMPLES


@pytest.mark.parametrize(("path", "counted"), [("/v1/search", True), ("/metrics", False)])
@pytest.mark.parametrize("root", ["", "/second"])
def test_only_what_an_agent_waits_for_is_measured_also_when_it_fails(
    path: str, counted: bool, root: str
) -> None:
    window = LatencyWindow()

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        assert window.read()[1] == int(counted)
        raise ConnectionResetError

    async def ask() -> None:
        front = Front(cast("FastAPI", fails), {"/v1/search": fails}, window)
        asked = {"type": "http", "method": "POST", "path": root + path, "root_path": root}
        with pytest.raises(ConnectionResetError):
            await front(asked, None, None)

    asyncio.run(ask())
    assert (window.read()[0] is not None) == counted
    assert window.read()[1] == 0
