"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sleep_runtime.cli.output import WrongUsage

if TYPE_CHECKING:
    from sleep_runtime.config import Loaded

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Settings as YAML. Default: SLEEP_CONFIG, else none."
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="Where the runtime answers. Default: SLEEP_URL, else found."
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one value, such as http.port=8400."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Scope = Annotated[
    str, typer.Option("--scope", metavar="SCOPE", help="org, org/team or org/team/user.")
]
SomeScope = Annotated[
    str | None,
    typer.Option("--scope", metavar="SCOPE", help="Only at and below this scope."),
]


def load_settings(config: Path | None, sets: list[str] | None = None) -> Loaded:
    """The settings of this command. Raises ``InvalidConfig``."""
    from sleep_runtime.config import load

    return load(config, overrides=dict(_pair(item) for item in sets or []))


def _pair(item: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not equals or not key:
        raise WrongUsage(f"{item!r} is not KEY=VALUE", field="--set", mend="such as http.port=8400")
    return key.strip(), value


def checked_scope(scope: str) -> str:
    """The scope, or ``InvalidScope`` before anything is asked of the runtime."""
    from sleep_runtime.core.scope import Scope as ScopePath

    return str(ScopePath(scope))


def scope_params(scope: str | None, **others: object) -> dict[str, object]:
    """Query parameters with the scope when there is one; others that are None are left out."""
    params = {name: value for name, value in others.items() if value is not None}
    return params if scope is None else {"scope": checked_scope(scope), **params}
