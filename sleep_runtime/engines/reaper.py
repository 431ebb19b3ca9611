"""Ends an engine's processes when the process that started them dies, however it dies.

vLLM's engine process does not notice that nobody is there any more, and would hold its memory for
ever. A small process of its own reads a pipe from this one: the kernel closes the pipe at the
moment this process is gone, and what was named on it is killed, with everything below it.

Run as a file (``python -IS reaper.py``), so only the standard library is imported.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_DONE = "done"
_CLOSE_S = 5.0
_PARENT, _STARTED = 1, 19  # fields of /proc/PID/stat after the name


class Reaper:
    """Watches over processes that this one has started. Close it when they have ended."""

    def __init__(self) -> None:
        self._watch = subprocess.Popen(  # noqa: S603 - this file, run by this Python
            [sys.executable, "-IS", __file__],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for those it watches
        )

    def guard(self, pid: int) -> None:
        """From now on this process ends with the one that calls."""
        self._say(str(pid))

    def close(self) -> None:
        """Leave the guarded processes alone from now on."""
        self._say(_DONE)
        with suppress(OSError):
            if self._watch.stdin is not None:
                self._watch.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._watch.wait(_CLOSE_S)
            return
        self._watch.kill()
        self._watch.wait()

    def _say(self, word: str) -> None:
        with suppress(OSError, ValueError):  # it may have been killed, or closed before
            if self._watch.stdin is not None:
                self._watch.stdin.write(f"{word}\n")
                self._watch.stdin.flush()


def main() -> None:
    """Read process ids until the pipe ends, then kill them and what is below them."""
    guarded: list[tuple[int, str]] = []
    for line in sys.stdin:
        if line.strip() == _DONE:
            return
        pid = int(line)
        guarded.append((pid, _stat(pid, _STARTED)))
    for pid, started in guarded:
        if _stat(pid, _STARTED) != started:  # ended, and the number may be another's by now
            continue
        for each in [*_below(pid), pid]:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)


def _below(pid: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _stat(int(entry.name), _PARENT) == str(pid):
            child = int(entry.name)
            yield from _below(child)
            yield child


def _stat(pid: int, field: int) -> str:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[field]


if __name__ == "__main__":
    main()
