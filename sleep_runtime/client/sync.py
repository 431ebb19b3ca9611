"""``Client``: the client for code that waits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from sleep_runtime.client.answers import Context, Hit, NoteDetail, NotePage
from sleep_runtime.client.events import check_scope
from sleep_runtime.client.face import Face, ask_feedback, ask_note, ask_notes, ask_search
from sleep_runtime.client.options import Options
from sleep_runtime.client.session import Session, ask_context
from sleep_runtime.client.transport import SyncSender
from sleep_runtime.client.wire import Ask, Unreachable, decode, unreachable

if TYPE_CHECKING:
    import httpx


class Client(Face):
    """Speaks to one runtime. Make one a process and share it between threads.

    ``url`` is ``SLEEP_URL`` unless given, else this machine's runtime; ``api_key`` is
    ``SLEEP_API_KEY`` unless given. ``transport`` replaces the network, in tests. Captures never
    wait; reads wait ``options.read_s`` and raise a ``ClientError``.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        options: Options | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, api_key, options, transport)
        self._reads = SyncSender(self._address, transport)
        self._pipeline.on_fork(self._reads.forked)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def session(
        self,
        scope: str,
        *,
        agent: str = "",
        id: str | None = None,  # noqa: A002 - the name people look for
        about: Mapping[str, str] | None = None,
    ) -> Session:
        """A piece of work at ``scope``; ``id`` goes on with an earlier one."""
        return Session(self, self._read_circuit, self._origin(scope, agent, id, about))

    def context(
        self,
        query: str,
        *,
        scope: str,
        budget_tokens: int | None = None,
        compiler: str | None = None,
    ) -> Context:
        """Prompt text for ``query`` as a reader at ``scope`` sees it, within the budget.

        Raises ``ClientError``; in a session, ``Session.context`` does not.
        """
        return Context.read(
            self.ask(ask_context(check_scope(scope), query, budget_tokens, compiler))
        )

    def search(
        self,
        query: str,
        *,
        scope: str,
        k: int | None = None,
        as_of: datetime | None = None,
        include_superseded: bool = False,
    ) -> list[Hit]:
        """The notes a reader at ``scope`` may see, best first. Raises ``ClientError``."""
        return Hit.read_all(self.ask(ask_search(scope, query, k, as_of, include_superseded)))

    def notes(
        self, *, scope: str | None = None, status: str = "active", limit: int = 100, after: str = ""
    ) -> NotePage:
        """A page of the notes at and below ``scope``, by id. Raises ``ClientError``."""
        return NotePage.read(self.ask(ask_notes(scope, status, limit, after)))

    def note(self, note_id: str) -> NoteDetail:
        """One note, its history and what speaks for it. Raises ``ClientError``."""
        return NoteDetail.read(self.ask(ask_note(note_id)))

    def feedback(
        self, note: str, *, scope: str, helpful: bool, session: str = "feedback", text: str = ""
    ) -> str:
        """Say whether a note helped, and wait until it is durable; the event's id.

        Raises ``ClientError``. ``Session.feedback`` does not wait.
        """
        name, question = ask_feedback(scope, note, helpful, session, text)
        self.ask(question)
        return name

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Try at once to send everything; True when nothing waits, here or in the spool."""
        return self._pipeline.flush(timeout_s)

    def close(self, timeout_s: float | None = None) -> None:
        """Send what there is, ``options.exit_s`` at most unless said otherwise, and spool the rest.

        Happens by itself at the end of the process. What is captured afterwards is spooled.
        """
        self._pipeline.close(timeout_s)
        self._reads.close()

    def ask(self, ask: Ask, timeout_s: float | None = None) -> dict[str, Any]:
        """Ask anything else of the contract. Raises ``ClientError``."""
        try:
            return decode(self._reads(ask, timeout_s or self.options.read_s))
        except Unreachable as problem:
            raise unreachable(self.url, str(problem)) from problem
