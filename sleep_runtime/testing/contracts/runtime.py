"""What every runtime that ``sleep_runtime.client`` speaks to must keep, the recorder included.

Subclass in a test module and give a ``transport`` fixture: a fresh runtime that knows nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from sleep_runtime.client import Client, InvalidArgument, NotFound, Options

WHO = "acme/banking/ana"
NDJSON = {"content-type": "application/x-ndjson"}


def event(number: int, **fields: Any) -> dict[str, Any]:
    """A valid event."""
    return {
        "id": f"e{number}", "ts": "2026-01-05T09:00:00Z", "scope": WHO, "session": "s1",
        "kind": "message", "role": "human", "text": "hello", **fields,
    }  # fmt: skip


def without(name: str) -> dict[str, Any]:
    """An event that lacks a field."""
    return {key: value for key, value in event(9).items() if key != name}


BAD = [
    *(without(name) for name in ("id", "ts", "scope", "session", "kind", "role")),
    event(9, kind="shout"),
    event(9, role="owner"),
    event(9, id=""),
    event(9, session=""),
    event(9, ts="yesterday"),
    event(9, ts="2026-01-05T09:00:00"),
    event(9, scope="acme//ana"),
    event(9, scope="a/b/c/d"),
    event(9, more=1),
    event(9, text=7),
    event(9, id="x" * 201),
]


class RuntimeContract:
    """The part of the HTTP contract the client needs."""

    @pytest.fixture
    def http(self, transport: httpx.BaseTransport) -> httpx.Client:
        return httpx.Client(transport=transport, base_url="http://runtime")

    @pytest.fixture
    def client(self, transport: httpx.BaseTransport, tmp_path: Path) -> Client:
        # Generous: what is asked here is what is answered, not when.
        options = Options(spool_dir=tmp_path / "spool", read_s=30.0)
        return Client("http://runtime", transport=transport, options=options)

    def send(self, http: httpx.Client, *events: Any) -> dict[str, Any]:
        lines = [item if isinstance(item, str) else json.dumps(item) for item in events]
        answer = http.post("/v1/events", content="\n".join(lines), headers=NDJSON)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def test_an_event_sent_again_is_a_duplicate(self, http: httpx.Client) -> None:
        first = self.send(http, event(1), event(2))
        assert first == {"accepted": 2, "duplicates": 0, "rejected": []}
        again = self.send(http, event(2), event(3), event(3))
        assert again == {"accepted": 1, "duplicates": 2, "rejected": []}

    def test_equal_content_in_other_words_is_a_duplicate(self, http: httpx.Client) -> None:
        self.send(http, event(1))
        scope = {"org": "acme", "team": "banking", "user": "ana"}
        same = event(1, scope=scope, ts="2026-01-05T10:00:00+01:00", agent="", data={}, about={})
        assert self.send(http, same)["duplicates"] == 1

    def test_an_id_with_other_content_is_refused_by_its_index(self, http: httpx.Client) -> None:
        self.send(http, event(1))
        answer = self.send(http, event(2), event(1, text="other"))
        assert (answer["accepted"], answer["duplicates"]) == (1, 0)
        assert [item["index"] for item in answer["rejected"]] == [1]

    def test_ids_of_two_organisations_have_nothing_to_do_with_each_other(
        self, http: httpx.Client
    ) -> None:
        answer = self.send(http, event(1), event(1, scope="globex", text="other"))
        assert answer["accepted"] == 2

    @pytest.mark.parametrize("bad", BAD, ids=lambda bad: json.dumps(bad)[-60:])
    def test_a_bad_event_is_refused_and_the_good_ones_beside_it_are_kept(
        self, http: httpx.Client, bad: dict[str, Any]
    ) -> None:
        answer = self.send(http, event(1), bad, "{torn", event(2))
        assert answer["accepted"] == 2
        assert [item["index"] for item in answer["rejected"]] == [1, 2]
        assert all(item["error"] for item in answer["rejected"])

    def test_empty_lines_do_not_count(self, http: httpx.Client) -> None:
        answer = self.send(http, event(1), "", "{torn")
        assert [item["index"] for item in answer["rejected"]] == [1]

    def test_nothing_is_refused_as_a_whole(self, http: httpx.Client) -> None:
        answer = http.post("/v1/events", content=b"", headers=NDJSON)
        assert answer.status_code == 422
        assert set(answer.json()["error"]) == {"field", "reason", "mend"}

    def test_what_nobody_captured_is_not_known(self, client: Client) -> None:
        for ask in (
            lambda: client.context("figures", scope="nobody"),
            lambda: client.search("figures", scope="nobody"),
            lambda: client.notes(scope="nobody"),
            lambda: client.note("note-0"),
            lambda: client.feedback("note-0", scope="nobody", helpful=True),
        ):
            with pytest.raises(NotFound):
                ask()

    def test_what_is_asked_wrongly_is_said(self, client: Client) -> None:
        with pytest.raises(InvalidArgument):
            client.ask(_without_query())

    def test_a_session_arrives_and_nothing_is_known_yet(self, client: Client) -> None:
        with client.session(WHO, agent="deck-builder", about={"account": "northwind"}) as session:
            session.message("build the deck", role="human")
            session.tool_call("read", {"path": "a.md", "when": object()})
            session.tool_result("read", "done", ok=False)
            session.error("Traceback")
            session.correction("use adjusted EBITDA \ud83d")
            session.feedback("note-1", helpful=False, role="agent")
            session.retrieval("something", data={"ratio": float("nan")})
        assert client.flush(30.0)
        stats = client.stats()
        assert (stats.captured, stats.sent, stats.rejected, stats.last_error) == (7, 7, 0, "")
        found = client.context("figures", scope=WHO)
        assert (found.text, found.notes, found.available) == ("", (), True)
        assert client.search("figures", scope=WHO) == []
        assert client.notes(scope="acme").notes == ()
        assert client.notes(scope="acme").next is None
        client.feedback("note-1", scope=WHO, helpful=True)
        client.close()


def _without_query() -> Any:
    from sleep_runtime.client.wire import post

    return post("/v1/search", scope=WHO)
