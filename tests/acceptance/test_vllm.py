"""A runtime whose nights ask vLLM: the production engine, on its CPU build and small weights.

The model writes nonsense. What holds whatever it writes: answers are of their schema, each is
pinned once with what it cost, and what all questions share is read by the model once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from living import Runtime, event, start, stop

from sleep_runtime.core.ids import digest
from sleep_runtime.core.observation import Distillation
from sleep_runtime.core.ports import Pin
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.ledger import SqliteLedgerReader
from sleep_runtime.testing.vllm import small_environment

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

ORGS = ("anvil", "birch", "cedar")
SAID = (
    "from now on, deploy on mondays only",
    "always use tabs for indentation, please",
    "revenue goes into the deck in millions",
    "release notes belong into CHANGES.rst",
)
NIGHT_TIMEOUT_S = 300.0
# A question for each session, whatever it says: so that questions and their costs can be counted.
EACH_ALONE = {
    "SLEEP_ENGINE__PREFILTER": "false",
    "SLEEP_ENGINE__SESSIONS_PER_QUESTION": "1",
    "SLEEP_ENGINE__PAIRS_PER_QUESTION": "1",
}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A runtime that has been through a night over several organisations."""
    running = start(
        tmp_path_factory.mktemp("vllm"),
        **small_environment(),
        **EACH_ALONE,
        SLEEP_RAY__NIGHTS_AT_ONCE="4",
        SLEEP_POOL__BACKOFF_S="0.5",
        SLEEP_POOL__MAX_BACKOFF_S="1",
    )
    try:
        running.capture(*day())
        for org in ORGS:
            running.http.post("/v1/runs", json={"scope": org}).raise_for_status()
        for org in ORGS:
            running.wait(partial(is_over, running, org), f"{org}'s night", NIGHT_TIMEOUT_S)
        yield running
    finally:
        assert stop(running) == 0


def day() -> list[dict[str, Any]]:
    """Two people of every organisation say everything, each in sessions of their own."""
    return [
        event(
            number,
            org,
            f"{text}, says {user}",
            id=digest(org, user, text),
            scope={"org": org, "team": "team", "user": user},
            session=f"{user}-{number}",
        )
        for org in ORGS
        for user in ("ana", "bo")
        for number, text in enumerate(SAID)
    ]


def is_over(runtime: Runtime, org: str) -> bool:
    runs = runtime.http.get("/v1/runs", params={"scope": org, "limit": 500}).json()["runs"]
    return bool(runs) and bool(runtime.status(org)["quiet"])


def pins(runtime: Runtime, org: str, step: str) -> list[Pin]:
    with contextlib.closing(SqliteLedgerReader(DataDir(runtime.data_dir).ledger_path)) as ledger:
        return [
            pin
            for run in ledger.runs(Scope(org), limit=500)
            for pin in ledger.pins(run.id, step).values()
        ]


def all_pins(runtime: Runtime, step: str) -> list[Pin]:
    return [pin for org in ORGS for pin in pins(runtime, org, step)]


def test_every_session_of_every_scope_is_pinned_once(night: Runtime) -> None:
    found = [pin.key for pin in all_pins(night, "distil")]
    assert len(found) == len(set(found)) == len(day())
    for org in ORGS:
        runs = night.http.get("/v1/runs", params={"scope": org, "limit": 500}).json()["runs"]
        assert {run["state"] for run in runs} == {"projected"}
        assert sum(run["counts"].get("events", 0) for run in runs) == len(day()) // len(ORGS)


def test_answers_are_of_their_schema(night: Runtime) -> None:
    problems = [
        Distillation.model_validate(pin.output).problem for pin in all_pins(night, "distil")
    ]
    unusable = [problem for problem in problems if "without a usable answer" in problem]
    # A model that rambles is cut off at the output limit: a problem, but no broken schema.
    assert [problem for problem in unusable if "cut off" not in problem] == []
    assert len(unusable) < len(problems) / 2


def test_every_pin_says_what_it_cost(night: Runtime) -> None:
    for pin in all_pins(night, "distil"):
        assert pin.usage.calls == 1
        assert pin.usage.input_tokens > 100
        assert 0 < pin.usage.output_tokens <= 600
        assert pin.usage.gpu_seconds == 0, "this engine holds no GPU"


def test_what_all_questions_share_is_read_once_for_all_tenants(night: Runtime) -> None:
    usages = [pin.usage for pin in all_pins(night, "distil")]
    assert sum(usage.cached_tokens == 0 for usage in usages) <= 1, "the prefix was read twice"
    # A question has a few lines of its own. Those that came while the first was being read found
    # only a part of the prefix in the cache.
    cached = sum(usage.cached_tokens for usage in usages)
    assert cached > 0.8 * sum(usage.input_tokens for usage in usages), usages


def together(runtime: Runtime, most: str) -> float:
    """How many calls began with at most so many nights in the engine."""
    for line in runtime.http.get("/metrics").text.splitlines():
        if line.startswith(f'sleep_engine_together_bucket{{le="{most}"}}'):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def test_nights_of_several_scopes_are_in_flight_together(night: Runtime) -> None:
    night.wait(lambda: together(night, "+Inf") >= len(ORGS) * 2, "the engine's metrics")
    assert together(night, "1.0") < together(night, "+Inf")


def test_killing_the_engine_in_mid_batch_loses_and_doubles_nothing(night: Runtime) -> None:
    again = [
        {**item, "id": f"again-{item['id']}", "session": f"again-{item['session']}"}
        for item in day()
    ]
    before = {pin.key for pin in all_pins(night, "distil")}
    night.capture(*again)
    for org in ORGS:
        night.http.post("/v1/runs", json={"scope": org}).raise_for_status()
    night.wait(lambda: night.http.get("/v1/pool").json()["nights"] > 1, "nights in the engine")
    (engine,) = night.processes("EngineActor")
    below = engine.children(recursive=True)
    engine.kill()
    night.wait(lambda: not any(child.is_running() for child in below), "its processes to end", 30)

    def over() -> bool:
        for org in ORGS:
            night.http.post("/v1/runs", json={"scope": org}).raise_for_status()
        return all(night.status(org)["quiet"] for org in ORGS)

    night.wait(over, "the hurt nights to end", NIGHT_TIMEOUT_S)
    found = [pin.key for pin in all_pins(night, "distil")]
    assert len(found) == len(set(found))
    assert len(set(found) - before) == len(again)
    for org in ORGS:
        runs = night.http.get("/v1/runs", params={"scope": org, "limit": 500}).json()["runs"]
        assert {run["state"] for run in runs} == {"projected"}
        assert sum(run["counts"].get("events", 0) for run in runs) == 2 * len(day()) // len(ORGS)
