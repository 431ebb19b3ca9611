"""Erasing in the journal: which events an erasure means, removing them, and the file's bytes.

The heads stay: they are counts, they tell which positions were given out, and cursors of every
reader rest on both. Functions of a connection: reading ones take any, the others the writing one.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from sleep_runtime.core.erasure import Erasure, Target
from sleep_runtime.core.event import Event, StoredEvent, Trust
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger.schema import from_us
from sleep_runtime.stores.sqlite import connect_reader, store_errors

_UNDER = "(scope = :scope OR (scope >= :scope || '/' AND scope < :scope || '0'))"
_EVENTS = "SELECT seq, trust, received_us, body FROM events WHERE "


def _which(target: Target) -> str:
    narrower = {
        "scope": "",
        "session": " AND session = :session",
        "event": " AND org = :org AND id = :event",
    }
    return f"{_UNDER}{narrower[target.kind]} AND seq <= :upto"


def _values(target: Target, upto: int) -> dict[str, str | int]:
    return {
        "scope": str(target.scope),
        "org": str(target.scope.org),
        "session": target.session,
        "event": target.event,
        "upto": upto,
    }


class JournalView:
    """What an erasure reads of a journal, on a connection of its own. One thread; close it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = connect_reader(path)

    def close(self) -> None:
        self._connection.close()

    def last_seq(self) -> int:
        """The highest position ever given out."""
        asked = (
            "SELECT max(coalesce((SELECT max(seq) FROM events), 0),"
            " coalesce((SELECT max(last_seq) FROM heads), 0))"
        )
        with store_errors(self.path):
            return int(self._connection.execute(asked).fetchone()[0])

    def scopes(self, scope: Scope) -> list[Scope]:
        """Every scope at and below this one that ever had an event."""
        asked = f"SELECT scope FROM heads WHERE {_UNDER} ORDER BY scope"  # noqa: S608 - our own text
        with store_errors(self.path):
            found = self._connection.execute(asked, {"scope": str(scope)}).fetchall()
        return [Scope(path) for (path,) in found]

    def meant(self, target: Target, upto: int) -> Iterator[StoredEvent]:
        """The events that go, in order."""
        with store_errors(self.path):
            rows = self._connection.execute(
                f"{_EVENTS}{_which(target)} ORDER BY seq", _values(target, upto)
            )
            for seq, trust, received_us, body in rows:
                yield StoredEvent(
                    seq=seq,
                    event=Event.model_validate_json(body),
                    trust=Trust(trust),
                    received_at=from_us(received_us),
                )

    def others(self, target: Target, upto: int) -> Iterator[bytes]:
        """The bodies of all events that stay."""
        with store_errors(self.path):
            asked = f"SELECT body FROM events WHERE NOT ({_which(target)})"  # noqa: S608
            for (body,) in self._connection.execute(asked, _values(target, upto)):
                yield bytes(body)

    def texts(self, org: Scope, ids: Sequence[str]) -> list[str]:
        """The texts of these events of an organisation, as far as they are there."""
        asked = "SELECT body FROM events WHERE org = ? AND id = ?"
        found: list[str] = []
        with store_errors(self.path):
            for name in ids:
                rows = self._connection.execute(asked, (str(org), name)).fetchall()
                found += [Event.model_validate_json(body).text for (body,) in rows]
        return found

    def named(self, erasure: Erasure) -> list[Target]:
        """The sessions or the event that an erasure of this journal, or of a later one, means."""
        if erasure.kind == "scope":
            return [Target(scope=erasure.scope)]
        column = "session" if erasure.kind == "session" else "id"
        asked = f"SELECT DISTINCT {column} FROM events WHERE {_UNDER} AND seq <= :upto"  # noqa: S608
        values = {"scope": str(erasure.scope), "upto": erasure.upto}
        with store_errors(self.path):
            names = [name for (name,) in self._connection.execute(asked, values)]
        field = "session" if erasure.kind == "session" else "event"
        found = (Target.model_validate({"scope": erasure.scope, field: name}) for name in names)
        return [target for target in found if erasure.means(target)]

    def digest(self) -> str:
        """SHA-256 over the position, name and content of every event."""
        sha = hashlib.sha256()
        with store_errors(self.path):
            asked = "SELECT seq, org, id, digest FROM events ORDER BY seq"
            for seq, org, name, digest in self._connection.execute(asked):
                sha.update(f"{seq}\0{org}\0{name}\0".encode("utf-8", "surrogatepass") + digest)
        return sha.hexdigest()


def view(path: Path) -> closing[JournalView]:
    """A view that is closed at the end of the block."""
    return closing(JournalView(path))


def erase(connection: sqlite3.Connection, target: Target, upto: int) -> int:
    """Delete the events in one transaction; returns how many there were."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        gone = connection.execute(
            f"DELETE FROM events WHERE {_which(target)}",  # noqa: S608 - our own text
            _values(target, upto),
        ).rowcount
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return int(gone)
