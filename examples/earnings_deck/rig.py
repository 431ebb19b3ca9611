"""What the demo stands on: a runtime in its own process, and a client for its HTTP surface."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
QUIET_TIMEOUT_S = 60.0
POLL_S = 0.25
LOG_TAIL_LINES = 25
PAGE = 200
MAX_PAGES = 50


class DemoFailed(Exception):
    """The demo cannot go on. The message says why, in words for the person who runs it."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class RuntimeProcess:
    """``sleep-runtime up`` as a child in its own session, stopped on leaving whatever happened.

    ``command`` is the program with its first arguments; ``up`` is added. Output goes to ``log``.
    ``trouble`` says after the end what was not orderly about it.
    """

    def __init__(self, command: Sequence[str], data_dir: Path, port: int, log: Path) -> None:
        self.port = port
        self.log = log
        self.trouble = ""
        self._command = [*command, "up"]
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("SLEEP_")} | {
            "SLEEP_DATA_DIR": str(data_dir),
            "SLEEP_HTTP__HOST": "127.0.0.1",
            "SLEEP_HTTP__PORT": str(port),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise DemoFailed(f"{self._command[0]} does not start: {error}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll() if self._process else None

    def tail(self) -> str:
        """The last lines that the runtime said."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])

    def stop(self) -> None:
        """SIGTERM and a bounded wait; only a runtime that does not obey is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        died_before = process.poll() is not None
        if not died_before:
            process.terminate()
        try:
            code = process.wait(STOP_TIMEOUT_S)
            clean = not died_before and code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
            self.trouble = "" if clean else f"the runtime ended with exit code {code}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_TIMEOUT_S)
            self.trouble = f"the runtime did not stop within {STOP_TIMEOUT_S:.0f} s and was killed"


class Api:
    """The routes that the demo uses. An answer that is no success raises ``DemoFailed``."""

    def __init__(self, port: int, data_dir: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._key_file = data_dir / "local.key"
        self._http = httpx.Client(base_url=self.url, timeout=30.0, trust_env=False, auth=self._sign)

    def _sign(self, request: httpx.Request) -> httpx.Request:
        """Ask with the key that the runtime made for this machine as it started."""
        if self._key_file.exists():
            key = self._key_file.read_text("ascii").strip()
            request.headers["authorization"] = f"Bearer {key}"
        return request

    def close(self) -> None:
        self._http.close()

    def ready(self) -> bool:
        try:
            return self._http.get("/readyz", timeout=5.0).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def capture(self, rows: Sequence[bytes]) -> dict[str, Any]:
        """Send events, one JSON object a row, as gzipped NDJSON."""
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        body = gzip.compress(b"\n".join(rows), mtime=0)
        return self._ask("POST", "/v1/events", content=body, headers=headers)

    def request_night(self, scope: str) -> dict[str, Any]:
        return self._ask("POST", "/v1/runs", json={"scope": scope})

    def status(self, scope: str) -> dict[str, Any]:
        return self._ask("GET", "/v1/status", params={"scope": scope})

    def runs(self, scope: str) -> list[dict[str, Any]]:
        """Every run at and below the scope with its deltas and proposals, oldest first."""
        answer = self._ask("GET", "/v1/runs", params={"scope": scope, "limit": PAGE})
        ordered = sorted(answer["runs"], key=lambda run: (run["planned_at"], run["scope"]))
        return [self._ask("GET", f"/v1/runs/{run['id']}") for run in ordered]

    def notes(self, scope: str) -> list[dict[str, Any]]:
        """Every note at and below the scope, whatever its status."""
        return list(self._note_pages(scope))

    def _note_pages(self, scope: str) -> Iterator[dict[str, Any]]:
        params: dict[str, Any] = {"scope": scope, "status": "all", "limit": PAGE}
        for _ in range(MAX_PAGES):
            page = self._ask("GET", "/v1/notes", params=params)
            yield from page["notes"]
            if not page["next"]:
                return
            params["after"] = page["next"]
        raise DemoFailed(f"GET /v1/notes still has a next page after {MAX_PAGES} pages")

    def note(self, note_id: str) -> dict[str, Any]:
        return self._ask("GET", f"/v1/notes/{note_id}")

    def search(self, scope: str, query: str, *, k: int) -> list[dict[str, Any]]:
        body = {"scope": scope, "query": query, "k": k}
        hits: list[dict[str, Any]] = self._ask("POST", "/v1/search", json=body)["hits"]
        return hits

    def context(self, scope: str, query: str, *, compiler: str, budget: int) -> dict[str, Any]:
        body = {"scope": scope, "query": query, "budget_tokens": budget, "compiler": compiler}
        return self._ask("POST", "/v1/context", json=body)

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise DemoFailed(f"{method} {path}: {error or type(error).__name__}") from error
        if not response.is_success:
            raise DemoFailed(f"{method} {path}: {response.status_code} {response.text[:400]}")
        answer: dict[str, Any] = response.json()
        return answer


def wait_until(
    done: Callable[[], bool], *, timeout_s: float, tick: Callable[[float], None]
) -> bool:
    """Ask until it is true, telling ``tick`` the seconds spent; False when the time is over."""
    start = time.monotonic()
    while not done():
        spent = time.monotonic() - start
        if spent > timeout_s:
            return False
        tick(spent)
        time.sleep(POLL_S)
    return True
