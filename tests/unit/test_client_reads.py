"""Search, context, notes and feedback, sync and async, and what they raise."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from client_rig import WHO, Make

from sleep_runtime.client import (
    AccessDenied,
    AsyncClient,
    InvalidArgument,
    Options,
    RuntimeUnavailable,
)
from sleep_runtime.testing.recorder import CaptureRecorder

pytest_plugins = ("client_fixtures",)


def test_reads_give_what_a_reader_may_see(make: Make) -> None:
    client = make()
    found = client.context("build the deck", scope=WHO)
    assert found.notes == ("note-1",)
    assert "use adjusted EBITDA" in str(found)
    hits = client.search("EBITDA", scope=WHO, k=5, as_of=datetime(2026, 1, 5, tzinfo=UTC))
    assert [(hit.note.id, hit.note.scope) for hit in hits] == [("note-1", "acme/banking")]
    page = client.notes(scope="acme", limit=1)
    assert ([note.id for note in page.notes], page.next) == (["note-1"], "note-1")
    rest = client.notes(scope="acme", limit=1, after=page.next or "")
    assert ([note.id for note in rest.notes], rest.next) == (["note-2"], None)
    assert client.note("note-1").note.fields["tier"] == "team"


def test_feedback_says_its_id_and_repeating_the_request_is_harmless(
    make: Make, recorder: CaptureRecorder
) -> None:
    name = make().feedback("note-1", scope=WHO, helpful=True)
    assert [e["id"] for e in recorder.events] == [name]
    recorder.handle_request(recorder.requests[-1])
    assert len(recorder.events) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (401, AccessDenied),
        (403, AccessDenied),
        (429, RuntimeUnavailable),
        (500, RuntimeUnavailable),
        (422, InvalidArgument),
        (httpx.ReadTimeout("slow"), RuntimeUnavailable),
        (lambda _: httpx.Response(200, text="<html>"), RuntimeUnavailable),
        (lambda _: httpx.Response(200, json={"hits": [{}]}), RuntimeUnavailable),
        (lambda _: httpx.Response(404, text="nginx"), RuntimeUnavailable),
    ],
)
def test_a_read_raises_what_is_the_matter(
    make: Make, recorder: CaptureRecorder, fault: Any, kind: type[Exception]
) -> None:
    recorder.fail(fault)
    with pytest.raises(kind) as caught:
        make().search("x", scope=WHO)
    assert type(caught.value) is kind


def test_context_of_a_session_is_captured_so_that_a_night_does_not_learn_it_again(
    make: Make, recorder: CaptureRecorder
) -> None:
    client = make()
    found = client.session(WHO).context("build the deck")
    client.flush()
    assert found.available
    (event,) = recorder.events
    assert (event["kind"], event["role"], event["text"]) == ("retrieval", "tool", found.text)
    assert event["data"] == {"query": "build the deck", "notes": ["note-1"]}


def test_context_of_a_session_never_raises_and_a_dead_runtime_is_asked_once(
    make: Make, recorder: CaptureRecorder
) -> None:
    recorder.fail(httpx.ConnectError("nobody is there"))
    session = make(retry_base_s=60.0, retry_max_s=60.0).session(WHO)
    first, second = session.context("x"), session.context("x")
    assert (first.text, first.available) == ("", False)
    assert "nobody is there" in first.reason
    assert (second.text, second.available) == ("", False)
    assert len(recorder.requests) == 1


def test_where_nothing_is_known_a_session_gets_an_empty_context(make: Make) -> None:
    found = make().session("nobody/at/all").context("x")
    assert (found.text, found.available) == ("", True)
    assert "nobody" in found.reason


def test_the_async_client_does_the_same(recorder: CaptureRecorder, tmp_path: Path) -> None:
    async def work() -> None:
        options = Options(spool_dir=tmp_path, retry_base_s=60.0, retry_max_s=60.0)
        async with AsyncClient(
            "http://runtime", options=options, transport=recorder, async_transport=recorder
        ) as client:
            async with client.session(WHO, agent="deck") as session:
                assert (await session.context("build the deck")).notes == ("note-1",)
                session.correction("use adjusted EBITDA")
                recorder.fail(httpx.ConnectError("nobody"))
                assert not (await session.context("x")).available
                assert not (await session.context("x")).available
            assert (await client.context("x", scope=WHO)).notes == ("note-1",)
            assert [hit.note.id for hit in await client.search("x", scope=WHO)] == ["note-1"]
            assert len((await client.notes(scope="acme")).notes) == 2
            assert (await client.note("note-1")).note.id == "note-1"
            await client.feedback("note-1", scope=WHO, helpful=True)
            with pytest.raises(ZeroDivisionError):
                async with client.session(WHO):
                    _ = 1 // 0
            assert await client.flush()
            assert client.stats().sent == 3

    asyncio.run(work())
    assert [e["kind"] for e in recorder.events] == ["feedback", "retrieval", "correction", "error"]
