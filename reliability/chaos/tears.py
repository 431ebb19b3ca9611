"""What a power cut may leave of a write-ahead log: everything up to the last fsync, then anything.

The format is SQLite's (https://www.sqlite.org/fileformat2.html#the_write_ahead_log): a header of 32
bytes, then frames of 24 bytes and a page. A frame that ends a transaction has the size of the
database in its head; every frame carries the header's salts and a running checksum.
"""

from __future__ import annotations

import struct
from pathlib import Path
from random import Random
from typing import NamedTuple

HEADER, FRAME = 32, 24
_BIG_ENDIAN = 0x377F0683


class Wal(NamedTuple):
    """A log as recovery reads it: ``commits`` are the offsets at which a transaction is whole."""

    page: int
    commits: tuple[int, ...]


def read_wal(path: Path) -> Wal:
    """The valid part of a log. A file that is empty or no log has no commits."""
    data = path.read_bytes() if path.exists() else b""
    if len(data) < HEADER:
        return Wal(0, ())
    magic, _, page, _, salt1, salt2 = struct.unpack(">6I", data[:24])
    big = magic == _BIG_ENDIAN
    sums = _checksum(data[:24], (0, 0), big=big)
    if sums != struct.unpack(">2I", data[24:HEADER]):
        return Wal(page, ())
    commits: list[int] = []
    at = HEADER
    while at + FRAME + page <= len(data):
        _, size, one, two, *stored = struct.unpack(">6I", data[at : at + FRAME])
        sums = _checksum(data[at : at + 8], sums, big=big)
        sums = _checksum(data[at + FRAME : at + FRAME + page], sums, big=big)
        if (one, two) != (salt1, salt2) or list(sums) != stored:
            break
        at += FRAME + page
        if size:
            commits.append(at)
    return Wal(page, tuple(commits))


def _checksum(data: bytes, sums: tuple[int, int], *, big: bool) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{'>' if big else '<'}{len(data) // 4}I", data)
    for left, right in zip(words[::2], words[1::2], strict=True):
        first = (first + left + second) & 0xFFFFFFFF
        second = (second + right + first) & 0xFFFFFFFF
    return first, second


def tear_tail(path: Path, dice: Random) -> str:
    """Write what a transaction in flight may leave behind the last commit. Returns what it was."""
    wal = read_wal(path)
    if not wal.commits:
        return ""
    synced = wal.commits[-1]
    kind = dice.choice(("garbage", "zeros", "half a frame", "stale frame", "nothing"))
    size = FRAME + wal.page
    with path.open("r+b") as file:
        head = file.read(HEADER)
        file.seek(synced - size)
        last = file.read(size)
        file.truncate(synced)
        file.seek(synced)
        if kind == "garbage":
            file.write(dice.randbytes(dice.randrange(1, 4 * size)))
        elif kind == "zeros":
            file.write(b"\0" * dice.randrange(1, 4 * size))
        elif kind == "half a frame":
            whole = last[:8] + head[16:24] + dice.randbytes(8) + last[FRAME:]
            file.write(whole[: dice.randrange(1, size)])
        elif kind == "stale frame":
            file.write(last)
    return kind


def tear_in_flight(file: Path, dice: Random) -> str:
    """Damage what the fsync of this file was to make durable: a commit, or a checkpoint's pages."""
    if file.name.endswith("-wal"):
        return tear_last_commit(file, dice)
    return tear_checkpoint(file, dice)


def tear_last_commit(path: Path, dice: Random) -> str:
    """Damage the last transaction of a log whose fsync never came. Returns what was done."""
    wal = read_wal(path)
    if not wal.commits:
        return ""
    synced = wal.commits[-2] if len(wal.commits) > 1 else HEADER
    end = path.stat().st_size
    at = dice.randrange(synced, end)
    kind = dice.choice(("cut", "garbage", "zeros"))
    with path.open("r+b") as file:
        if kind == "cut":
            file.truncate(at)
            return kind
        file.seek(at)
        length = min(end - at, dice.choice((1, 512, wal.page)))
        file.write(dice.randbytes(length) if kind == "garbage" else b"\0" * length)
    return kind


def tear_checkpoint(database: Path, dice: Random) -> str:
    """Damage pages that a checkpoint was copying when its fsync had not come: the log has them."""
    log = database.with_name(f"{database.name}-wal")
    wal = read_wal(log)
    if not wal.commits:
        return ""
    data = log.read_bytes()[: wal.commits[-1]]
    size = FRAME + wal.page
    pages = {struct.unpack(">I", data[at : at + 4])[0] for at in range(HEADER, len(data), size)}
    torn = dice.sample(sorted(pages), k=min(len(pages), dice.randrange(1, 4)))
    length = database.stat().st_size
    with database.open("r+b") as file:
        for page in torn:
            start = (page - 1) * wal.page + dice.choice((0, wal.page // 2))
            if start < length:
                file.seek(start)
                file.write(dice.randbytes(wal.page // 2))
    return f"{len(torn)} pages"


def garble_shared_memory(database: Path, dice: Random) -> None:
    """The index of the log is memory: after a power cut its file holds anything."""
    shm = database.with_name(f"{database.name}-shm")
    if shm.exists():
        shm.write_bytes(dice.randbytes(dice.choice((0, 100, 32768))))
