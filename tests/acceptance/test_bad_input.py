"""Bad input over HTTP: a clear error that names field, reason and mend; the good is kept."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from living import Runtime, event

pytestmark = pytest.mark.ray


def error_of(answer: Any) -> dict[str, str]:
    found: dict[str, str] = answer.json()["error"]
    assert found["reason"], answer.text
    return found


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "gossip"}, "kind"),
        ({"role": "king"}, "role"),
        ({"ts": "1970-01-01T00:00:00Z"}, "ts"),
        ({"ts": "2100-01-01T00:00:00Z"}, "ts"),
        ({"ts": "yesterday"}, "ts"),
        ({"scope": {"org": "..", "team": "x"}}, "scope"),
        ({"scope": {"org": "", "team": "x"}}, "scope"),
        ({"scope": "a/b/c/d"}, "scope"),
        ({"text": "x" * 5_000_000}, "text"),
        ({"text": 7}, "text"),
        ({"session": ""}, "session"),
        ({"id": None}, "id"),
        ({"surprise": 1}, "surprise"),
        ({"about": {"account": 7}}, "about"),
    ],
)
def test_one_bad_event_is_refused_and_its_neighbours_are_kept(
    runtime: Runtime, change: dict[str, Any], field: str, request: pytest.FixtureRequest
) -> None:
    org = f"bad{abs(hash(request.node.name)) % 10**8}"
    answer = runtime.capture(event(1, org), {**event(2, org), **change}, event(3, org))
    assert answer["accepted"] == 2, answer
    assert [item["index"] for item in answer["rejected"]] == [1]
    message = answer["rejected"][0]["error"]
    assert message.startswith(field), message
    assert "(" in message, f"no mend in {message!r}"


def test_a_missing_id_is_named(runtime: Runtime) -> None:
    bad = event(1, "noid")
    del bad["id"]
    assert "id" in runtime.capture(bad)["rejected"][0]["error"]


def test_an_id_used_again_with_other_content_is_refused_and_the_first_stays(
    runtime: Runtime,
) -> None:
    assert runtime.capture(event(1, "again", "first"))["accepted"] == 1
    answer = runtime.capture(event(1, "again", "second"), event(2, "again"))
    assert answer["accepted"] == 1
    assert answer["rejected"][0]["index"] == 0
    assert "first event stays" in answer["rejected"][0]["error"]
    assert runtime.capture(event(1, "again", "first"))["duplicates"] == 1


def test_a_body_that_is_not_json_says_where(runtime: Runtime) -> None:
    answer = runtime.http.post("/v1/events", content=b'[{"id": "1",', headers=JSON)
    assert answer.status_code in (400, 422)
    assert error_of(answer)["mend"]


def test_a_bad_ndjson_line_does_not_cost_the_others(runtime: Runtime) -> None:
    lines = [json.dumps(event(1, "ndjson")), "{oops", json.dumps(event(2, "ndjson"))]
    answer = runtime.http.post(
        "/v1/events",
        content="\n".join(lines).encode(),
        headers={"content-type": "application/x-ndjson"},
    ).json()
    assert answer["accepted"] == 2
    assert answer["rejected"][0]["index"] == 1


def test_invalid_utf8_is_refused_with_its_line(runtime: Runtime) -> None:
    body = json.dumps(event(1, "utf8")).encode() + b"\n" + b'{"id": "\xff\xfe"}'
    answer = runtime.http.post(
        "/v1/events", content=body, headers={"content-type": "application/x-ndjson"}
    ).json()
    assert answer["accepted"] == 1
    assert "UTF-8" in answer["rejected"][0]["error"]


def test_gzip_is_taken_and_a_broken_stream_is_refused(runtime: Runtime) -> None:
    packed = gzip.compress(json.dumps([event(1, "gzip")]).encode())
    headers = {**JSON, "content-encoding": "gzip"}
    taken = runtime.http.post("/v1/events", content=packed, headers=headers)
    assert taken.json()["accepted"] == 1
    broken = runtime.http.post("/v1/events", content=packed[:-9], headers=headers)
    assert broken.status_code == 422
    assert error_of(broken)["mend"]


def test_a_gzip_bomb_is_refused(runtime: Runtime) -> None:
    bomb = gzip.compress(b" " * 200_000_000)
    answer = runtime.http.post(
        "/v1/events", content=bomb, headers={**JSON, "content-encoding": "gzip"}
    )
    assert answer.status_code in (413, 422)


def test_a_hundred_thousand_events_in_one_request_are_refused_with_a_mend(
    runtime: Runtime,
) -> None:
    body = b"[" + b",".join([b"{}"] * 100_000) + b"]"
    answer = runtime.http.post("/v1/events", content=body, headers=JSON)
    assert answer.status_code in (413, 422)
    assert "split" in error_of(answer)["mend"] or "smaller" in error_of(answer)["mend"]


@pytest.mark.parametrize("path", ["/v1/search", "/v1/context"])
def test_an_unknown_scope_in_a_query_is_named(runtime: Runtime, path: str) -> None:
    answer = runtime.http.post(path, json={"scope": "nobody/knows/this", "query": "x"})
    assert answer.status_code == 404
    assert error_of(answer)["field"] == "scope"
    assert error_of(answer)["mend"]


def test_a_bad_scope_in_a_query_is_named(runtime: Runtime) -> None:
    answer = runtime.http.post("/v1/search", json={"scope": "a/../b", "query": "x"})
    assert answer.status_code == 422
    assert "scope" in error_of(answer)["field"]


def test_an_unknown_compiler_lists_the_known_ones(runtime: Runtime) -> None:
    runtime.capture(event(1, "compilers"))
    answer = runtime.http.post(
        "/v1/context", json={"scope": "compilers/team/ana", "query": "x", "compiler": "nope"}
    )
    assert answer.status_code == 404
    assert "markdown" in error_of(answer)["mend"]


def test_an_unknown_field_in_a_query_is_named(runtime: Runtime) -> None:
    answer = runtime.http.post("/v1/search", json={"scope": "a", "query": "x", "kk": 3})
    assert answer.status_code == 422
    assert error_of(answer)["field"] == "kk"


JSON = {"content-type": "application/json"}
