"""This machine's own key: what a runtime left in its data directory for who started it."""

from __future__ import annotations

import json
import os
from pathlib import Path

MAX_KEY_BYTES = 4096


def data_dir() -> Path:
    """Where a runtime of this directory, or of ``SLEEP_DATA_DIR``, keeps everything."""
    return Path(os.environ.get("SLEEP_DATA_DIR") or ".sleep").expanduser()


class LocalKey:
    """The key of the runtime at ``url``, looked for until it is there, and again once refused."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._key = ""

    def __call__(self) -> str:
        if not self._key:
            self._key = local_key(self._url, data_dir())
        return self._key

    def forget(self) -> None:
        """Look again before the next request: the runtime may have begun anew."""
        self._key = ""


def local_key(url: str, directory: Path) -> str:
    """The key of the runtime that lives in ``directory`` and says it answers at ``url``.

    Empty when that runtime is not up: whatever listens there instead must not get the key.
    """
    try:
        told = json.loads((directory / "runtime.json").read_text("utf-8"))
        if str(told["url"]).rstrip("/") != url.rstrip("/"):
            return ""
        os.kill(int(told["pid"]), 0)
        with (directory / "local.key").open(encoding="ascii") as file:
            return file.read(MAX_KEY_BYTES).strip()
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return ""
