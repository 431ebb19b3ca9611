"""The wounds of the bench, by name. Each hurts a patient and returns how it is to be healed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from reliability.chaos import takeover, tears, tracer
from reliability.chaos.bench import Bench, Missed, Patient, hurt
from reliability.chaos.disk import ballast, small_disk
from reliability.chaos.nursery import Night, Unable
from sleep_runtime.stores.datadir import DataDir

Wound = Callable[[Bench, Patient, Random], None]

BOUNDARIES = (
    "scheduler.heads.noted",
    "run.leased",
    "run.planned.before",
    "run.generated.answered",
    "run.generated.half_pinned",
    "run.generated.pinned",
    "run.planned.after",
    "run.generated.before",
    "run.reflected.answered",
    "run.reflected.half_pinned",
    "run.reflected.pinned",
    "run.generated.after",
    "run.reflected.before",
    "run.reflected.after",
    "run.committed.before",
    "projector.upserted",
    "projector.cleared",
    "run.committed.after",
)
"""Every step boundary of a run, in its order."""
VISITS = (1, 1, 2, 2, 3, 4, 5)
DAY_S = 86_400.0
SYNCS = "fsync,fdatasync,pwrite64"
WRITES = ("pwrite64", "fdatasync", "openat", "pread64")


def kill_at(place: str) -> Wound:
    """SIGKILL at a step boundary, at its first or a later visit."""

    def wound(bench: Bench, patient: Patient, dice: Random) -> None:
        for visit in dict.fromkeys((dice.choice(VISITS), 1)):
            night = hurt(bench, patient, failpoints=f"{place}=kill@{visit}")
            if night.end() == -signal.SIGKILL:
                return
            bench.refresh(patient)
        raise Missed(place)

    return wound


def kill_in_rebuild(bench: Bench, patient: Patient, dice: Random) -> None:  # noqa: ARG001
    """SIGKILL when a new generation of the index is full and readers use the old one."""
    _killed(hurt(bench, patient, failpoints="index.rebuild.filled=kill", rebuild=True))


def kill_anytime(bench: Bench, patient: Patient, dice: Random) -> None:
    """SIGKILL at any moment between the first look at the stores and the end."""
    patient.compared = "known"
    night = hurt(bench, patient)
    time.sleep(dice.uniform(0.0, 1.1 * patient.took_s))
    night.kill()


def kill_again_and_again(bench: Bench, patient: Patient, dice: Random) -> None:
    """SIGKILL of the night, and of the two that take it up."""
    for place in dice.sample(BOUNDARIES, k=3):
        hurt(bench, patient, failpoints=f"{place}=kill").end()


def torn_tail(bench: Bench, patient: Patient, dice: Random) -> None:
    """Killed, and behind the last commit of each log lies what a transaction in flight left."""
    _kill_somewhere(bench, patient, dice)
    for path in _databases(patient):
        tears.tear_tail(path.with_name(f"{path.name}-wal"), dice)
        tears.garble_shared_memory(path, dice)


def torn_commit(bench: Bench, patient: Patient, dice: Random) -> None:
    """The power goes in the middle of an fsync: what it was to make durable is damaged."""
    patient.compared = "known"
    file = _killed_in_sync(bench, patient, dice)
    if file is None or not tears.tear_in_flight(file, dice):
        raise Missed("no fsync of ours was under way")


def clock_jumps(sign: int) -> Wound:
    """The clock jumps by up to a day, several times, and in half the cases the night is killed."""

    def wound(bench: Bench, patient: Patient, dice: Random) -> None:
        patient.compared = "learned"
        looks = sorted(dice.sample(range(2, 60), k=dice.randrange(1, 4)))
        jumps = tuple((look, sign * dice.uniform(1.0, DAY_S / 3)) for look in looks)
        place = dice.choice(BOUNDARIES)
        deadly = dice.random() < 0.5
        night = hurt(bench, patient, jumps=jumps, failpoints=f"{place}=kill@2" if deadly else "")
        code = night.end()
        if code not in (0, -signal.SIGKILL):
            raise AssertionError(f"ended with {code}: {night.error()}")

    return wound


def delivered_twice(bench: Bench, patient: Patient, dice: Random) -> None:
    """Deliveries come again, at once or later, as from a client whose answer was lost."""
    patient.compared = "known"
    batches = [batch for batch in patient.night for _ in range(dice.choice((1, 2, 3)))]
    batches += dice.choices(patient.night + patient.base, k=6)
    night = hurt(bench, patient, batches=tuple(batches), failpoints=_maybe_kill(dice))
    night.end()


def delivered_out_of_order(bench: Bench, patient: Patient, dice: Random) -> None:
    """Whole sessions overtake each other on their way."""
    patient.compared = "known"
    by_session: dict[str, list[int]] = {}
    for batch in patient.night:
        for place in batch:
            by_session.setdefault(bench.sessions[place], []).append(place)
    sessions = [tuple(places) for places in by_session.values()]
    dice.shuffle(sessions)
    hurt(bench, patient, batches=tuple(sessions), failpoints=_maybe_kill(dice)).end()


def two_runtimes(bench: Bench, patient: Patient, dice: Random) -> None:  # noqa: ARG001
    """A second runtime is started on the directory of one that works: it is refused."""
    night = hurt(bench, patient)
    if not night.await_file("begun"):
        raise Unable(f"the first runtime failed: {night.error()}")
    second = Path(f"{patient.home}.second")
    second.mkdir()
    (second / "data").symlink_to(patient.data_dir)
    order = patient.order(home=str(second))
    intruder = bench.nursery.start(order)
    code, said = intruder.end(), intruder.error()
    first = night.end()
    if first != 0:
        raise AssertionError(f"the first runtime was harmed: {first} {night.error()}")
    if code == 0 or "is in use by" not in said:
        raise Missed(f"the first was over before the second came: {code} {said}")


def failing_calls(error: str) -> Wound:
    """The file system answers a call on our files, or each from one on, with an error.

    The files of the index are left out: Chroma hangs at an error of the disk, and what ends a
    process that hangs is the stage's, not the bench's.
    """

    def wound(bench: Bench, patient: Patient, dice: Random) -> None:
        patient.compared = "known"
        call = dice.choice(WRITES)
        first = dice.randrange(1, 40 if call in ("pwrite64", "fdatasync") else 6)
        when = dice.choice((f"{first}", f"{first}+", f"{first}..{first + 3}"))
        night = hurt(bench, patient, held=True, failpoints=_maybe_kill(dice, 0.3))
        log = patient.home / "calls.log"
        inject = f"{call}:error={error}:when={when}"
        with tracer.injected(night.pid, inject, call, log, _files(patient)):
            (patient.home / "go").touch()
            night.end()
        if not tracer.hurt_calls(log):
            raise Missed(f"less than {first} calls of {call}")

    return wound


def file_limit(bench: Bench, patient: Patient, dice: Random) -> None:
    """No file may grow beyond a size that is soon reached."""
    patient.compared = "known"
    largest = max(path.stat().st_size for path in _databases(patient))
    limit = largest + dice.randrange(4096, 200_000)
    hurt(bench, patient, max_file_bytes=limit).end()


def disk_full(bench: Bench, patient: Patient, dice: Random) -> None:
    """A disk without space in the middle of a night, and space again for the next."""
    patient.compared = "known"
    with small_disk(patient.data_dir, mib=24):
        night = hurt(bench, patient)
        night.await_file("begun")
        time.sleep(dice.uniform(0, 0.7 * patient.took_s))
        with ballast(patient.data_dir / "ballast"):
            night.end()


def stopped_and_taken_over(bench: Bench, patient: Patient, dice: Random) -> None:
    """A driver hangs for longer than its lease, another takes its scope, the first wakes up."""
    takeover.hang(bench, patient, place=dice.choice(BOUNDARIES[2:-3]), back_s=0.0)


def stopped_and_clock_set_back(bench: Bench, patient: Patient, dice: Random) -> None:
    """The same, and whoever takes over has a clock that was set back by hours."""
    takeover.hang(
        bench, patient, place=dice.choice(BOUNDARIES[2:-3]), back_s=dice.uniform(600, DAY_S / 2)
    )


def _killed(night: Night) -> None:
    code = night.end()
    if code != -signal.SIGKILL:
        raise Missed(f"ended with {code}: {night.error()}")


def _maybe_kill(dice: Random, chance: float = 0.5) -> str:
    """A fail point to die at, sometimes."""
    return f"{dice.choice(BOUNDARIES)}=kill@{dice.choice(VISITS)}" if dice.random() < chance else ""


def _kill_somewhere(bench: Bench, patient: Patient, dice: Random) -> None:
    night = hurt(bench, patient, failpoints=f"{dice.choice(BOUNDARIES)}=kill@{dice.choice(VISITS)}")
    night.end()


def _killed_in_sync(bench: Bench, patient: Patient, dice: Random) -> Path | None:
    """Kill a night at the beginning of one of its fsyncs; the file, if it is one of ours."""
    night = hurt(bench, patient, held=True)
    log = patient.home / "calls.log"
    inject = f"fdatasync,fsync:signal=KILL:when={dice.randrange(3, 45)}"
    with tracer.injected(night.pid, inject, SYNCS, log):
        (patient.home / "go").touch()
        _killed(night)
    file = tracer.in_flight(log)
    ours = {path.name for path in _databases(patient)}
    return file if file and file.name.removesuffix("-wal") in ours else None


def _files(patient: Patient) -> list[Path]:
    return [
        path.with_name(f"{path.name}{end}")
        for path in _databases(patient)
        for end in ("", "-wal", "-shm")
    ]


def _databases(patient: Patient) -> tuple[Path, Path]:
    paths = DataDir(patient.data_dir)
    return paths.journal_path, paths.ledger_path


WOUNDS: Mapping[str, Wound] = {
    **{f"kill at {place}": kill_at(place) for place in BOUNDARIES},
    "kill at index.rebuild.filled": kill_in_rebuild,
    "kill at any moment": kill_anytime,
    "kill thrice": kill_again_and_again,
    "torn tail of a log": torn_tail,
    "torn commit": torn_commit,
    "clock forward": clock_jumps(+1),
    "clock back": clock_jumps(-1),
    "delivered twice": delivered_twice,
    "delivered out of order": delivered_out_of_order,
    "two runtimes": two_runtimes,
    "EIO": failing_calls("EIO"),
    "ENOSPC": failing_calls("ENOSPC"),
    "file size limit": file_limit,
    "disk full": disk_full,
    "stopped past its lease": stopped_and_taken_over,
    "stopped, clock set back": stopped_and_clock_set_back,
}
