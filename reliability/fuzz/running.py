"""A runtime that is up, for what has to be sent through HAProxy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from reliability.living import start, stop
from sleep_runtime.stores.datadir import DataDir


@contextmanager
def up(folder: Path, *, body_s: float) -> Iterator[str]:
    """``sleep-runtime up`` with everything in ``folder``; its address, once it is ready."""
    runtime = start(folder, SLEEP_HTTP__BODY_TIMEOUT_S=str(body_s))
    try:
        yield runtime.url
    finally:
        stop(runtime)


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
