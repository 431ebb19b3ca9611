"""What the command prints: data on stdout, talk on stderr, an error as one line and its mend."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self

from sleep_runtime.core.errors import InvalidInput

PATIENCE_S = 2.0
TALK_EVERY_S = 10.0


class WrongUsage(InvalidInput):
    """The command cannot be understood."""


# What a terminal obeys instead of showing it: control characters, and those that turn text round.
_OBEYED = dict.fromkeys(
    [
        *(*range(9), *range(11, 32), *range(0x7F, 0xA0)),
        *(0x61C, 0x200E, 0x200F, 0x2028, 0x2029),
        *(*range(0x202A, 0x202F), *range(0x2066, 0x206A)),
    ]
)


def out(text: str = "") -> None:
    """Data, on stdout. Nothing in it commands a terminal."""
    sys.stdout.write(text.translate(_OBEYED) + "\n")


def emit(value: Any) -> None:
    """Data as one JSON document, on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def say(text: str) -> None:
    """Talk, on stderr. Nothing in it commands a terminal."""
    sys.stderr.write(text.translate(_OBEYED) + "\n")
    sys.stderr.flush()


def error(problem: object) -> None:
    """One line for each problem, on stderr."""
    for line in str(problem).splitlines() or [type(problem).__name__]:
        say(f"error: {line}")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns. The last one is not cut: a terminal wraps it, a pipe keeps it whole."""
    cells = [[str(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers) - 1)]
    return "\n".join(
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in cells
    )


def counted(counts: dict[str, int]) -> str:
    """``{"a_b": 2}`` as ``a b 2``, the largest first; zeros are left out."""
    items = sorted(((n, name) for name, n in counts.items() if n), key=lambda i: (-i[0], i[1]))
    return ", ".join(f"{plain(name)} {n}" for n, name in items)


def plain(code: str) -> str:
    """A reason code as words."""
    return code.replace("_", " ").replace(".", ": ")


def moment(ts: str | None) -> str:
    """An ISO instant in local time, to the second."""
    if not ts:
        return "never"
    return _parsed(ts).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def relative(ts: str, now: datetime) -> str:
    """How far off an ISO instant is: ``in 3 h 5 min``, ``2 min ago``, ``now``."""
    seconds = (_parsed(ts) - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"in {duration(seconds)}" if seconds > 0 else f"{duration(-seconds)} ago"


def duration(seconds: float) -> str:
    """The two largest units: ``2 d 3 h``, ``3 h 5 min``, ``5 min``, ``12 s``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def instant(text: str, *, field: str) -> str:
    """A date or date-time a person typed, as an ISO instant. Without an offset it is UTC."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise WrongUsage(
            f"{text!r} is not a date", field=field, mend="write 2026-11-22 or 2026-11-22T09:00:00Z"
        ) from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).isoformat()


def _parsed(ts: str) -> datetime:
    parsed = datetime.fromisoformat(ts)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


# ---------------------------------------------------------------------------- progress


class Bar:
    """A progress bar on stderr that appears only at a terminal and only after two seconds."""

    def __init__(self, text: str, total: float | None) -> None:
        self._text = text
        self._total = total
        self._started = time.monotonic()
        self._bar: Any = None

    def at(self, done: float, detail: str) -> None:
        """``done`` of ``total`` is done; ``detail`` stands beside the bar."""
        if self._bar is None and not self._due():
            return
        if self._bar is None:
            self._bar, self._task = self._open()
        self._bar.update(self._task, completed=done, detail=detail)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _due(self) -> bool:
        return sys.stderr.isatty() and time.monotonic() - self._started > PATIENCE_S

    def _open(self) -> tuple[Any, Any]:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(),
        )
        shown = Progress(*columns, console=Console(stderr=True), transient=True)
        shown.start()
        return shown, shown.add_task(self._text, total=self._total, detail="")


@contextmanager
def bar(text: str, total: float | None) -> Iterator[Bar]:
    """A ``Bar`` that is gone when the block ends."""
    shown = Bar(text, total)
    try:
        yield shown
    finally:
        shown.close()


class Talk:
    """Says what is going on while something takes more than two seconds.

    At a terminal one line that changes; elsewhere a line every ten seconds.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = time.monotonic() + PATIENCE_S
        self._status: Any = None
        self._timer = threading.Timer(PATIENCE_S, self._open)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._timer.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()
        if self._status is not None:
            self._status.stop()

    def update(self, text: str) -> None:
        """What is going on now."""
        self._text = text
        if self._status is not None:
            self._status.update(text)
        elif not sys.stderr.isatty() and time.monotonic() >= self._next:
            self._next = time.monotonic() + TALK_EVERY_S
            say(text)

    def _open(self) -> None:
        from rich.console import Console

        self._status = Console(stderr=True).status(self._text)
        self._status.start()
