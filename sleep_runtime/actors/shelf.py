"""Shelf: the dossiers of scopes that were read lately, kept until their notes change.

A night reads the notes of its scope more than once, and those of the scopes above whenever copies
may fold into them. Runs in the thread of its driver; holds a bounded number of scopes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from sleep_runtime.consolidation import departed
from sleep_runtime.core.note import Dossier
from sleep_runtime.core.ports import LedgerReader
from sleep_runtime.core.scope import Scope

MAX_SCOPES = 32
MAX_NOTES = 5_000
"""Over all scopes held; a scope larger than this is read each time."""


class Shelf:
    """Dossiers by scope, each as of the version of its notes."""

    def __init__(self, ledger: LedgerReader, gone: Collection[departed.Who] = ()) -> None:
        self._ledger = ledger
        self.gone = gone
        self._held: OrderedDict[Scope, tuple[int, list[Dossier]]] = OrderedDict()

    def dossiers(self, scope: Scope) -> list[Dossier]:
        """What ``LedgerReader.dossiers`` gives, without those who left; read again after a change.

        The version is read before the notes: what is held is never older than it says.
        """
        version = self._ledger.versions([scope])[scope]
        known = self._held.pop(scope, None)
        if known is None or known[0] != version:
            known = version, departed.dossiers(self._ledger.dossiers(scope), self.gone)
        self._held[scope] = known
        self._keep_few()
        return known[1]

    def forget(self) -> None:
        """Hold nothing any more. From any thread: a read under way is not held afterwards."""
        self._held = OrderedDict()

    def _keep_few(self) -> None:
        while len(self._held) > MAX_SCOPES or self._notes() > MAX_NOTES:
            self._held.popitem(last=False)

    def _notes(self) -> int:
        return sum(len(found) for _, found in self._held.values())
