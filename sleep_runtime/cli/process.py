"""Is the process that wrote ``runtime.json`` still that process?"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

CLOCK_TOLERANCE_S = 5.0


def is_alive(what: dict[str, Any]) -> bool:
    """True while the process that wrote ``what`` lives.

    A pid that was given to another process since then started after the file was written, which
    is how it is told apart. A process that ended and was not yet reaped is dead.
    """
    pid = what.get("pid")
    if not isinstance(pid, int) or pid <= 1 or not _exists(pid):
        return False
    found = _state_and_start(pid)
    if found is None:
        return True
    state, started = found
    written = _timestamp(what.get("started_at"))
    return state not in "ZX" and (written is None or started <= written + CLOCK_TOLERANCE_S)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _state_and_start(pid: int) -> tuple[str, float] | None:
    """State letter and start in seconds since the epoch; None where there is no ``/proc``."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        boot = next(
            int(line.split()[1])
            for line in Path("/proc/stat").read_text("utf-8").splitlines()
            if line.startswith("btime")
        )
    except (OSError, StopIteration, ValueError):
        return None
    return fields[0], boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _timestamp(value: object) -> float | None:
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None
