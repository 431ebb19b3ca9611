"""``capture``: send a file of events to the runtime."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from sleep_runtime.cli import options
from sleep_runtime.cli.client import Client, TooLarge, connect
from sleep_runtime.cli.event_file import Line, batches, read_events
from sleep_runtime.cli.output import bar, emit, out, say
from sleep_runtime.core.errors import InvalidInput, SleepRuntimeError

BATCH_EVENTS = 500
BATCH_BYTES = 4 * 1024 * 1024
SHOWN_REJECTIONS = 50
KEPT_REJECTIONS = 1000
_REQUEST_LINE = re.compile(r"\Aline \d+: ")


@dataclass
class Tally:
    """What became of the events sent so far."""

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    rejections: list[dict[str, Any]] = field(default_factory=list)

    def add(self, batch: list[Line], answer: dict[str, Any]) -> None:
        """Count one answer; its indexes become line numbers."""
        self.accepted += answer["accepted"]
        self.duplicates += answer["duplicates"]
        for item in answer["rejected"]:
            # The runtime names a line of the request, which is not the line of the file.
            reason = _REQUEST_LINE.sub("", item["error"])
            self.reject(batch[item["index"]].number, reason)

    def reject(self, number: int, reason: str) -> None:
        """Count one refused event and say where it is, within bounds."""
        self.rejected += 1
        if self.rejected <= SHOWN_REJECTIONS:
            say(f"line {number}: {reason}")
        if len(self.rejections) < KEPT_REJECTIONS:
            self.rejections.append({"line": number, "error": reason})

    def __str__(self) -> str:
        return f"accepted {self.accepted}, duplicates {self.duplicates}, rejected {self.rejected}"


def capture(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="NDJSON or a JSON array; .gz too.")],
    *,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Events a request.")] = BATCH_EVENTS,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Send events from a file or standard input.

    Sending a file again changes nothing. Exit code 1 when events were refused.
    """
    started = time.monotonic()
    tally = Tally()
    with _opened(file) as (stream, size), connect(url, config) as client:
        try:
            _send_all(client, stream, size, batch, tally)
        except SleepRuntimeError:
            say(f"stopped: {tally}; what was accepted is kept, the command may be repeated")
            raise
    _report(tally, time.monotonic() - started, as_json=as_json)
    if tally.rejected:
        raise typer.Exit(1)


def _send_all(
    client: Client, stream: BinaryIO, size: int | None, max_events: int, tally: Tally
) -> None:
    with bar("capture", size) as shown:
        groups = batches(read_events(stream), max_events=max_events, max_bytes=BATCH_BYTES)
        for group in groups:
            for line in group:
                if line.problem:
                    tally.reject(line.number, line.problem)
            _send(client, [line for line in group if not line.problem], tally)
            done = stream.tell() if size is not None else 0
            shown.at(done, f"{tally.accepted + tally.duplicates} events")


def _send(client: Client, batch: list[Line], tally: Tally) -> None:
    """Send a batch; one that is too large is halved until the event that is too large is alone."""
    if not batch:
        return
    try:
        answer = client.post_events(b"\n".join(line.raw for line in batch))
    except TooLarge as problem:
        if len(batch) == 1:
            tally.reject(batch[0].number, str(problem))
            return
        middle = len(batch) // 2
        _send(client, batch[:middle], tally)
        _send(client, batch[middle:], tally)
    else:
        tally.add(batch, answer)


@contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The stream and its size in bytes, unknown for a pipe."""
    if file == "-":
        yield sys.stdin.buffer, None
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - the error of opening is ours to explain
    except OSError as problem:
        raise InvalidInput(
            f"cannot be read: {problem.strerror}", field=file, mend="check the path"
        ) from None
    with stream:
        seekable = stream.seekable() and Path(file).is_file()
        yield stream, Path(file).stat().st_size if seekable else None


def _report(tally: Tally, seconds: float, *, as_json: bool) -> None:
    unseen = tally.rejected - SHOWN_REJECTIONS
    if unseen > 0:
        say(f"… and {unseen} more rejected")
    if as_json:
        emit(
            {
                "accepted": tally.accepted,
                "duplicates": tally.duplicates,
                "rejected": tally.rejections,
                "rejected_count": tally.rejected,
                "seconds": round(seconds, 3),
            }
        )
    else:
        out(f"{tally} in {seconds:.1f} s")
