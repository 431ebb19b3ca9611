"""Roles: what a caller needs for each route, in one table.

A route that is not in it is refused to everybody. Where a route names a scope, or a thing that has
one, the role is needed there; here it is only asked whether the caller has it anywhere at all, so
that who does not is refused from the key and the route alone.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from starlette.requests import Request

from sleep_runtime.core.access import AccessRole, Caller, Rights
from sleep_runtime.core.audit import Deed
from sleep_runtime.core.errors import Forbidden
from sleep_runtime.core.scope import Scope
from sleep_runtime.serve.audit import Auditor
from sleep_runtime.serve.front import caller_of


class Need(NamedTuple):
    """A role, at some scope at least or everywhere; ``None``: nobody is asked who they are.

    ``deed`` is what the audit log calls it, where it changes something.
    """

    role: AccessRole | None
    everywhere: bool = False
    deed: Deed | None = None


_CAPTURE, _READ = Need(AccessRole.CAPTURE), Need(AccessRole.READ)
_REPAIR = Need(AccessRole.ADMIN, everywhere=True, deed=Deed.INDEX_REPAIRED)
_WATCH = Need(AccessRole.READ, everywhere=True)
_OPEN = Need(None)

NEEDS: dict[tuple[str, str], Need] = {
    ("POST", "/v1/events"): _CAPTURE,
    ("POST", "/v1/feedback"): _CAPTURE,
    ("POST", "/v1/search"): _READ,
    ("POST", "/v1/context"): _READ,
    ("GET", "/v1/notes"): _READ,
    ("GET", "/v1/notes/{note_id}"): _READ,
    ("GET", "/v1/runs"): _READ,
    ("GET", "/v1/runs/{run_id}"): _READ,
    ("GET", "/v1/status"): _READ,
    ("GET", "/v1/reviews"): _READ,
    ("POST", "/v1/runs"): Need(AccessRole.CURATE, deed=Deed.RUN_REQUESTED),
    ("POST", "/v1/runs/{run_id}/undo"): Need(AccessRole.CURATE, deed=Deed.RUN_UNDONE),
    ("POST", "/v1/reviews/{review_id}"): Need(AccessRole.CURATE, deed=Deed.REVIEW_DECIDED),
    ("DELETE", "/v1/subjects/{scope}"): Need(AccessRole.ADMIN, deed=Deed.ERASED),
    ("GET", "/v1/erasures"): Need(AccessRole.ADMIN),
    ("GET", "/v1/erasures/{erasure_id}"): Need(AccessRole.ADMIN),
    ("GET", "/v1/pool"): _WATCH,
    ("GET", "/metrics"): _WATCH,
    ("POST", "/v1/pool/yield"): Need(AccessRole.ADMIN, everywhere=True, deed=Deed.POOL_YIELDED),
    ("POST", "/v1/index/reconcile"): _REPAIR,
    ("POST", "/v1/index/rebuild"): _REPAIR,
    ("GET", "/healthz"): _OPEN,
    ("GET", "/readyz"): _OPEN,
}


def admit(caller: Caller, method: str, path: str) -> Need:
    """What the route needs. Raises ``Forbidden`` unless the caller has it."""
    need = NEEDS.get((method, path))
    if need is None:
        raise Forbidden(f"{method} {path} is open to nobody", field="path")
    if need.role is None:
        return need
    if need.everywhere:
        caller.require(need.role, None)
    else:
        caller.anywhere(need.role)
    return need


async def admitted(request: Request) -> None:
    """``admit`` as a dependency of every endpoint behind the framework. A deed is entered first."""
    caller = caller_of(request)
    need = admit(caller, request.method, request.scope["route"].path_format)
    if need.deed is not None:
        auditor: Auditor = request.app.state.auditor
        subject = "/".join(map(str, request.path_params.values()))
        await auditor.deed(caller, need.deed, subject, await _detail(request))


async def _detail(request: Request) -> dict[str, Any]:
    """The body, which the front has read: what was asked for. One that is no object is refused
    by the endpoint."""
    try:
        asked = json.loads(await request.body() or b"{}")
    except ValueError:
        return {}
    return asked if isinstance(asked, dict) else {}


def rights_at(caller: Caller, role: AccessRole, scope: Scope | None) -> Rights:
    """What the caller may see by this role, once they may use it at ``scope``.

    ``None`` asks for wherever they may. Raises ``Forbidden`` before any store is asked, so that it
    says, and costs, the same whether anything is there or not.
    """
    if scope is None:
        caller.anywhere(role)
    else:
        caller.require(role, scope)
    return caller.rights(role)
