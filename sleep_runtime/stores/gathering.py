"""Gathering: what an erasure has to remove, read from journal and ledger before anything goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from sleep_runtime.core.erasure import Target
from sleep_runtime.core.event import estimate_tokens
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.journal_erasing import JournalView
from sleep_runtime.stores.needles import Gathering, Wanted, as_json
from sleep_runtime.stores.sqlite import connect_reader, store_errors

_OBSERVED = "SELECT id, scope, session, evidence, claim FROM observations ORDER BY seq"
_WORDS = ("statement", "subject", "aspect", "value", "applies_when")


class _Observed(NamedTuple):
    id: str
    scope: Scope
    session: str
    evidence: tuple[str, ...]
    claim: dict[str, Any]


def gather(
    target: Target,
    upto: int,
    journal: JournalView,
    ledger_path: Path,
    read_upto: Callable[[Scope], int],
) -> Wanted:
    """Everything that must not be found afterwards, and what others have as well.

    ``read_upto`` tells how far nights have read a scope. Reads the whole journal once: what stands
    in an event that stays may be found. Memory grows with what is erased.
    """
    found = Gathering(target)
    pending: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    read: dict[Scope, int] = {}
    for stored in journal.meant(target, upto):
        found.take(stored)
        scope = stored.event.scope
        if stored.seq > read.setdefault(scope, read_upto(scope)):
            events, tokens = pending[str(scope)]
            pending[str(scope)] = events + 1, tokens + estimate_tokens(stored.event)
    keeps: dict[str, tuple[str, ...]] = {}
    stay: list[bytes] = []
    for item in _observed(ledger_path):
        left = _left(item, target, journal)
        if left is None:
            for name in (*_WORDS, "corrects"):
                found.text(item.claim.get(name, ""))
            continue
        if left != item.evidence:
            keeps[item.id] = left
        stay.append(as_json([item.claim.get(name, "") for name in _WORDS]))

    def survivors() -> Iterator[bytes]:
        yield from stay
        yield from journal.others(target, upto)

    return found.wanted(survivors(), dict(pending), keeps)


def _left(item: _Observed, target: Target, journal: JournalView) -> tuple[str, ...] | None:
    """The evidence that an observation keeps; None when it goes.

    One that stands on an erased event and on others stays only if one of these has all its words.
    """
    if not target.scope.covers(item.scope):
        return item.evidence
    if target.kind == "scope" or (target.session and item.session == target.session):
        return None
    if target.kind == "session" or target.event not in item.evidence:
        return item.evidence
    left = tuple(name for name in item.evidence if name != target.event)
    statement = _plain(item.claim["statement"])
    said = (_plain(text) for text in journal.texts(target.scope.org, left))
    return left if any(statement in text for text in said) else None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _observed(path: Path) -> Iterator[_Observed]:
    with store_errors(path), closing(connect_reader(path)) as connection:
        for row in connection.execute(_OBSERVED):
            yield _Observed(
                row[0], Scope(row[1]), row[2], tuple(from_json(row[3])), from_json(row[4])
            )
