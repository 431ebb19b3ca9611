"""``config``: every setting, and where its value came from."""

from __future__ import annotations

from typing import Any

import typer

from sleep_runtime.cli import options
from sleep_runtime.cli.output import emit, out, table

app = typer.Typer(
    help="Every setting, and where its value came from.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("show")
def show(
    *, as_json: options.Json = False, config: options.Config = None, sets: options.Set = None
) -> None:
    """Print each value and its source. Secrets are masked."""
    from sleep_runtime.config import flatten

    loaded = options.load_settings(config, sets)
    values: dict[str, Any] = dict(flatten(loaded.settings.model_dump(mode="json")))
    if as_json:
        emit({k: {"value": v, "source": loaded.provenance[k]} for k, v in values.items()})
        return
    rows = [(key, _shown(value), loaded.provenance[key]) for key, value in values.items()]
    out(table(("KEY", "VALUE", "SOURCE"), rows))


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of the configuration file."""
    from sleep_runtime.config import Settings

    emit(Settings.model_json_schema())
