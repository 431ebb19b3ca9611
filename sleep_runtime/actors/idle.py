"""The lowest priority there is: what every cold process does before anything else.

``SCHED_IDLE`` gives way to any ordinary thread of the same control group at once. Policies compete
only inside one control group: between containers ``cpu.weight`` decides, which follows from the
resource requests of the pods.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
from pathlib import Path

from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_CLASS_IDLE = 3 << 13
_FIRST_TO_GO = 1000

log = get_logger(__name__)


def go_idle(max_memory_bytes: int | None = None) -> str:
    """Lower this process in every way the system knows. Returns the name of the policy.

    Run it before any library starts threads: policies belong to threads and are inherited. The
    threads that are there already (Ray's own) are lowered too. ``max_memory_bytes`` bounds what
    the process may allocate; beyond it an allocation fails, as ``MemoryError`` in Python.
    """
    policy = _schedule_idle()
    _disk_idle()
    # When memory runs out on the machine, cold processes are the first to go.
    _told_kernel(Path("/proc/self/oom_score_adj"), str(_FIRST_TO_GO))
    if max_memory_bytes is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = max_memory_bytes if hard < 0 else min(max_memory_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    return policy


def policy_of(pid: int = 0) -> str:
    """The scheduling policy of a process, by its name."""
    if not hasattr(os, "sched_getscheduler"):
        return f"nice {os.getpriority(os.PRIO_PROCESS, pid)}"
    names = {os.SCHED_OTHER: "SCHED_OTHER", os.SCHED_BATCH: "SCHED_BATCH"}
    names |= {os.SCHED_IDLE: "SCHED_IDLE", os.SCHED_FIFO: "SCHED_FIFO", os.SCHED_RR: "SCHED_RR"}
    found = os.sched_getscheduler(pid)
    return names.get(found, str(found))


def _threads() -> list[int]:
    try:
        return [int(task.name) for task in Path("/proc/self/task").iterdir()]
    except OSError:
        return [0]


def _schedule_idle() -> str:
    if not hasattr(os, "SCHED_IDLE"):
        os.nice(19)
        return "nice 19"
    for thread in _threads():
        try:
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
            # It changes nothing about who runs; the kernel counts the time of nice threads apart.
            os.setpriority(os.PRIO_PROCESS, thread, 19)
        except ProcessLookupError:  # it ended while we looked
            continue
    return "SCHED_IDLE"


def _disk_idle() -> None:
    """Ask for the disk when nobody else does. The standard library has no call for it."""
    number = _IOPRIO_SET.get(platform.machine())
    if number is None or platform.system() != "Linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for thread in _threads():
        libc.syscall(number, _IOPRIO_WHO_PROCESS, thread, _IOPRIO_CLASS_IDLE)


def _told_kernel(file: Path, value: str) -> None:
    try:
        file.write_text(value, encoding="ascii")
    except OSError as error:
        log.warning(LogEvent.PRIORITY_REFUSED, what=file.name, reason=str(error))
