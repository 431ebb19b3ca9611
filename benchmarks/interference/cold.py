"""The cold processes of a runtime: which they are, what they want, and at which priority."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.cluster_rig import Rig
from benchmarks.interference.pairs import Cold
from benchmarks.wrk import Load

_COLD = ("tier-", "engine-")
_NS = 1e9
_TRIES = 20
_IO_CLASS = {os.SCHED_OTHER: ("-c", "2", "-n", "4"), os.SCHED_IDLE: ("-c", "3")}


class Spent(NamedTuple):
    """Nanoseconds of a thread on a processor, and runnable without one."""

    cpu: int
    waited: int


def processes(rig: Rig) -> list[int]:
    """Tiers and engines as the pool names them, and what they started."""
    found: list[int] = []
    for name, where in rig.pool()["where"].items():
        if name.startswith(_COLD):
            found.append(where["pid"])
            children = psutil.Process(where["pid"]).children(recursive=True)
            found.extend(child.pid for child in children)
    return found


def beside(rig: Rig, load: Callable[[], Load]) -> tuple[Load, Cold]:
    """The load's figures, and what the cold processes did while it ran."""
    pids = processes(rig)
    before, nights, began = _spent(pids), rig.pool()["nights"], time.monotonic()
    measured = load()
    seconds, after = time.monotonic() - began, _spent(pids)
    nothing = Spent(0, 0)
    grown = [(now, before.get(thread, nothing)) for thread, now in after.items()]
    return measured, Cold(
        seconds=seconds,
        cpu_s=sum(now.cpu - was.cpu for now, was in grown) / _NS,
        waited_s=sum(now.waited - was.waited for now, was in grown) / _NS,
        nights=(nights, rig.pool()["nights"]),
    )


def cpu_by_process() -> dict[str, float]:
    """Seconds on a processor so far, by name, of everything the runtime of this process started."""
    found: dict[str, float] = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended while we looked
            words = process.cmdline()
            title = words[0].split("/")[-1] if words else ""
            name = title.removeprefix("ray::").partition(".")[0].partition(":")[0]
            used = process.cpu_times()
            found[name] = found.get(name, 0.0) + used.user + used.system
    return found


def set_policy(rig: Rig, policy: int) -> None:
    """Give every thread of the cold processes this policy, and the I/O class that goes with it.

    For the benchmark alone: the product has no such switch. Raises ``RuntimeError`` when a thread
    is left with another one. Going back to normal priority needs the privilege for it.
    """
    ionice = shutil.which("ionice")
    if ionice is None:
        raise RuntimeError("ionice is not installed: apt-get install util-linux")
    for _ in range(_TRIES):
        wrong = [tid for tid in _threads(processes(rig)) if _policy_of(tid) not in (None, policy)]
        if not wrong:
            break
        for tid in wrong:
            with contextlib.suppress(ProcessLookupError):  # it ended while we looked
                os.sched_setscheduler(tid, policy, os.sched_param(0))
                nice = 19 if policy == os.SCHED_IDLE else 0
                os.setpriority(os.PRIO_PROCESS, tid, nice)
    check_policy(rig, policy)
    tids = [str(tid) for tid in _threads(processes(rig))]
    # It fails for a thread that ended meanwhile, after it did all others.
    subprocess.run([ionice, *_IO_CLASS[policy], "-p", *tids], check=False, capture_output=True)


def check_policy(rig: Rig, policy: int) -> None:
    """Raise ``RuntimeError`` unless every thread of every cold process has this policy."""
    found = {tid: _policy_of(tid) for tid in _threads(processes(rig))}
    wrong = {tid: has for tid, has in found.items() if has not in (None, policy)}
    if wrong:
        raise RuntimeError(f"these threads have another policy than {policy}: {wrong}")


def _spent(pids: list[int]) -> dict[int, Spent]:
    """By thread. See ``Documentation/scheduler/sched-stats.rst`` of Linux."""
    found = {}
    for tid in _threads(pids):
        with contextlib.suppress(OSError):  # it ended while we looked
            cpu, waited, _ = Path(f"/proc/{tid}/schedstat").read_text().split()
            found[tid] = Spent(int(cpu), int(waited))
    return found


def _threads(pids: list[int]) -> Iterator[int]:
    for pid in pids:
        with contextlib.suppress(OSError):  # it ended while we looked
            yield from (int(task.name) for task in Path(f"/proc/{pid}/task").iterdir())


def _policy_of(tid: int) -> int | None:
    """None when the thread has ended."""
    try:
        return os.sched_getscheduler(tid)
    except ProcessLookupError:
        return None
