"""Inputs nobody would send: text, JSON, YAML and gzip with what breaks readers put into them."""

from __future__ import annotations

import gzip
import json
import zlib
from datetime import datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

DEEP = (50, 127, 128, 129, 199, 201, 1_000, 100_000)
DEEP_ARRAY = b"[" * 2_000
_NUMBERS = (
    *("0", "-0", "1", "-1", "1.5", "1e5", "1e308", "1e309", "1e999", "-1e999", "1e-999"),
    *("NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x10", "1_000", "1e"),
    *("9" * 19, "9" * 20, "9" * 400, "-" + "9" * 400),
)
_TEXTS = (
    *("", " ", "\x00", "a\x00b", "\ufeff", "\u202e", "é", "e\u0301", "💥", "\uffff", "\x7f"),
    *("../..", "a/b/c/d", "%00", "%s%n", "{}", "{0}", "'; --", "<sleep-context>", "null"),
)
_LONG = (("a", 300), ("a", 70_000), ("\n", 1000), ("ﷺ", 1000), ("\u0301", 1000))
_ESCAPES = (
    *(r"\ud800", r"\udc00", r"\ud83d\ude00", r"\ud83d", r"\u0000", r"\u", r"\ud8", r"\x", "\\"),
    *(r"\udfff\ud800", r"\n\t\r", r"\/", r"\u202e"),
)
_TIMES = (
    *("2026-11-22T09:00:00Z", "2026-11-22T09:00:00", "2026-11-22", "0001-01-01T00:00:00Z"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-23:59"),
    *("2026-02-30T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T23:59:60Z", "10000-01-01T00Z"),
    *("2000-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "2026-11-22T09:00:00+99:99", "now", ""),
    *("1e18", "-1", "1763802000", "1763802000000", "2026-11-22T09:00:00.123456789Z", "P1D"),
)

_SELDOM = st.sampled_from((False,) * 11 + (True,))

texts: SearchStrategy[str] = st.one_of(
    st.sampled_from(_TEXTS),
    st.text(max_size=40),
    st.text("abc xyz", max_size=40),
    st.sampled_from(_LONG).map(lambda given: given[0] * given[1]),
)
times: SearchStrategy[str] = st.one_of(
    st.sampled_from(_TIMES),
    st.datetimes(min_value=datetime(1990, 1, 1)).map(lambda at: f"{at.isoformat()}Z"),  # noqa: DTZ001 - the zone is written behind
    texts,
)


@st.composite
def json_strings(draw: DrawFn) -> str:
    """A JSON string, mostly: escapes may be cut, and control characters unescaped."""
    plain = json.dumps(draw(texts), ensure_ascii=draw(st.booleans()))
    return plain[:-1] + (draw(st.sampled_from(_ESCAPES)) if draw(_SELDOM) else "") + '"'


def _object(pairs: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"


def _bomb(draw_from: tuple[int, ...] = DEEP) -> SearchStrategy[str]:
    def of(given: tuple[str, int]) -> str:
        kind, depth = given
        if kind == "[":
            return "[" * depth + "]" * depth
        if kind == "{":
            return '{"a":' * depth + "1" + "}" * depth
        return kind * depth  # never closed

    kinds = st.sampled_from(("[", "{", "[[", '{"a":', '[{"a":'))
    return st.tuples(kinds, st.sampled_from(draw_from)).map(of)


_plain_values: SearchStrategy[str] = st.recursive(
    st.one_of(
        st.sampled_from((*_NUMBERS, "null", "true", "false", '""', "[]", "{}")),
        st.sampled_from((4_300, 4_301, 20_000)).map(lambda digits: "9" * digits),
        json_strings(),
        times.map(json.dumps),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: "[" + ",".join(items) + "]"),
        st.lists(st.tuples(json_strings(), inner), max_size=4).map(_object),
    ),
    max_leaves=12,
)
json_values: SearchStrategy[str] = st.sampled_from((False,) * 12 + (True,)).flatmap(
    lambda bomb: _bomb() if bomb else _plain_values
)


@st.composite
def json_objects(draw: DrawFn, fields: dict[str, SearchStrategy[str]]) -> str:
    """An object of these fields, given as JSON, some of them wrong, missing, twice or unknown."""
    pairs = [(json.dumps(name), draw(right)) for name, right in fields.items()]
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 1, 2)))):
        at = draw(st.integers(0, len(pairs) - 1)) if pairs else 0
        match draw(st.integers(0, 4)):
            case 0 if pairs:
                pairs.pop(at)
            case 1 if pairs:
                pairs.append((pairs[at][0], draw(json_values)))
            case 2:
                pairs.append((draw(json_strings()), draw(json_values)))
            case _ if pairs:
                pairs[at] = (pairs[at][0], draw(json_values))
    return _object(pairs)


@st.composite
def damaged(draw: DrawFn, whole: SearchStrategy[bytes]) -> bytes:
    """Bytes as they were, cut, joined, or with some others in them."""
    raw = draw(whole)
    at = draw(st.integers(0, len(raw)))
    match draw(st.sampled_from(("",) * 12 + ("cut", "grown", "changed", "twice"))):
        case "cut":
            return raw[:at]
        case "grown":
            return raw[:at] + draw(st.binary(max_size=8)) + raw[at:]
        case "changed":
            return raw[:at] + draw(st.binary(min_size=1, max_size=4)) + raw[at + 1 :]
        case "twice":
            return raw + raw
        case _:
            return raw


encoded: SearchStrategy[str] = st.sampled_from(
    ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32")
)


def in_bytes(text: str, encoding: str) -> bytes:
    """The text in that encoding, as well as it goes."""
    return text.encode(encoding, "surrogatepass" if "utf" in encoding else "replace")


@st.composite
def gzips(draw: DrawFn, whole: SearchStrategy[bytes]) -> bytes:
    """Gzip: good, in many members, nested, a bomb, of another kind, or broken."""
    raw = draw(whole)
    match draw(st.sampled_from(("",) * 4 + ("bomb", "members", "nested", "zlib", "empty", "cut"))):
        case "bomb":
            return gzip.compress(b" " * draw(st.sampled_from((10**6, 5 * 10**6))) + raw)
        case "members":
            return b"".join(
                gzip.compress(bytes([each])) for each in raw[: draw(st.integers(0, 40))]
            )
        case "nested":
            return gzip.compress(gzip.compress(raw))
        case "zlib":
            return zlib.compress(raw)
        case "empty":
            return gzip.compress(b"") * draw(st.integers(1, 40)) + gzip.compress(raw)
        case "cut":
            return gzip.compress(raw)[: draw(st.integers(0, 30))]
        case _:
            return gzip.compress(raw)


def anything(depth: int = 3) -> SearchStrategy[Any]:
    """Values as JSON readers give them."""
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=4 * depth,
    )
