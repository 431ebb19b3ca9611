"""Undo, review and why over HTTP: what is answered, and how what cannot be is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daylight import ADJUSTED, ANA, BEN, DAY, PORT, SCRIPT, VERDICTS, World, claim, runtime
from starlette.testclient import TestClient

from sleep_runtime.core.observation import Durability
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.engine import Line, ScriptedEngine

MAYBE = claim("put the totals on top")


class Site(World):
    """A world with its HTTP surface."""

    http: TestClient

    def night(self) -> str:
        """One night of Ana's; the id of its run."""
        self.clock.advance(DAY)
        self.running.nights(ANA)
        run = self.running.ledger.runs(ANA, limit=1)[0]
        return run.id


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield from opened(tmp_path, {})


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Site]:
    yield from opened(tmp_path, {"policy.curation.mode": "review"})


def opened(tmp_path: Path, overrides: dict[str, Any]) -> Iterator[Site]:
    clock = ManualClock()
    script = {**SCRIPT, MAYBE.statement: [Line(MAYBE, Durability.UNCLEAR)]}
    engine = ScriptedEngine(script, VERDICTS)
    with runtime(tmp_path, clock, engine, overrides) as running, TestClient(running.app()) as http:
        made = Site(running, clock, engine)
        made.http = http
        yield made


