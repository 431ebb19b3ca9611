"""Files and frames: what lies on a disk or comes over a socket, and was ours once."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import msgpack
from hypothesis import strategies as st

from reliability.fuzz.events import EVENT, EVENT_BYTES
from reliability.fuzz.shapes import (
    DEEP_ARRAY,
    anything,
    damaged,
    gzips,
    in_bytes,
    json_objects,
    json_strings,
    json_values,
    texts,
)
from reliability.fuzz.target import Target, check_told
from sleep_runtime.actors import journal_wire
from sleep_runtime.cli.event_file import batches, read_events
from sleep_runtime.client import segments
from sleep_runtime.core.errors import InvalidInput, StoreError
from sleep_runtime.core.journal import JournalRow
from sleep_runtime.stores import context_dir
from sleep_runtime.stores.datadir import DataDir

_LINES = st.lists(EVENT | json_values | texts, max_size=5).map("\n".join)
_EVENT_FILES = damaged(
    st.one_of(
        _LINES.map(lambda text: in_bytes(text, "utf-8")),
        gzips(_LINES.map(lambda text: in_bytes(text, "utf-8"))),
        EVENT_BYTES,
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


FILES: tuple[Target, ...] = (
    Target(
        "event-files",
        _EVENT_FILES,
        _read_event_file,
        (InvalidInput,),
        known=[DEEP_ARRAY, b"[" + b"9" * 4301 + b"]", b"\x1f\x8b\x1f\x8b"],
    ),
    Target(
        "spool-segments",
        damaged(EVENT_BYTES),
        _read_segment,
        (),
        known=[DEEP_ARRAY, DEEP_ARRAY + b"\n", b"9" * 4301 + b"\n"],
    ),
    Target(
        "journal-frames",
        _PACKED,
        _read_frames,
        (ValueError, TypeError),
        told=False,
        known=[b"\x92\x00\x91\xa0", b"\x92\x00\x91\x90", b"\x91" * 100_000],
    ),
    Target("export-manifests", damaged(_MANIFESTS), _read_manifest, known=[DEEP_ARRAY]),
)
