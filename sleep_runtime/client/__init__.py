"""The Python client: what an agent imports to be remembered, and to remember.

    from sleep_runtime.client import Client

    client = Client()
    with client.session("acme/banking/ana", agent="deck-builder") as session:
        context = session.context("build the Northwind deck")
        session.correction("use adjusted EBITDA")

An agent is never slower or broken because the runtime is down: captures go into a bounded buffer
and return, a thread sends them, and while nobody takes them they wait in a spool on the disk and
arrive once. Needs nothing but httpx. What the errors are: ``sleep_runtime.client.errors``.
"""

from __future__ import annotations

from sleep_runtime.client.aio import AsyncClient
from sleep_runtime.client.answers import Context, Hit, Note, NoteDetail, NotePage
from sleep_runtime.client.errors import (
    AccessDenied,
    ClientError,
    InvalidArgument,
    NotFound,
    RuntimeUnavailable,
)
from sleep_runtime.client.events import Kind, Role
from sleep_runtime.client.options import Options
from sleep_runtime.client.session import AsyncSession, Session
from sleep_runtime.client.stats import Stats
from sleep_runtime.client.sync import Client

__all__ = [
    "AccessDenied",
    "AsyncClient",
    "AsyncSession",
    "Client",
    "ClientError",
    "Context",
    "Hit",
    "InvalidArgument",
    "Kind",
    "NotFound",
    "Note",
    "NoteDetail",
    "NotePage",
    "Options",
    "Role",
    "RuntimeUnavailable",
    "Session",
    "Stats",
]
