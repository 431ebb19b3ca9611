"""Captures and sessions: who speaks, what is kept of an event, and what is refused at once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from client_rig import WHO, Make, until

from sleep_runtime.client import (
    Client,
    InvalidArgument,
    Options,
)
from sleep_runtime.client.events import KINDS, ROLES
from sleep_runtime.client.wire import DEFAULT_URL
from sleep_runtime.config import Settings
from sleep_runtime.core.event import EventKind, Role
from sleep_runtime.testing.recorder import CaptureRecorder

pytest_plugins = ("client_fixtures",)


def test_names_and_the_address_are_those_of_the_runtime() -> None:
    assert {kind.value for kind in EventKind} == KINDS
    assert {role.value for role in Role} == ROLES
    assert f"http://127.0.0.1:{Settings().http.port}" == DEFAULT_URL


def test_the_helpers_of_a_session_say_who_speaks(make: Make, recorder: CaptureRecorder) -> None:
    client = make()
    with client.session(WHO, agent="deck", id="s1", about={"account": "northwind"}) as session:
        session.message("build it", role="human", about={"page": "7"})
        session.tool_call("read", {"path": "a.md"})
        session.tool_result("read", "55 found", ok=False)
        session.retrieval("page 70")
        session.error("Traceback")
        session.correction("use adjusted EBITDA")
        session.feedback("note-1", helpful=True)
        session.feedback("note-1", helpful=False, role="agent")
    assert client.flush()
    seen = [(e["kind"], e["role"], e["text"]) for e in recorder.events]
    assert seen == [
        ("message", "human", "build it"),
        ("tool_call", "agent", "read path=a.md"),
        ("tool_result", "tool", "55 found"),
        ("retrieval", "tool", "page 70"),
        ("error", "tool", "Traceback"),
        ("correction", "human", "use adjusted EBITDA"),
        ("feedback", "human", ""),
        ("feedback", "agent", ""),
    ]
    assert {(e["scope"], e["session"], e["agent"]) for e in recorder.events} == {
        (WHO, "s1", "deck")
    }
    assert recorder.events[0]["about"] == {"account": "northwind", "page": "7"}
    assert recorder.events[1]["about"] == {"account": "northwind"}
    assert recorder.events[1]["data"] == {"tool": "read", "args": {"path": "a.md"}}
    assert recorder.events[2]["data"] == {"tool": "read", "ok": False}
    assert recorder.events[6]["data"] == {"note": "note-1", "helpful": True}


def test_an_exception_that_leaves_a_session_is_captured_and_goes_on(
    make: Make, recorder: CaptureRecorder
) -> None:
    client = make()
    with pytest.raises(ZeroDivisionError), client.session(WHO):
        _ = 1 // 0
    client.flush()
    assert [(e["kind"], e["role"]) for e in recorder.events] == [("error", "system")]
    assert recorder.events[0]["text"].startswith("ZeroDivisionError: ")


class Hostile:
    """A value that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError


def test_no_content_breaks_a_capture(make: Make, recorder: CaptureRecorder) -> None:
    client = make()
    circle: dict[str, Any] = {}
    circle["self"] = circle
    hostile: list[dict[Any, Any]] = [
        {"nan": float("nan"), "inf": [float("inf")]},
        {"bytes": b"\xff", "set": {1}, 5: datetime.now(UTC)},
        {"bad": Hostile(), ("a", 1): 2},
        circle,
    ]
    for data in hostile:
        client.capture("message", "half \ud83d", scope=WHO, session="s", role="agent", data=data)
    client.session(WHO).tool_call("read", {"bad": Hostile(), "long": "x" * 9999})
    client.capture("message", None, scope=WHO, session="s", role="agent")  # type: ignore[arg-type]
    assert client.flush()
    assert [e["text"] for e in recorder.events] == [
        *["half \ufffd"] * 4,
        f"read bad=<Hostile> long={'x' * 200}",
        "None",
    ]
    assert recorder.events[0]["data"] == {"nan": "nan", "inf": ["inf"]}
    assert client.stats().rejected == 0


def test_an_event_is_what_it_was_when_it_was_captured(
    make: Make, recorder: CaptureRecorder
) -> None:
    client, data = make(), {"step": 1}
    when = datetime(2026, 1, 5, 9, tzinfo=UTC)
    client.capture("message", "x", scope=WHO, session="s", role="agent", data=data, ts=when, id="a")
    data["step"] = 2
    client.flush()
    assert recorder.events[0]["data"] == {"step": 1}
    assert (recorder.events[0]["ts"], recorder.events[0]["id"]) == (when.isoformat(), "a")


@pytest.mark.parametrize(
    "wrong",
    [{"scope": "a//b"}, {"scope": ""}, {"role": "boss"}, {"kind": "shout"}, {"session": ""}],
    ids=str,
)
def test_what_can_never_be_right_is_said_at_once(make: Make, wrong: dict[str, Any]) -> None:
    given = {"kind": "message", "scope": WHO, "session": "s", "role": "human", **wrong}
    with pytest.raises(InvalidArgument, match=next(iter(wrong))):
        make().capture(given.pop("kind"), "x", **given)


def test_options_that_cannot_work_are_refused() -> None:
    for wrong in ({"flush_events": 0}, {"read_s": -1.0}, {"durable": True, "spool": False}):
        with pytest.raises(InvalidArgument):
            Options(**wrong)
    with pytest.raises(InvalidArgument, match="api_key"):
        Client(api_key="schlüssel")
    with pytest.raises(InvalidArgument, match="url"):
        Client("runtime:8377")


def test_events_go_by_themselves_from_every_thread(make: Make, recorder: CaptureRecorder) -> None:
    client = make(flush_interval_s=0.01)
    session = client.session(WHO)

    def talk() -> None:
        for _ in range(500):
            session.message("hello", role="agent")

    threads = [threading.Thread(target=talk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: client.stats().sent == 2000)
    assert len(recorder.events) == 2000
    assert client.stats().dropped == 0
