"""An audit of acknowledgements against fsyncs, over one log of strace.

``kill -9`` cannot tell ``synchronous=FULL`` from ``NORMAL``: the page cache outlives a process. So
the order of system calls is read instead. What is acked has to be in a whole transaction of the
write-ahead log, and an fsync of that file has to have begun after the transaction's last byte and
ended well before the ack began. strace writes a call's begin and its end in the order in which it
stopped the threads, so the log's line numbers are the clock.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

SYNCS = ("fsync", "fdatasync")
WRITES = ("write", "pwrite64", "writev", "pwritev", "sendto", "sendmsg")
NAMES = ("openat", "mkdir", "mkdirat", "rename", "renameat", "renameat2", "unlink", "unlinkat")
NEVER = 1 << 62

_FRAME_HEAD = 24
_LINE = re.compile(r"(?P<pid>\d+)\s+(?:\d+\.\d+\s+)?(?P<rest>.*)", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)", re.DOTALL)
_CALL = re.compile(r"(?P<name>\w+)\((?P<args>.*)\)\s+= (?P<result>-?\d+|\?)", re.DOTALL)
_OPEN_CALL = re.compile(r"(?P<name>\w+)\((?P<args>.*)", re.DOTALL)
_HANDLE = re.compile(r"(?:\d+|AT_FDCWD)<(?P<path>[^>]*(?:->[^>]*)?)>")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_UNFINISHED = "<unfinished ...>"


def command(strace: str, log: Path, program: Sequence[str], *more: str) -> list[str]:
    """How to run ``program`` so that its log can be audited; ``more`` are options of strace."""
    calls = ",".join((*SYNCS, *WRITES, *NAMES))
    options = ["-f", "-y", "-s", "70000", "-e", f"trace={calls}", *more, "-o", str(log)]
    return [strace, *options, *program]


class Call(NamedTuple):
    """One system call. ``path`` is of its first handle, ``text`` its first string; ``began`` and
    ``ended`` are lines of the log. One that never returned ended ``NEVER``."""

    name: str
    args: str
    result: int
    began: int
    ended: int

    @property
    def path(self) -> str:
        found = _HANDLE.match(self.args)
        return found["path"] if found else ""

    @property
    def strings(self) -> list[bytes]:
        return [ast.literal_eval("b" + text) for text in _STRING.findall(self.args)]

    @property
    def names(self) -> list[str]:
        return [text.decode("utf-8", "surrogateescape") for text in self.strings]

    @property
    def data(self) -> bytes:
        """Everything that was written, of a vector too."""
        return b"".join(self.strings)


def read_calls(log: str) -> list[Call]:
    """The calls of a log in the order in which they began; halves of one call are joined."""
    found: list[Call] = []
    open_calls: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(log.splitlines()):
        if not (match := _LINE.match(line)):
            continue
        pid, rest = match["pid"], match["rest"]
        began = number
        if rest.endswith(_UNFINISHED):
            open_calls[pid] = (rest.removesuffix(_UNFINISHED), number)
            continue
        if resumed := _RESUMED.match(rest):
            head, began = open_calls.pop(pid, (f"{resumed['name']}(", number))
            rest = head.rstrip() + resumed["rest"]
        if call := _CALL.match(rest):
            failed = call["result"] == "?"
            result, ended = (-1, NEVER) if failed else (int(call["result"]), number)
            found.append(Call(call["name"], call["args"], result, began, ended))
    for rest, began in open_calls.values():  # the process died in them
        if call := _OPEN_CALL.match(rest):
            found.append(Call(call["name"], call["args"], -1, began, NEVER))
    return sorted(found, key=lambda one: one.began)


# ---------------------------------------------------------------------------- what is durable


@dataclass
class Transaction:
    """Frames of a write-ahead log up to one that commits. ``synced``: when it became durable."""

    start: int
    data: bytearray = field(default_factory=bytearray)
    ended: int = NEVER
    synced: int = NEVER


def transactions(calls: Iterable[Call], wal: str) -> list[Transaction]:
    """The transactions that reached the write-ahead log at ``wal``, whole and not overwritten.

    After an fsync that failed, nothing may be believed of what it should have covered: the kernel
    drops such pages and says so once. Those transactions are left out; a retry is one of its own.
    """
    log = _Log()
    for call in calls:
        if call.path != wal:
            continue
        if call.name == "pwrite64":
            log.write(call)
        elif call.name in SYNCS:
            log.sync(call)
    return log.done + log.waiting


class _Log:
    def __init__(self) -> None:
        self.done: list[Transaction] = []
        self.waiting: list[Transaction] = []
        self._open: Transaction | None = None
        self._commits = False

    def write(self, call: Call) -> None:
        data, offset = call.data, int(call.args.rsplit(",", 1)[1])
        if call.result != len(data):
            return
        if len(data) == _FRAME_HEAD:
            self.waiting = [one for one in self.waiting if one.start < offset]
            if self._open is None or self._open.start >= offset:
                self._open = Transaction(offset)
            self._commits = any(data[4:8])
        elif self._open is not None:
            self._open.data += data
            if self._commits:
                self._open.ended = call.ended
                self.waiting.append(self._open)
                self._open = None

    def sync(self, call: Call) -> None:
        if call.ended == NEVER:
            return
        covered = [one for one in self.waiting if one.ended < call.began]
        self.waiting = [one for one in self.waiting if one not in covered]
        if call.result == 0:
            for one in covered:
                one.synced = call.ended
            self.done += covered


# ---------------------------------------------------------------------------- acks


class Ack(NamedTuple):
    """Somebody was told, in the call that began at this line, that these bytes are durable."""

    token: bytes
    began: int


class Early(NamedTuple):
    """An ack that came too soon, and what was missing."""

    token: bytes
    missing: str


@dataclass(frozen=True)
class Audit:
    """What was found: how many acks, over how many synced transactions, and which were early."""

    acks: int
    transactions: int
    early: tuple[Early, ...]


def audit(calls: Sequence[Call], wal: str, acks: Iterable[Ack]) -> Audit:
    """Hold every ack against the write-ahead log at ``wal``.

    A token counts as written in the first transaction that holds its bytes, so it must be unique
    and short enough to stay on one page.
    """
    found = transactions(calls, wal)
    early: list[Early] = []
    count = 0
    for ack in acks:
        count += 1
        holds = next((one for one in found if ack.token in one.data), None)
        if holds is None or holds.ended >= ack.began:
            early.append(Early(ack.token, "written"))
        elif holds.synced >= ack.began:
            early.append(Early(ack.token, "fsync"))
    return Audit(count, sum(one.synced < NEVER for one in found), tuple(early))


def said(calls: Iterable[Call], prefix: bytes = b"ack ") -> Iterator[Ack]:
    """The acks of a program that writes lines of ``prefix`` and a token, e.g. to its stdout."""
    for call in calls:
        if call.name == "write" and call.data.startswith(prefix):
            for line in call.data.splitlines():
                yield Ack(line.removeprefix(prefix), call.began)


def sent(calls: Iterable[Call]) -> Iterator[Call]:
    """What went out over sockets."""
    names = ("sendto", "sendmsg", "write")
    return (one for one in calls if one.name in names and one.path.startswith("socket:"))


# ---------------------------------------------------------------------------- names


def unsynced_names(
    calls: Iterable[Call], root: Path, *, before: int, besides: Sequence[str] = ()
) -> list[str]:
    """Names made at or below ``root`` whose directory was not fsynced before that line.

    A file whose name is not durable is lost however often it was fsynced itself. Names that match a
    pattern of ``besides`` may be lost. What is gone again by then has no name to lose.
    """
    names = _Names()
    for call in calls:
        if call.ended >= before:
            break
        if call.result >= 0:
            names.follow(call)
    return sorted(
        name
        for name in names.unsynced
        if PurePosixPath(name).is_relative_to(root)
        and not any(PurePosixPath(name).match(pattern) for pattern in besides)
    )


class _Names:
    """Names that were made, and when; those whose directory was synced since are durable."""

    def __init__(self) -> None:
        self.unsynced: dict[str, int] = {}
        self._durable: set[str] = set()

    def follow(self, call: Call) -> None:
        if call.name in WRITES:
            return
        if call.name in SYNCS:
            self._sync(call)
        elif call.name.startswith("mkdir") or "O_CREAT" in call.args:
            self._make(call.names[0], call.ended)
        elif call.name.startswith(("unlink", "rename")):
            self._forget(call.names[0])
            if call.name.startswith("rename"):
                self._forget(call.names[1])
                self._make(call.names[1], call.ended)

    def _make(self, name: str, at: int) -> None:
        if name not in self._durable:  # else it was there, and O_CREAT opened it
            self.unsynced.setdefault(name, at)

    def _forget(self, name: str) -> None:
        self.unsynced.pop(name, None)
        self._durable.discard(name)

    def _sync(self, call: Call) -> None:
        for name, at in list(self.unsynced.items()):
            if str(PurePosixPath(name).parent) == call.path and at < call.began:
                del self.unsynced[name]
                self._durable.add(name)
