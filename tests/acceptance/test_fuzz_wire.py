"""HTTP that is none, through HAProxy, at a runtime that is up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from living import Runtime, event, start, stop

from reliability.fuzz import running, wire

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

SEED = 20_261_127
BODY_S = 2.0


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    started = start(
        tmp_path_factory.mktemp("runtime"),
        SLEEP_HTTP__BODY_TIMEOUT_S=str(BODY_S),
        SLEEP_LIMITS__MAX_BATCH_EVENTS="50",
    )
    yield started
    assert stop(started) == 0


def test_what_is_no_http_is_answered_or_hung_up_on_and_kills_nobody(runtime: Runtime) -> None:
    before = {process.pid for process in runtime.processes("HotPath")}
    key = running.key_of(runtime.data_dir.parent)
    found = wire.attack(runtime.url, key, seeded=SEED, mutations=150, patience_s=BODY_S + 10)
    print(f"{found.inputs} connections: {dict(sorted(found.statuses.items()))}")
    assert not found.failures
    assert (found.server_errors, found.hangs) == (0, 0)
    assert not running.problems(runtime.url, key)
    assert {process.pid for process in runtime.processes("HotPath")} == before


def test_a_limit_of_the_configuration_holds_behind_the_proxy(runtime: Runtime) -> None:
    answer = runtime.http.post("/v1/events", json=[event(n, "limited") for n in range(51)])
    assert answer.status_code == 413
    assert "at most 50" in answer.json()["error"]["reason"]
