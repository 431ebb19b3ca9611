"""What callers do stands in the audit log: deeds before they are done, reads once an hour."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from daylight import ANA, DAY, PORT, TEAM, event, runtime, scripted
from starlette.testclient import TestClient

from sleep_runtime.core.access import AccessRole, Caller, Grant
from sleep_runtime.core.audit import AuditEntry, Deed
from sleep_runtime.core.errors import StoreFull
from sleep_runtime.core.scope import Scope
from sleep_runtime.serve.audit import MAX_WAITING, Auditor
from sleep_runtime.stores.audit import AuditFile
from sleep_runtime.testing.clock import ManualClock

CALLERS = {
    "owner": Grant(scope=ANA, roles=frozenset({AccessRole.READ, AccessRole.CAPTURE})),
    "lead": Grant(scope=TEAM, roles=frozenset({AccessRole.CURATE})),
    "boss": Grant(scope=None, roles=frozenset({AccessRole.ADMIN})),
}


def by_header(headers: Any, path: str) -> Caller:
    name = headers.get(b"x-caller", b"boss").decode()
    return Caller(name=name, grants=(CALLERS[name],))


class Broken:
    """An audit log whose disk is full."""

    def record(self, *_: Any, **__: Any) -> AuditEntry:
        raise StoreFull("no space is left", field="audit", mend="make room")


class Site:
    """A runtime whose callers are entered."""

    def __init__(self, http: TestClient, clock: ManualClock, log: AuditFile, running: Any) -> None:
        self.http, self.clock, self.log, self.running = http, clock, log, running

    def ask(self, who: str, method: str, path: str, body: Any = None) -> Any:
        return self.http.request(method, path, json=body, headers={"x-caller": who})

    def entered(self, *deeds: Deed, count: int) -> list[AuditEntry]:
        """The entries of these deeds, once there are ``count``: reads are entered behind us."""
        for _ in range(500):
            found = [entry for entry in self.log.entries() if entry.deed in deeds]
            if len(found) >= count:
                return found
            pause()
        raise AssertionError(f"{count} of {deeds} were expected: {self.log.entries()}")


def pause() -> None:
    threading.Event().wait(0.01)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    clock = ManualClock()
    log = AuditFile(tmp_path / "audit.ndjson", clock)
    with (
        runtime(tmp_path / "data", clock, scripted()) as running,
        TestClient(running.app(by_header, log)) as http,
    ):
        yield Site(http, clock, log, running)


def search(scope: Scope) -> dict[str, Any]:
    return {"scope": str(scope), "query": "which port?"}


def taught(site: Site) -> str:
    for _ in range(4):
        said = event(ANA, PORT.statement, site.clock.now())
        assert site.ask("boss", "POST", "/v1/events", [said]).json()["accepted"] == 1
        site.clock.advance(DAY)
    site.running.nights()
    (note,) = site.ask("boss", "GET", f"/v1/notes?scope={ANA}").json()["notes"]
    return str(note["id"])


def test_who_looks_at_others_is_entered_once_an_hour_and_who_looks_at_his_own_is_not(
    site: Site,
) -> None:
    note = taught(site)
    before = len(site.entered(Deed.READ, count=1))
    for _ in range(3):
        assert site.ask("owner", "POST", "/v1/search", search(ANA)).status_code == 200
        assert site.ask("lead", "POST", "/v1/search", search(ANA)).status_code == 200
        assert site.ask("lead", "GET", f"/v1/notes/{note}").status_code == 200
    found = site.entered(Deed.READ, count=before + 2)[before:]
    assert [(one.who, one.scope, one.subject) for one in found] == [
        ("lead", str(ANA), ""),
        ("lead", str(ANA), note),
    ]
    site.clock.advance(DAY)
    site.ask("lead", "POST", "/v1/context", search(ANA))
    assert site.entered(Deed.READ, count=before + 3)[-1].who == "lead"
    assert "owner" not in {entry.who for entry in site.log.entries()}
    site.log.verify()


@pytest.mark.parametrize(
    ("path", "body", "deed", "subject"),
    [
        ("/v1/runs", {"scope": str(TEAM)}, Deed.RUN_REQUESTED, ""),
        ("/v1/runs/run_x/undo", {"dry_run": True}, Deed.RUN_UNDONE, "run_x"),
        ("/v1/reviews/rev_x", {"decision": "approve"}, Deed.REVIEW_DECIDED, "rev_x"),
        ("/v1/index/reconcile", None, Deed.INDEX_REPAIRED, ""),
        ("/v1/index/rebuild", None, Deed.INDEX_REPAIRED, ""),
        ("/v1/pool/yield", {"seconds": 0}, Deed.POOL_YIELDED, ""),
    ],
)
def test_a_deed_is_entered_with_what_was_asked_also_when_it_comes_to_nothing(
    site: Site, path: str, body: Any, deed: Deed, subject: str
) -> None:
    site.ask("boss", "POST", path, body)
    (entry,) = site.entered(deed, count=1)
    assert (entry.who, entry.subject, entry.detail) == ("boss", subject, body or {})


def test_who_asks_for_what_he_may_not_is_entered(site: Site) -> None:
    for _ in range(2):
        assert site.ask("owner", "POST", "/v1/index/rebuild").status_code == 403
        assert site.ask("owner", "POST", "/v1/search", search(TEAM)).status_code == 403
    found = site.entered(Deed.REFUSED, count=2)
    assert sorted((one.who, one.subject) for one in found) == [
        ("owner", "POST /v1/index/rebuild"),
        ("owner", "POST /v1/search"),
    ]
    assert not [one for one in site.log.entries() if one.deed is Deed.INDEX_REPAIRED]


def test_what_cannot_be_entered_is_not_done(tmp_path: Path) -> None:
    clock = ManualClock()
    with (
        runtime(tmp_path, clock, scripted()) as running,
        TestClient(running.app(by_header, Broken())) as http,
    ):
        said = [event(ANA, PORT.statement, clock.now())]
        assert http.post("/v1/events", json=said).json()["accepted"] == 1
        answer = http.post("/v1/runs", json={"scope": str(TEAM)})
        assert answer.status_code == 507
        assert running.ledger.runs() == []
        assert http.post("/v1/search", json=search(ANA)).status_code == 200


def test_a_log_that_is_slow_bounds_what_waits_for_it_and_delays_nobody() -> None:
    free = threading.Event()
    held: list[str] = []

    class Slow:
        def record(self, who: str, deed: Deed, **_: Any) -> Any:
            free.wait(30)
            held.append(who)

    auditor = Auditor(Slow(), ManualClock())
    for number in range(MAX_WAITING + 500):
        auditor.read(Caller(name=f"k{number}", grants=()), ANA)
    free.set()
    with closing(auditor):
        for _ in range(500):
            if len(held) >= MAX_WAITING:
                break
            pause()
    assert MAX_WAITING <= len(held) <= MAX_WAITING + 1
