"""One night in a process of its own, made to be hurt: captures a trail and consolidates it.

It says what it does in the directory it is given: ``acks`` (ids, appended after each ack),
``begun`` (when the night begins) and ``report.json`` (what came of it). The process is forked from
one that has loaded everything, so a night costs half a second instead of four.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import chromadb.api.rust  # noqa: F401 - loaded before the fork
import onnxruntime  # noqa: F401

from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.native import parse_events
from sleep_runtime.compose.cold import make_embedder
from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.config import Settings, load
from sleep_runtime.core.journal import JournalRow
from sleep_runtime.core.note import Note
from sleep_runtime.core.ports import Embedder
from sleep_runtime.stores.ledger import SqliteLedger
from sleep_runtime.stores.projector import Projector
from sleep_runtime.telemetry import failpoint
from sleep_runtime.telemetry.log import configure

NIGHT = datetime(2026, 11, 21, 3, tzinfo=UTC)
GO_S = 20.0

Learned = list[list[Any]]


@dataclass(frozen=True)
class Order:
    """What one process is to do in ``home``. ``batches`` are the places of events in the trail.

    ``jumps`` are (n-th look at the clock, seconds it jumps by then). ``held``: wait for the file
    ``go`` before anything is opened, so that a tracer can attach.
    """

    home: str
    trail: str
    batches: tuple[tuple[int, ...], ...]
    failpoints: str = ""
    jumps: tuple[tuple[int, float], ...] = ()
    at: datetime = NIGHT
    back_s: float = 0.0
    held: bool = False
    max_file_bytes: int = 0
    rebuild: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def data_dir(self) -> Path:
        return Path(self.home) / "data"


class JumpingClock:
    """Stands at the night's hour but for its jumps, in both directions."""

    def __init__(self, start: datetime, jumps: Sequence[tuple[int, float]]) -> None:
        self._now = start
        self._jumps = dict(jumps)
        self._looks = 0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            self._looks += 1
            self._now += timedelta(seconds=self._jumps.get(self._looks, 0.0))
            return self._now


_EMBEDDER = make_embedder(Settings())


def warm() -> None:
    """Load what every night needs. To be called where processes are forked from."""
    configure("error", "json")
    _EMBEDDER.embed(["hello"])
    with tempfile.TemporaryDirectory() as scratch:  # the migrations, and what they import
        triggers = Settings().policy.triggers
        SqliteLedger(Path(scratch) / "ledger.sqlite", triggers=triggers).close()


def live(order: Order) -> None:
    """Do a night: what came of it is in ``report.json`` of its home."""
    home = Path(order.home)
    with ended(order):
        if order.max_file_bytes:
            most = (order.max_file_bytes, resource.RLIM_INFINITY)
            resource.setrlimit(resource.RLIMIT_FSIZE, most)
        if order.held:
            _wait_for(home / "go")
        report = _night(order, home)
        _say(home / "report.json", json.dumps(report))


@contextlib.contextmanager
def ended(order: Order) -> Iterator[None]:
    """End the process with the block: 0 when it is over, 1 with ``error`` in its home if not.

    The fail points of the order are armed meanwhile.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    configure("error", "json")
    failpoint.arm(order.failpoints)
    try:
        yield
    except BaseException as error:  # noqa: BLE001 - the parent reads why
        failpoint.arm("")
        _say(Path(order.home) / "error", f"{type(error).__name__}: {error}")
        os._exit(1)
    os._exit(0)


def settings_of(order: Order) -> Settings:
    overrides = {"data_dir": str(order.data_dir), "log.level": "error", **order.settings}
    return load(overrides=overrides).settings


def embedder() -> Embedder:
    """The embedder that was loaded before the fork."""
    return _EMBEDDER


def _night(order: Order, home: Path) -> dict[str, Any]:
    clock = JumpingClock(order.at, order.jumps)
    with Embedded(settings_of(order), clock=clock, embedder=_EMBEDDER) as runtime:
        _say(home / "begun", "")
        capture(runtime, order)
        runtime.nights()
        if order.rebuild:
            runtime.projector.rebuild(runtime.embedder)
        return told(runtime)


def told(runtime: Embedded) -> dict[str, Any]:
    """What the ledger and the index say of what was learned."""
    before = runtime.index.revisions(runtime.ledger.generation())
    Projector(runtime.ledger, runtime.writer, runtime.index).reconcile()
    return {
        "digest": runtime.ledger.digest(),
        "learned": learned(runtime.ledger.notes()),
        "known": [[*row, *more] for row, more in _known(runtime.ledger.notes())],
        "indexed": before,
        "reconciled": runtime.index.revisions(runtime.ledger.generation()),
        "files": len(list(Path("/proc/self/fd").iterdir())),
    }


def learned(notes: Sequence[Note]) -> Learned:
    """What is known, without what depends on the hour: confidence fades by the clock."""
    return sorted(
        [
            note.id,
            note.revision,
            str(note.scope),
            note.status.value,
            note.claim.statement,
            sorted(note.evidence),
        ]
        for note in notes
    )


def _known(notes: Sequence[Note]) -> list[tuple[list[Any], list[Any]]]:
    more = {n.id: [round(n.confidence, 6), n.support.model_dump(), n.reason] for n in notes}
    return [(row, more[row[0]]) for row in learned(notes)]


def capture(runtime: Embedded, order: Order) -> None:
    """Append the deliveries of the order, and write down each ack."""
    rows = parsed(Path(order.trail), order.at)
    with (Path(order.home) / "acks").open("ab", buffering=0) as acks:
        for places in order.batches:
            batch = [rows[place] for place in places]
            runtime.journal.append(batch)
            acks.write("".join(f"{_org(row)} {row.id}\n" for row in batch).encode())


def _org(row: JournalRow) -> str:
    return row.scope.partition("/")[0]


def parsed(trail: Path, now: datetime = NIGHT) -> list[JournalRow]:
    """The events of a trail as the hot path hands them to the journal."""
    return parse_events(
        trail.read_bytes(),
        content_type="application/x-ndjson",
        content_encoding="",
        now=now,
        limits=CaptureLimits(),
    ).rows


def _wait_for(path: Path) -> None:
    give_up = time.monotonic() + GO_S
    while not path.exists():
        if time.monotonic() > give_up:
            os._exit(3)
        time.sleep(0.005)


def _say(path: Path, text: str) -> None:
    # Of a disk that is full, or of calls that fail, the exit code has to tell.
    with contextlib.suppress(OSError):
        path.write_text(text, encoding="utf-8")
