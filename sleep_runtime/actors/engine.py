"""EngineActor: the one process that holds the engine and the embedder of the idle pool.

Models are large and their calls batch well, so the tier actors share one, through the clients
here. Another engine, however it runs, is another ``make`` function: nothing here changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

from sleep_runtime.actors.owners import call
from sleep_runtime.actors.tier import go_idle
from sleep_runtime.core.errors import EngineUnavailable, StoreError
from sleep_runtime.core.observation import Distillation, SessionInput, Usage
from sleep_runtime.core.ports import Embedder, Engine
from sleep_runtime.core.proposal import ClaimPair, Judgement
from sleep_runtime.telemetry.metrics import Sample, registry, snapshot

CALL_TIMEOUT_S = 1800.0


class EngineActor:
    """Answers one batch after the other, at the lowest priority. ``make`` is called here."""

    def __init__(self, make: Callable[[], tuple[Engine, Embedder]]) -> None:
        go_idle()
        self._engine, self._embedder = make()

    def distil(self, sessions: Sequence[SessionInput]) -> tuple[list[Distillation], Usage]:
        before = self._engine.usage
        return self._engine.distil(sessions), self._engine.usage - before

    def compare(self, pairs: Sequence[ClaimPair]) -> tuple[list[Judgement], Usage]:
        before = self._engine.usage
        return self._engine.compare(pairs), self._engine.usage - before

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        return self._embedder.embed(texts)

    def identity(self) -> tuple[str, str, int]:
        """Names of the engine and of the embedding model, and its dimension."""
        return self._engine.name, self._embedder.model, self._embedder.dim

    def metrics(self) -> list[Sample]:
        return snapshot(registry())

    def ready(self) -> str:
        return self._engine.name


class RemoteEngine:
    """The ``Engine`` port over an ``EngineActor``. ``usage`` is what this client has used."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._name: str = call(handle, "identity")[0]
        self._usage = Usage()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return self._name

    @property
    def usage(self) -> Usage:
        with self._lock:
            return self._usage

    def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]:
        return cast("list[Distillation]", self._ask("distil", list(sessions)))

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]:
        return cast("list[Judgement]", self._ask("compare", list(pairs)))

    def _ask(self, method: str, questions: list[Any]) -> list[Any]:
        try:
            answers, used = call(self._handle, method, questions, timeout_s=CALL_TIMEOUT_S)
        except StoreError as error:  # what `call` says of any actor that does not answer
            raise EngineUnavailable(
                f"its process gave no answer: {error.reason}", field="engine", mend="see its log"
            ) from None
        with self._lock:
            self._usage += used
        return cast("list[Any]", answers)


class RemoteEmbedder:
    """The ``Embedder`` port over an ``EngineActor``."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        _, self._model, self._dim = call(handle, "identity")

    @property
    def model(self) -> str:
        return str(self._model)

    @property
    def dim(self) -> int:
        return int(self._dim)

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        if not texts:
            return []
        return cast("list[bytes]", call(self._handle, "embed", list(texts), timeout_s=600.0))
