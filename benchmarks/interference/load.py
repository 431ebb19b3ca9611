"""Load from outside: ``wrk``, a process of its own, closed loop, at normal priority."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.interference.pairs import Load

CONCURRENCY = 8
PATHS = {"capture": "/v1/events", "search": "/v1/search"}
_SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Client:
    """``wrk`` against one runtime. ``folder`` is where the lines it posts are kept."""

    url: str
    folder: Path

    def run(self, kind: str, tag: str, seconds: float) -> Load:
        """Post lines of this kind for so long. ``tag`` makes ids and queries of their own."""
        command = [
            program(),
            *("-t1", f"-c{CONCURRENCY}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"),
            *("-s", str(_SCRIPT), self.url),
            *("--", str(self.folder / f"{kind}.lines"), PATHS[kind], tag),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = process.stdout.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"wrk ended with {process.returncode}: {said[-500:]}")
        row: dict[str, Any] = json.loads(said.strip().rsplit("\n", 1)[-1])
        return Load(**row, client_cpu_s=used.ru_utime + used.ru_stime)


def program() -> str:
    """The path of ``wrk``. Ends the benchmark without it, saying where to get it."""
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("error: wrk is not installed: apt-get install wrk (or brew install wrk)")
    return found
