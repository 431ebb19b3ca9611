"""The wounds of the stage, by name. Each hurts a running runtime while a captor works."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from random import Random

import psutil

from benchmarks.waiting import free_port
from reliability.chaos import tracer
from reliability.chaos.bench import Missed
from reliability.chaos.bench_wounds import BOUNDARIES
from reliability.chaos.disk import ballast
from reliability.chaos.load import Captor
from reliability.chaos.nursery import Unable
from reliability.chaos.stage import LEASE_S, Stage
from reliability.living import end_all

Wound = Callable[[Stage, Captor, Random], None]

PASSED_S = 20.0
ENDS_S = 150.0
REFUSED_S = 90.0
HELPED_S = 90.0
ACTORS = {
    "replica": "ray::ServeReplica",
    "Serve controller": "ray::ServeController",
    "proxy": "haproxy",
    "proxy manager": "ray::HAProxyManager",
    "journal owner": "ray::JournalOwner",
    "ledger owner": "ray::LedgerOwner",
    "index owner": "ray::IndexOwner",
    "tier actor": "ray::TierActor",
    "night watch": "ray::NightWatch",
    "engine": "ray::EngineActor",
}
"""Every process of a runtime, by its title. Scheduler and pool keeper are the night watch."""
STOPPED = ("journal owner", "ledger owner", "index owner", "tier actor", "night watch", "engine")
OWNERS = ("journal owner", "ledger owner", "index owner")
APPENDS = ("journal.append.before", "journal.append.after")


def kill(kind: str) -> Wound:
    """SIGKILL of one process of a kind; whoever started it brings it back."""

    def wound(stage: Stage, captor: Captor, dice: Random) -> None:  # noqa: ARG001
        victim = dice.choice(stage.processes(ACTORS[kind]))
        victim.kill()
        psutil.wait_procs([victim], timeout=10)

    return wound


def kill_at(place: str) -> Wound:
    """SIGKILL of whichever process passes a fail point next."""

    def wound(stage: Stage, captor: Captor, dice: Random) -> None:  # noqa: ARG001
        _arm(stage, f"{place}=kill")

    return wound


def stop(kind: str) -> Wound:
    """SIGSTOP of one process of a kind for longer than a lease."""

    def wound(stage: Stage, captor: Captor, dice: Random) -> None:  # noqa: ARG001
        _hold_still(dice.choice(stage.processes(ACTORS[kind])), _longer_than_a_lease(dice))

    return wound


def stop_at(stage: Stage, captor: Captor, dice: Random) -> None:  # noqa: ARG001
    """A process hangs at a step boundary for longer than its lease, then wakes up."""
    _arm(stage, f"{dice.choice(BOUNDARIES)}=stop")
    stopped = [p for p in stage.runtime.processes("ray::") if p.status() == psutil.STATUS_STOPPED]
    for process in stopped:
        _hold_still(process, _longer_than_a_lease(dice))


def end_cluster(kind: str) -> Wound:
    """SIGKILL of a part of Ray that nothing brings back: ``up`` ends and says so."""

    def wound(stage: Stage, captor: Captor, dice: Random) -> None:  # noqa: ARG001
        up = stage.runtime.process
        below = psutil.Process(up.pid).children(recursive=True)
        next(process for process in below if process.name() == kind).kill()
        try:
            code = up.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            up.kill()
            stage.restart(below)
            raise AssertionError(f"up goes on for {ENDS_S:g} s without its {kind}") from None
        stage.restart(below)
        if code != 1:
            raise AssertionError(f"up ended with {code} when its {kind} was killed")

    return wound


def kill_up(stage: Stage, captor: Captor, dice: Random) -> None:  # noqa: ARG001
    """SIGKILL of ``up`` itself, and of all that is below it: the power of the machine goes."""
    end_all(stage.runtime.process)
    stage.restart([])


def remove_group(stage: Stage, captor: Captor, dice: Random) -> None:  # noqa: ARG001
    """Somebody removes the idle pool's placement group, with every engine in it."""
    code = (
        "import sys, ray\n"
        "from sleep_runtime.actors.idle_pool import remove_groups\n"
        "ray.init(sys.argv[1], namespace=sys.argv[2], log_to_driver=False)\n"
        "remove_groups()\n"
    )
    address, namespace = stage.cluster()
    done = subprocess.run(
        [sys.executable, "-c", code, address, namespace],
        env=stage.runtime.environment,
        capture_output=True,
        text=True,
        timeout=HELPED_S,
        check=False,
    )
    if done.returncode:
        raise Unable(f"the group was not removed: {done.stderr[-600:]}")


