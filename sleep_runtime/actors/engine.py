"""EngineActor: the process of one engine of the idle pool, and the clients that ask it.

Models are large and their calls batch well, so the tier actors share the engines. An engine that
answers many callers at once (``lanes`` > 1) gets the calls of all scopes and tiers side by side
and batches them; any other answers one after the other.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from sleep_runtime.actors.gpu_memory import free_bytes
from sleep_runtime.actors.idle import go_idle
from sleep_runtime.actors.owners import unwrap
from sleep_runtime.actors.pace import Pace, descendants, nothing
from sleep_runtime.actors.whereabouts import CONTROL, Whereabouts, here
from sleep_runtime.core.errors import EngineUnavailable, PoolAway, SleepRuntimeError
from sleep_runtime.core.observation import Distillation, SessionInput, Usage
from sleep_runtime.core.ports import Embedder, Engine, Forking, Interruptible, Loading
from sleep_runtime.core.proposal import ClaimPair, Judgement
from sleep_runtime.telemetry.metrics import METRICS, Sample, registry, snapshot

CALL_TIMEOUT_S = 1800.0
EMBED_TIMEOUT_S = 600.0
PIECE = 4
Parts = tuple[Engine, Embedder]
Item = TypeVar("Item")


class EngineActor:
    """Answers at the lowest priority. ``make`` is called here, after the process was lowered."""

    def __init__(
        self,
        make: Callable[[], Parts],
        *,
        gpus: float = 0.0,
        max_memory_bytes: int | None = None,
        make_pace: Callable[[], Pace] | None = None,
    ) -> None:
        go_idle(max_memory_bytes)
        pace = make_pace() if make_pace else None
        self._breathe = pace.breathe if pace else nothing
        self._where = replace(here(), free_gpu_bytes=free_bytes() if gpus else None)
        self._problem: SleepRuntimeError | None = None
        try:
            self._engine, self._embedder = make()
            if isinstance(self._engine, Loading):
                self._engine.load()
        except SleepRuntimeError as problem:  # Ray keeps only the text of what is raised here
            self._problem = problem
        self._turn = threading.Lock()
        self._together = 0
        self._stopped = ""
        self._embed_turn = threading.Lock()
        if pace is not None and not gpus and _processes():
            # It works in processes of its own, past any call of ours.
            hold = threading.Thread(
                target=pace.hold, args=(_processes, threading.Event()), name="pace", daemon=True
            )
            hold.start()

    def distil(self, sessions: Sequence[SessionInput]) -> tuple[list[Distillation], Usage]:
        return cast("tuple[list[Distillation], Usage]", self._answer("distil", sessions))

    def compare(self, pairs: Sequence[ClaimPair]) -> tuple[list[Judgement], Usage]:
        return cast("tuple[list[Judgement], Usage]", self._answer("compare", pairs))

    def _answer(self, method: str, questions: Sequence[Any]) -> tuple[list[Any], Usage]:
        """The answers and what they cost. An engine that was told to stop is away, not broken."""
        try:
            return self._answer_all(method, questions)
        except EngineUnavailable as error:
            if self._stopped:
                raise PoolAway(self._stopped, field="pool", mend=error.mend) from None
            raise

    def _answer_all(self, method: str, questions: Sequence[Any]) -> tuple[list[Any], Usage]:
        """When calls run side by side, only a fork tells what each of them cost."""
        if isinstance(self._engine, Forking):
            with self._counted():
                engine = self._engine.fork()
                return getattr(engine, method)(questions), engine.usage
        with self._turn:
            before = self._engine.usage
            ask = getattr(self._engine, method)
            answers = [answer for piece in self._pieces(questions) for answer in ask(piece)]
            return answers, self._engine.usage - before

    def _pieces(self, work: Sequence[Item]) -> Iterator[Sequence[Item]]:
        """The work in pieces small enough to hold back between them."""
        for start in range(0, len(work), PIECE):
            self._breathe()
            yield work[start : start + PIECE]

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Each caller is a night of its own, so those together are nights together."""
        with self._turn:
            self._together += 1
            METRICS.engine_together.observe(self._together)
        try:
            yield
        finally:
            with self._turn:
                self._together -= 1

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        with self._embed_turn:
            embed = self._embedder.embed
            return [vector for piece in self._pieces(texts) for vector in embed(piece)]

    @ray.method(concurrency_group=CONTROL)
    def identity(self) -> tuple[str, str, int]:
        """Names of the engine and of the embedding model, and its dimension."""
        return self._engine.name, self._embedder.model, self._embedder.dim

    @ray.method(concurrency_group=CONTROL)
    def abort(self, reason: str) -> None:
        """End what is in flight and let go of memory, if the engine can; else it runs out."""
        self._stopped = reason
        if isinstance(self._engine, Interruptible):
            self._engine.abort(reason)
            self._engine.pause()

    @ray.method(concurrency_group=CONTROL)
    def resume(self) -> None:
        self._stopped = ""
        if isinstance(self._engine, Interruptible):
            self._engine.resume()

    @ray.method(concurrency_group=CONTROL)
    def metrics(self) -> list[Sample]:
        return snapshot(registry())

    @ray.method(concurrency_group=CONTROL)
    def ready(self) -> Whereabouts:
        """Answers once the model is loaded. Raises what kept it from being loaded."""
        if self._problem is not None:
            raise self._problem
        return self._where


