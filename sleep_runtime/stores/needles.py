"""Needles: what an erasure looks for at its end, and the one file that knows it until then.

The file stands beside the stores while an erasure is under way: it names the session or the event,
and holds the texts and ids that must not be found any more. Without it an erasure that died could
not prove that nothing is left. It is overwritten and removed when the receipt is kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.core.erasure import Target
from sleep_runtime.core.event import StoredEvent
from sleep_runtime.stores.datadir import sync_directory, write_atomically
from sleep_runtime.stores.scan import LEAST_NAME, Finder, pieces

PREFIX = "erasing-"
PART_BYTES = 1 << 20
_BETWEEN = b"\xff\xff"  # in no UTF-8


class Wanted(BaseModel):
    """What has to be gone. ``names`` are ids of events and sessions, ``texts`` pieces of texts.

    ``events`` are the ids of all events that go; what is too short to be looked for is in there
    only, and asked of the stores. ``pending`` counts events no night has read, with their tokens,
    by scope. ``keeps`` are observations that other events hold as well, with these.
    """

    model_config = ConfigDict(frozen=True)

    target: Target
    texts: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    too_short: int = 0
    shared: int = 0
    pending: dict[str, tuple[int, int]] = Field(default_factory=dict)
    keeps: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    def finder(self) -> Finder:
        return Finder((*self.texts, *self.names))


def path_of(directory: Path, erasure_id: str) -> Path:
    """Where the file of an erasure is."""
    return directory / f"{PREFIX}{erasure_id}.json"


def keep(directory: Path, erasure_id: str, wanted: Wanted) -> None:
    """Write the file; durable when this returns."""
    path = path_of(directory, erasure_id)
    path.touch(mode=0o600)
    write_atomically(path, wanted.model_dump_json())
    path.chmod(0o600)


def read(directory: Path, erasure_id: str) -> Wanted | None:
    """What the file says; None when there is none."""
    try:
        return Wanted.model_validate_json(path_of(directory, erasure_id).read_bytes())
    except FileNotFoundError:
        return None


def destroy(directory: Path, erasure_id: str) -> None:
    """Overwrite the file and remove it. Doing it again does nothing."""
    _shred(path_of(directory, erasure_id))
    tidy(directory, erasure_id)


def tidy(directory: Path, erasure_id: str) -> None:
    """Remove what a process left that died while it wrote the file."""
    for scratch in directory.glob(f".{path_of(directory, erasure_id).name}.*"):
        _shred(scratch)


def _shred(path: Path) -> None:
    try:
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
    except FileNotFoundError:
        return
    sync_directory(path.parent)


def leftovers(directory: Path, known: Iterable[str]) -> list[str]:
    """Ids of files whose erasure was never begun: it was never answered either."""
    known = set(known)
    names = (path.name for path in directory.glob(f"{PREFIX}*.json"))
    return sorted({name[len(PREFIX) : -len(".json")] for name in names} - known)


class Gathering:
    """Collects what goes, then takes out of it what others have as well."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._texts: dict[str, None] = {}
        self._names: dict[str, None] = {}
        self._events: list[str] = []
        self._too_short = 0

    def take(self, stored: StoredEvent) -> None:
        """An event that goes."""
        event = stored.event
        self._events.append(event.id)
        for name in (event.id, event.session):
            self._name(name)
        self.text(event.text)
        for text in _strings(event.data):
            self.text(text)

    def text(self, text: str) -> None:
        """A text that goes."""
        found = list(pieces(text))
        self._too_short += bool(text.strip()) and not found
        self._texts.update(dict.fromkeys(found))

    def _name(self, name: str) -> None:
        if len(name.encode("utf-8", "surrogatepass")) < LEAST_NAME:
            self._too_short += 1
        else:
            self._names[name] = None

    def wanted(
        self,
        survivors: Iterable[bytes],
        pending: dict[str, tuple[int, int]],
        keeps: dict[str, tuple[str, ...]],
    ) -> Wanted:
        """What must not be found: all of it that stands in nothing that stays."""
        texts, names = list(self._texts), list(self._names)
        finder = Finder((*texts, *names))
        shared: set[int] = set()
        for part in in_parts(survivors):
            shared |= finder.seen(part)
        stays = {finder.needles[number] for number in shared}
        return Wanted(
            target=self._target,
            texts=tuple(text for text in texts if text not in stays),
            names=tuple(name for name in names if name not in stays),
            events=tuple(self._events),
            too_short=self._too_short,
            shared=len(stays),
            pending=pending,
            keeps=keeps,
        )


def in_parts(bodies: Iterable[bytes]) -> Iterator[bytes]:
    """Many small texts as few large ones: nothing is found across two of them."""
    held: list[bytes] = []
    size = 0
    for body in bodies:
        held.append(body)
        size += len(body)
        if size >= PART_BYTES:
            yield _BETWEEN.join(held)
            held, size = [], 0
    if held:
        yield _BETWEEN.join(held)


def _strings(value: Any) -> Iterator[str]:
    """Every text inside a JSON value; keys are the client's vocabulary."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def as_json(value: Any) -> bytes:
    """A value as the survivors' side of the comparison."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
