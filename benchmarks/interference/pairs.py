"""What is made of the measured windows: which count, and the ratios of those that do."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.harness import quantile
from benchmarks.wrk import Load

KINDS = ("capture", "search")
LEAST_WANTED = 0.5
LEAST_PAIRS = 3
MAX_P99_RATIO, GOAL_P99_RATIO = 1.10, 1.05
MIN_THROUGHPUT_RATIO, GOAL_THROUGHPUT_RATIO = 0.95, 0.98


@dataclass(frozen=True)
class Cold:
    """What the cold processes did in a window.

    ``cpu_s`` is time on a processor, ``waited_s`` time they were runnable and had none, both
    summed over threads; ``nights`` those under way at its beginning and at its end.
    """

    seconds: float
    cpu_s: float
    waited_s: float
    nights: tuple[int, int]

    @property
    def wanted(self) -> float:
        """Processors they asked for, on average: what they got and what they missed."""
        return (self.cpu_s + self.waited_s) / self.seconds

    def idle(self, least_wanted: float) -> str:
        """Why this was not consolidation at full tilt; empty when it was."""
        if not all(self.nights):
            return f"nights under way: {self.nights[0]} before, {self.nights[1]} after"
        if self.cpu_s <= 0:
            return "the cold processes got no processor at all"
        if self.wanted < least_wanted:
            return f"the cold processes asked for {self.wanted:.2f} processors"
        return ""


@dataclass(frozen=True)
class Turn:
    """A window of capture and one of search under one condition; ``cold`` unless it was off."""

    loads: Mapping[str, Load]
    cold: Mapping[str, Cold]

    def idle(self, least_wanted: float) -> str:
        """Why the pair of this turn does not count; empty when it does.

        ``least_wanted``: processors the cold processes must have asked for; those that hold back
        ask for little.
        """
        found = {kind: cold.idle(least_wanted) for kind, cold in self.cold.items()}
        return "; ".join(f"{kind}: {why}" for kind, why in found.items() if why)


def ratios(off: Turn, on: Turn) -> dict[str, float]:
    """On over off of one pair. Below 1 is worse for throughput, above 1 for latency.

    ``throughput_ratio`` is the geometric mean of both kinds.
    """
    found: dict[str, float] = {}
    for kind in KINDS:
        was, now = off.loads[kind], on.loads[kind]
        found[f"{kind}_p50_ratio"] = now.p50_ms / was.p50_ms
        found[f"{kind}_p99_ratio"] = now.p99_ms / was.p99_ms
        found[f"{kind}_throughput_ratio"] = now.rps / was.rps
    both = math.prod(found[f"{kind}_throughput_ratio"] for kind in KINDS)
    found["throughput_ratio"] = math.sqrt(both)
    return found


def verdict(pairs: Sequence[Mapping[str, float]]) -> dict[str, bool]:
    """Whether the medians of these pairs meet the target, and the goal beyond it."""
    medians = {name: statistics.median(pair[name] for pair in pairs) for name in pairs[0]}
    slowest = max(medians[f"{kind}_p99_ratio"] for kind in KINDS)
    through = medians["throughput_ratio"]
    return {
        "target_met": slowest <= MAX_P99_RATIO and through >= MIN_THROUGHPUT_RATIO,
        "goal_met": slowest <= GOAL_P99_RATIO and through >= GOAL_THROUGHPUT_RATIO,
    }


def clearly_worse(
    control: Sequence[Mapping[str, float]], ours: Sequence[Mapping[str, float]]
) -> bool:
    """Whether the control was harmed beyond doubt.

    That is: its throughput misses the target in the median, and lies below that of ours but for
    a quarter of the pairs. Fewer than ``LEAST_PAIRS`` show nothing.
    """
    if min(len(control), len(ours)) < LEAST_PAIRS:
        return False
    harmed = [pair["throughput_ratio"] for pair in control]
    spared = [pair["throughput_ratio"] for pair in ours]
    return statistics.median(harmed) < MIN_THROUGHPUT_RATIO and quantile(harmed, 0.75) < quantile(
        spared, 0.25
    )
