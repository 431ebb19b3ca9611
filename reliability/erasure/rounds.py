"""Rounds: one erasure in a copy of a store, disturbed and undisturbed, and what is left of each."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from reliability.erasure import oracle
from reliability.erasure.world import KILLED, Store, erase, receipts, trail_of
from sleep_runtime.stores.backup import verify
from sleep_runtime.telemetry.failpoint import NAMES

PLACES = tuple(name for name in NAMES if name.startswith("erasure."))
MOST_CRASHES = 3
NOTED = "erasure.noted"
STEPS = 8


@dataclass
class Tally:
    """What all rounds came to. ``erased_hits`` and ``unequal`` have to be 0."""

    seed: int
    erasures: int = 0
    crashes: int = 0
    events: int = 0
    needles: int = 0
    erased_hits: int = 0
    kept_notes: int = 0
    reworded_notes: int = 0
    unfinished: int = 0
    unequal: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    by_place: dict[str, int] = field(default_factory=dict)
    where: list[str] = field(default_factory=list)

    @property
    def digests_equal(self) -> bool:
        return self.unequal == 0

    @property
    def clean(self) -> bool:
        return not (self.erased_hits or self.unequal or self.unfinished)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "digests_equal": self.digests_equal, "clean": self.clean}


def targets(trail: Sequence[oracle.Event], random: Random) -> dict[str, str]:
    """A person, a session, an event, seldom a whole team."""
    event = random.choice(trail)
    path = oracle.path_of(event)
    kind = random.choices(("person", "session", "event", "team"), (4, 3, 3, 1))[0]
    if kind == "person":
        return {"scope": path}
    if kind == "team":
        return {"scope": path.rpartition("/")[0] or path}
    return {"scope": path, kind: event["id"] if kind == "event" else event["session"]}


def a_crash(random: Random) -> str:
    """A fail point, armed. The backup's erasure, inside the store's, passes them all as well."""
    place = random.choice(PLACES)
    visit = random.randint(1, 2 * STEPS if place == NOTED else 2)
    return f"{place}=kill@{visit}"


def play(
    master: Store,
    work: Path,
    target: Mapping[str, str],
    crashes: Sequence[str],
    tally: Tally,
) -> None:
    """One round. Whatever dies, the process that comes last is only opened, and has to finish."""
    quiet, hurt = master.copy(work / "quiet"), master.copy(work / "hurt")
    trail = trail_of(master.data)
    wanted = oracle.needles(trail, target)
    _undisturbed(quiet, target)
    asked: Mapping[str, str] | None = target
    for crash in crashes:
        if erase(hurt.data, asked, crash) == KILLED:
            tally.crashes += 1
            place = crash.partition("=")[0]
            tally.by_place[place] = tally.by_place.get(place, 0) + 1
        # A crash before the ledger knows of it was never answered: whoever asked asks again.
        asked = None if receipts(hurt.data) else target
    _undisturbed(hurt, asked)
    _count(hurt, target, trail, wanted, tally)
    if hurt.digests() != quiet.digests():
        tally.unequal += 1
        tally.where.append(f"digests differ: {dict(target)} {list(crashes)}")
    shutil.rmtree(work)


def _undisturbed(store: Store, target: Mapping[str, str] | None) -> None:
    code = erase(store.data, target)
    if code:
        raise RuntimeError(f"an erasure ended with {code} though nothing was to kill it: {target}")


def _count(
    hurt: Store,
    target: Mapping[str, str],
    trail: Sequence[oracle.Event],
    wanted: Sequence[str],
    tally: Tally,
) -> None:
    found = oracle.look(hurt.root, wanted)
    (receipt,) = receipts(hurt.data) or [{}]
    kind = "session" if target.get("session") else "event" if target.get("event") else "scope"
    tally.erasures += 1
    tally.by_kind[kind] = tally.by_kind.get(kind, 0) + 1
    tally.events += sum(oracle.goes(event, target) for event in trail)
    tally.needles += found.needles
    tally.erased_hits += len(found.hits) + receipt["scan"]["erased_hits"]
    tally.where += [f"{dict(target)}: {where}" for where in found.hits[:5]]
    tally.where += [f"{dict(target)} says: {where}" for where in receipt["scan"]["where"][:5]]
    tally.kept_notes += len(receipt["kept"])
    tally.reworded_notes += sum(note["reworded"] for note in receipt["kept"])
    verify(hurt.backup)  # one that is no whole backup any more could not be restored
    left = list(hurt.root.rglob("*erasing-*"))
    tally.unfinished += (not receipt["done"]) + len(left)
