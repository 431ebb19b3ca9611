"""Hurts the calls a process makes to its kernel, by strace's injection."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from reliability.chaos.nursery import Unable

ATTACH_S = 15.0


def available() -> bool:
    """Whether there is a strace; whether it may attach is seen when it does."""
    return shutil.which("strace") is not None


@contextlib.contextmanager
def injected(
    pid: int, inject: str, calls: str, log: Path, paths: Iterable[Path] = ()
) -> Iterator[None]:
    """Trace ``calls`` of a process and its threads, with ``inject`` as strace writes it.

    Only those on ``paths``, if any are given. What it saw is in ``log``, with the paths of files.
    Raises ``Unable`` when it cannot attach.
    """
    program = shutil.which("strace")
    if program is None:
        raise Unable("strace is not installed")
    said = log.with_suffix(".said")
    words = [program, "-f", "-y", "-p", str(pid), "-e", f"trace={calls}", "-o", str(log)]
    words += [word for path in paths for word in ("-P", str(path))]
    with (
        said.open("wb") as file,
        subprocess.Popen([*words, "-e", f"inject={inject}"], stderr=file) as tracer,
    ):
        try:
            give_up = time.monotonic() + ATTACH_S
            while "attached" not in said.read_text():
                if tracer.poll() is not None or time.monotonic() > give_up:
                    raise Unable(f"strace may not attach: {said.read_text()}")
                time.sleep(0.01)
            yield
        finally:
            # Not asked: it would wait for a process that hangs in a call. What lives goes on.
            tracer.kill()


def hurt_calls(log: Path) -> int:
    """How many calls were made to fail, or were where the process was killed."""
    return log.read_text(errors="replace").count("(INJECTED)") if log.exists() else 0


def in_flight(log: Path) -> Path | None:
    """The file whose fsync was the last call, if it was written to since its fsync before.

    Only then is what it was to make durable still unacknowledged.
    """
    if not log.exists():
        return None
    calls = re.findall(r"(fsync|fdatasync|pwrite64)\(\d+<([^>]*)>", log.read_text(errors="replace"))
    if not calls or calls[-1][0] == "pwrite64":
        return None
    path = calls[-1][1]
    of_path = [name for name, other in calls[:-1] if other == path]
    return Path(path) if of_path and of_path[-1] == "pwrite64" else None
