"""ChromaIndex: the vector index in an embedded ChromaDB, one owner process, disposable.

A collection holds the vectors of one generation, one dimension and one hash bucket of
organisations, so that a query touches few of them and two embedding models never meet. Chroma is
told nothing it could leak: ids, scopes, revisions and vectors, never a statement.

Chroma's directory is single-process and a kill at a bad moment can leave it unreadable. Nothing
in it is the only copy: what cannot be opened is set aside, and the ledger fills a new one.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from sleep_runtime.core.errors import IndexBroken, StoreError, StoreFull
from sleep_runtime.core.ids import digest
from sleep_runtime.core.note import Note
from sleep_runtime.core.ports import Hit
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.datadir import file_lock
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

log = get_logger(__name__)

if TYPE_CHECKING:
    from chromadb.api.client import Client
    from chromadb.api.models.Collection import Collection

DEFAULT_BUCKETS = 16
_BATCH = 500
_NAME = re.compile(r"notes-\d+-\d+-(\d+)-\d+")
_DATABASE = "chroma.sqlite3"
_MEND = "run sleep-runtime rebuild: a damaged index is set aside and filled again from the ledger"

T = TypeVar("T")


class ChromaIndex:
    """The ``Index`` port over a directory that belongs to this object until ``close``.

    ``set_aside`` names where an unreadable index was moved when this one was opened (None: it
    was readable). ``fresh`` is True when there was nothing to open, or only what was made with
    another number of buckets, which is dropped. In both cases the caller marks every note in the
    ledger before it projects anything: the marks outlive whatever interrupts the filling.

    Raises ``StoreBusy`` when another process owns the directory and ``IndexBroken`` for whatever
    Chroma cannot do, and when its database was removed or replaced under it. Calls may come from
    any thread of the owner; they are served one at a time.
    """

    def __init__(self, path: str | Path, *, buckets: int = DEFAULT_BUCKETS) -> None:
        if buckets < 1:
            raise StoreError("needs at least one bucket", field="index.buckets")
        self.path = Path(path)
        self.set_aside: Path | None = None
        self.fresh = False
        self._closed = False
        self._file: tuple[int, int] | None = None
        self._buckets = buckets
        self._lock = threading.Lock()
        self._asked_s: float | None = None
        self._collections: dict[str, Collection] = {}
        with ExitStack() as opening, _translated():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            opening.enter_context(file_lock(self._beside(".owner.lock")))
            self._client: Client | None = self._open()
            self._owner = opening.pop_all()

    # ------------------------------------------------------------------ writing

    def upsert(self, generation: int, entries: Sequence[tuple[Note, bytes]]) -> None:
        groups: dict[str, list[tuple[Note, bytes]]] = defaultdict(list)
        for note, vector in {note.id: (note, vector) for note, vector in entries}.values():
            groups[self._name(generation, len(vector) // 4, note.scope)].append((note, vector))
        with self._using() as client:
            for name, group in groups.items():
                for batch in _batches(group):
                    _write(self._make(client, name), batch)
                    self._forget(generation, [note.id for note, _ in batch], keep=name)

    def delete(self, generation: int, note_ids: Sequence[str]) -> None:
        with self._using():
            for batch in _batches(_once(note_ids)):
                self._forget(generation, batch)

    def _forget(self, generation: int, note_ids: Sequence[str], *, keep: str = "") -> None:
        """Take the notes out of every collection of the generation but ``keep``.

        A note may stand elsewhere when its statement was embedded anew in another dimension.
        """
        for name, collection in self._of(generation).items():
            if name != keep and (held := collection.get(ids=list(note_ids), include=[])["ids"]):
                collection.delete(ids=held)

    def drop(self, generation: int) -> None:
        with self._using() as client:
            for name in list(self._of(generation)):
                client.delete_collection(name)
                del self._collections[name]

    # ------------------------------------------------------------------ reading

    def revisions(self, generation: int, note_ids: Sequence[str] | None = None) -> dict[str, int]:
        found: dict[str, int] = {}
        with self._using():
            for collection in self._of(generation).values():
                pages = (
                    _everything(collection) if note_ids is None else _named(collection, note_ids)
                )
                for page in pages:
                    for note_id, meta in zip(page["ids"], page["metadatas"], strict=True):
                        found[note_id] = int(meta["revision"])
        return found

    def query(
        self, generation: int, vector: bytes, scopes: Sequence[Scope], *, k: int
    ) -> list[Hit]:
        if k < 1:
            return []
        groups: dict[str, list[str]] = defaultdict(list)
        for scope in dict.fromkeys(scopes):
            groups[self._name(generation, len(vector) // 4, scope)].append(str(scope))
        hits: list[Hit] = []
        with self._using():
            for name, wanted in groups.items():
                if (collection := self._collections.get(name)) is not None:
                    hits += _nearest(collection, vector, wanted, k)
        return sorted(hits, key=lambda hit: (-hit.score, hit.note_id))[:k]

    # ------------------------------------------------------------------ life

    def close(self) -> None:
        """Release the directory. Calling it again does nothing; calling anything else fails."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
            self._collections = {}
            try:
                if client is not None:
                    with _translated():
                        client.close()
            finally:
                self._owner.close()

    def start_over(self) -> None:
        """Set aside what is there and open an empty directory. See ``Index.start_over``."""
        with self._lock:
            if self._closed:
                raise _closed()
            client, self._client = self._client, None
            if client is not None:
                with suppress(StoreError), _translated():  # what is broken may not close either
                    client.close()
            with _translated():
                self._move_aside()
                self._client = self._open()

    def wipe(self) -> None:
        """Start over, and keep nothing of what was there: Chroma's files hold what was deleted.

        The caller marks every note in the ledger afterwards. A crash in between leaves an index
        that opens as ``fresh``.
        """
        self.start_over()
        with self._lock, _translated():
            _remove(self._beside(".broken"))
            self.set_aside = None

    def _open(self) -> Client:
        """Open and read a little of everything; what cannot be read is moved out of the way.

        A marker stands beside the directory meanwhile. If opening kills the process, the next
        one finds the marker and does not try again.
        """
        marker = self._beside(".opening")
        if marker.exists():
            self._move_aside()
        marker.touch()
        try:
            client = self._open_and_probe()
        except StoreFull:
            raise
        except StoreError:
            self._move_aside()
            client = self._open_and_probe()
        finally:
            marker.unlink(missing_ok=True)
        return client

    def _open_and_probe(self) -> Client:
        client: Client | None = None
        try:
            with _translated():
                client = _connect(self.path)
                self._collections = {}
                for listed in client.list_collections():
                    collection = client.get_collection(listed.name, embedding_function=None)
                    _probe(collection)
                    self._collections[listed.name] = collection
                self._drop_other_buckets(client)
                self._file = self._identity()
        except StoreError:
            if client is not None:
                client.close()
            raise
        return client

    def _drop_other_buckets(self, client: Client) -> None:
        """Notes are looked for in the buckets there are now; what lies in others is lost anyway.

        Dying halfway leaves the marker of an opening, so that the rest is never taken for whole.
        """
        for name in list(self._collections):
            if _buckets_of(name) != self._buckets:
                client.delete_collection(name)
                del self._collections[name]
        self.fresh = not self._collections

    def _move_aside(self) -> None:
        """Keep one unreadable index to look at, never a heap of them."""
        target = self._beside(".broken")
        if self.path.exists():
            _remove(target)
            self.path.rename(target)
            self.set_aside = target
            log.warning(LogEvent.INDEX_BROKEN, moved_to=str(target))

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    # ------------------------------------------------------------------ collections

    def busy_s(self) -> float:
        """For how many seconds Chroma has been at what it was asked last; 0 when it is idle.

        It may stay at it for ever: when its own database gets an error from the disk in the middle
        of a commit, the call does not come back.
        """
        asked_s = self._asked_s
        return 0.0 if asked_s is None else time.monotonic() - asked_s

    @contextmanager
    def _using(self) -> Iterator[Client]:
        with self._lock, _translated():
            if self._closed:
                raise _closed()
            # Chroma goes on reading a file that was removed or replaced, as if nothing were amiss.
            if self._client is None or self._identity() != self._file:
                raise IndexBroken(f"{self.path} was removed", field="index", mend=_MEND)
            self._asked_s = time.monotonic()
            try:
                yield self._client
            finally:
                self._asked_s = None

    def _identity(self) -> tuple[int, int] | None:
        """Which file the database is; None when there is none."""
        try:
            found = (self.path / _DATABASE).stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _name(self, generation: int, dim: int, scope: Scope) -> str:
        bucket = int(digest(scope.org)[:8], 16) % self._buckets
        return f"{_prefix(generation)}{dim}-{self._buckets}-{bucket}"

    def _of(self, generation: int) -> dict[str, Collection]:
        prefix = _prefix(generation)
        return {n: c for n, c in sorted(self._collections.items()) if n.startswith(prefix)}

    def _make(self, client: Client, name: str) -> Collection:
        if name not in self._collections:
            self._collections[name] = client.get_or_create_collection(
                name, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
            )
        return self._collections[name]