def failing_calls(error: str) -> Wound:
    """The file system answers an owner's calls with an error, a few times."""

    def wound(stage: Stage, captor: Captor, dice: Random) -> None:
        owner = stage.processes(ACTORS[dice.choice(OWNERS)])[0]
        calls = dice.choice(("fdatasync,fsync", "pwrite64"))
        log = stage.home / "calls.log"
        log.unlink(missing_ok=True)
        first = dice.randrange(1, 12)
        inject = f"{calls}:error={error}:when={first}..{first + dice.randrange(0, 6)}"
        with tracer.injected(owner.pid, inject, calls, log):
            give_up = time.monotonic() + PASSED_S / 2
            while not tracer.hurt_calls(log) and time.monotonic() < give_up:
                if captor.done:
                    break
                time.sleep(0.05)
            time.sleep(0.5)
        if not tracer.hurt_calls(log):
            raise Missed(f"less than {first} calls of {calls}")

    return wound


def disk_full(stage: Stage, captor: Captor, dice: Random) -> None:  # noqa: ARG001
    """No space is left for some seconds."""
    if not stage.own_disk:
        raise Unable("the data directory has no disk of its own: nothing may be mounted here")
    with ballast(stage.data_dir / "ballast"):
        time.sleep(dice.uniform(1.0, 4.0))


def second_runtime(stage: Stage, captor: Captor, dice: Random) -> None:  # noqa: ARG001
    """A second runtime on the same directory is refused, and the first is not harmed."""
    done = subprocess.run(
        [sys.executable, "-m", "sleep_runtime.cli.main", "up"],
        env={**stage.runtime.environment, "SLEEP_HTTP__PORT": str(free_port())},
        capture_output=True,
        text=True,
        timeout=REFUSED_S,
        check=False,
    )
    if done.returncode != 1 or "data_dir" not in done.stderr:
        raise AssertionError(f"a second runtime: {done.returncode} {done.stderr[-600:]}")


def delivered_again(stage: Stage, captor: Captor, dice: Random) -> None:
    """The whole day comes a second time, in another order, beside the first."""
    other = stage.begin_again(captor, dice)
    try:
        stage.wait_for(lambda: other.done, "the deliveries to come again")
    finally:
        other.stop()


def _arm(stage: Stage, spec: str) -> None:
    """Arm a fail point and wait until somebody passed it."""
    scratch = stage.armed.with_suffix(".new")
    scratch.write_text(spec)
    scratch.rename(stage.armed)
    try:
        stage.wait_for(lambda: not stage.armed.exists(), f"{spec} to be passed", PASSED_S)
    except AssertionError as error:
        raise Missed(str(error)) from None
    finally:
        stage.armed.unlink(missing_ok=True)


def _hold_still(process: psutil.Process, seconds: float) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.suspend()
        try:
            time.sleep(seconds)
        finally:
            process.resume()


def _longer_than_a_lease(dice: Random) -> float:
    return LEASE_S + dice.uniform(0.5, 3.0)


WOUNDS: Mapping[str, Wound] = {
    **{f"kill {kind}": kill(kind) for kind in ACTORS},
    **{f"kill at {place}": kill_at(place) for place in (*APPENDS, *BOUNDARIES)},
    **{f"stop {kind}": stop(kind) for kind in STOPPED},
    "stop at a step boundary": stop_at,
    "kill raylet": end_cluster("raylet"),
    "kill GCS": end_cluster("gcs_server"),
    "power cut": kill_up,
    "placement group removed": remove_group,
    "EIO": failing_calls("EIO"),
    "ENOSPC": failing_calls("ENOSPC"),
    "disk full": disk_full,
    "two runtimes": second_runtime,
    "delivered again": delivered_again,
}
RARE = {"kill raylet", "kill GCS", "power cut", "two runtimes", "placement group removed"}
"""These take half a minute each: they come up once in a round of their own, not as often."""
