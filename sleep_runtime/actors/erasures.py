"""Erasures: carries out what was asked to be erased, in one thread beside the night watch.

What is asked is a row of the ledger before anybody is answered. Whatever dies, the next thread
like this one goes on with every erasure that is not over.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

from sleep_runtime.actors.owners import call
from sleep_runtime.core.erasure import Erasure, Target
from sleep_runtime.stores.eraser import Eraser
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger

TRY_AGAIN_S = 10.0
ANSWER_S = 60.0
REWRITE_S = 3600.0

log = get_logger(__name__)


class Erasures:
    """Finishes erasures one after the other, oldest first; tries again what a store refused."""

    def __init__(self, eraser: Eraser, *, try_again_s: float = TRY_AGAIN_S) -> None:
        self._eraser = eraser
        self._try_again_s = try_again_s
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="erasures", daemon=True)

    def start(self) -> None:
        """Begin with what an earlier process left."""
        self._thread.start()

    def ask(self, target: Target) -> Erasure:
        """Remember an erasure, durably, and let the thread carry it out."""
        asked = self._eraser.request(target)
        self._wake.set()
        return asked

    def stop(self, grace_s: float) -> None:
        """Take up nothing any more, and wait at most so long for what is under way.

        A step that does not end in time is done again at the next start.
        """
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=grace_s)

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self._eraser.resume()
            except Exception as error:  # without this thread nothing would be erased any more
                log.exception(LogEvent.ERASURE_FAILED, reason=str(error))
            self._wake.wait(self._try_again_s)
            self._wake.clear()


class RemoteJournal:
    """The journal's owner, as an erasure needs it."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def erase(self, target: Target, upto: int) -> int:
        return cast("int", call(self._handle, "erase", target, upto, timeout_s=REWRITE_S))

    def compact(self) -> None:
        call(self._handle, "compact", timeout_s=REWRITE_S)


class RemoteVectors:
    """The index's owner, as what embeds a few new wordings."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    @property
    def model(self) -> str:
        return cast("str", call(self._handle, "model", timeout_s=ANSWER_S))

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        return cast("list[bytes]", call(self._handle, "embed", list(texts), timeout_s=REWRITE_S))
