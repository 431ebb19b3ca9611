"""What a run of chaos came to: counted as it goes, told at the end."""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from benchmarks.harness import machine


class Tally:
    """Counts wounds of both theatres. Safe for their threads."""

    def __init__(self, seed: int, minutes: float) -> None:
        self.seed, self.minutes = seed, minutes
        self.violations: list[str] = []
        self.acked = self.lost = self.doubled = 0
        self._by_wound: Counter[str] = Counter()
        self._missed: Counter[str] = Counter()
        self._unable: dict[str, str] = {}
        self._recovered_s: defaultdict[str, list[float]] = defaultdict(list)
        self._lock = threading.Lock()
        self._began_s = time.monotonic()

    @property
    def wounds(self) -> int:
        return sum(self._by_wound.values())

    @property
    def unable(self) -> dict[str, str]:
        """Kinds that could not be done here, each with the reason."""
        return {kind: why for kind, why in self._unable.items() if not self._by_wound[kind]}

    def wound(
        self, theatre: str, number: int, kind: str, recovered_s: float, wrong: Sequence[str]
    ) -> None:
        """One wound was done and looked at."""
        name = f"{theatre}: {kind}"
        with self._lock:
            self._by_wound[name] += 1
            self._recovered_s[name].append(recovered_s)
            again = f"scripts/chaos --seed {self.seed} --again {theatre}:{number}"
            self.violations += [f"{name} (again: {again}): {line}" for line in wrong]
        verdict = f"{len(wrong)} VIOLATIONS" if wrong else "ok"
        self.say(f"{self.wounds} {theatre} {number} {kind}: {recovered_s:.1f} s, {verdict}")
        for line in wrong:
            self.say(f"    {line}")

    def kept(self, acked: int, lost: int, doubled: int) -> None:
        """So many events were acked under a wound, and how many of them are not there once."""
        with self._lock:
            self.acked += acked
            self.lost += lost
            self.doubled += doubled

    def missed(self, theatre: str, kind: str, why: str) -> None:
        """The runtime did not come to where it was to be hurt: it counts for nothing."""
        with self._lock:
            self._missed[f"{theatre}: {kind}"] += 1
        self.say(f"  {theatre} {kind} missed: {why}")

    def cannot(self, theatre: str, kind: str, why: str) -> None:
        """This wound cannot be done on this machine."""
        with self._lock:
            self._unable[f"{theatre}: {kind}"] = why
        self.say(f"  {theatre} {kind} cannot be done: {why}")

    def report(self) -> dict[str, Any]:
        with self._lock:
            return {
                "seed": self.seed,
                "minutes": self.minutes,
                "took_s": round(time.monotonic() - self._began_s, 1),
                "wounds": self.wounds,
                "by_wound": dict(sorted(self._by_wound.items())),
                "violations": list(self.violations),
                "acked": self.acked,
                "lost": self.lost,
                "doubled": self.doubled,
                "recovered_s": {
                    kind: {"median": round(statistics.median(took), 2), "max": round(max(took), 2)}
                    for kind, took in sorted(self._recovered_s.items())
                },
                "missed": dict(sorted(self._missed.items())),
                "unable": self.unable,
                "machine": machine(),
                "load": round(os.getloadavg()[0], 2),
            }

    def show(self, *, as_json: bool) -> None:
        found = self.report()
        if as_json:
            print(json.dumps(found, indent=2))
            return
        print(
            f"{found['wounds']} wounds of {len(found['by_wound'])} kinds in {found['took_s']:g} s, "
            f"{len(self.violations)} violations; {self.acked} events acked, {self.lost} lost, "
            f"{self.doubled} doubled"
        )
        for line in self.violations:
            print(f"  {line}")

    def say(self, text: str) -> None:
        """Progress, on stderr."""
        at = time.monotonic() - self._began_s
        print(f"{at:7.1f} {text}", file=sys.stderr, flush=True)
