"""Sessions: one piece of work of one agent, and the events it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol, Self, TypeAlias, TypedDict, Unpack

from sleep_runtime.client.answers import Context
from sleep_runtime.client.errors import AccessDenied, ClientError, NotFound, RuntimeUnavailable
from sleep_runtime.client.events import Kind, Role, as_text, check_kind, encode, facets, head_of
from sleep_runtime.client.retry import Circuit
from sleep_runtime.client.wire import Ask, post

SHOWN_CHARS = 200


class Takes(Protocol):
    """Where encoded events go."""

    def take(self, line: bytes) -> None: ...


class Beside(TypedDict, total=False):
    """What every helper takes besides."""

    about: Mapping[str, str]
    ts: datetime
    id: str


class More(Beside, total=False):
    """The same with data of any kind."""

    data: Mapping[str, Any]


_Data: TypeAlias = Mapping[str, Any] | None


class Origin(NamedTuple):
    """Where the events of a session come from, and where they go."""

    takes: Takes
    ids: Callable[[], str]
    scope: str
    session: str
    agent: str
    about: Mapping[str, str] | None


class Trail:
    """The events of one session. No method waits for the runtime or raises because of it.

    Every one returns the event's id. ``about`` says what the work is about, beside what the whole
    session is about; ``data`` is anything else; ``ts`` is when it happened, now unless given.
    Whoever speaks decides what a night makes of it: only a person's words become rules, and tools
    are not believed. So ``role`` has no default where it could be a person or not.
    """

    def __init__(self, origin: Origin) -> None:
        self.scope = origin.scope
        self.id = origin.session
        self._takes = origin.takes
        self._ids = origin.ids
        self._head = head_of(origin.scope, origin.session, origin.agent)
        self._about = dict(origin.about or {})
        self._about_json = facets(origin.about)

    def record(
        self,
        kind: Kind,
        text: str = "",
        *,
        role: Role,
        about: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
        ts: datetime | None = None,
        id: str | None = None,  # noqa: A002 - the field's name in the contract
    ) -> str:
        """Any event. Raises ``InvalidArgument`` for a kind or role there is none of."""
        check_kind(kind, role)
        name = id or self._ids()
        both = facets({**self._about, **about}) if about else self._about_json
        self._takes.take(encode(self._head, name, kind, role, text, both, data, ts))
        return name

    def message(self, text: str, *, role: Role, **more: Unpack[More]) -> str:
        """What a person (``human``), the agent or the harness (``system``) said."""
        return self.record("message", text, role=role, **more)

    def tool_call(
        self,
        tool: str,
        args: Mapping[str, Any] | None = None,
        *,
        text: str = "",
        data: _Data = None,
        **more: Unpack[Beside],
    ) -> str:
        """The agent calls a tool. Without ``text``, its name and short arguments are the text."""
        given = dict(args or {})
        if not text:
            shown = [f"{name}={as_text(value)[:SHOWN_CHARS]}" for name, value in given.items()]
            text = " ".join([tool, *shown])
        both = {"tool": tool, "args": given, **(data or {})}
        return self.record("tool_call", text, role="agent", data=both, **more)

    def tool_result(
        self,
        tool: str,
        text: str = "",
        *,
        ok: bool = True,
        data: _Data = None,
        **more: Unpack[Beside],
    ) -> str:
        """What a tool answered."""
        both = {"tool": tool, "ok": ok, **(data or {})}
        return self.record("tool_result", text, role="tool", data=both, **more)

    def retrieval(self, text: str, **more: Unpack[More]) -> str:
        """What some memory or search put into the prompt: a night does not learn it again."""
        return self.record("retrieval", text, role="tool", **more)

    def error(self, text: str, **more: Unpack[More]) -> str:
        """Something failed; a traceback is fine."""
        return self.record("error", text, role="tool", **more)

    def correction(self, text: str, **more: Unpack[More]) -> str:
        """A person says what should have been: what nights learn most from."""
        return self.record("correction", text, role="human", **more)

    def feedback(
        self,
        note: str,
        *,
        helpful: bool,
        text: str = "",
        role: Role = "human",
        data: _Data = None,
        **more: Unpack[Beside],
    ) -> str:
        """Whether a note, by its id, helped. ``agent`` as ``role`` when no person said so."""
        both = {"note": note, "helpful": helpful, **(data or {})}
        return self.record("feedback", text, role=role, data=both, **more)

    def _ended(self, error: BaseException | None) -> None:
        if isinstance(error, Exception):
            self.record("error", f"{type(error).__name__}: {as_text(error)}", role="system")

    def _recalled(self, query: str, found: Context) -> Context:
        if found.text:
            self.retrieval(found.text, data={"query": query, "notes": list(found.notes)})
        return found


class Reads(Protocol):
    """How a session asks."""

    def ask(self, ask: Ask, timeout_s: float | None = None) -> dict[str, Any]: ...


class AsyncReads(Protocol):
    """How a session asks and is awaited."""

    async def ask(self, ask: Ask, timeout_s: float | None = None) -> dict[str, Any]: ...


class Session(Trail):
    """A trail that can also ask for context. A context manager: an exception that leaves it is
    captured as an error, and goes on.
    """

    def __init__(self, reads: Reads, circuit: Circuit, origin: Origin) -> None:
        super().__init__(origin)
        self._reads = reads
        self._circuit = circuit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended(error)

    def context(
        self, query: str, *, budget_tokens: int | None = None, compiler: str | None = None
    ) -> Context:
        """What the next prompt should know of ``query``. Never raises, and captures what it gave.

        When the runtime cannot be asked the text is empty, ``available`` is False and ``reason``
        says why; for a while after that it is not asked again, and costs no time.
        """
        if self._circuit.is_open(time.monotonic()):
            return RESTING
        try:
            body = self._reads.ask(ask_context(self.scope, query, budget_tokens, compiler))
            found = Context.read(body)
        except ClientError as error:
            return unavailable(error, self._circuit)
        self._circuit.succeeded()
        return self._recalled(query, found)


class AsyncSession(Trail):
    """The same for ``async with``; only ``context`` is awaited."""

    def __init__(self, reads: AsyncReads, circuit: Circuit, origin: Origin) -> None:
        super().__init__(origin)
        self._reads = reads
        self._circuit = circuit

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended(error)

    async def context(
        self, query: str, *, budget_tokens: int | None = None, compiler: str | None = None
    ) -> Context:
        """See ``Session.context``."""
        if self._circuit.is_open(time.monotonic()):
            return RESTING
        try:
            body = await self._reads.ask(ask_context(self.scope, query, budget_tokens, compiler))
            found = Context.read(body)
        except ClientError as error:
            return unavailable(error, self._circuit)
        self._circuit.succeeded()
        return self._recalled(query, found)


RESTING = Context(
    available=False, reason="the runtime was away a moment ago; it is asked again soon"
)


def ask_context(scope: str, query: str, budget_tokens: int | None, compiler: str | None) -> Ask:
    """What the next prompt should know."""
    return post(
        "/v1/context", scope=scope, query=query, budget_tokens=budget_tokens, compiler=compiler
    )


def unavailable(error: ClientError, circuit: Circuit) -> Context:
    """An empty context that says why. That nothing is known there yet is an answer like others."""
    if isinstance(error, NotFound):
        circuit.succeeded()
        return Context(reason=str(error))
    if isinstance(error, (RuntimeUnavailable, AccessDenied)):
        circuit.failed(time.monotonic())
    return Context(available=False, reason=str(error))
