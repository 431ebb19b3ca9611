"""What whatever starts processes here needs: a quiet Ray, a free port, a wait with an end, a key.

Imports nothing of Ray or the runtime, so tests can use it as well.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

QUIET = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
WAIT_S = 600.0


def wait_until(
    condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S, every_s: float = 0.01
) -> float:
    """Seconds until the condition held. Raises ``TimeoutError`` with ``what`` when it does not."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout_s:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        time.sleep(every_s)
    return time.monotonic() - began


def bearer(data_dir: str | Path) -> dict[str, str]:
    """The headers of whoever started the runtime of this directory; none before it has a key."""
    try:
        key = (Path(data_dir) / "local.key").read_text("ascii").strip()
    except FileNotFoundError:
        return {}
    return {"authorization": f"Bearer {key}"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
