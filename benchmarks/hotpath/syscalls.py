"""System calls a request takes: a figure that does not depend on how fast the machine is.

Counted by ``strace`` in the replica and in the journal's owner, one request at a time; what they
call while nothing is asked is taken off. Futexes and waits are left out, because how often a
thread has to wait for another does depend on the machine.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Self

import psutil

from benchmarks.harness import Results, say
from benchmarks.wrk import Client

SECONDS = 3
_TIMING = {"futex", "restart_syscall", "epoll_wait", "epoll_pwait", "clock_nanosleep", "poll"}
_ROW = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$")


def measure(client: Client, results: Results, kinds: dict[str, str | None]) -> None:
    """For each kind of request (and its path), calls a request in each process."""
    tracer = shutil.which("strace")
    if tracer is None:
        say("without system calls: strace is not installed (apt-get install strace)")
        return
    named = {"replica": "HotPath", "journal": "JournalOwner"}
    pids = {name: _pid(title) for name, title in named.items()}
    idle = {name: _counted(tracer, pid, SECONDS) for name, pid in pids.items()}
    for kind, path in kinds.items():
        for name, pid in pids.items():
            say(f"system calls of {kind} in the {name}")
            with _Traced(tracer, pid) as traced:
                load = client.run(kind, f"calls-{name}", SECONDS, path=path, concurrency=1)
            calls = traced.counts - idle[name]
            results.add(f"syscalls_{kind}_{name}", calls.total() / load.requests, "calls/request")


def _pid(title: str) -> int:
    for process in psutil.Process().children(recursive=True):
        if title in " ".join(process.cmdline()[:1]):
            return process.pid
    raise RuntimeError(f"no process is called {title}")


class _Traced:
    """``strace`` attached to a process and its threads."""

    def __init__(self, tracer: str, pid: int) -> None:
        self._place = tempfile.TemporaryDirectory()
        self._said = Path(self._place.name) / "said"
        command = [tracer, "-f", "-c", "-U", "time,total-time,avg-time,calls,errors,name"]
        self._process = subprocess.Popen(
            [*command, "-o", str(self._said), "-p", str(pid)],
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._process.stderr is not None
        if "attached" not in self._process.stderr.readline():
            raise RuntimeError("strace may not attach: it needs root, or CAP_SYS_PTRACE")
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=30)
        self.counts = _read(self._said.read_text())
        self._place.cleanup()


def _counted(tracer: str, pid: int, seconds: float) -> Counter[str]:
    with _Traced(tracer, pid) as traced:
        time.sleep(seconds)
    return traced.counts


def _read(table: str) -> Counter[str]:
    rows = (_ROW.match(line) for line in table.splitlines())
    return Counter(
        {
            row.group(2): int(row.group(1))
            for row in rows
            if row and row.group(2) not in _TIMING and row.group(2) != "total"
        }
    )
