"""What clients send: events in every form, questions, and scopes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import ValidationError

from reliability.fuzz.shapes import (
    DEEP_ARRAY,
    anything,
    damaged,
    encoded,
    gzips,
    in_bytes,
    json_objects,
    json_strings,
    json_values,
    texts,
    times,
)
from reliability.fuzz.target import Target, check_told
from sleep_runtime.actors import journal_wire
from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.native import parse_events
from sleep_runtime.core.errors import InvalidInput
from sleep_runtime.core.event import Event
from sleep_runtime.core.scope import Scope
from sleep_runtime.serve.bare import ContextBody, SearchBody, from_validation

NOW = datetime(2026, 11, 23, tzinfo=UTC)
LIMITS = CaptureLimits(max_body_bytes=2_000_000, max_events=50, max_text_chars=50_000)

_SCOPES = st.sampled_from(
    ('"acme"', '"acme/banking/ana"', '{"org":"acme","team":"b","user":"ana"}', '"a/b"', '"a//b"')
)
_EVENT: dict[str, SearchStrategy[str]] = {
    "id": st.integers(0, 9).map(lambda n: f'"e{n}"'),
    "ts": st.just('"2026-11-22T09:00:00Z"') | times.map(json.dumps),
    "scope": _SCOPES,
    "session": st.just('"s"') | json_strings(),
    "kind": st.sampled_from(('"message"', '"correction"', '"retrieval"')),
    "role": st.sampled_from(('"human"', '"agent"', '"tool"')),
    "text": json_strings(),
    "about": st.just("{}") | json_objects({"account": json_strings()}),
    "data": json_objects({"x": json_values}),
}
EVENT = json_objects(_EVENT)
EVENT_BYTES = st.one_of(
    st.tuples(EVENT, encoded).map(lambda given: in_bytes(*given)),
    st.lists(EVENT, max_size=4).map(lambda many: in_bytes("[" + ",".join(many) + "]", "utf-8")),
    st.lists(EVENT, max_size=4).map(lambda many: in_bytes("\n".join(many), "utf-8")),
    json_values.map(lambda text: in_bytes(text, "utf-8")),
    st.binary(max_size=100),
)
_TYPES = st.sampled_from(
    ("application/json", "application/x-ndjson", "", "text/plain; x=\xff", ";")
)
_ENCODINGS = st.sampled_from(("", "gzip", " X-GZIP ", "identity", "br", "gzip, gzip", "\xff"))
_BODIES = st.one_of(
    st.tuples(damaged(EVENT_BYTES), _TYPES, st.just("")),
    st.tuples(damaged(gzips(EVENT_BYTES)), _TYPES, st.just("gzip")),
    st.tuples(damaged(EVENT_BYTES | gzips(EVENT_BYTES)), _TYPES, _ENCODINGS),
)


def _read_body(given: tuple[bytes, str, str]) -> None:
    body, content_type, content_encoding = given
    parsed = parse_events(
        body, content_type=content_type, content_encoding=content_encoding, now=NOW, limits=LIMITS
    )
    places = sorted([*parsed.indexes, *(each.index for each in parsed.rejected)])
    assert places == list(range(len(places))), "each event is kept or refused, once"
    assert len(parsed.rows) == len(parsed.indexes)
    for refused in parsed.rejected:
        assert ": " in refused.error, "a field and a reason"
        refused.error.encode()
    for row in parsed.rows:
        kept = Event.model_validate_json(row.body)  # as a night reads it
        assert (kept.id, str(kept.scope)) == (row.id, row.scope)
        frame = journal_wire.question(1, [[row]])
        assert journal_wire.read_question(frame[4:]) == (1, [[row]])


_QUESTIONS = st.one_of(
    json_objects(
        {
            "scope": _SCOPES,
            "query": json_strings(),
            "k": st.sampled_from(("1", "100", "7", "null", "0", "-1", "1e3", "9" * 400)),
            "as_of": st.just("null") | times.map(json.dumps),
        }
    ),
    json_objects(
        {
            "scope": _SCOPES,
            "query": json_strings(),
            "budget_tokens": st.integers(10, 100_010).map(str),
            "compiler": st.just("null") | json_strings(),
        }
    ),
    json_values,
)
_QUESTION_BYTES = damaged(_QUESTIONS.map(lambda text: in_bytes(text, "utf-8")))


def _read_question(raw: bytes) -> None:
    refusals = []
    for kind in (SearchBody, ContextBody):
        try:
            kind.model_validate_json(raw)
        except ValidationError as error:
            refusals.append(from_validation(error.errors(include_url=False, include_input=False)))
            check_told(refusals[-1])
    if len(refusals) == 2:
        raise refusals[0]


_PATHS = st.one_of(
    texts,
    st.text("abz019_.@+=:,~-/ %\u0301é\n", max_size=300),
    st.dictionaries(st.sampled_from(("org", "team", "user", "x")), texts | st.none() | anything(1)),
)


def _read_scope(given: Any) -> None:
    scope = Scope.from_mapping(given) if isinstance(given, dict) else Scope(given)
    assert Scope(str(scope)) == scope
    assert scope.lineage()[-1] == scope.org
    scope.encode()


EVENTS: tuple[Target, ...] = (
    Target("events", _BODIES, _read_body, (InvalidInput,), known=[(b"0", "", "")]),
    Target("questions", _QUESTION_BYTES, _read_question, (InvalidInput,), known=[DEEP_ARRAY]),
    Target("scopes", _PATHS, _read_scope, (InvalidInput,)),
)
