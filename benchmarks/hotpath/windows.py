"""Windows of load: each warmed up, under a name of its own, and without a failed request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.wrk import Client, Load

WARM_S = 1


class Window(NamedTuple):
    """What is posted, by how many connections at once, and where if not where the kind belongs."""

    kind: str
    concurrency: int
    path: str | None = None


@dataclass
class Windows:
    """Runs windows of ``seconds``."""

    client: Client
    seconds: float
    name: str
    count: int = 0

    def run(self, window: Window) -> Load:
        """One window. Raises ``RuntimeError`` when a request failed."""
        self._post(window, WARM_S)
        found = self._post(window, self.seconds)
        if found.errors:
            raise RuntimeError(f"{found.errors} requests of {window} failed")
        return found

    def by_turns(self, windows: Mapping[str, Window], turn: int) -> dict[str, Load]:
        """Each of them once, in an order that alternates from turn to turn."""
        names = sorted(windows, reverse=bool(turn % 2))
        return {name: self.run(windows[name]) for name in names}

    def _post(self, window: Window, seconds: float) -> Load:
        self.count += 1
        tag = f"{self.name}-{self.count}"
        return self.client.run(
            window.kind, tag, seconds, path=window.path, concurrency=window.concurrency
        )
