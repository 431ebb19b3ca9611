"""What everybody measured here can do, and the clock they are all measured with.

Imports the standard library only: the memory layer's process uses it, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeVar

K = 8
"""Notes a search gives."""

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Searched(NamedTuple):
    """One round of searches: milliseconds of each, and the id of its first hit ("": none)."""

    ms: list[float]
    tops: list[str]


class Searches(Protocol):
    """Answers queries."""

    @property
    def name(self) -> str: ...

    def search(self, asked: Sequence[tuple[str, str]]) -> Searched:
        """Search for each (user, query) in turn, ``K`` notes each, from a single caller."""


class Adds(Protocol):
    """Remembers."""

    @property
    def name(self) -> str: ...

    def add(self, said: Sequence[tuple[str, str]]) -> list[float]:
        """Add each (user, text) in turn; milliseconds until each was kept."""


def timed(
    act: Callable[[Asked], Answer], over: Iterable[Asked]
) -> tuple[list[float], list[Answer]]:
    """Milliseconds of each call, and what it gave."""
    took, gave = [], []
    for one in over:
        began = time.perf_counter()
        gave.append(act(one))
        took.append((time.perf_counter() - began) * 1000)
    return took, gave
