"""Limits of a caller, from the configuration to the answers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from daylight import ADJUSTED, ANA, DAY, PORT, World, event, runtime, scripted
from starlette.testclient import TestClient

from sleep_runtime.testing.clock import ManualClock

NDJSON = {"content-type": "application/x-ndjson"}


@contextmanager
def site(folder: Path, **limits: Any) -> Iterator[tuple[World, TestClient]]:
    clock, engine = ManualClock(), scripted()
    named = {f"limits.{name}": value for name, value in limits.items()}
    with runtime(folder, clock, engine, named) as running, TestClient(running.app()) as http:
        yield World(running, clock, engine), http


def events(count: int, text: str = "hello", first: int = 0) -> list[dict[str, Any]]:
    now = ManualClock().now()
    return [{**event(ANA, text, now), "id": f"e{first + number}"} for number in range(count)]


def error_of(answer: Any, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    found: dict[str, str] = answer.json()["error"]
    return found


def test_events_over_the_rate_are_refused_whole_and_told_when_to_come_back(tmp_path: Path) -> None:
    with site(tmp_path, events_per_s=0.5, burst_s=4) as (world, http):
        assert http.post("/v1/events", json=events(2)).json()["accepted"] == 2
        refused = http.post("/v1/events", json=events(2, first=2))
        assert error_of(refused, 429)["field"] == "limits.events_per_s"
        assert 3 <= int(refused.headers["retry-after"]) <= 4
        assert world.running.journal_reader.count() == 2, "none of them was kept"


def test_feedback_is_an_event_of_its_caller(tmp_path: Path) -> None:
    with site(tmp_path, events_per_s=0.1, burst_s=1) as (_, http):
        assert http.post("/v1/events", json=events(1)).json()["accepted"] == 1
        body = {"scope": str(ANA), "note": "n", "helpful": True}
        assert error_of(http.post("/v1/feedback", json=body), 429)["field"] == "limits.events_per_s"


@pytest.mark.parametrize("as_ndjson", [False, True])
def test_a_batch_a_body_and_a_text_have_their_sizes(tmp_path: Path, as_ndjson: bool) -> None:
    with site(tmp_path, max_batch_events=2, max_text_chars=9, max_body_bytes=900) as (_, http):

        def post(batch: list[dict[str, Any]]) -> Any:
            if not as_ndjson:
                return http.post("/v1/events", json=batch)
            lines = "\n".join(map(json.dumps, batch))
            return http.post("/v1/events", content=lines, headers=NDJSON)

        assert "at most 2" in error_of(post(events(3)), 413)["reason"]
        answer = post([*events(1), *events(1, "a longer text", first=1)]).json()
        assert (answer["accepted"], answer["rejected"][0]["index"]) == (1, 1)
        assert "at most 9" in answer["rejected"][0]["error"]
        assert "900 bytes" in error_of(post(events(1, "x" * 2000)), 413)["reason"]
        packed = gzip.compress(json.dumps(events(1, "x" * 2000)).encode())
        refused = http.post("/v1/events", content=packed, headers={"content-encoding": "gzip"})
        assert "900 bytes" in error_of(refused, 413)["reason"], "unpacked counts too"


@pytest.mark.parametrize("as_of", [False, True])
def test_a_question_costs_the_notes_it_was_answered_from(tmp_path: Path, as_of: bool) -> None:
    with site(tmp_path, query_cost_per_s=0.01, burst_s=100) as (world, http):
        world.say(ANA, ADJUSTED.statement, PORT.statement)
        world.clock.advance(DAY)
        world.running.nights()
        asked = {"scope": str(ANA), "query": "EBITDA", "k": 1}
        if as_of:
            asked["as_of"] = world.clock.now().isoformat()
        assert len(http.post("/v1/search", json=asked).json()["hits"]) == 1
        refused = http.post("/v1/context", json={"scope": str(ANA), "query": "EBITDA"})
        assert error_of(refused, 429)["field"] == "limits.query_cost_per_s"
        # Two active notes were looked at, where one is saved up: two more have to be. With
        # ``as_of`` all that ever was there is looked at, what has ended included.
        wait_s = int(refused.headers["retry-after"])
        assert wait_s > 200 if as_of else 190 <= wait_s <= 200


def test_without_limits_nothing_is_refused(tmp_path: Path) -> None:
    with site(tmp_path) as (_, http):
        for number in range(30):
            answer = http.post("/v1/events", json=events(50, first=50 * number))
            assert answer.json()["accepted"] == 50
