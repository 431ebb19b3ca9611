"""The bench: one night at a time in a process of its own, hurt, healed and compared bit for bit.

Every wound has a store of its own, a copy of one that has had a night already, so any of them can
be done again alone: its dice are made from the seed and its number.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from reliability.chaos import facts, invariants
from reliability.chaos.night import NIGHT, Order, parsed
from reliability.chaos.nursery import Night, Nursery, Unable

ROOT = Path(__file__).resolve().parents[2]
DECK = ROOT / "examples" / "earnings_deck" / "events.ndjson"
SPANS = ((60, 130), (110, 180), (170, 235), (230, 300), (300, 360), (390, 460))
"""Which events of the deck a store has learned from, and which come in the night that is hurt."""
LEASE_S = 30.0


class Missed(Exception):
    """The night came to its end without passing the place where it was to be hurt."""


@dataclass(frozen=True)
class Healed:
    """How a wound ended."""

    violations: tuple[str, ...]
    recovered_s: float
    acked: int
    lost: int
    doubled: int


@dataclass
class Patient:
    """A store about to be hurt, and what it has to come to."""

    home: Path
    trail: Path
    base: tuple[tuple[int, ...], ...]
    night: tuple[tuple[int, ...], ...]
    undisturbed: dict[str, Any]
    took_s: float
    compared: str = "digest"
    """``digest``, bit for bit; ``known``, without positions in the journal, where duplicates leave
    gaps; ``learned``, without confidence, which depends on the clock."""

    @property
    def data_dir(self) -> Path:
        return self.home / "data"

    def order(self, **how: Any) -> Order:
        """The night as it should go, but for ``how``."""
        usual = {"home": str(self.home), "trail": str(self.trail), "batches": self.night}
        return Order(**{**usual, **how})

    def acked(self) -> set[facts.Kept]:
        """Every event that was acked here, however often its process died since."""
        path = self.home / "acks"
        text = path.read_bytes() if path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1].decode()
        return {facts.Kept(*line.split(" ", 1)) for line in whole.splitlines()}


class Bench:
    """Makes patients, and says what is wrong with them afterwards."""

    def __init__(self, place: Path, nursery: Nursery) -> None:
        self.place = place
        self.nursery = nursery
        self._bases: dict[int, Patient] = {}

    def patient(self, number: int, dice: Random) -> Patient:
        """A store of its own for this wound."""
        base = self._base(dice.randrange(len(SPANS)))
        home = self.place / f"wound{number}"
        shutil.copytree(base.home, home)
        return Patient(home, base.trail, base.base, base.night, base.undisturbed, base.took_s)

    def refresh(self, patient: Patient) -> None:
        """A night that was not hurt has nothing left to hurt: begin with a fresh copy."""
        shutil.rmtree(patient.home)
        (base,) = (each for each in self._bases.values() if each.night == patient.night)
        shutil.copytree(base.home, patient.home)

    def _base(self, which: int) -> Patient:
        if which not in self._bases:
            self._bases[which] = self._prepare(which)
        return self._bases[which]

    def _prepare(self, which: int) -> Patient:
        """Learn the first span, and see what an undisturbed night makes of the second."""
        home = self.place / f"base{which}"
        home.mkdir()
        first, last = SPANS[which]
        base, night = chunks(range(first)), chunks(range(first, last))
        patient = Patient(home, DECK, base, night, {}, 0.0)
        self.nursery.undisturbed(patient.order(batches=base))
        quiet = self.place / f"quiet{which}"
        shutil.copytree(home, quiet)
        began = time.monotonic()
        twin = Patient(quiet, DECK, base, night, {}, 0.0)
        patient.undisturbed = self.nursery.undisturbed(twin.order())
        patient.took_s = time.monotonic() - began
        if not patient.undisturbed["indexed"]:
            raise Unable("the trail teaches nothing: empty stores would be compared")
        return patient

    def heal(self, patient: Patient, **how: Any) -> Healed:
        """Look at the hurt store, let a night go over it unhurt, and look again."""
        wrong = self._hurt(patient)
        began = time.monotonic()
        report = self.nursery.undisturbed(patient.order(**how))
        took_s = time.monotonic() - began
        wrong += self._whole(patient, report)
        acked, kept = patient.acked(), facts.journal(patient.data_dir).kept
        lost = len(acked - set(kept))
        return Healed(tuple(wrong), took_s, len(acked), lost, len(kept) - len(set(kept)))

    def _hurt(self, patient: Patient) -> list[str]:
        """What must hold at every moment, also before anybody healed anything."""
        journal, ledger = facts.journal(patient.data_dir), facts.ledger(patient.data_dir)
        wrong = [
            *invariants.acked_once(patient.acked(), journal.kept),
            *invariants.heads_agree(journal.heads, journal.by_scope),
            *invariants.success_has_effect(ledger),
            *invariants.nothing_doubled(ledger),
            *invariants.nothing_contradicts(ledger.newest()),
        ]
        if patient.compared != "learned":  # a clock that jumped made them by another time
            wrong += invariants.leases_end(ledger.leases, now=NIGHT, ttl_s=LEASE_S, slack_s=1)
        return [f"hurt: {line}" for line in wrong]

    def _whole(self, patient: Patient, report: dict[str, Any]) -> list[str]:
        journal, ledger = facts.journal(patient.data_dir), facts.ledger(patient.data_dir)
        should = patient.undisturbed
        compared = patient.compared
        found, wanted = _comparable(report[compared]), _comparable(should[compared])
        expired = NIGHT + timedelta(seconds=LEASE_S)
        return [
            *invariants.acked_once(patient.acked(), journal.kept),
            *invariants.heads_agree(journal.heads, journal.by_scope),
            *invariants.success_has_effect(ledger),
            *invariants.each_event_read_once(ledger, journal.by_scope),
            *invariants.nothing_doubled(ledger),
            *invariants.nothing_contradicts(ledger.newest()),
            *invariants.nothing_pending(ledger),
            *invariants.leases_free(ledger.leases, now=expired, owners=()),
            *invariants.index_agrees(ledger.active(), report["reconciled"]),
            *invariants.same_store(found, wanted, compared),
        ]

    @cached_property
    def sessions(self) -> list[str]:
        """The session of each event of the deck, by its place."""
        return [f"{row.scope} {row.session}" for row in parsed(DECK)]

    def done(self, patient: Patient) -> None:
        """Forget a patient."""
        shutil.rmtree(patient.home, ignore_errors=True)


def chunks(places: range, size: int = 12) -> tuple[tuple[int, ...], ...]:
    """Deliveries of so many events each."""
    return tuple(tuple(places[at : at + size]) for at in range(0, len(places), size))


def _comparable(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return frozenset(json.dumps(each) for each in value)


def hurt(bench: Bench, patient: Patient, **how: Any) -> Night:
    """Begin a night that is going to be hurt."""
    return bench.nursery.start(patient.order(**how))
