"""What the runtime is while it runs: its priorities, its page of metrics, its neighbours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from living import Runtime, event, start, stop

pytestmark = pytest.mark.ray


def test_cold_actors_have_the_lowest_priority_and_the_hot_path_the_normal_one(
    runtime: Runtime,
) -> None:
    cold = runtime.processes("TierActor")
    hot = runtime.processes("HotPath") + runtime.processes("JournalOwner")
    assert len(cold) == 3
    assert hot
    assert {os.sched_getscheduler(process.pid) for process in cold} == {os.SCHED_IDLE}
    assert {process.nice() for process in hot} == {0}


def test_metrics_of_all_processes_stand_on_one_page(runtime: Runtime) -> None:
    runtime.capture(event(1, "metrics", "from now on deploy on mondays", kind="correction"))
    runtime.night("metrics")
    page = runtime.http.get("/metrics").text
    for name in (
        "sleep_capture_events_total",
        "sleep_journal_append_seconds_count",
        "sleep_runs_total",
        "sleep_deltas_total",
        "sleep_outbox_marks",
    ):
        assert f"\n{name}" in page, f"{name} is missing in\n{page}"


def test_status_says_what_is_pending_and_when_it_is_due(runtime: Runtime) -> None:
    runtime.capture(event(1, "pending"))
    runtime.wait(lambda: runtime.status("pending")["pending"]["events"] == 1, "the event to pend")
    status = runtime.status("pending")
    assert status["next"]["scope"] == "pending/team/ana"
    assert status["next"]["trigger"] == "cadence"
    assert runtime.cli("status").returncode == 0


def test_the_openapi_page_names_every_route(runtime: Runtime) -> None:
    routes = runtime.http.get("/openapi.json").json()["paths"]
    for path in ("/v1/events", "/v1/search", "/v1/context", "/v1/notes", "/v1/runs"):
        assert path in routes


def test_a_second_runtime_on_the_same_directory_is_refused(runtime: Runtime) -> None:
    refused = runtime.cli("up")
    assert refused.returncode == 1
    assert "up already" in refused.stderr
    assert "data_dir" in refused.stderr


@pytest.mark.timeout(300)
def test_two_runtimes_live_side_by_side_and_a_restart_keeps_everything(
    runtime: Runtime, tmp_path: Path
) -> None:
    other = start(tmp_path)
    try:
        other.capture(event(1, "other", "from now on write tests first", kind="correction"))
        other.night("other")
        notes = other.notes("other")
        assert len(notes) == 1
        assert runtime.http.get("/v1/notes", params={"scope": "other"}).status_code == 404
    finally:
        assert stop(other) == 0
    assert other.cli("status").returncode == 1
    again = start(tmp_path)
    try:
        assert again.notes("other") == notes
    finally:
        assert stop(again) == 0
