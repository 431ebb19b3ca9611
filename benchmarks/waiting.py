"""What whatever starts processes here needs: a quiet Ray, a free port, a wait with an end.

Imports nothing of Ray or the runtime, so tests can use it as well.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
