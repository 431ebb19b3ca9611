"""Eraser: takes an erasure through its steps, from whatever state it finds it in.

    requested -> gathered -> forgotten -> removed -> indexed -> exported -> mended -> compacted
    -> done

Each step may be done again; what kills the process loses nothing but time. It runs in one thread
of one process, through the owners of the stores, and holds nothing that is not on the disk.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from sleep_runtime.core.erasure import Erasure, ErasureState, Target, erasure_id
from sleep_runtime.core.errors import NotFound, SleepRuntimeError, StoreError
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.ports import Clock, Embedder, LedgerReader, LedgerWriter
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores import exports, needles
from sleep_runtime.stores.backup.register import LOCK, registered, remove_leftovers
from sleep_runtime.stores.context_dir import export
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.gathering import gather
from sleep_runtime.stores.journal_erasing import JournalView, view
from sleep_runtime.stores.needles import Wanted
from sleep_runtime.stores.scan import Scanned, scan
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.failpoint import failpoint
from sleep_runtime.telemetry.log import get_logger

MAX_HITS_TOLD = 20
BACKUP_WAIT_S = 60.0
"""How long an erasure waits for a backup that is being made; then it is tried again later."""
_EMBED_ROUNDS = 3

log = get_logger(__name__)

MendBackup = Callable[[Path, Erasure], Mapping[str, Any]]
"""Does an erasure in the backup at a path too; what the receipt says of it."""


class JournalEraser(Protocol):
    """The owner of the journal, as an erasure needs it."""

    def erase(self, target: Target, upto: int) -> int: ...

    def compact(self) -> None: ...


class Vectors(Protocol):
    """What embeds new wordings: the part of ``Embedder`` that is needed here."""

    @property
    def model(self) -> str: ...

    def embed(self, texts: Sequence[str]) -> list[bytes]: ...


@dataclass(frozen=True)
class EraserParts:
    """Through what an erasure works.

    ``purge_index`` makes the vector index anew from the ledger. Without an ``embedder`` a note
    that is reworded has no vector until the index is rebuilt: it is found by its words.
    """

    directory: Path
    journal: JournalEraser
    ledger: LedgerReader
    writer: LedgerWriter
    purge_index: Callable[[], object]
    mend_backup: MendBackup
    clock: Clock
    policy: Policy = field(default_factory=Policy)
    embedder: Vectors | Embedder | None = None
    make_salt: Callable[[], str] = lambda: secrets.token_hex(16)


class Eraser:
    """Asks for erasures and finishes them. One at a time: who calls holds the others back."""

    def __init__(self, parts: EraserParts) -> None:
        self._parts = parts
        self._paths = DataDir(parts.directory)
        self._asking = threading.Lock()
        self._steps: dict[ErasureState, Callable[[Erasure], Erasure]] = {
            ErasureState.REQUESTED: self._gather,
            ErasureState.GATHERED: self._forget,
            ErasureState.FORGOTTEN: self._remove,
            ErasureState.REMOVED: self._index,
            ErasureState.INDEXED: self._export,
            ErasureState.EXPORTED: self._mend,
            ErasureState.MENDED: self._compact,
            ErasureState.COMPACTED: self._prove,
        }

    def request(self, target: Target, *, like: Erasure | None = None) -> Erasure:
        """Remember that this has to go, durably, and fence out nights; nothing is erased yet.

        Asking again while it is under way gives the same erasure. ``like`` is one of another copy
        of this store, whose id, salt, time and range this one gets.
        """
        with self._asking:
            return self._request(target, like)

    def _request(self, target: Target, like: Erasure | None) -> Erasure:
        parts = self._parts
        if like is not None and (known_one := parts.ledger.erasure(like.id)) and known_one.over:
            return known_one
        for open_one in parts.ledger.erasures(unfinished=True):
            if open_one.means(target) and (like is None or like.id == open_one.id):
                return open_one
        now = parts.clock.now()
        salt = like.salt if like else parts.make_salt()
        asked = Erasure(
            id=like.id if like else erasure_id(target, salt),
            scope=target.scope,
            kind=target.kind,
            named=target.named(salt),
            salt=salt,
            upto=like.upto if like else 0,
            requested_at=like.requested_at if like else now,
            updated_at=now,
        )
        needles.keep(parts.directory, asked.id, Wanted(target=target))
        failpoint("erasure.asked")
        with view(self._paths.journal_path) as journal:
            scopes = journal.scopes(target.scope)
        begun = parts.writer.begin_erasure(asked, target, scopes)
        failpoint("erasure.requested")
        return begun

    def finish(self, erasure_id: str) -> Erasure:
        """Go on with an erasure until its receipt is kept; returns it as it is then.

        Raises what a store raises; it goes on from there the next time.
        """
        erasure = self._parts.ledger.erasure(erasure_id)
        if erasure is None:
            raise NotFound(f"there is no erasure {erasure_id!r}", field="erasure")
        while not erasure.over:
            needles.tidy(self._parts.directory, erasure.id)
            erasure = self._steps[erasure.state](erasure)
            failpoint("erasure.noted")
            log.info(LogEvent.ERASURE_STEPPED, erasure=erasure.id, state=erasure.state.value)
        failpoint("erasure.done")
        needles.destroy(self._parts.directory, erasure.id)
        return erasure

    def resume(self) -> list[Erasure]:
        """Finish everything that was interrupted, oldest first, and remove what it left."""
        parts = self._parts
        done = [self.finish(one.id) for one in parts.ledger.erasures(unfinished=True)]
        with self._asking:
            open_ones = [one.id for one in parts.ledger.erasures(unfinished=True)]
            for left in needles.leftovers(parts.directory, open_ones):
                needles.destroy(parts.directory, left)
        self._reach_again()
        return done

    def _reach_again(self) -> None:
        """Mend what could not be reached then and can be now, such as a disk that is mounted."""
        for erasure in self._parts.ledger.erasures():
            kinds: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
                "exports": self._export_again,
                "backups": partial(self._mend_one, erasure),
            }
            told = {kind: erasure.receipt.get(kind, []) for kind in kinds}
            again = {
                kind: [kinds[kind](one) if _is_back(one) else one for one in told[kind]]
                for kind in kinds
            }
            if erasure.over and again != told:
                now = self._parts.clock.now()
                self._parts.writer.amend_erasure(erasure.id, again, now=now)

    # ------------------------------------------------------------------ steps

    def _wanted(self, erasure: Erasure) -> Wanted:
        """What the erasure's file says; what can be known without it when it is gone.

        It is not part of a backup: one that was made meanwhile is restored without it.
        """
        directory = self._parts.directory
        found = needles.read(directory, erasure.id)
        if found is not None:
            return found
        with view(self._paths.journal_path) as journal:
            upto = erasure.upto or journal.last_seq()
            targets = journal.named(erasure.model_copy(update={"upto": upto}))
            # No event is left that has the name: neither has one that its hash names.
            unknown = {"session": {"session": erasure.named}, "event": {"event": erasure.named}}
            names = unknown.get(erasure.kind, {})
            target = targets[0] if targets else Target(scope=erasure.scope, **names)
            recovered = self._gathered(target, upto, journal)
        needles.keep(directory, erasure.id, recovered)
        return recovered

    def _gathered(self, target: Target, upto: int, journal: JournalView) -> Wanted:
        ledger = self._parts.ledger
        return gather(
            target,
            upto,
            journal,
            self._paths.ledger_path,
            lambda scope: ledger.cursors(scope).journal,
        )

    def _note(self, erasure: Erasure, state: ErasureState, **found: Any) -> Erasure:
        now = self._parts.clock.now()
        return self._parts.writer.advance_erasure(erasure.id, state, now=now, **found)

    def _gather(self, erasure: Erasure) -> Erasure:
        parts, target = self._parts, self._wanted(erasure).target
        with view(self._paths.journal_path) as journal:
            upto = erasure.upto or journal.last_seq()
            wanted = self._gathered(target, upto, journal)
            digests = {"journal": journal.digest(), "ledger": parts.ledger.digest()}
        needles.keep(parts.directory, erasure.id, wanted)
        failpoint("erasure.gathered")
        looked_for = {
            "texts": len(wanted.texts),
            "names": len(wanted.names),
            "too_short": wanted.too_short,
            "shared": wanted.shared,
        }
        receipt = {"digests_before": digests, "looked_for": looked_for}
        return self._note(erasure, ErasureState.GATHERED, upto=upto, receipt=receipt)

    def _forget(self, erasure: Erasure) -> Erasure:
        """The ledger notes the step itself, in the transaction that does it."""
        self._wanted(erasure)
        embedder = self._parts.embedder
        vectors: dict[str, bytes] | None = None if embedder is None else {}
        for _ in range(_EMBED_ROUNDS):
            done = self._parts.writer.forget(
                erasure.id,
                vectors=vectors,
                vector_model=embedder.model if embedder else "",
                policy=self._parts.policy,
            )
            if not done.lacking:
                break
            assert embedder is not None  # noqa: S101 - only then is anything lacking
            vectors = dict(zip(done.lacking, embedder.embed(list(done.lacking)), strict=True))
        failpoint("erasure.forgotten")
        found = self._parts.ledger.erasure(erasure.id)
        if found is None or not found.done_with(ErasureState.FORGOTTEN):
            raise StoreError("notes change faster than they are reworded", field="erasure")
        return found

    def _remove(self, erasure: Erasure) -> Erasure:
        target = self._wanted(erasure).target
        self._parts.journal.erase(target, erasure.upto)
        failpoint("erasure.removed")
        gone = {"events": len(self._wanted(erasure).events)}
        return self._note(erasure, ErasureState.REMOVED, counts=gone)

    def _index(self, erasure: Erasure) -> Erasure:
        if any(erasure.counts.get(noun) for noun in ("notes", "notes_kept", "vectors")):
            self._parts.purge_index()
        failpoint("erasure.indexed")
        return self._note(erasure, ErasureState.INDEXED)

    def _export(self, erasure: Erasure) -> Erasure:
        told = [self._export_again(entry) for entry in exports.known(self._parts.directory)]
        failpoint("erasure.exported")
        return self._note(erasure, ErasureState.EXPORTED, receipt={"exports": told})

    def _export_again(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        path, scope = Path(entry["path"]), entry.get("scope") or ""
        told = {"path": str(path), "scope": scope}
        mend = f"sleep-runtime export --to {path}" + (f" --scope {scope}" if scope else "")
        if not path.is_dir():
            return {**told, "reached": False, "mend": mend}
        notes = self._parts.ledger.notes(
            within=Scope(scope) if scope else None, statuses=[NoteStatus.ACTIVE]
        )
        try:
            export(notes, path)
        except SleepRuntimeError as error:
            return {**told, "reached": False, "reason": error.reason, "mend": mend}
        return {**told, "reached": True}

    def _mend(self, erasure: Erasure) -> Erasure:
        with self._paths.lock(LOCK, wait_s=BACKUP_WAIT_S):
            remove_leftovers(self._paths)
        told = [self._mend_one(erasure, {"path": one.path}) for one in registered(self._paths)]
        failpoint("erasure.mended")
        return self._note(erasure, ErasureState.MENDED, receipt={"backups": told})

    def _mend_one(self, erasure: Erasure, entry: Mapping[str, Any]) -> dict[str, Any]:
        path = Path(entry["path"])
        mend = f"sleep-runtime erase --again {self._parts.directory} --in {path}"
        if not path.exists():
            return {"path": str(path), "reached": False, "mend": mend}
        try:
            with self._paths.lock(LOCK, wait_s=BACKUP_WAIT_S):
                found = self._parts.mend_backup(path, erasure)
        except (SleepRuntimeError, OSError) as error:
            reason = error.reason if isinstance(error, SleepRuntimeError) else type(error).__name__
            return {"path": str(path), "reached": False, "reason": reason, "mend": mend}
        return {"path": str(path), "reached": True, **found}

    def _compact(self, erasure: Erasure) -> Erasure:
        self._parts.journal.compact()
        self._parts.writer.compact()
        failpoint("erasure.compacted")
        return self._note(erasure, ErasureState.COMPACTED)

    def _prove(self, erasure: Erasure) -> Erasure:
        """Scan, and keep the receipt."""
        parts, wanted = self._parts, self._wanted(erasure)
        found = self._scan(erasure, wanted)
        with view(self._paths.journal_path) as journal:
            digests = {"journal": journal.digest(), "ledger": parts.ledger.digest()}
        failpoint("erasure.scanned")
        receipt = {
            "digests_after": digests,
            "scan": {
                "files": found.files,
                "bytes": found.bytes,
                "erased_hits": len(found.hits),
                # Never the text itself: where it stands.
                "where": [f"{hit.file}:{hit.at}" for hit in found.hits[:MAX_HITS_TOLD]],
            },
        }
        told = LogEvent.ERASURE_HITS if found.hits else LogEvent.ERASURE_DONE
        log.info(
            told,
            erasure=erasure.id,
            files=found.files,
            bytes=found.bytes,
            erased_hits=len(found.hits),
        )
        return self._note(erasure, ErasureState.DONE, receipt=receipt)

    def _scan(self, erasure: Erasure, wanted: Wanted) -> Scanned:
        """The scan without the erasure's own file, and without what was captured anew since."""
        finder = wanted.finder()
        directory = self._parts.directory
        files = [
            needles.path_of(directory, one.id)
            for one in self._parts.ledger.erasures(unfinished=True)
        ]
        found = scan(directory, finder, without=files)
        if not found.hits:
            return found
        anew: set[int] = set()
        with view(self._paths.journal_path) as journal:
            for part in needles.in_parts(journal.others(wanted.target, erasure.upto)):
                anew |= finder.seen(part)
        return found._replace(hits=tuple(hit for hit in found.hits if hit.needle not in anew))


def _is_back(told: Mapping[str, Any]) -> bool:
    """Whether a place that was not there is there now. One that failed is left to a person."""
    return not told["reached"] and "reason" not in told and Path(told["path"]).exists()
