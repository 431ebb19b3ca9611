"""Shells around the one owner of each store, and the clients that reach them.

Each owner is one process: two writers on one SQLite file or one Chroma directory lose data. An
owner that dies is started again by Ray and opens its files; it holds nothing else.
"""

from __future__ import annotations

import faulthandler
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from sleep_runtime.actors.journal_line import JournalSocket
from sleep_runtime.actors.whereabouts import Whereabouts, here
from sleep_runtime.core.erasure import Target
from sleep_runtime.core.errors import SleepRuntimeError, StoreError
from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.core.ports import Embedder, Hit, LedgerWriter
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.chroma import ChromaIndex
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.journal import SqliteJournal
from sleep_runtime.stores.ledger import SqliteLedger, SqliteLedgerReader
from sleep_runtime.stores.projector import Projector
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger
from sleep_runtime.telemetry.metrics import Sample, registry, snapshot

# How long a dying owner may take to let go of its file before the next one gives up.
LOCK_WAIT_S = 10.0
STUCK_S = 60.0
"""How long the index may be at one page of notes; a page takes it seconds on a busy machine."""
STUCK_LOOK_S = 5.0
STDERR = 2
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

log = get_logger(__name__)

Prepare = Callable[[], None]
"""What a process does before anything else, such as choosing how it logs."""


class JournalOwner:
    """Owns the journal file. Replicas reach it over a socket; Ray starts it, and asks how it is."""

    def __init__(
        self,
        prepare: Prepare,
        data_dir: str,
        *,
        max_batch: int,
        max_pending: int,
        max_pending_bytes: int,
    ) -> None:
        prepare()
        paths = DataDir(data_dir)
        self._journal = SqliteJournal(
            paths.journal_path,
            max_batch=max_batch,
            max_pending=max_pending,
            max_pending_bytes=max_pending_bytes,
            lock_wait_s=LOCK_WAIT_S,
        )
        self._socket = JournalSocket(self._journal, paths.path)

    def address(self) -> str:
        """The path of the socket that appends are sent to, on this machine."""
        return str(self._socket.path)

    def erase(self, target: Target, upto: int) -> int:
        """See ``SqliteJournal.erase``."""
        return self._journal.erase(target, upto)

    def compact(self) -> None:
        """See ``SqliteJournal.compact``."""
        self._journal.compact()

    def metrics(self) -> list[Sample]:
        return snapshot(registry())

    def ready(self) -> bool:
        return True

    def where(self) -> Whereabouts:
        return here()

    def close(self) -> None:
        self._socket.close()
        self._journal.close()


