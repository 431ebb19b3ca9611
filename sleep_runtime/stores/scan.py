"""Scan: looks for byte strings in every file of a directory, in every way they may be written.

A text may stand in a file as it is (UTF-8), escaped inside JSON (with or without non-ASCII
letters), as UTF-16 of either byte order, or inside base64 of either alphabet, where it has one of
three alignments. A short string would be found by chance, so that needles have a least length:
of a text ``LEAST_TEXT`` bytes, of a name ``LEAST_NAME``; what is shorter is looked up in the
stores instead, by those who erase.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LEAST_TEXT = 12
LEAST_NAME = 8
PIECE_CHARS = 24
"""Texts are looked for in pieces of so many characters: twice that much of one holds a piece."""
CHUNK_BYTES = 1 << 22
_KEY_BYTES = 8

_TABLE_BITS = 20
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

Keys = npt.NDArray[np.uint64]


def pieces(text: str) -> Iterator[str]:
    """A text cut into pieces, the whole of it where it is short; nothing of one too short."""
    text = text.strip()
    if len(text.encode("utf-8", "surrogatepass")) < LEAST_TEXT:
        return
    if len(text) <= PIECE_CHARS:
        yield text
        return
    for begin in range(0, len(text) - PIECE_CHARS + 1, PIECE_CHARS):
        yield text[begin : begin + PIECE_CHARS]
    if len(text) % PIECE_CHARS:
        yield text[-PIECE_CHARS:]


def written(needle: str) -> set[bytes]:
    """Every way to write the needle that is looked for, none shorter than ``_KEY_BYTES``."""
    raw = needle.encode("utf-8", "surrogatepass")
    found = {
        raw,
        json.dumps(needle)[1:-1].encode(),
        json.dumps(needle, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass"),
        needle.encode("utf-16-le", "surrogatepass"),
        needle.encode("utf-16-be", "surrogatepass"),
    }
    for one in (raw, json.dumps(needle)[1:-1].encode()):
        found |= set(_base64(one))
    return {one for one in found if len(one) >= _KEY_BYTES}


def _base64(raw: bytes) -> Iterator[bytes]:
    """What is the same in base64 whatever stands before and after, for each alignment."""
    for lead in range(3):
        # The first characters mix with what stands before, the last with what stands behind.
        whole = base64.b64encode(bytes(lead) + raw).rstrip(b"=")
        begin = (0, 2, 3)[lead]
        end = (len(raw) + lead) * 8 // 6
        core = whole[begin:end]
        yield core
        yield core.replace(b"+", b"-").replace(b"/", b"_")


class Hit(NamedTuple):
    """A needle that was found: in which file, where, and its number among the needles."""

    file: str
    at: int
    needle: int


class Finder:
    """Looks for many needles at once. Immutable; any thread.

    Every place is looked at, eight bytes at a time: a table tells by a hash of these whether they
    may begin a needle, a sorted list whether they do.
    """

    def __init__(self, needles: Iterable[str], *, raw_only: bool = False) -> None:
        self.needles = tuple(dict.fromkeys(needles))
        self._by_key: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
        for number, needle in enumerate(self.needles):
            ways = {needle.encode("utf-8", "surrogatepass")} if raw_only else written(needle)
            for way in ways:
                if len(way) >= _KEY_BYTES:
                    key = int.from_bytes(way[:_KEY_BYTES], "little")
                    self._by_key[key].append((way, number))
        self.longest = max((len(w) for ws in self._by_key.values() for w, _ in ws), default=0)
        self._keys = np.array(sorted(self._by_key), dtype=np.uint64)
        self._table = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
        self._table[_hashed(self._keys)] = True

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def find(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """Where which needle stands: (first byte, byte after the last, number of the needle)."""
        if not self._by_key or len(data) < _KEY_BYTES:
            return
        for lane in range(min(_KEY_BYTES, len(data) - _KEY_BYTES + 1)):
            count = (len(data) - lane) // _KEY_BYTES
            keys = np.frombuffer(data, dtype="<u8", count=count, offset=lane)
            for place in self._known(keys).tolist():
                at = lane + place * _KEY_BYTES
                for way, number in self._by_key[int(keys[place])]:
                    if data.startswith(way, at):
                        yield at, at + len(way), number

    def _known(self, keys: Keys) -> npt.NDArray[np.intp]:
        """The places of those keys that begin a needle."""
        near = np.flatnonzero(self._table[_hashed(keys)])
        found = keys[near]
        nearest = np.searchsorted(self._keys, found).clip(max=len(self._keys) - 1)
        known: npt.NDArray[np.intp] = near[self._keys[nearest] == found]
        return known

    def holds(self, text: str) -> bool:
        """Whether any needle stands in this text."""
        return next(self.find(text.encode("utf-8", "surrogatepass")), None) is not None

    def seen(self, data: bytes) -> set[int]:
        """The numbers of the needles that stand in it."""
        return {number for _, _, number in self.find(data)}


def _hashed(keys: Keys) -> npt.NDArray[np.intp]:
    """A place in the table for each key: the high bits of a product, after Knuth."""
    return ((keys * _GOLDEN) >> np.uint64(64 - _TABLE_BITS)).astype(np.intp)


class Scanned(NamedTuple):
    """How much was looked at, and what was found (the first ``MAX_HITS``)."""

    files: int
    bytes: int
    hits: tuple[Hit, ...]


MAX_HITS = 1000


def scan(root: Path, finder: Finder, *, without: Collection[Path] = ()) -> Scanned:
    """Look through every file below ``root`` but those of ``without``; links are not followed.

    Reads ``CHUNK_BYTES`` at a time, each with the end of the one before. Raises ``OSError`` for a
    file that cannot be read; one that is gone meanwhile holds nothing.
    """
    files = size = 0
    hits: list[Hit] = []
    skipped = {path.absolute() for path in without}
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.absolute() in skipped:
            continue
        try:
            for at, number, read in _scan_file(path, finder):
                size += read
                if number >= 0 and len(hits) < MAX_HITS:
                    hits.append(Hit(str(path.relative_to(root)), at, number))
        except FileNotFoundError:
            continue
        files += 1
    return Scanned(files, size, tuple(hits))


def _scan_file(path: Path, finder: Finder) -> Iterator[tuple[int, int, int]]:
    """(place, needle, 0) for what is found, (0, -1, bytes read) for each chunk."""
    with path.open("rb") as file:
        tail, begin = b"", 0
        while chunk := file.read(CHUNK_BYTES):
            yield 0, -1, len(chunk)
            data = tail + chunk
            for at, end, number in finder.find(data):
                if end > len(tail):  # else it was found with the chunk before
                    yield begin + at, number, 0
            keep = min(len(data), max(finder.longest - 1, 0))
            begin += len(data) - keep
            tail = data[len(data) - keep :]