def _closed() -> StoreError:
    return StoreError("is closed", field="index", mend="open it again")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _prefix(generation: int) -> str:
    return f"notes-{generation}-"


def _buckets_of(name: str) -> int:
    """The number of buckets a collection was made with; 0 when it is none of ours."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else 0


def _connect(path: Path) -> Client:
    """Open or make the directory.

    The system is started before a client may share it: a client that fails while it opens would
    leave a half-started system in Chroma's process-wide cache, for the next one to trip over.
    """
    from chromadb.api import ServerAPI
    from chromadb.api.client import Client
    from chromadb.config import Settings, System

    system = System(
        Settings(is_persistent=True, persist_directory=str(path), anonymized_telemetry=False)
    )
    system.instance(ServerAPI)  # type: ignore[type-abstract]  # Chroma finds the class by settings
    system.start()
    return Client.from_system(system)


def _probe(collection: Collection) -> None:
    """Make Chroma load what it holds: a damaged segment shows itself only then."""
    collection.count()
    first = collection.get(limit=1, include=["embeddings"])["embeddings"]
    if first is not None and len(first):
        collection.query(query_embeddings=np.asarray(first, dtype=np.float32), n_results=1)


def _write(collection: Collection, batch: Sequence[tuple[Note, bytes]]) -> None:
    """Chroma merges metadata into what it holds, so every key is sent every time."""
    collection.upsert(
        ids=[note.id for note, _ in batch],
        embeddings=np.stack([np.frombuffer(vector, dtype="<f4") for _, vector in batch]),
        metadatas=[
            {
                "scope": str(note.scope),
                "org": str(note.scope.org),
                "revision": note.revision,
                "status": note.status.value,
            }
            for note, _ in batch
        ],
    )


def _nearest(collection: Collection, vector: bytes, scopes: list[str], k: int) -> list[Hit]:
    among: Any = {"scope": {"$in": scopes}}
    answer: Any = collection.query(
        query_embeddings=np.frombuffer(vector, dtype="<f4")[None, :],
        n_results=k,
        where=among,
        include=["metadatas", "distances"],
    )
    rows = zip(answer["ids"][0], answer["metadatas"][0], answer["distances"][0], strict=True)
    return [
        Hit(note_id=note_id, revision=int(meta["revision"]), score=1.0 - float(distance))
        for note_id, meta, distance in rows
    ]


def _named(collection: Collection, note_ids: Sequence[str]) -> Iterator[Any]:
    for batch in _batches(_once(note_ids)):
        yield collection.get(ids=list(batch), include=["metadatas"])


def _everything(collection: Collection) -> Iterator[Any]:
    for offset in range(0, collection.count(), _BATCH):
        yield collection.get(limit=_BATCH, offset=offset, include=["metadatas"])


def _once(note_ids: Sequence[str]) -> list[str]:
    """Each id once: Chroma refuses one that is named twice."""
    return list(dict.fromkeys(note_ids))


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


@contextmanager
def _translated() -> Iterator[None]:
    """Turn whatever Chroma throws into ``StoreError``: its own errors, SQLite's, Rust's panics."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise _store_error(error) from error
    except BaseException as error:
        # A panic in Chroma's Rust core arrives as a BaseException of a type nobody can import.
        if type(error).__name__ != "PanicException":
            raise
        raise _store_error(error) from error


def _store_error(error: BaseException) -> StoreError:
    text = " ".join(str(error).split())[:300]
    if "disk is full" in text or "No space left" in text:
        return StoreFull(text, field="index", mend="free space, then try again")
    return IndexBroken(f"{type(error).__name__}: {text}", field="index", mend=_MEND)
