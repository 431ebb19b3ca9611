"""Capture keeps the good events, refuses the bad ones by index, and never falls over."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.native import Parsed, Rejection, parse_events
from sleep_runtime.core.errors import InvalidInput
from sleep_runtime.core.event import Event
from sleep_runtime.core.ids import canonical_json

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
JSON, NDJSON = "application/json", "application/x-ndjson"


def event(event_id: str = "e1", **changes: Any) -> dict[str, Any]:
    base = {
        "id": event_id,
        "ts": "2026-11-22T09:00:00Z",
        "scope": {"org": "acme", "team": "banking", "user": "ana"},
        "session": "s1",
        "agent": "deck-builder",
        "kind": "correction",
        "role": "human",
        "text": "use adjusted EBITDA",
        "about": {"account": "northwind"},
        "data": {},
    }
    return {key: value for key, value in (base | changes).items() if value is not ...}


def parse(
    body: bytes | Any,
    content_type: str = JSON,
    content_encoding: str = "",
    limits: CaptureLimits = CaptureLimits(),  # noqa: B008 - frozen
) -> Parsed:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_events(
        raw, content_type=content_type, content_encoding=content_encoding, now=NOW, limits=limits
    )


def lines(*values: Any) -> bytes:
    return b"\n".join(v if isinstance(v, bytes) else json.dumps(v).encode() for v in values)


# ---------------------------------------------------------------------------- rows


def test_an_event_becomes_a_row_that_reads_back_as_the_event() -> None:
    (row,) = parse([event(data={"b": [1, {"z": None, "a": 1.5}]})]).rows
    assert row[:7] == (
        "e1",
        "acme/banking/ana",
        "s1",
        1_795_338_000_000_000,
        "correction",
        "human",
        "human",
    )
    assert row.tokens == len("use adjusted EBITDA") // 4
    stored = Event.model_validate_json(row.body)
    assert stored == Event.model_validate(event(data={"b": [1, {"z": None, "a": 1.5}]}))
    assert row.body.decode() == canonical_json(stored.model_dump(mode="json")).replace(
        "2026-11-22T09:00:00Z", "2026-11-22T09:00:00+00:00"
    )


def test_trust_follows_the_role_and_cannot_be_claimed() -> None:
    rows = parse([event(role=role) for role in ("human", "agent", "tool", "system")]).rows
    assert [row.trust for row in rows] == ["human", "agent", "untrusted", "agent"]
    assert parse([event(trust="human")]).rejected[0].error.startswith("trust: is not a field")


def test_equal_events_have_equal_bytes_however_they_are_written() -> None:
    (one,) = parse([event(data={"a": 1, "b": 2}, about={"x": "1", "y": "2"})]).rows
    other = event(data={"b": 2, "a": 1}, about={"y": "2", "x": "1"}, scope="acme/banking/ana") | {
        "ts": "2026-11-22T10:00:00+01:00"
    }
    (two,) = parse(dict(reversed(other.items()))).rows
    assert one == two


@pytest.mark.parametrize(
    "changes",
    [
        *[{"text": "x"}, {"ts": "2026-11-22T09:00:01Z"}, {"data": {"a": 1}}, {"about": {}}],
        *[{"role": "agent"}, {"kind": "message"}, {"session": "s2"}, {"agent": ""}],
    ],
)
def test_any_difference_in_content_changes_the_digest(changes: dict[str, Any]) -> None:
    assert parse([event(**changes)]).rows[0].digest != parse([event()]).rows[0].digest


def test_late_and_out_of_order_events_are_welcome() -> None:
    stamps = ["2026-11-23T11:59:00Z", "2000-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]
    parsed = parse([event(str(n), ts=ts) for n, ts in enumerate(stamps)])
    assert [row.id for row in parsed.rows] == ["0", "1", "2"]


def test_nul_and_half_emojis_in_text_break_nothing() -> None:
    body = lines(event(text="a\x00b")).replace(b"adjusted", b"x")
    half = lines(event("e2")).replace(b"adjusted", rb"\ud83d adj \ud83d\ude00 \ude00")
    for content_type in (JSON, NDJSON):
        assert parse(body, content_type).rows[0].body.count(b"a\\u0000b") == 1
        (row,) = parse(half, content_type).rows
        text = Event.model_validate_json(row.body).text
        assert text == "use \ufffd adj \U0001f600 \ufffd EBITDA"


# ---------------------------------------------------------------------------- forms


@pytest.mark.parametrize(
    "content_type",
    [JSON, "application/json; charset=utf-8", "", "application/x-www-form-urlencoded"],
)
def test_arrays_objects_and_ndjson_are_told_apart(content_type: str) -> None:
    both = [event("a"), event("b")]
    assert [row.id for row in parse(both, content_type).rows] == ["a", "b"]
    assert [row.id for row in parse(event("a"), content_type).rows] == ["a"]
    pretty = json.dumps(event("a"), indent=2).encode()
    assert [row.id for row in parse(pretty, content_type).rows] == ["a"]
    assert [row.id for row in parse(lines(*both), content_type).rows] == ["a", "b"]
    assert parse(b"[]", content_type) == Parsed([], [], [])


def test_ndjson_may_have_blank_lines_crlf_and_a_byte_order_mark() -> None:
    body = b"\xef\xbb\xbf" + lines(event("a"), b"", b"  \r", event("b"), b"\r", b"")
    parsed = parse(body, NDJSON)
    assert (parsed.indexes, parsed.rejected) == ([0, 1], [])
    assert parse(b"\xef\xbb\xbf" + lines(event("a"))).indexes == [0]


def test_gzip_is_unpacked_even_in_several_members() -> None:
    packed = gzip.compress(lines(event("a"), b"")) + gzip.compress(lines(event("b")))
    assert [row.id for row in parse(packed, NDJSON, "gzip").rows] == ["a", "b"]


# ---------------------------------------------------------------------------- refusals


def test_bad_events_are_refused_by_index_and_the_good_ones_beside_kept() -> None:
    batch = [event("a"), event(kind="shout"), 5, event("b"), event(ts="1970-01-01T00:00:00Z")]
    for parsed in (parse(batch), parse(lines(*batch), NDJSON)):
        assert [row.id for row in parsed.rows] == ["a", "b"]
        assert parsed.indexes == [0, 3]
        assert [rejection.index for rejection in parsed.rejected] == [1, 2, 4]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"id": ...}, "id: is missing (every event needs it)"),
        ({"id": ""}, "id: string should have at least 1 character (it must not be empty)"),
        ({"id": 7}, "id: input should be a valid string (send it as text)"),
        ({"id": "x" * 300}, "id: has 300 characters, at most 200 (shorten it)"),
        (
            {"kind": "shout"},
            (
                "kind: is 'shout' (use 'message', 'tool_call', 'tool_result', 'retrieval', "
                "'error', 'correction' or 'feedback')"
            ),
        ),
        ({"role": None}, "role: is null (use 'human', 'agent', 'tool' or 'system')"),
        ({"txt": "x", "text": ...}, 'txt: is not a field of an event (did you mean "text"?)'),
        ({"colour": 1}, 'colour: is not a field of an event (put what is your own under "data")'),
        ({"ts": "2026-11-22T09:00:00"}, 'ts: has no time zone (end it with "Z" or an offset'),
        ({"ts": "yesterday"}, "ts: input should be a valid datetime"),
        ({"ts": "1970-01-01T00:00:00Z"}, "ts: 1970-01-01T00:00:00+00:00 is before 2000-01-01"),
        ({"ts": 0}, "ts: 1970-01-01T00:00:00+00:00 is before 2000-01-01: a clock that was never"),
        ({"ts": "0001-01-01T00:00:00+14:00"}, "ts: 0001-01-01T00:00:00+14:00 is before"),
        ({"ts": "2100-01-01T00:00:00Z"}, "ts: 2100-01-01T00:00:00+00:00 lies in the future"),
        ({"ts": "9999-12-31T23:59:59-14:00"}, "ts: 9999-12-31T23:59:59-14:00 lies in the future"),
        ({"scope": "acme/../x"}, "scope.team: '..' is not allowed (write it as"),
        ({"scope": "acme//x"}, "scope.team: is empty (write it as"),
        ({"scope": "a/b/c/d"}, "scope: has 4 parts, at most 3"),
        ({"scope": {"team": "x"}}, "scope.org: is missing"),
        ({"scope": ...}, "scope: is missing"),
        ({"text": "x" * 5_000_000}, "text: has 5000000 characters, at most 1000000"),
        ({"about": {"a": 1}}, "about.a: input should be a valid string"),
        ({"data": {"n": float("nan")}}, "data: holds NaN, infinity or a number too long"),
        ({"data": {"n": "x" * 300_000}}, "data: is 300008 bytes of JSON, at most 262144 (keep"),
    ],
)
def test_a_refusal_names_the_field_the_reason_and_the_mend(
    changes: dict[str, Any], error: str
) -> None:
    parsed = parse([event("good"), event(**changes)])
    assert [row.id for row in parsed.rows] == ["good"]
    ((index, said),) = ((r.index, r.error) for r in parsed.rejected)
    assert index == 1
    assert said.startswith(error)
    assert len(said) <= 600


def test_several_faults_of_one_event_are_named_together() -> None:
    (rejection,) = parse([{"foo": 1}]).rejected
    assert rejection.error.startswith("id: is missing (every event needs it); ts: is missing")
    assert rejection.error.endswith("and 4 more")


def test_a_configured_text_limit_is_kept() -> None:
    limits = CaptureLimits(max_text_chars=10)
    (rejection,) = parse([event()], limits=limits).rejected
    assert rejection.error.startswith("text: has 19 characters, at most 10 (cut it")


def test_a_bad_ndjson_line_is_refused_alone_with_its_line_number() -> None:
    broken = json.dumps(event("x")).encode()
    body = lines(event("a"), b"", broken[:40], broken.replace(b"use", b"\xff\xfe"), event("b"))
    parsed = parse(body, NDJSON)
    assert [row.id for row in parsed.rows] == ["a", "b"]
    assert [r.index for r in parsed.rejected] == [1, 2]
    assert parsed.rejected[0].error.startswith("line 3: is not valid JSON: EOF while parsing")
    assert parsed.rejected[1].error.startswith("line 4: is not valid JSON: invalid unicode")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "body: is empty"),
        (b" \n ", "body: is empty"),
        (b'[{"id": 1},', "body: is not valid JSON: EOF while parsing a value at line 1 column 11"),
        (b"[1] [2]", "body: is not valid JSON: trailing characters at line 1 column 5"),
        (b'["\xff"]', "body: is not valid JSON: invalid unicode code point at line 1"),
        (b'"text"', "body: is text, expected an object or an array"),
        (b"[" * 100_000, "body: is not valid JSON: recursion limit exceeded"),
        (b"[" + b"1," * 20_000 + b"1]", "body: has 20001 events, at most 10000"),
        (b"[" + b"9" * 5000 + b"]", "body: is not valid JSON: number out of range"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_as_a_whole(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(body)
    assert str(refused.value).startswith(reason)


def test_a_hundred_thousand_events_are_told_to_split() -> None:
    one = json.dumps(event()).encode()
    limits = CaptureLimits(max_body_bytes=1 << 30)
    for body, content_type in (
        (b"[" + b",".join([one] * 100_000) + b"]", JSON),
        (b"\n".join([one] * 100_000), NDJSON),
    ):
        with pytest.raises(InvalidInput, match=r"at most 10000 .*split it into requests"):
            parse(body, content_type, limits=limits)


def test_bodies_beyond_the_limit_are_refused_packed_or_unpacked() -> None:
    limits = CaptureLimits(max_body_bytes=1000)
    with pytest.raises(InvalidInput, match=r"larger than 1000 bytes .*split"):
        parse(b" " * 1001, limits=limits)
    with pytest.raises(InvalidInput, match="larger than 1000 bytes"):
        parse(gzip.compress(b" " * 1001), content_encoding="gzip", limits=limits)
    with pytest.raises(InvalidInput, match="larger than 1000 bytes"):
        parse(gzip.compress(b" " * 600) * 2, content_encoding="gzip", limits=limits)


def test_a_gzip_bomb_is_stopped_at_the_limit() -> None:
    bomb = gzip.compress(b" " * (200 << 20), 9)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="larger than"):
            parse(bomb, content_encoding="gzip")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 3 * CaptureLimits().max_body_bytes


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (b"not gzip", "gzip", "is not a complete gzip stream"),
        (gzip.compress(b"[]")[:-4], "gzip", "ends too early"),
        (gzip.compress(b"[]") + b"tail", "gzip", "is not a complete gzip stream"),
        (gzip.compress(b" ") * 100, "gzip", "more than 16 members"),
        (b"[]", "br", r"content-encoding: 'br' is not supported \(send gzip\)"),
    ],
)
def test_a_broken_encoding_is_refused(body: bytes, encoding: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        parse(body, content_encoding=encoding)


def test_conflicts_come_back_by_their_place_in_the_request() -> None:
    parsed = parse([event("a"), event(kind="x"), event("b"), event("c"), 1])
    refused = parsed.refused(conflicts=(1, 2))
    assert [r.index for r in refused] == [1, 2, 3, 4]
    assert refused[1] == Rejection(
        2,
        "id: was used before with other content (the first event stays; give every event its "
        "own id)",
    )


# ---------------------------------------------------------------------------- anything at all

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_near = st.fixed_dictionaries(
    {}, optional={field: _values | st.just(event()[field]) for field in event()}
)
_bodies = (
    st.binary(max_size=300)
    | st.builds(lambda v: json.dumps(v).encode(), _values | _near | st.lists(_near, max_size=4))
    | st.builds(lambda vs: lines(*vs), st.lists(_near | st.binary(max_size=20), max_size=4))
)


@given(
    body=_bodies,
    content_type=st.sampled_from([JSON, NDJSON, "", "text/plain"]) | st.text(max_size=20),
    encoding=st.sampled_from(["", "", "gzip", "identity"]) | st.text(max_size=20),
)
@example(body=b'{"id":"\\ud800"}\n{"id":"\\udc00', content_type="", encoding="")
@example(body=b'[{"data":' * 90, content_type=JSON, encoding="")
@settings(max_examples=400, deadline=None, derandomize=True)
def test_any_bytes_are_parsed_or_refused(body: bytes, content_type: str, encoding: str) -> None:
    try:
        parsed = parse(body, content_type, encoding)
    except InvalidInput:
        return
    places = parsed.indexes + [rejection.index for rejection in parsed.rejected]
    assert sorted(places) == list(range(len(places)))
    for row in parsed.rows:
        assert Event.model_validate_json(row.body).id == row.id
