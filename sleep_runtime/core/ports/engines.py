"""What roles ask of engines, and engines of writing models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.core.observation import Distillation, SessionInput, Usage
from sleep_runtime.core.proposal import (
    ClaimPair,
    Judgement,
)


class Embedder(Protocol):
    """Turns texts into unit vectors. Deterministic for one ``model``."""

    @property
    def model(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> list[bytes]: ...


class Engine(Protocol):
    """What the roles ask. Answers come in the order of the questions, one for each.

    An unusable answer is a ``problem`` in its place, never an exception; an engine that cannot
    be reached at all raises ``EngineUnavailable``. The pairs of one ``compare`` are all seen by
    one scope; sessions may be of several.
    """

    @property
    def name(self) -> str:
        """Names everything the answers depend on: engine, model, prompt version."""

    def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]: ...

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]: ...

    @property
    def usage(self) -> Usage:
        """Everything used since the engine was made."""


@runtime_checkable
class Forking(Protocol):
    """An engine whose calls may run side by side."""

    def fork(self) -> Engine:
        """An engine over the same model, whose ``usage`` starts at nothing."""


@runtime_checkable
class Interruptible(Protocol):
    """An engine, or a model behind one, that can be stopped in the middle of its answers."""

    def abort(self, reason: str) -> object:
        """End what is in flight: those who wait get ``EngineUnavailable``. From any thread."""

    def pause(self) -> object:
        """Let go of the memory it can do without; asked again, it refuses until ``resume``."""

    def resume(self) -> object: ...


@runtime_checkable
class Loading(Protocol):
    """An engine, or a model behind one, that takes long to be ready for its first question."""

    def load(self) -> None:
        """Be ready. Raises ``EngineUnavailable`` when that cannot be, with the reason."""


class ChatRequest(BaseModel):
    """One question to a writing model: messages in, one object of ``json_schema`` out."""

    model_config = ConfigDict(frozen=True)

    id: str
    messages: tuple[tuple[str, str], ...]
    json_schema: dict[str, Any]
    max_output_tokens: int = Field(gt=0)


class ChatAnswer(BaseModel):
    """The parsed object, or why there is none."""

    model_config = ConfigDict(frozen=True)

    object: dict[str, Any] | None = None
    problem: str = ""
    usage: Usage = Usage()


class ChatModel(Protocol):
    """A writing model: batches of schema-bound questions. Raises ``EngineUnavailable``."""

    @property
    def name(self) -> str: ...

    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]: ...
