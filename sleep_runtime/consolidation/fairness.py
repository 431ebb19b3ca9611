"""Whose turn it is: smooth weighted round robin over organisations.

Each pick raises the standing of every organisation that waits by its weight, takes the highest,
and lowers that one by the sum of all weights (the algorithm of nginx's upstream balancer). So an
organisation of weight w among weights that sum to W gets w of W picks, spread evenly, however
much another one has waiting; and while anything waits, no slot stays empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

Org = TypeVar("Org", bound=str)
Item = TypeVar("Item")


def pick(
    due: Mapping[Org, Sequence[Item]],
    turns: Mapping[Org, int],
    weights: Mapping[Org, int],
    slots: int,
) -> tuple[list[Item], dict[Org, int]]:
    """At most ``slots`` of what is due, in order of turn, and the standing for the next pick.

    Within an organisation the given order holds. Weights not named are 1. ``turns`` is what the
    pick before returned; an organisation with nothing due loses its standing, good or bad, so
    that nobody saves up turns while there is nothing to do. Ties go to the first by name.
    """
    waiting = {org: list(items) for org, items in sorted(due.items()) if items}
    standing = {org: turns.get(org, 0) for org in waiting}
    chosen: list[Item] = []
    while waiting and len(chosen) < slots:
        total = 0
        for org in waiting:
            weight = weights.get(org, 1)
            standing[org] += weight
            total += weight
        org = max(waiting, key=lambda one: standing[one])
        standing[org] -= total
        chosen.append(waiting[org].pop(0))
        if not waiting[org]:
            del waiting[org]
    return chosen, standing
