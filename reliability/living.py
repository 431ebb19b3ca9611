"""A real runtime, started as a user starts it, and how a test talks to it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.waiting import bearer, free_port

UP_TIMEOUT_S = 90.0


class NotUp(AssertionError):
    """A runtime is not, or does not do, what was waited for."""


@dataclass
class Runtime:
    """A running ``sleep-runtime up`` and how to talk to it."""

    url: str
    data_dir: Path
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes]
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.url, timeout=60, auth=self.sign)

    def sign(self, request: httpx.Request) -> httpx.Request:
        """Ask as whoever started it: what ``httpx`` takes as ``auth``."""
        request.headers.update(bearer(self.data_dir))
        return request

    def cli(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command of the CLI against this runtime."""
        return subprocess.run(
            [sys.executable, "-m", "sleep_runtime.cli.main", *words],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def capture(self, *events: dict[str, Any]) -> dict[str, Any]:
        """Post events; the answer's JSON."""
        answer = self.http.post("/v1/events", json=list(events))
        found: dict[str, Any] = answer.json()
        return found

    def night(self, scope: str) -> None:
        """Consolidate a part of the tree and wait until it is quiet."""
        self.http.post("/v1/runs", json={"scope": scope}).raise_for_status()
        self.wait(lambda: bool(self.status(scope)["quiet"]), f"the night of {scope} to end")

    def status(self, scope: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(
            "/v1/status", params={"scope": scope} if scope else None
        ).json()
        return found

    def notes(self, scope: str, status: str = "active") -> list[dict[str, Any]]:
        answer = self.http.get("/v1/notes", params={"scope": scope, "status": status, "limit": 500})
        found: list[dict[str, Any]] = answer.json()["notes"]
        return found

    def processes(self, name: str) -> list[psutil.Process]:
        """The living processes of this runtime whose title holds ``name``."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if name in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def wait(self, condition: Callable[[], bool], what: str, timeout_s: float = 90.0) -> None:
        """Wait until the condition holds; fail with the runtime's log when it does not."""
        give_up = time.monotonic() + timeout_s
        while time.monotonic() < give_up:
            try:
                if condition():
                    return
            except (httpx.TransportError, KeyError, ValueError):
                pass
            time.sleep(0.1)
        raise NotUp(f"waited {timeout_s:g} s for {what}\n{self.log.read_text()[-4000:]}")


def surroundings(directory: Path, **extra: str) -> dict[str, str]:
    """The environment of a runtime that keeps everything in ``directory``."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("SLEEP_")},
        "HOME": str(directory),
        "SLEEP_DATA_DIR": str(directory / "data"),
        "SLEEP_HTTP__PORT": str(free_port()),
        "SLEEP_LOG__FORMAT": "json",
        **extra,
    }


def start(directory: Path, *words: str, **extra: str) -> Runtime:
    """``up WORDS`` in ``directory``, ``extra`` in its environment; returns when it is ready."""
    environment = surroundings(directory, **extra)
    port = environment["SLEEP_HTTP__PORT"]
    prefix = environment.get("SLEEP_HTTP__ROUTE_PREFIX", "/").rstrip("/")
    log = directory / "up.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "sleep_runtime.cli.main", "up", *words],
            env=environment,
            stdout=file,
            stderr=file,
            cwd=directory,
        )
    runtime = Runtime(
        f"http://127.0.0.1:{port}{prefix}", directory / "data", environment, log, process
    )

    def ready() -> bool:
        if process.poll() is not None:
            raise NotUp(f"the runtime ended with {process.returncode}\n{log.read_text()[-4000:]}")
        up = (directory / "data" / "runtime.json").exists()  # written when the whole pool stands
        return up and runtime.http.get("/readyz").status_code == 200

    try:
        runtime.wait(ready, "the runtime to be ready", UP_TIMEOUT_S)
    except BaseException:
        end_all(process)
        raise
    return runtime


def end_all(process: subprocess.Popen[bytes]) -> None:
    """Kill an ``up`` and everything below it."""
    below: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait(timeout=10)
    for each in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(below, timeout=10)


def stop(runtime: Runtime) -> int:
    """Ask it to stop as Ctrl-C does; its exit code."""
    runtime.http.close()
    below = psutil.Process(runtime.process.pid).children(recursive=True)
    runtime.process.send_signal(signal.SIGINT)
    try:
        code = runtime.process.wait(timeout=60)
    finally:
        _, left = psutil.wait_procs(below, timeout=15)
        for process in left:
            process.kill()
    assert not left, f"left behind: {left}\n{runtime.log.read_text()[-3000:]}"
    return code


def event(number: int, org: str, text: str = "hello", **other: Any) -> dict[str, Any]:
    """A valid native event of ``org/team/ana``."""
    return {
        "id": f"{org}-{number}",
        "ts": f"2026-11-20T09:{number % 60:02d}:00Z",
        "scope": {"org": org, "team": "team", "user": "ana"},
        "session": "s1",
        "agent": "agent",
        "kind": "message",
        "role": "human",
        "text": text,
        **other,
    }
