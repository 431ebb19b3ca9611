"""Every reader of what others wrote: events, questions, settings, files, frames and models."""

from __future__ import annotations

import io
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgpack
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import ValidationError

from reliability.fuzz.nights import NIGHTS
from reliability.fuzz.shapes import (
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
from sleep_runtime.capture.redact import redact
from sleep_runtime.cli.event_file import batches, read_events
from sleep_runtime.client import answers as client_answers
from sleep_runtime.client import segments, wire
from sleep_runtime.client.errors import ClientError
from sleep_runtime.config import ENV_PREFIX, InvalidSettings, env_name, leaf_keys, load
from sleep_runtime.core.errors import InvalidInput, StoreError
from sleep_runtime.core.event import Event
from sleep_runtime.core.journal import JournalRow
from sleep_runtime.core.observation import Usage
from sleep_runtime.core.ports import ChatRequest
from sleep_runtime.core.scope import Scope
from sleep_runtime.engines import openai_wire
from sleep_runtime.engines.answers import checked
from sleep_runtime.engines.json_schema import schema_of, violation
from sleep_runtime.engines.llm_answers import CompareAnswer, DistilAnswer
from sleep_runtime.serve.bare import ContextBody, SearchBody, from_validation
from sleep_runtime.stores import context_dir
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.telemetry import failpoint

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MAX_SAID_CHARS = 20_000
LIMITS = CaptureLimits(max_body_bytes=2_000_000, max_events=50, max_text_chars=50_000)

# ---------------------------------------------------------------------------- events

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
_EVENTS = json_objects(_EVENT)
_EVENT_BYTES = st.one_of(
    st.tuples(_EVENTS, encoded).map(lambda given: in_bytes(*given)),
    st.lists(_EVENTS, max_size=4).map(lambda many: in_bytes("[" + ",".join(many) + "]", "utf-8")),
    st.lists(_EVENTS, max_size=4).map(lambda many: in_bytes("\n".join(many), "utf-8")),
    json_values.map(lambda text: in_bytes(text, "utf-8")),
    st.binary(max_size=100),
)
_TYPES = st.sampled_from(
    ("application/json", "application/x-ndjson", "", "text/plain; x=\xff", ";")
)
_ENCODINGS = st.sampled_from(("", "gzip", " X-GZIP ", "identity", "br", "gzip, gzip", "\xff"))
_BODIES = st.one_of(
    st.tuples(damaged(_EVENT_BYTES), _TYPES, st.just("")),
    st.tuples(damaged(gzips(_EVENT_BYTES)), _TYPES, st.just("gzip")),
    st.tuples(damaged(_EVENT_BYTES | gzips(_EVENT_BYTES)), _TYPES, _ENCODINGS),
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


# ---------------------------------------------------------------------------- questions

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


# ---------------------------------------------------------------------------- settings

_KEYS = leaf_keys()
_YAML_VALUES = st.one_of(
    json_values,
    texts,
    st.sampled_from(
        (
            *(
                "~",
                "yes",
                "0o17",
                "1:30",
                "2026-11-22",
                "!!binary x",
                "!!python/object:os.system x",
            ),
            *("*a", "&a [*a]", "&a {x: *a}", "!!set {a, b}", "!!int x", "!!float .nan", ".inf"),
            *("2026-13-45", "0001-01-01T00:00:00+23:59", "!!timestamp 9999-99-99", "<<: {a: 1}"),
            *("{? [a] : b}", "{? {a: b} : c}", "!!omap [a]", "!!pairs [a: 1, a: 2]", "? x", "- x"),
            *("|\n  x", ">-\n x", "@x", "`x", "%x", "\t", "'", '"', "!!null x", "!!bool maybe"),
        )
    ),
)


@st.composite
def _yaml(draw: st.DrawFn) -> str:
    lines = []
    for key in draw(st.lists(st.sampled_from(_KEYS), max_size=3, unique=True)):
        *sections, leaf = key.split(".")
        for depth, section in enumerate(sections):
            lines.append(f"{'  ' * depth}{section}:")
        lines.append(f"{'  ' * len(sections)}{leaf}: {draw(_YAML_VALUES)}")
    if draw(st.integers(0, 3)) == 0:
        lines.append(draw(st.one_of(_YAML_VALUES, texts)))
    return "\n".join(lines)


# Aliases that grow ninefold with each name, where a list, a path or a number is expected.
_LAUGHS = ",".join(
    f"&{name} [{','.join(['*' + before if before else 'x'] * 9)}]"
    for before, name in zip(("", *"abcdefgh"), "abcdefghi", strict=True)
)
_BOMBS = tuple(
    f"{place} [{_LAUGHS}]{'}' * place.count('{')}".encode()
    for place in ("a:", "data_dir:", "http: {port:", "policy: {tiers: {departed:", "log:")
)
_FILES = st.one_of(
    _yaml().map(lambda text: in_bytes(text, "utf-8")),
    st.sampled_from(_BOMBS),
    damaged(_yaml().map(lambda text: in_bytes(text, "utf-8"))),
    json_values.map(lambda text: in_bytes(text, "utf-8")),
)
_ENVIRONMENTS = st.dictionaries(
    st.sampled_from([env_name(key) for key in _KEYS])
    | st.text("ABZ_", max_size=12).map(lambda name: ENV_PREFIX + name),
    texts | json_values,
    max_size=3,
)


def _read_file(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_bytes(raw)
        _load(path, {})


def _load(path: Path | None, environ: dict[str, str]) -> None:
    try:
        load(path, environ=environ)
    except InvalidSettings as error:
        unclear = [one for one in error.problems if not (one.reason and one.field)]
        if unclear or len(str(error)) > MAX_SAID_CHARS:
            raise AssertionError(f"nobody could act on {str(error)[:200]!r}") from error
        raise


# ---------------------------------------------------------------------------- files and frames

_LINES = st.lists(_EVENTS | json_values | texts, max_size=5).map("\n".join)
_EVENT_FILES = damaged(
    st.one_of(
        _LINES.map(lambda text: in_bytes(text, "utf-8")),
        gzips(_LINES.map(lambda text: in_bytes(text, "utf-8"))),
        _EVENT_BYTES,
    )
)


def _read_event_file(raw: bytes) -> None:
    for batch in batches(read_events(io.BytesIO(raw)), max_events=3, max_bytes=100_000):
        for line in batch:
            assert b"\n" not in line.raw


def _read_segment(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "owner-00000001.ndjson"
        path.write_bytes(raw)
        lines = segments.read_lines(path)
        assert not any(b"\n" in line for line in lines)
        segments.bury(path.parent, [(line, "refused") for line in lines])


_ROW = JournalRow("e", "acme", "s", 1, "message", "human", "human", b"d" * 16, b"{}", 1)
_PACKED = st.one_of(
    st.binary(max_size=60),
    (anything() | st.lists(anything(), max_size=4)).map(
        lambda value: msgpack.packb(value, unicode_errors="surrogatepass", default=str)
    ),
    st.sampled_from((b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc1")),
    st.sampled_from((500, 100_000)).map(lambda depth: b"\x91" * depth),
    damaged(st.just(journal_wire.question(7, [[_ROW, _ROW], []])[4:])),
).filter(lambda raw: len(raw) < 2_000_000)


def _read_frames(raw: bytes) -> None:
    refused: Exception | None = None
    for read in (journal_wire.read_question, journal_wire.read_answer):
        try:
            read(raw)
        except (ValueError, TypeError) as error:  # what both ends hang up on
            refused = error
    if refused is not None:
        raise refused


_MANIFESTS = json_objects(
    {
        "format": json_values,
        "files": st.lists(json_strings(), max_size=3).map(lambda each: f"[{','.join(each)}]"),
    }
).map(lambda text: in_bytes(text, "utf-8"))


def _read_manifest(raw: bytes) -> None:
    """The two small files of our own that others may have written over."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / context_dir.MANIFEST).write_bytes(raw)
        DataDir(root).format_file.write_bytes(raw)
        refused: Exception | None = None
        for read in (lambda: context_dir.export([], root), DataDir(root).ensure):
            try:
                read()
            except (InvalidInput, StoreError) as error:
                refused = error
                check_told(error)
        if refused is not None:
            raise refused


# ---------------------------------------------------------------------------- models and servers

_SCHEMAS = tuple(schema_of(model) for model in (DistilAnswer, CompareAnswer))
_REQUESTS = tuple(
    ChatRequest(id="q", messages=(("user", "?"),), json_schema=schema, max_output_tokens=9)
    for schema in _SCHEMAS
)
_ITEM = json_objects(
    {
        "lines": st.just('["L1"]') | json_values,
        "quote": json_strings(),
        "statement": json_strings(),
        "kind": st.just('"fact"') | json_values,
        **{name: json_strings() for name in ("subject", "aspect", "value", "applies_when")},
        "durability": st.just('"standing"'),
    }
)
_SAID = st.one_of(
    json_objects({"reasoning": json_strings(), "verdict": st.just('"same"') | json_values}),
    st.tuples(json_strings(), st.lists(_ITEM, max_size=3)).map(
        lambda given: f'{{"reasoning":{given[0]},"items":[{",".join(given[1])}]}}'
    ),
    json_values,
    texts.map(lambda text: f"<think>{text}</think>```json\n{text}\n```"),
    st.sampled_from((("<think>", " "), ("```json\n", "\n"), ("```\n", " \n"))).map(
        lambda given: given[0] * 20_000 + given[1] * 50_000
    ),
)


def _read_model(content: str) -> None:
    for request, schema in zip(_REQUESTS, _SCHEMAS, strict=True):
        found = checked(content, request, Usage())
        assert (found.object is None) == bool(found.problem)
        if found.object is not None:
            assert not violation(found.object, schema)
            model = DistilAnswer if "items" in schema["properties"] else CompareAnswer
            model.model_validate(found.object)


_COMPLETIONS = st.one_of(
    json_values,
    json_objects(
        {
            "choices": _SAID.map(lambda said: f'[{{"message":{{"content":{json.dumps(said)}}}}}]'),
            "usage": json_objects({"prompt_tokens": json_values}),
            "error": json_values | json_objects({"message": json_strings(), "param": json_values}),
        }
    ),
)
_COMPLETION_BYTES = damaged(_COMPLETIONS.map(lambda text: in_bytes(text, "utf-8")))


def _read_completion(raw: bytes) -> None:
    for request in _REQUESTS:
        openai_wire.read_completion(raw, request, calls=1)
    openai_wire.is_completion(raw)
    openai_wire.read_refusal(raw, secret="k")


_NOTE = json_objects(
    {
        **{name: json_strings() for name in ("id", "statement", "kind", "scope", "subject")},
        "status": json_strings(),
        "confidence": json_values,
    }
)
_REPLIES = st.tuples(
    st.sampled_from((100, 200, 200, 204, 301, 400, 401, 404, 408, 413, 422, 429, 500, 503, 999)),
    damaged(
        st.one_of(
            json_values,
            json_objects(
                {"accepted": json_values, "duplicates": json_values, "rejected": json_values}
            ),
            json_objects({"text": json_strings(), "notes": json_values, "tokens": json_values}),
            json_objects({"hits": _NOTE.map(lambda note: f'[{{"note":{note},"score":1e999}}]')}),
            json_objects({"error": json_values}),
        ).map(lambda text: in_bytes(text, "utf-8"))
    ),
    texts | st.sampled_from(("1", "-1", "1e999", "nan", "inf", "1e308")),
)


def _read_reply(given: tuple[int, bytes, str]) -> None:
    reply = wire.Reply(*given)
    wire.judge(reply, 2)
    refused: ClientError | None = None
    for read in (
        client_answers.Context.read,
        client_answers.Hit.read_all,
        client_answers.NotePage.read,
        client_answers.NoteDetail.read,
    ):
        try:
            read(wire.decode(reply))
        except ClientError as error:
            refused = error
    if refused is not None:
        raise refused


# ---------------------------------------------------------------------------- words

_FAILPOINTS = st.one_of(
    texts,
    st.tuples(
        st.sampled_from((*list(failpoint.NAMES)[:2], "x")),
        st.sampled_from(("kill", "exit", "raise", "exit:", "kill@", "exit:9")),
        texts | st.sampled_from(("@1", "@0", "@²", ":³", "@" + "9" * 5000, ",,=")),
    ).map(lambda given: f"{given[0]}={given[1]}{given[2]}"),
)
_LONG = st.tuples(
    st.sampled_from(
        (
            *("a", "1", "1 ", "a@", "-", "+1 (", "AKIA", "eyJ", "eyJhbGciOi.", "sk-", "://", ":@"),
            *("Bearer ", "password=", "0x", "/", ".", "key: ", '"', "-----BEGIN ", "192.168.", "é"),
        )
    ),
    st.sampled_from(("", "a", "@", "\n", " ", "=", "ﬁ")),
    st.sampled_from((10, 1_000, 50_000)),
).map(lambda given: (given[0] * given[2])[:100_000] + given[1])


def _redacted(text: str) -> None:
    first = redact(text)
    assert redact(first) == first, "what is masked stays as it is"


_DEEP = b"[" * 2_000

TARGETS: tuple[Target, ...] = (
    Target("events", _BODIES, _read_body, (InvalidInput,), known=[(b"0", "", "")]),
    Target("questions", _QUESTION_BYTES, _read_question, (InvalidInput,), known=[_DEEP]),
    Target("scopes", _PATHS, _read_scope, (InvalidInput,)),
    Target(
        "settings-file",
        _FILES,
        _read_file,
        (InvalidSettings,),
        told=False,
        known=[_DEEP, b'{"":0}', b"0", *_BOMBS],
    ),
    Target(
        "settings-env",
        _ENVIRONMENTS,
        lambda environ: _load(None, environ),
        (InvalidSettings,),
        told=False,
        known=[{"SLEEP_POOL__QUIET_HOURS": " "}, {"SLEEP_POOL__TIMEZONE": "Europe/Nowhere"}],
    ),
    Target(
        "event-files",
        _EVENT_FILES,
        _read_event_file,
        (InvalidInput,),
        known=[_DEEP, b"[" + b"9" * 4301 + b"]", b"\x1f\x8b\x1f\x8b"],
    ),
    Target(
        "spool-segments",
        damaged(_EVENT_BYTES),
        _read_segment,
        (),
        known=[_DEEP, _DEEP + b"\n", b"9" * 4301 + b"\n"],
    ),
    Target(
        "journal-frames",
        _PACKED,
        _read_frames,
        (ValueError, TypeError),
        told=False,
        known=[b"\x92\x00\x91\xa0", b"\x92\x00\x91\x90", b"\x91" * 100_000],
    ),
    Target("export-manifests", damaged(_MANIFESTS), _read_manifest, known=[_DEEP]),
    Target("model-answers", _SAID, _read_model, ()),
    Target("completions", _COMPLETION_BYTES, _read_completion, ()),
    Target("client-replies", _REPLIES, _read_reply, (ClientError,), told=False),
    Target(
        "failpoints",
        _FAILPOINTS,
        failpoint.parse,
        known=[f"journal.append.before={action}" for action in ("kill@²", "exit:" + "9" * 5000)],
    ),
    Target("redaction", texts | _LONG, _redacted, ()),
    NIGHTS,
)
