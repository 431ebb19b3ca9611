"""What every benchmark shares: repeated measurement, the machine, and one shape of result."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Results:
    """Samples by name. ``add`` one per repetition; ``report`` gives median, p05 and p95."""

    bench: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: float, unit: str) -> None:
        self.samples.setdefault(name, []).append(value)
        self.units[name] = unit

    def report(self) -> dict[str, Any]:
        """``{"bench", "machine", "load", "n", "results": {name: {median, p05, p95, unit}}}``."""
        return {
            "bench": self.bench,
            "machine": machine(),
            "load": round(os.getloadavg()[0], 2),
            "n": min((len(values) for values in self.samples.values()), default=0),
            "results": {
                name: {
                    "median": _rounded(statistics.median(values)),
                    "p05": _rounded(quantile(values, 0.05)),
                    "p95": _rounded(quantile(values, 0.95)),
                    "unit": self.units[name],
                    "n": len(values),
                }
                for name, values in self.samples.items()
            },
        }


def quantile(values: Sequence[float], share: float) -> float:
    """The value at ``share`` of the sorted values, by linear interpolation."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def machine() -> str:
    """Processor, cores, memory and Python, in one line."""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {_memory_gb():.0f} GB, "
        f"Python {platform.python_version()}, {platform.system()} {platform.release()}"
    )


def main(bench: str, measure: Callable[[Results, int], None], *, default_n: int = 5) -> int:
    """The command line of one benchmark: ``--json``, ``-n``."""
    parser = argparse.ArgumentParser(prog=f"scripts/bench {bench}")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("-n", type=int, default=default_n, help="repetitions")
    options = parser.parse_args()
    results = Results(bench)
    measure(results, options.n)
    show(results, as_json=options.json)
    return 0


def show(results: Results, *, as_json: bool, more: Mapping[str, Any] | None = None) -> None:
    """Print the report and what else belongs to it, for people or as one JSON object."""
    report = {**results.report(), **(more or {})}
    if as_json:
        print(json.dumps(report, indent=2))
        return
    print(f"{results.bench} on {report['machine']}, load {report['load']}")
    for name, row in report["results"].items():
        print(
            f"  {name:34} {row['median']:>12} {row['unit']:10} "
            f"(p05 {row['p05']}, p95 {row['p95']}, n {row['n']})"
        )
    if more:
        print(json.dumps(more, indent=2))


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"  {text}", file=sys.stderr, flush=True)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _processor() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal"):
            return int(line.split()[1]) / 1024**2
    return 0.0


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
