"""Forgetter: lets a process drop what it holds in memory when something was erased.

What is shown is checked against the ledger each time anyway. This is for what nobody asks for
again: it would stay in memory until something else takes its place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.ports import LedgerReader

FORGOTTEN_WITHIN_S = 5.0
THREAD = "forgetter"


class Forgetter:
    """Looks every ``every_s`` seconds, in a thread of its own, whether the ledger forgot something.

    ``forget`` is called from that thread. It ends with the process, or when the ledger is closed.
    """

    def __init__(
        self,
        ledger: LedgerReader,
        forget: Callable[[], object],
        *,
        every_s: float = FORGOTTEN_WITHIN_S,
    ) -> None:
        self._ledger = ledger
        self._forget = forget
        self._every_s = every_s
        self._seen = ledger.forgotten()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=THREAD, daemon=True)
        self._thread.start()

    def look(self) -> bool:
        """Look now. Returns whether something had to be dropped."""
        found = self._ledger.forgotten()
        if found == self._seen:
            return False
        self._forget()
        self._seen = found
        return True

    def close(self) -> None:
        """Look no more."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self.look()
            except StoreError:
                continue  # busy for a moment, or closed: then ``close`` follows