class LedgerOwner:
    """Owns the ledger file: one transaction a call, and they take turns."""

    def __init__(self, prepare: Prepare, data_dir: str, triggers: TriggerPolicy) -> None:
        prepare()
        paths = DataDir(data_dir)
        self._lock = paths.lock("ledger", wait_s=LOCK_WAIT_S)
        self._lock.__enter__()
        self._ledger = SqliteLedger(paths.ledger_path, triggers=triggers)

    def call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call one method of the ``LedgerWriter`` port."""
        if method not in _WRITER_METHODS:
            raise StoreError(f"{method!r} is not a method of the ledger", field="method")
        return getattr(self._ledger, method)(*args, **kwargs)

    def metrics(self) -> list[Sample]:
        return snapshot(registry())

    def ready(self) -> bool:
        return True

    def where(self) -> Whereabouts:
        return here()

    def close(self) -> None:
        self._ledger.close()
        self._lock.__exit__(None, None, None)


_WRITER_METHODS = frozenset(
    name for name in vars(LedgerWriter) if not name.startswith("_") and name != "close"
)


class IndexOwner:
    """Owns the vector index and the projector that feeds it from the outbox."""

    def __init__(
        self,
        prepare: Prepare,
        data_dir: str,
        ledger_owner: Any,
        make_embedder: Callable[[], Embedder],
        buckets: int,
    ) -> None:
        prepare()
        paths = DataDir(data_dir)
        self._reader = SqliteLedgerReader(paths.ledger_path)
        self._index = ChromaIndex(paths.index_path, buckets=buckets)
        self._make_embedder = make_embedder
        self._made: Embedder | None = None
        self._writer = ledger_client(ledger_owner)
        self._projector = Projector(self._reader, self._writer, self._index)
        if self._index.set_aside is not None or self._index.fresh:
            # The marks are durable: whatever dies before the index is full, the rest is known.
            self._writer.mark_all(generation=self._reader.generation())
        end_when_stuck(self._index.busy_s)

    def project(self) -> int:
        """Empty the outbox as it stands now. Returns how many marks were cleared."""
        return self._projector.drain()

    def query(self, generation: int, vector: bytes, scopes: Sequence[Scope], k: int) -> list[Hit]:
        return self._index.query(generation, vector, scopes, k=k)

    def purge(self) -> int:
        """Make the index anew from the ledger, so that its files hold nothing of what is gone."""
        self._index.wipe()
        self._writer.mark_all(generation=self._reader.generation())
        return self._projector.drain()

    def model(self) -> str:
        """The model that the vectors of notes are made with."""
        return self._embedder().model

    def embed(self, texts: list[str]) -> list[bytes]:
        """The vectors of a few new wordings."""
        return self._embedder().embed(texts)

    def _embedder(self) -> Embedder:
        if self._made is None:
            self._made = self._make_embedder()
        return self._made

    def reconcile(self) -> dict[str, int]:
        return self._projector.reconcile().model_dump()

    def rebuild(self) -> dict[str, int]:
        return self._projector.rebuild(self._make_embedder()).model_dump()

    def metrics(self) -> list[Sample]:
        return snapshot(registry())

    def ready(self) -> bool:
        return True

    def where(self) -> Whereabouts:
        return here()

    def close(self) -> None:
        self._index.close()
        self._reader.close()


def end_when_stuck(
    busy_s: Callable[[], float], *, limit_s: float = STUCK_S, every_s: float = STUCK_LOOK_S
) -> None:
    """End this process when what ``busy_s`` measures goes on for longer than ``limit_s``.

    A call into foreign code cannot be given up, only the process it hangs in; Ray starts that
    again, and the marks in the ledger say what is left to do. Looks from a thread of its own. A
    call that hangs with the interpreter's lock in its hands lets no thread look: then the timer
    ends the process, which needs no lock and is wound up by every look.
    """

    def watch() -> None:
        pause = threading.Event()
        while busy_s() <= limit_s:
            faulthandler.dump_traceback_later(limit_s + every_s, exit=True, file=STDERR)
            pause.wait(every_s)
        log.error(LogEvent.INDEX_STUCK, seconds=round(busy_s(), 1))
        os._exit(1)

    threading.Thread(target=watch, name="stuck-watch", daemon=True).start()


# ---------------------------------------------------------------------------- clients


def call(
    handle: Any, method: str, *args: Any, timeout_s: float = 60.0, patience_s: float = 30.0
) -> Any:
    """Call an actor and wait, through a restart of it, at most ``timeout_s`` a try.

    Only for methods that may be done twice. Our own errors come out as they were raised there;
    an owner that stays away for ``patience_s`` is a ``StoreError``.
    """
    give_up = time.monotonic() + patience_s
    pause = threading.Event()
    wait_s = 0.05
    while True:
        try:
            return ray.get(getattr(handle, method).remote(*args), timeout=timeout_s)
        except RayTaskError as error:
            raise unwrap(error) from None
        except GetTimeoutError:
            raise StoreError(
                f"no answer in {timeout_s:g} s", field=method, mend="look at its log"
            ) from None
        except RayActorError as error:
            if time.monotonic() + wait_s > give_up:
                raise StoreError(f"its process is gone: {error}", field=method) from None
            log.warning(LogEvent.OWNER_AWAY, method=method)
            pause.wait(wait_s)
            wait_s = min(wait_s * 2, 2.0)


def unwrap(error: BaseException) -> BaseException:
    """The error as it was raised inside the actor."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, SleepRuntimeError) else error


def cause_of(error: BaseException) -> BaseException:
    """Our own error at the bottom of what Ray wrapped around it, else the error itself."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, SleepRuntimeError):
            return seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    return error


def in_words(error: BaseException) -> str:
    """One line of what a Ray error is about: our own error in it, else the line that says why."""
    found = cause_of(unwrap(error))
    if isinstance(found, SleepRuntimeError):
        return str(found)
    plain = _COLOUR.sub("", str(error))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if getattr(error, "actor_init_failed", False):
        return lines[-1]  # the end of a traceback
    why = next((line for line in lines if "is dead because" in line), lines[0])
    return why.partition(" Worker exit type")[0]


_ANSWER_S = 60.0
_LONG, _LONG_S = frozenset({"forget", "compact"}), 3600.0
"""What rewrites a part of the file, or all of it."""


class _LedgerClient:
    """Every ``LedgerWriter`` method as a call to the ledger's owner."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __getattr__(self, method: str) -> Any:
        if method not in _WRITER_METHODS:
            raise AttributeError(method)

        def proxy(*args: Any, **kwargs: Any) -> Any:
            timeout_s = _LONG_S if method in _LONG else _ANSWER_S
            return call(self._handle, "call", method, args, kwargs, timeout_s=timeout_s)

        return proxy


def ledger_client(handle: Any) -> LedgerWriter:
    """A ``LedgerWriter`` whose methods run in the ledger's owner. All of them may be retried."""
    return cast("LedgerWriter", _LedgerClient(handle))


class IndexClient:
    """The query side of the index, for searchers in other processes."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def query(
        self, generation: int, vector: bytes, scopes: Sequence[Scope], *, k: int
    ) -> list[Hit]:
        return cast(
            "list[Hit]",
            call(
                self._handle,
                "query",
                generation,
                vector,
                list(scopes),
                k,
                timeout_s=5,
                patience_s=0,
            ),
        )