def error_of(answer: Any, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    found: dict[str, str] = answer.json()["error"]
    assert set(found) == {"field", "reason", "mend"}
    return found


def statements(site: Site) -> list[str]:
    found = site.http.get("/v1/notes", params={"scope": str(ANA)}).json()["notes"]
    return [note["statement"] for note in found]


def search(site: Site) -> list[str]:
    body = {"scope": str(ANA), "query": "EBITDA"}
    return [
        hit["note"]["statement"] for hit in site.http.post("/v1/search", json=body).json()["hits"]
    ]


# ---------------------------------------------------------------------------- undo


def test_a_dry_run_says_what_an_undo_would_do_and_does_nothing(site: Site) -> None:
    site.say(ANA, ADJUSTED.statement)
    run = site.night()
    before = site.running.ledger.digest()
    answer = site.http.post(f"/v1/runs/{run}/undo", json={"dry_run": True}).json()
    assert (answer["run"], answer["undoes"], answer["later"]) == (None, [run], [])
    (change,) = answer["changes"]
    assert (change["kind"], change["restores"]) == ("retire", 0)
    assert change["note"]["statement"] == ADJUSTED.statement
    assert site.running.ledger.digest() == before


def test_an_undone_note_is_out_of_view_at_once_and_the_undo_is_a_run(site: Site) -> None:
    site.say(ANA, ADJUSTED.statement)
    run = site.night()
    assert search(site) == [ADJUSTED.statement]
    answer = site.http.post(f"/v1/runs/{run}/undo", json={}).json()
    assert search(site) == statements(site) == []
    newest, undone = site.http.get("/v1/runs", params={"scope": str(ANA)}).json()["runs"]
    assert (newest["id"], newest["trigger"], newest["undoes"]) == (
        answer["run"]["id"],
        "undo",
        [run],
    )
    assert undone["undone_by"] == newest["id"]
    assert site.http.get("/v1/status").json()["outbox"] == 0
    site.http.post(f"/v1/runs/{newest['id']}/undo", json={})
    assert search(site) == [ADJUSTED.statement]


def test_what_cannot_be_undone_is_a_conflict_with_its_mend(site: Site) -> None:
    error_of(site.http.post("/v1/runs/run_unknown/undo", json={}), 404)
    site.say(ANA, ADJUSTED.statement)
    first = site.night()
    site.say(ANA, ADJUSTED.statement)
    second = site.night()
    told = error_of(site.http.post(f"/v1/runs/{first}/undo", json={}), 409)
    assert second in told["reason"]
    assert "cascade" in told["mend"]
    plan = site.http.post(f"/v1/runs/{first}/undo", json={"dry_run": True}).json()
    assert [item["run"] for item in plan["later"]] == [second]
    assert site.http.post(f"/v1/runs/{first}/undo", json={"cascade": True}).status_code == 200
    told = error_of(site.http.post(f"/v1/runs/{first}/undo", json={}), 409)
    assert "runs undo" in told["mend"]
    assert error_of(site.http.post(f"/v1/runs/{first}/undo", json={"force": 1}), 422)


# ---------------------------------------------------------------------------- review


def test_a_review_is_listed_decided_and_done(asking: Site) -> None:
    asking.say(ANA, ADJUSTED.statement)
    asking.night()
    assert statements(asking) == []
    assert asking.http.get("/v1/status").json()["reviews"] == {"open": 1}
    (review,) = asking.http.get("/v1/reviews", params={"scope": "acme"}).json()["reviews"]
    assert (review["kind"], review["wanted"], review["takes"]) == (
        "change",
        "active",
        ["approve", "reject"],
    )
    assert review["notes"][0]["statement"] == ADJUSTED.statement
    body = {"decision": "approve", "by": "eve"}
    decided = asking.http.post(f"/v1/reviews/{review['id']}", json=body).json()["review"]
    assert (decided["state"], decided["by"], decided["applied_by"]) == ("resolved", "eve", None)
    asking.clock.advance(1)
    asking.tick()
    assert statements(asking) == [ADJUSTED.statement]
    assert asking.http.get("/v1/reviews").json() == {"reviews": []}
    everything = asking.http.get("/v1/reviews", params={"state": "all"}).json()["reviews"]
    assert everything[0]["applied_by"]


def test_a_wrong_decision_is_refused_with_field_reason_and_mend(asking: Site) -> None:
    asking.say(ANA, ADJUSTED.statement)
    asking.night()
    (review,) = asking.http.get("/v1/reviews").json()["reviews"]
    path = f"/v1/reviews/{review['id']}"
    for decision in ("maybe", "keep-left"):
        told = error_of(asking.http.post(path, json={"decision": decision}), 422)
        assert told["field"] == "decision"
        assert "approve" in told["mend"]
    error_of(asking.http.post("/v1/reviews/review_unknown", json={"decision": "same"}), 404)
    told = error_of(asking.http.get("/v1/reviews", params={"state": "shut"}), 422)
    assert (told["field"], "open" in told["mend"]) == ("state", True)
    error_of(asking.http.get("/v1/reviews", params={"scope": "nobody"}), 404)


# ---------------------------------------------------------------------------- why


def test_a_run_names_what_is_closest_to_the_bar_and_what_it_lacks(site: Site) -> None:
    site.say(ANA, MAYBE.statement)
    run = site.night()
    (near,) = site.http.get(f"/v1/runs/{run}").json()["nearest"]
    assert (near["note"]["statement"], near["needs"]) == (MAYBE.statement, "1 more session")
    assert near["missing"] == 1


def test_a_note_says_who_said_it_when_and_what_was_taken_back(site: Site) -> None:
    site.say(ANA, ADJUSTED.statement)
    site.night()
    site.say(ANA, ADJUSTED.statement)
    second = site.night()
    (note,) = site.http.get("/v1/notes", params={"scope": str(ANA)}).json()["notes"]
    found = site.http.get(f"/v1/notes/{note['id']}").json()
    assert found["counted"]["people"] == [str(ANA)]
    assert (len(found["counted"]["sessions"]), len(found["counted"]["days"])) == (2, 2)
    site.http.post(f"/v1/runs/{second}/undo", json={})
    found = site.http.get(f"/v1/notes/{note['id']}").json()
    assert (len(found["counted"]["sessions"]), found["counted"]["undone"]) == (1, 1)
    assert found["history"][-1]["reason"].startswith(f"undone: run {second}")


def test_somebody_elses_scope_is_not_touched(site: Site) -> None:
    site.say(BEN, PORT.statement)
    site.say(ANA, ADJUSTED.statement)
    site.clock.advance(DAY)
    site.running.nights()
    mine = next(run for run in site.running.ledger.runs(ANA) if site.running.ledger.deltas(run.id))
    before = site.active(BEN)
    site.http.post(f"/v1/runs/{mine.id}/undo", json={})
    assert site.active(BEN) == before == [PORT.statement]
