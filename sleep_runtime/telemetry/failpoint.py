"""Fail points: named places where a test can make a process die, without a mock.

``SLEEP_FAILPOINTS="run.planned.after=kill,projector.cleared=raise@2"`` arms them. The variable is
read once, when the process starts. Actions: ``kill`` (SIGKILL to this process, as a power cut
would), ``stop`` (SIGSTOP: it hangs there until somebody continues it), ``raise``, ``exit:CODE`` (no
clean-up). ``@n`` fires on the n-th visit only; without it, on the first.

``SLEEP_FAILPOINTS=file:PATH`` reads the same from a file at every visit, once: the first process
that passes an armed place takes the file away and acts. So one of many processes is hurt at a time
that a test chooses, and the one that takes its place is not hurt again. ``@n`` counts for nothing.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path
from typing import NamedTuple

from sleep_runtime.core.errors import InvalidConfig

ENV = "SLEEP_FAILPOINTS"
_FILE = "file:"

NAMES: dict[str, str] = {
    "journal.append.before": "a batch is parsed, nothing is on the disk",
    "journal.append.after": "the batch is on the disk, nothing is acked",
    "scheduler.heads.noted": "what the journal holds is in the schedules",
    "run.leased": "the scope is held, no run is planned",
    "run.planned.before": "the input is fixed, nothing was read",
    "run.generated.answered": "the engine answered, no answer is pinned",
    "run.generated.half_pinned": "some answers of the engine are pinned",
    "run.generated.pinned": "every answer is pinned, no observation is stored",
    "run.planned.after": "observations are stored, nothing was reflected",
    "run.generated.before": "about to reflect",
    "run.reflected.answered": "the engine compared, no judgement is pinned",
    "run.reflected.half_pinned": "some judgements are pinned",
    "run.reflected.pinned": "every judgement is pinned, no critique is stored",
    "run.generated.after": "critiques are stored, nothing was decided",
    "run.reflected.before": "about to commit",
    "run.reflected.after": "the notes are committed, none is projected",
    "run.committed.before": "about to project",
    "projector.upserted": "the index holds the revisions, the marks still stand",
    "projector.cleared": "the marks are cleared, the run is not marked projected",
    "run.committed.after": "the run is over, the lease still held",
    "erasure.asked": "the file of an erasure is written, the ledger knows of none",
    "erasure.requested": "nights are fenced out, nothing was looked for",
    "erasure.gathered": "what has to go is written down, the ledger does not say so",
    "erasure.forgotten": "the ledger holds nothing of it any more, the journal does",
    "erasure.removed": "the events are deleted, the ledger does not say so",
    "erasure.indexed": "the index was made anew, the ledger does not say so",
    "erasure.exported": "exports were made again, the ledger does not say so",
    "erasure.mended": "backups were erased in, the ledger does not say so",
    "erasure.compacted": "the files were written anew, the ledger does not say so",
    "erasure.scanned": "the scan ran, no receipt is kept",
    "erasure.noted": "a step is noted as done",
    "erasure.done": "the receipt is kept, the file of the erasure is still there",
    "index.rebuild.filled": "the new generation is full, readers use the old one",
    "backup.copied": "the databases are copied, nothing says so",
    "backup.sealed": "the manifest is written, the backup still has its hidden name",
    "restore.copied": "one database is restored, the directory still says that it is unfinished",
    "restore.checked": "everything is restored and checked, the directory does not say so yet",
}


# ``isdigit`` also takes what ``int`` does not.
_CODE, _VISIT = re.compile("[0-9]{0,3}"), re.compile("([1-9][0-9]{0,8})?")


class FailpointHit(RuntimeError):
    """A fail point with the action ``raise`` was passed."""


class _Action(NamedTuple):
    kind: str
    code: int
    visit: int


def _unknown(name: str) -> InvalidConfig:
    return InvalidConfig("is not a fail point", field=name, mend="add it to telemetry/failpoint.py")


class _Armed:
    """The armed actions of this process and how often each place was visited."""

    def __init__(self, actions: dict[str, _Action]) -> None:
        self._actions = actions
        self._visits: dict[str, int] = {}
        self._lock = threading.Lock()

    def visit(self, name: str) -> None:
        if name not in NAMES:
            raise _unknown(name)
        action = self._actions.get(name)
        if action is None:
            return
        with self._lock:
            self._visits[name] = self._visits.get(name, 0) + 1
            due = self._visits[name] == action.visit
        if due:
            _perform(name, action)


class _ArmedByFile:
    """What a file arms at this moment: whoever acts on it takes it away first."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def visit(self, name: str) -> None:
        if name not in NAMES:
            raise _unknown(name)
        try:
            action = parse(self._path.read_text("utf-8")).get(name)
            if action is None:
                return
            taken = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            self._path.rename(taken)
            taken.unlink()
        except FileNotFoundError:
            return
        _perform(name, action)


def parse(spec: str) -> dict[str, _Action]:
    """Read ``name=action[@n],…``. Raises ``InvalidConfig`` for what it cannot read."""
    return dict(_parse_one(part.strip()) for part in spec.split(",") if part.strip())


def _parse_one(part: str) -> tuple[str, _Action]:
    name, _, rest = part.partition("=")
    action, _, visit = rest.partition("@")
    kind, _, code = action.partition(":")
    numbers_ok = _CODE.fullmatch(code) and _VISIT.fullmatch(visit)
    if name not in NAMES or kind not in ("kill", "stop", "raise", "exit") or not numbers_ok:
        raise InvalidConfig(
            f"{part!r} is not a fail point and its action",
            field=ENV,
            mend="write name=kill, name=stop, name=raise or name=exit:CODE, with @n for the n-th "
            "visit; "
            f"names: {', '.join(NAMES)}",
        )
    return name, _Action(kind, int(code or "1"), int(visit or "1"))


def _perform(name: str, action: _Action) -> None:
    if action.kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action.kind == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    if action.kind == "exit":
        os._exit(action.code)
    raise FailpointHit(name)


def arm(spec: str) -> None:
    """Arm fail points in this process from now on; an empty ``spec`` disarms them all."""
    global _armed  # noqa: PLW0603 - one check of one global is what an unarmed visit may cost
    if spec.startswith(_FILE):
        _armed = _ArmedByFile(Path(spec.removeprefix(_FILE)))
        return
    actions = parse(spec)
    _armed = _Armed(actions) if actions else None


def failpoint(name: str) -> None:
    """Mark a place where a test may let this process die. ``name`` is one of ``NAMES``."""
    if _armed is not None:
        _armed.visit(name)


_armed: _Armed | _ArmedByFile | None = None
arm(os.environ.get(ENV, ""))
