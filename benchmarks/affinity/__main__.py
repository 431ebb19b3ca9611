"""scripts/train-affinity: fits the affinity head on the development banks and writes head.json.

Prints what the same fit is worth on a domain it has not seen, one domain after the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

from benchmarks.affinity import fit, worlds
from benchmarks.harness import say
from sleep_runtime.consolidation import affinity
from sleep_runtime.engines.embedder import MiniLmEmbedder

HEAD = Path(affinity.__file__).parent / "head.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/train-affinity")
    parser.add_argument("--worlds", type=int, default=60, help="worlds a domain")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--held-out", action="store_true", help="only report, write nothing")
    options = parser.parse_args()
    embedder = MiniLmEmbedder()
    parts: dict[str, list[fit.Numbers]] = {}
    labels: dict[str, list[int]] = {}
    for domain, bank in worlds.banks().items():
        for number in range(options.worlds):
            found, answers = fit.rows_of(worlds.world(bank, options.seed + number), embedder)
            parts.setdefault(domain, []).append(found)
            labels.setdefault(domain, []).extend(answers)
        say(f"{domain}: {len(labels[domain])} pairs")
    tables = {domain: np.vstack(found) for domain, found in parts.items()}
    for domain in tables if options.held_out else ():
        _report(domain, tables, labels)
    if not options.held_out:
        rows = np.vstack(list(tables.values()))
        model = fit.fit(rows, _joined(labels, labels))
        HEAD.write_text(fit.dumped(fit.export(model, rows)), encoding="utf-8")
        say(f"{HEAD.name}: {HEAD.stat().st_size} bytes")
    return 0


def _joined(labels: dict[str, list[int]], domains: Iterable[str]) -> list[int]:
    return [label for name in domains for label in labels[name]]


def _report(domain: str, tables: dict[str, fit.Numbers], labels: dict[str, list[int]]) -> None:
    others = [name for name in tables if name != domain]
    model = fit.fit(np.vstack([tables[name] for name in others]), _joined(labels, others))
    shares, truth = model.predict_proba(tables[domain]), np.array(labels[domain])
    same = average_precision_score(truth == 2, shares[:, 2])
    excludes = average_precision_score(truth == 1, shares[:, 1])
    sure = shares[:, 2] >= 0.5
    print(
        f"held out {domain:12} AP same {same:.3f}  AP excludes {excludes:.3f}  at 0.5: "
        f"recall {sure[truth == 2].mean():.3f}  merged {sure[truth == 1].mean():.3f}  "
        f"precision {(truth[sure] == 2).mean():.3f}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
