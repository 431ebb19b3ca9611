"""Somebody is erased from a living runtime, through the command, across all its processes."""

from __future__ import annotations

import json

import pytest
from living import Runtime, event

from sleep_runtime.stores.scan import Finder, scan

pytestmark = pytest.mark.ray

OWN = "from now on write the quixotic codename on page one"
SHARED = "from now on use adjusted EBITDA in every table"


def test_who_is_erased_is_gone_from_every_file_and_every_answer(runtime: Runtime) -> None:
    bob = {"org": "gone", "team": "team", "user": "bob"}
    runtime.capture(
        event(1, "gone", OWN, kind="correction", session="gone-session-of-ana"),
        event(2, "gone", SHARED, kind="correction", session="gone-session-of-ana"),
        event(3, "gone", SHARED, kind="correction", scope=bob, session="gone-session-of-bob"),
    )
    runtime.night("gone")

    def found(user: str, query: str) -> list[str]:
        body = {"scope": f"gone/team/{user}", "query": query}
        hits = runtime.http.post("/v1/search", json=body).json()["hits"]
        return [hit["note"]["statement"] for hit in hits]

    assert any("quixotic" in statement for statement in found("ana", "codename"))
    finder = Finder(["quixotic codename", "gone-session-of-ana"])
    assert scan(runtime.data_dir, finder).hits

    assert runtime.cli("erase", "gone/team/ana", "--json", stdin="").returncode == 2, "nobody asked"
    done = runtime.cli("erase", "gone/team/ana", "--yes", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    receipt = json.loads(done.stdout)
    assert receipt["removed"]["events"] == 2
    assert receipt["scan"]["erased_hits"] == 0
    assert "quixotic" not in done.stdout

    assert scan(runtime.data_dir, finder).hits == ()
    assert not any("quixotic" in statement for statement in found("ana", "codename"))
    # The team's note has one voice left and waits; the next night gives bob his own back.
    runtime.night("gone")
    assert any("EBITDA" in statement for statement in found("bob", "EBITDA"))
    assert "quixotic" not in runtime.log.read_text()
    again = runtime.http.get(f"/v1/erasures/{receipt['id']}").json()
    assert again == receipt

    answer = runtime.capture(event(4, "gone", "hello again", session="gone-later"))
    assert answer["accepted"] == 1
    runtime.night("gone")
