"""``pool``: what is sent, what is printed, and how a pool that does not give way reads."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from sleep_runtime.cli.main import main

POOL: dict[str, Any] = {
    "state": "held back",
    "reason": "live work waits for GPU 1",
    "since": "2026-11-26T10:00:00+00:00",
    "engines": [{"engine": "engine-0", "phase": "starting"}],
    "nights": 0,
    "next_try_s": 12.4,
    "where": {
        "journal": {"node": "abcdef0123", "host": "h1", "pid": 7, "policy": "SCHED_OTHER"},
    },
}


class Runtime:
    """Answers every request with one body, and remembers the requests."""

    def __init__(self) -> None:
        self.body: dict[str, Any] = POOL
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(200, json=self.body)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    made, real = Runtime(), httpx.Client

    def fake(**options: Any) -> httpx.Client:
        return real(**{**options, "transport": httpx.MockTransport(made)})

    monkeypatch.setattr(httpx, "Client", fake)
    monkeypatch.setenv("SLEEP_URL", "http://127.0.0.1:1")
    return made


def test_show_tells_the_state_why_and_where_actors_run(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pool", "show"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "held back; live work waits for GPU 1; engine-0 starting; tries again in 12 s; since "
    )
    row = out.splitlines()[-1].split()
    assert row == ["journal", "h1", "abcdef01", "7", "SCHED_OTHER"]
    assert main(["pool", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == POOL


def test_yield_says_how_fast_the_bundles_were_free(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime.body = {"freed": True, "waited_ms": 12.5}
    assert main(["pool", "yield", "--for", "30"]) == 0
    assert capsys.readouterr().out == "free after 12.5 ms, for 30 s\n"
    assert json.loads(runtime.asked[0].content) == {"seconds": 30}
    assert runtime.asked[0].url.path == "/v1/pool/yield"


def test_a_pool_that_does_not_give_way_is_a_failure(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime.body = {"freed": False, "waited_ms": 5000}
    assert main(["pool", "yield", "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == runtime.body
    assert "the pool still holds a bundle after 5000 ms" in said.err


def test_resume_ends_a_yield(runtime: Runtime) -> None:
    assert main(["pool", "resume"]) == 0
    assert json.loads(runtime.asked[0].content) == {"seconds": 0}


@pytest.mark.parametrize("seconds", ["0", "-1", "90000", "soon"])
def test_a_length_that_cannot_be_is_a_usage_error(runtime: Runtime, seconds: str) -> None:
    assert main(["pool", "yield", "--for", seconds]) == 2
    assert not runtime.asked
