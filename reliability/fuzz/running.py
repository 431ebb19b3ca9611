"""A runtime that is up, for what has to be sent through HAProxy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from sleep_runtime.stores.datadir import DataDir

UP_TIMEOUT_S = 120.0
DOWN_TIMEOUT_S = 60.0


@contextmanager
def up(folder: Path, *, body_s: float) -> Iterator[str]:
    """``sleep-runtime up`` with everything in ``folder``; its address, once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SLEEP_")},
        "HOME": str(folder),
        "SLEEP_DATA_DIR": str(folder / "data"),
        "SLEEP_HTTP__PORT": str(port),
        "SLEEP_HTTP__BODY_TIMEOUT_S": str(body_s),
    }
    log = folder / "up.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "sleep_runtime.cli.main", "up"],
            env=environment,
            stdout=file,
            stderr=file,
        )
    try:
        _wait(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DOWN_TIMEOUT_S)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    over = time.monotonic() + UP_TIMEOUT_S
    while time.monotonic() < over:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"no runtime came up: {log.read_text(errors='replace')[-2000:]}")


def key_of(folder: Path) -> str:
    """The key of whoever started the runtime that keeps everything in ``folder``."""
    return DataDir(folder / "data").local_key_file.read_text().strip()


def problems(url: str, key: str) -> list[str]:
    """What does not work of a small capture and a search, through everything in between."""
    event = {
        "id": f"after-{time.time_ns()}",
        "ts": "2026-11-22T09:00:00Z",
        "scope": "wire",
        "session": "s",
        "kind": "message",
        "role": "human",
        "text": "still here",
    }
    found = []
    who = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, timeout=30, headers=who) as http:
        for path, body, key in (
            ("/v1/events", [event], "accepted"),
            ("/v1/search", {"scope": "wire", "query": "here"}, "hits"),
        ):
            answer = http.post(path, json=body)
            if answer.status_code != 200 or key not in answer.json():
                found.append(f"afterwards: {path} answers {answer.status_code} {answer.text[:200]}")
    return found
