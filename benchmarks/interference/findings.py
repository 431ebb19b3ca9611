"""Pairs of windows: measured in turns, those that count kept, the others told."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmarks.harness import Results, say
from benchmarks.interference.pairs import LEAST_WANTED, Turn, clearly_worse, ratios, verdict

LEAST_SHARE = 0.02
UNHELD = ("unheld", "equal")


@dataclass
class Findings:
    """Pairs that count, by condition, and what did not."""

    results: Results
    pairs: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    discarded: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    cpu: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def keep(self, condition: str, off: Turn, on: Turn) -> None:
        found = ratios(off, on)
        self.pairs.setdefault(condition, []).append(found)
        for name, value in found.items():
            self.results.add(f"{name}_{condition}", value, "on/off")
        base = "off" if condition in ("null", "extractive") else f"off_{condition}"
        self._keep_turn(base, off)
        self._keep_turn(base if condition == "null" else condition, on)

    def _keep_turn(self, name: str, turn: Turn) -> None:
        for kind, load in turn.loads.items():
            self.results.add(f"{kind}_p50_ms_{name}", load.p50_ms, "ms")
            self.results.add(f"{kind}_p99_ms_{name}", load.p99_ms, "ms")
            self.results.add(f"{kind}_rps_{name}", load.rps, "requests/s")
            self.results.add(f"client_cpu_{kind}", load.client_cpu_share, "processors")
            table = self.cpu.setdefault(f"{kind}_{name}", {})
            for process, share in load.cpu.items():
                table.setdefault(process, []).append(share)
        for kind, did in turn.cold.items():
            self.results.add(f"cold_cpu_{kind}_{name}", did.cpu_s / did.seconds, "processors")
            self.results.add(f"cold_wanted_{kind}_{name}", did.wanted, "processors")

    def outcome(self) -> dict[str, Any]:
        """What the targets say of the medians, and what does not count."""
        judged = {name: verdict(pairs) for name, pairs in self.pairs.items() if name not in UNHELD}
        found: dict[str, Any] = {"verdict": judged}
        if {"equal", "unheld"} <= set(self.pairs):
            seen = clearly_worse(self.pairs["equal"], self.pairs["unheld"])
            found["equal_is_clearly_worse"] = seen
        return {
            **found,
            "pairs": {name: len(pairs) for name, pairs in self.pairs.items()},
            "discarded": self.discarded,
            "skipped": self.skipped,
            "notes": self.notes,
            "processors_by_process": self._processors(),
        }

    def _processors(self) -> dict[str, dict[str, float]]:
        """Medians, by window and process, of what took more than a fiftieth of a processor."""
        found = {
            window: {name: round(statistics.median(shares), 3) for name, shares in table.items()}
            for window, table in self.cpu.items()
        }
        return {
            window: {name: share for name, share in table.items() if share >= LEAST_SHARE}
            for window, table in found.items()
        }


class Turns(Protocol):
    """What windows are measured on."""

    def turn(self, *, on: bool, equal: bool = False) -> Turn: ...


def rounds(stage: Turns, conditions: Sequence[str], n: int, findings: Findings) -> None:
    """``n`` pairs of each condition, in turns. At most ``n`` more take the place of idle ones."""
    for turn in range(n):
        say(f"round {turn + 1} of {n}: {', '.join(conditions)}")
        for condition in conditions:
            lost = findings.discarded.setdefault(condition, [])
            while why := _pair(stage, condition, findings, on_first=turn % 2 == 1):
                lost.append(why)
                say(f"discarded a pair of {condition}: {why}")
                if len(lost) > n:
                    raise RuntimeError(f"{condition}: consolidation is idle again and again: {why}")


def _pair(stage: Turns, condition: str, findings: Findings, *, on_first: bool) -> str:
    """One pair. Returns why it does not count; empty when it does, and was kept."""
    turns: dict[bool, Turn] = {}
    for measured in (on_first, not on_first):
        nights = measured and condition != "null"
        turns[measured] = stage.turn(on=nights, equal=nights and condition == "equal")
    off, on = turns[False], turns[True]
    why = on.idle(LEAST_WANTED if condition in UNHELD else 0.0)
    if not why:
        findings.keep(condition, off, on)
    return why
