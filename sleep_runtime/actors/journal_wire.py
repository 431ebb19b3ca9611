"""What replicas and the journal's owner say to each other over their socket: frames of msgpack.

A frame is four bytes of length and one msgpack value. A question is ``[number, batches]`` with
batches of ``JournalRow``s as lists; its answer ``[number, answers]`` with one answer a batch:
``[accepted, duplicates, conflicts]``, or ``[kind, reason, field, mend]`` of an error. Both ends
are of one version and one user, on one machine.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, cast

import msgpack

from sleep_runtime.core.errors import (
    Overloaded,
    SleepRuntimeError,
    StoreBusy,
    StoreError,
    StoreFull,
)
from sleep_runtime.core.journal import AppendResult, JournalRow
from sleep_runtime.stores.journal import Answer

HEAD = struct.Struct(">I")
MAX_FRAME_BYTES = 2**30
# Half a character that JSON's escapes let through must not break a frame.
_UNICODE = "surrogatepass"
_KINDS: dict[str, type[SleepRuntimeError]] = {
    kind.__name__: kind for kind in (StoreError, StoreFull, StoreBusy, Overloaded)
}


def question(number: int, batches: Sequence[Sequence[JournalRow]]) -> bytes:
    """A frame that asks for these batches to be appended."""
    return _frame([number, batches])


def read_question(body: bytes) -> tuple[int, list[list[JournalRow]]]:
    """The number and the batches of a question. Raises ``ValueError`` or ``TypeError``."""
    number, batches = _value(body)
    return number, [[JournalRow(*row) for row in rows] for rows in batches]


def answer(number: int, answers: Sequence[Answer]) -> bytes:
    """A frame that answers the question of this number."""
    return _frame([number, [_told(each) for each in answers]])


def read_answer(body: bytes) -> tuple[int, list[Answer]]:
    """The number of the question and its answers. Raises ``ValueError`` or ``TypeError``."""
    number, answers = _value(body)
    return number, [_heard(each) for each in answers]


def _frame(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, unicode_errors=_UNICODE)
    return HEAD.pack(len(packed)) + packed


def _value(body: bytes) -> Any:
    return msgpack.unpackb(body, unicode_errors=_UNICODE)


def _told(each: Answer) -> list[Any]:
    if isinstance(each, AppendResult):
        return [each.accepted, each.duplicates, list(each.conflicts)]
    kind = type(each).__name__
    return [kind if kind in _KINDS else StoreError.__name__, each.reason, each.field, each.mend]


def _heard(said: Any) -> Answer:
    if not isinstance(said, list) or not said:
        raise TypeError("is no answer")
    if isinstance(said[0], str):
        name, reason, field, mend = said
        if (kind := _KINDS.get(name)) is None:
            raise ValueError(f"{name[:40]!r} is no kind of error")
        return cast("StoreError | Overloaded", kind(reason, field=field, mend=mend))
    accepted, duplicates, conflicts = said
    return AppendResult(accepted=accepted, duplicates=duplicates, conflicts=tuple(conflicts))
