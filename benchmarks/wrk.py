"""Load from outside: ``wrk``, a process of its own, closed loop, at normal priority."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONCURRENCY = 8
PATHS = {"capture": "/v1/events", "batch": "/v1/events", "search": "/v1/search"}
_SCRIPT = Path(__file__).with_suffix(".lua")


@dataclass(frozen=True)
class Load:
    """One window of one kind of request, as the client saw it.

    ``errors`` are broken connections and answers other than 2xx and 3xx. ``cpu`` is the processors
    each process of the runtime took meanwhile, by its name.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int
    client_cpu_s: float
    cpu: Mapping[str, float] = field(default_factory=dict)

    @property
    def rps(self) -> float:
        return self.requests / self.seconds

    @property
    def client_cpu_share(self) -> float:
        """How much of one processor the client took."""
        return self.client_cpu_s / self.seconds


@dataclass(frozen=True)
class Client:
    """``wrk`` against one runtime. ``folder`` is where the lines it posts are kept.

    ``headers`` hold who asks.
    """

    url: str
    folder: Path
    headers: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        kind: str,
        tag: str,
        seconds: float,
        *,
        path: str | None = None,
        concurrency: int = CONCURRENCY,
    ) -> Load:
        """Post lines of this kind for so long. ``tag`` makes ids and queries of their own.

        ``path`` is where they are posted, if not where the kind belongs; "GET /path" asks for it.
        """
        command = [
            program(),
            *("-t1", f"-c{concurrency}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"),
            *("-s", str(_SCRIPT), self.url),
            *("--", str(self.folder / f"{kind}.lines"), path or PATHS[kind], tag),
            self.headers.get("authorization", ""),
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
