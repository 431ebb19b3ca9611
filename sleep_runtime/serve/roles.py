"""Roles: what a caller needs for each route, in one table.

A route that is not in it is refused to everybody. Where a route names a scope, or a thing that has
one, the role is needed there; here it is only asked whether the caller has it anywhere at all, so
that who does not is refused from the key and the route alone.
"""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request

from sleep_runtime.core.access import AccessRole, Caller, Rights
from sleep_runtime.core.errors import Forbidden
from sleep_runtime.core.scope import Scope
from sleep_runtime.serve.front import caller_of


class Need(NamedTuple):
    """A role, at some scope at least or everywhere; ``None``: nobody is asked who they are."""

    role: AccessRole | None
    everywhere: bool = False


_CAPTURE, _READ = Need(AccessRole.CAPTURE), Need(AccessRole.READ)
_CURATE = Need(AccessRole.CURATE)
_ADMIN = Need(AccessRole.ADMIN)
_OPERATE = Need(AccessRole.ADMIN, everywhere=True)
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
    ("POST", "/v1/runs"): _CURATE,
    ("POST", "/v1/runs/{run_id}/undo"): _CURATE,
    ("POST", "/v1/reviews/{review_id}"): _CURATE,
    ("DELETE", "/v1/subjects/{scope}"): _ADMIN,
    ("GET", "/v1/erasures"): _ADMIN,
    ("GET", "/v1/erasures/{erasure_id}"): _ADMIN,
    ("GET", "/v1/pool"): _WATCH,
    ("GET", "/metrics"): _WATCH,
    ("POST", "/v1/pool/yield"): _OPERATE,
    ("POST", "/v1/index/reconcile"): _OPERATE,
    ("POST", "/v1/index/rebuild"): _OPERATE,
    ("GET", "/healthz"): _OPEN,
    ("GET", "/readyz"): _OPEN,
}


def admit(caller: Caller, method: str, path: str) -> None:
    """Raise ``Forbidden`` unless the caller has what the route needs."""
    need = NEEDS.get((method, path))
    if need is None:
        raise Forbidden(f"{method} {path} is open to nobody", field="path")
    if need.role is None:
        return
    if need.everywhere:
        caller.require(need.role, None)
    else:
        caller.anywhere(need.role)


def admitted(request: Request) -> None:
    """``admit`` as a dependency of every endpoint behind the framework."""
    admit(caller_of(request), request.method, request.scope["route"].path_format)


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
