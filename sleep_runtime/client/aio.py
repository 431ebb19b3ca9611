"""``AsyncClient``: the client for coroutines."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from sleep_runtime.client.answers import Context, Hit, NoteDetail, NotePage
from sleep_runtime.client.events import check_scope
from sleep_runtime.client.face import Face, ask_feedback, ask_note, ask_notes, ask_search
from sleep_runtime.client.options import Options
from sleep_runtime.client.session import AsyncSession, ask_context
from sleep_runtime.client.transport import AsyncSender
from sleep_runtime.client.wire import Ask, Unreachable, decode, unreachable

if TYPE_CHECKING:
    import httpx


class AsyncClient(Face):
    """``Client`` for one event loop: what waits is awaited, captures are the same call.

    Batches are sent by the flusher thread here too, so that a busy loop delays none.
    ``transport`` replaces the network for captures, ``async_transport`` for reads.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        options: Options | None = None,
        transport: httpx.BaseTransport | None = None,
        async_transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, api_key, options, transport)
        self._reads = AsyncSender(self._address, async_transport)
        self._pipeline.on_fork(self._reads.forked)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def session(
        self,
        scope: str,
        *,
        agent: str = "",
        id: str | None = None,  # noqa: A002 - the name people look for
        about: Mapping[str, str] | None = None,
    ) -> AsyncSession:
        """See ``Client.session``; ``async with``."""
        return AsyncSession(self, self._read_circuit, self._origin(scope, agent, id, about))

    async def context(
        self,
        query: str,
        *,
        scope: str,
        budget_tokens: int | None = None,
        compiler: str | None = None,
    ) -> Context:
        """See ``Client.context``."""
        question = ask_context(check_scope(scope), query, budget_tokens, compiler)
        return Context.read(await self.ask(question))

    async def search(
        self,
        query: str,
        *,
        scope: str,
        k: int | None = None,
        as_of: datetime | None = None,
        include_superseded: bool = False,
    ) -> list[Hit]:
        """See ``Client.search``."""
        return Hit.read_all(await self.ask(ask_search(scope, query, k, as_of, include_superseded)))

    async def notes(
        self, *, scope: str | None = None, status: str = "active", limit: int = 100, after: str = ""
    ) -> NotePage:
        """See ``Client.notes``."""
        return NotePage.read(await self.ask(ask_notes(scope, status, limit, after)))

    async def note(self, note_id: str) -> NoteDetail:
        """See ``Client.note``."""
        return NoteDetail.read(await self.ask(ask_note(note_id)))

    async def feedback(
        self, note: str, *, scope: str, helpful: bool, session: str = "feedback", text: str = ""
    ) -> str:
        """See ``Client.feedback``."""
        name, question = ask_feedback(scope, note, helpful, session, text)
        await self.ask(question)
        return name

    async def flush(self, timeout_s: float = 5.0) -> bool:
        """See ``Client.flush``."""
        import asyncio

        return await asyncio.to_thread(self._pipeline.flush, timeout_s)

    async def aclose(self, timeout_s: float | None = None) -> None:
        """See ``Client.close``."""
        import asyncio

        await asyncio.to_thread(self._pipeline.close, timeout_s)
        await self._reads.aclose()

    async def ask(self, ask: Ask, timeout_s: float | None = None) -> dict[str, Any]:
        """Ask anything else of the contract. Raises ``ClientError``."""
        try:
            return decode(await self._reads(ask, timeout_s or self.options.read_s))
        except Unreachable as problem:
            raise unreachable(self.url, str(problem)) from problem
