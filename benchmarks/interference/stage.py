"""A runtime under measurement, and the switch between consolidation off and at full tilt."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.cluster_rig import Rig
from benchmarks.interference import cold
from benchmarks.interference.pairs import KINDS, Cold, Turn
from benchmarks.interference.words import lessons
from benchmarks.trail import trail
from benchmarks.waiting import wait_until
from benchmarks.wrk import CONCURRENCY, Client, Load

WARM_S = 1
# The pool comes back at once when it may, and what is pending is due as soon as it is asked for.
SETTINGS: dict[str, Any] = {
    "pool.hysteresis_s": 0.05,
    "pool.backoff_s": 0.05,
    "pool.max_backoff_s": 0.05,
    "policy.triggers.cooldown_s": 0.0,
    "scheduler.settle_s": 0.0,
}
_AWAY_S = 3600.0
_START_TIMEOUT_S = 400.0


@dataclass
class Stage:
    """Windows of ``seconds`` against one runtime, with a ``backlog`` of events when it is on."""

    rig: Rig
    client: Client
    name: str
    seconds: int
    backlog: int
    seed: int
    turns: int = 0
    fills: int = 0

    def prepare(self) -> None:
        """Let nights learn the notes that are searched, then give the pool away."""
        self.rig.capture(lessons(self.seed))
        self.rig.finish_night()
        self.off()

    def turn(self, *, on: bool, equal: bool = False) -> Turn:
        """A window of each kind of request. ``equal`` lifts the cold processes to normal priority.

        Raises ``RuntimeError`` when a request was refused or the priorities did not hold.
        """
        self.turns += 1
        if not on:
            self.off()
            return Turn({kind: self._window(kind) for kind in KINDS}, {})
        self.on()
        policy = os.SCHED_OTHER if equal else os.SCHED_IDLE
        cold.set_policy(self.rig, policy)
        try:
            found = {kind: self._window_beside_nights(kind, policy) for kind in KINDS}
        finally:
            cold.set_policy(self.rig, os.SCHED_IDLE)
        return Turn(
            {kind: load for kind, (load, _) in found.items()},
            {kind: did for kind, (_, did) in found.items()},
        )

    def off(self) -> None:
        """Take the pool from nights. Returns when no engine is left."""
        answer = self.rig.http.post("/v1/pool/yield", json={"seconds": _AWAY_S})
        answer.raise_for_status()
        if not answer.json()["freed"]:
            raise RuntimeError(f"the pool was not given away: {answer.text}")

        def away() -> bool:
            pool = self.rig.pool()
            return not pool["engines"] and not pool["nights"]

        wait_until(away, "nights to yield", 60.0, every_s=0.1)

    def on(self) -> None:
        """Fill the backlog up and give the pool back. Returns when an engine has a night."""
        self._post(self.backlog - self._pending())
        self.rig.http.post("/v1/pool/yield", json={"seconds": 0}).raise_for_status()
        self.rig.begin_night()

        def working() -> bool:
            pool = self.rig.pool()
            return bool(pool["state"] == "open" and pool["nights"])

        wait_until(working, "an engine with a night", _START_TIMEOUT_S, every_s=0.1)

    def notes(self) -> int:
        """Notes in force, which is what a search goes through."""
        found: int = self.rig.http.get("/v1/status").json()["notes"]["active"]
        return found

    def _window_beside_nights(self, kind: str, policy: int) -> tuple[Load, Cold]:
        self._warm(kind)
        # What was captured meanwhile is due as well.
        self.rig.begin_night()
        measured, did = cold.beside(self.rig, lambda: self._load(kind))
        cold.check_policy(self.rig, policy)
        return measured, did

    def _window(self, kind: str) -> Load:
        self._warm(kind)
        return self._load(kind)

    def _warm(self, kind: str) -> None:
        self.client.run(kind, f"{self.name}{self.turns}-warm", WARM_S)

    def _load(self, kind: str) -> Load:
        before, used = self._events(), cold.cpu_by_process()
        load = self.client.run(kind, f"{self.name}{self.turns}", self.seconds)
        grown = {name: s - used.get(name, 0.0) for name, s in cold.cpu_by_process().items()}
        load = replace(load, cpu={name: s / load.seconds for name, s in grown.items()})
        if load.errors:
            raise RuntimeError(f"{load.errors} requests of {kind} failed")
        if kind == "capture":
            # What was under way as the client left may be kept without having been counted.
            kept = self._events() - before
            if not load.requests <= kept <= load.requests + CONCURRENCY:
                raise RuntimeError(f"{load.requests} events were acked and {kept} are kept")
        return load

    def _post(self, events: int) -> None:
        if events > 0:
            self.fills += 1
            self.rig.capture(trail(events, seed=self.seed * 1000 + self.fills))

    def _events(self) -> int:
        found: int = self.rig.http.get("/v1/status").json()["journal"]["events"]
        return found

    def _pending(self) -> int:
        found: int = self.rig.http.get("/v1/status").json()["pending"]["events"]
        return found
