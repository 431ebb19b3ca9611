"""Keys against a real ``up``: who is let in, where, how soon not any more, and where it listens."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from living import Runtime, event, surroundings

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(240)]

REVOKED_WITHIN_S = 1.0
PATHS = ("/openapi.json", "/metrics", "/v1/status", "/v1/notes", "/v1/runs", "/v1/pool", "/x")


def who(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def make_key(runtime: Runtime, *words: str) -> tuple[str, str]:
    """The id and the secret of a new key."""
    made = runtime.cli("keys", "create", *words, "--json")
    assert made.returncode == 0, made.stderr
    found = json.loads(made.stdout)
    return found["id"], found["secret"]


def post(runtime: Runtime, secret: str, *events: dict[str, object]) -> httpx.Response:
    return httpx.post(
        f"{runtime.url}/v1/events", json=list(events), headers=who(secret), timeout=60
    )


def until_known(runtime: Runtime, secret: str) -> None:
    runtime.wait(lambda: post(runtime, secret, event(0, "keys")).status_code == 200, "the key")


def test_without_a_key_nothing_but_probes_answers(runtime: Runtime) -> None:
    for headers in ({}, who("sr_k_aaaaaaaaaa_" + "A" * 43), who("a.b.c"), {"authorization": "x"}):
        with httpx.Client(base_url=runtime.url, headers=headers, timeout=60) as http:
            assert http.get("/healthz").status_code == 200
            assert http.get("/readyz").status_code == 200
            answers = [http.get(path) for path in PATHS]
            answers.append(http.post("/v1/events", json=[event(1, "unasked")]))
            asked = {"scope": "unasked", "query": "x"}
            posts = ("/v1/search", "/v1/context", "/v1/feedback", "/v1/runs")
            answers += [http.post(path, json=asked) for path in posts]
            assert {answer.status_code for answer in answers} == {401}
            assert len({answer.text for answer in answers}) == 1
    assert runtime.capture(event(1, "unasked"))["duplicates"] == 0, "something was taken"


def test_this_machines_key_is_its_owners_and_said_nowhere(runtime: Runtime) -> None:
    file = runtime.data_dir / "local.key"
    secret = file.read_text().strip()
    kept = {path.name: stat.S_IMODE(path.stat().st_mode) for path in runtime.data_dir.iterdir()}
    closed = {name: mode for name, mode in kept.items() if name.startswith(("access", "local"))}
    assert set(closed) >= {"local.key", "access.sqlite", "access.sqlite-wal"}
    assert set(closed.values()) == {0o600}
    assert runtime.cli("status").returncode == 0, "the command does not find it"
    assert secret not in runtime.log.read_text()
    assert secret not in (runtime.data_dir / "runtime.json").read_text()
    (local,) = [key for key in keys(runtime) if key["local"]]
    assert (local["roles"], local["scope"], local["speaks"]) == (["admin"], None, "human")


def keys(runtime: Runtime) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(runtime.cli("keys", "list", "--json").stdout)[
        "keys"
    ]
    return found


def test_a_key_captures_in_its_scope_and_is_refused_elsewhere_by_index(runtime: Runtime) -> None:
    _, secret = make_key(runtime, "--scope", "keys", "--role", "capture")
    until_known(runtime, secret)
    answer = post(runtime, secret, event(1, "keys"), event(1, "others"), event(2, "keys")).json()
    assert answer["accepted"] == 2
    assert [item["index"] for item in answer["rejected"]] == [1]
    assert "may not capture at 'others/team/ana'" in answer["rejected"][0]["error"]


def test_an_agents_key_teaches_as_an_agent_whatever_it_says(runtime: Runtime) -> None:
    rule = {"kind": "correction", "role": "human"}
    said = "From now on always use adjusted EBITDA in every deck."
    found = {}
    for speaks in ("agent", "human"):
        org = f"speaks-{speaks}"
        _, secret = make_key(runtime, "--scope", org, "--role", "capture", "--speaks", speaks)
        runtime.wait(
            lambda secret=secret, org=org: (  # type: ignore[misc]
                post(runtime, secret, event(1, org, said, **rule)).status_code == 200
            ),
            "the key",
        )
        runtime.night(org)
        found[speaks] = {note["status"] for note in runtime.notes(org, "all")}
    assert found["agent"] == set()
    assert "active" in found["human"]


def test_a_revoked_key_lets_nobody_in_within_a_second(runtime: Runtime) -> None:
    name, secret = make_key(runtime, "--scope", "keys", "--role", "capture")
    until_known(runtime, secret)
    with httpx.Client(base_url=runtime.url, headers=who(secret), timeout=60) as http:
        assert runtime.cli("keys", "revoke", name).returncode == 0
        returned = time.monotonic()
        while http.post("/v1/events", json=[event(3, "keys")]).status_code == 200:
            assert time.monotonic() - returned < REVOKED_WITHIN_S
        print(f"refused {time.monotonic() - returned:.3f} s after revoke returned")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_it_does_not_listen_to_others_before_there_is_a_key_for_them(
    tmp_path: Path, host: str
) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "sleep_runtime.cli.main", "up"],
        env=surroundings(tmp_path, SLEEP_HTTP__HOST=host),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    assert "http.host" in refused.stderr
    assert "sleep-runtime keys create" in refused.stderr
    assert "starting Ray" not in refused.stderr
    assert "Traceback" not in refused.stderr