def _processes() -> list[int]:
    """What the engine has started to work in, and what that has started."""
    own = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
    return [process for top in own for process in (top, *descendants(top))]


class EngineLine:
    """One caller's line to whichever engine of the pool it was told to use. One thread at a time.

    Raises ``PoolAway`` when that engine is gone: its bundle was given back, or it died. The next
    night is told another one.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._name = ""
        self._handle: Any = None
        self._identity: tuple[str, str, int] | None = None

    def use(self, name: str) -> None:
        """From now on ask the engine of this name."""
        # Also when the name is the same: it may be another actor by now.
        self._name, self._handle = name, None

    @property
    def identity(self) -> tuple[str, str, int]:
        """What ``EngineActor.identity`` says; the same for every engine of one runtime."""
        if self._identity is None:
            self._identity = self.ask("identity", timeout_s=60.0)
        return self._identity

    def ask(self, method: str, *args: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """Ask and wait. Errors of ours come out as they were raised there."""
        try:
            if self._handle is None:
                self._handle = ray.get_actor(self._name, namespace=self._namespace)
            return ray.get(getattr(self._handle, method).remote(*args), timeout=timeout_s)
        except RayTaskError as error:
            raise unwrap(error) from None
        except (RayActorError, ValueError):
            raise PoolAway(field="pool", mend="nothing to do: what was answered is kept") from None
        except GetTimeoutError:
            raise EngineUnavailable(
                f"no answer in {timeout_s:g} s", field="engine", mend="see its log"
            ) from None


class RemoteEngine:
    """The ``Engine`` port over a line. ``usage`` is what this client has used."""

    def __init__(self, line: EngineLine) -> None:
        self._line = line
        self._usage = Usage()

    @property
    def name(self) -> str:
        return self._line.identity[0]

    @property
    def usage(self) -> Usage:
        return self._usage

    def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]:
        return cast("list[Distillation]", self._ask("distil", list(sessions)))

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]:
        return cast("list[Judgement]", self._ask("compare", list(pairs)))

    def _ask(self, method: str, questions: list[Any]) -> list[Any]:
        answers, used = self._line.ask(method, questions)
        self._usage += used
        return cast("list[Any]", answers)


class RemoteEmbedder:
    """The ``Embedder`` port over a line."""

    def __init__(self, line: EngineLine) -> None:
        self._line = line

    @property
    def model(self) -> str:
        return self._line.identity[1]

    @property
    def dim(self) -> int:
        return self._line.identity[2]

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        if not texts:
            return []
        return cast("list[bytes]", self._line.ask("embed", list(texts), timeout_s=EMBED_TIMEOUT_S))
