"""Effect: whether nights do anything, and what to say when night after night they do not.

Most nights write little, and one that writes nothing is no fault. Many in a row on real input may
be: an engine that answers nonsense, a scope whose events are all refused. It is told from the rows
of the runs alone, so any process can tell it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sleep_runtime.core.proposal import Delta
from sleep_runtime.core.run import Run

WITHOUT_EFFECT = "night.without_effect"
"""How many nights with input ended without a change, up to this run, in its counts."""

# Counts of what there was, and of what was done about it: no reasons.
_NO_REASON = frozenset({"events", "observations", "proposals", "pairs_compared", "pairs_asked"})
_DONE = ("delta.", "review.", "night.", "keep.")
_TOP = 3


def had_input(run: Run) -> bool:
    """True when the run read an event or weighed an observation."""
    return bool(run.counts.get("events")) or not run.observations.empty


def streak(run: Run, before: Run | None, deltas: Iterable[Delta]) -> int:
    """Nights with input and without a change in a row, this one included; 0 if it changed notes.

    ``before`` is the scope's committed run before this one. A night without input does not count,
    and does not end the row.
    """
    if any(True for _ in deltas):
        return 0
    so_far = before.counts.get(WITHOUT_EFFECT, 0) if before else 0
    return so_far + had_input(run)


def top_reasons(counts: Mapping[str, int]) -> str:
    """The commonest reasons of a night, such as "drop.one_off 12, wait.not_recurring_yet 4"."""
    found = [(-n, name) for name, n in counts.items() if n and _is_reason(name)]
    return ", ".join(f"{name} {-n}" for n, name in sorted(found)[:_TOP])


def _is_reason(name: str) -> bool:
    return name not in _NO_REASON and not name.startswith(_DONE)


def sentence(nights: int, counts: Mapping[str, int]) -> str:
    """What the run says of a row of nights without effect."""
    why = top_reasons(counts) or "there was nothing to learn"
    return f"{nights} nights in a row without effect: {why}"
