"""A night is taken back through the command, across the processes of a living runtime."""

from __future__ import annotations

import json

import pytest
from living import Runtime, event

pytestmark = pytest.mark.ray


def test_a_night_is_undone_and_brought_back_through_the_command(runtime: Runtime) -> None:
    runtime.capture(event(1, "undone", "from now on deploy on mondays", kind="correction"))
    runtime.night("undone")

    def active() -> list[str]:
        listed = runtime.cli("notes", "list", "--scope", "undone", "--json")
        return [note["statement"] for note in json.loads(listed.stdout)["notes"]]

    known = active()
    assert known
    runs = runtime.http.get("/v1/runs", params={"scope": "undone/team/ana"}).json()["runs"]
    done = runtime.cli("runs", "undo", runs[0]["id"], "--json")
    assert done.returncode == 0, done.stderr
    assert active() == []
    undo = json.loads(done.stdout)["run"]["id"]
    assert runtime.cli("runs", "undo", runs[0]["id"]).returncode == 1, "it is undone already"
    assert runtime.cli("runs", "undo", undo).returncode == 0
    assert active() == known
