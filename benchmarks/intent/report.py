"""The figures of an intent head: confusion, and what each error would cost. Numbers only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks.intent.corpus import Example
from sleep_runtime.engines.intent.intent import KINDS, Intent

LASTING = ("standing", "change")
TAUGHT = ("lesson", *LASTING)
BARS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def show(examples: Sequence[Example], answers: Sequence[Intent]) -> None:
    """Print the confusion of ``Intent.kind``, the operating points, and the curve of the bar."""
    said = [(example.label, answer.kind) for example, answer in zip(examples, answers, strict=True)]
    _confusion(Counter(said))
    print(f"lessons kept {_share(said, ('lesson',), TAUGHT):.3f}")
    print(f"one-off recall {_share(said, ('one_off',), ('one_off',)):.3f}")
    print(f"retract precision {_precision(said, ('retract',), ('retract',)):.3f}")
    print(f"lasting precision {_precision(said, LASTING, LASTING):.3f}", end=" ")
    print(f"not harmful {_precision(said, LASTING, TAUGHT):.3f}")
    print("lasting bar: taken, precision, not harmful, recall of standing and change")
    for bar in BARS:
        taken = [e.label for e, a in zip(examples, answers, strict=True) if a.lasting >= bar]
        all_lasting = sum(e.label in LASTING for e in examples)
        right, fair = (sum(label in ok for label in taken) for ok in (LASTING, TAUGHT))
        n = max(len(taken), 1)
        print(f"  {bar:.2f}: {n} {right / n:.3f} {fair / n:.3f} {right / all_lasting:.3f}")


def _confusion(counts: Counter[tuple[str, str]]) -> None:
    print(" " * 10 + "".join(f"{kind:>9}" for kind in KINDS) + "   recall")
    for true in KINDS:
        row = [counts[true, kind] for kind in KINDS]
        share = counts[true, true] / max(sum(row), 1)
        print(f"{true:>10}" + "".join(f"{n:>9}" for n in row) + f"{share:9.3f}")


def _share(said: Sequence[tuple[str, str]], true: Sequence[str], accepted: Sequence[str]) -> float:
    those = [kind for label, kind in said if label in true]
    return sum(kind in accepted for kind in those) / max(len(those), 1)


def _precision(
    said: Sequence[tuple[str, str]], kinds: Sequence[str], accepted: Sequence[str]
) -> float:
    taken = [label for label, kind in said if kind in kinds]
    return sum(label in accepted for label in taken) / max(len(taken), 1)
