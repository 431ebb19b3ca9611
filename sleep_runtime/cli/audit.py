"""``audit``: who did what. Reads the file of the data directory, whether a runtime is up or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sleep_runtime.cli import options
from sleep_runtime.cli.output import emit, moment, out, say, table

if TYPE_CHECKING:
    from sleep_runtime.stores.audit import AuditFile

app = typer.Typer(
    help="Who did what, in a log that cannot be changed unseen.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_entries(
    *,
    after: Annotated[int, typer.Option("--after", min=0, help="Entries after this number.")] = 0,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")
    ] = 100,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """List entries, oldest first."""
    found = _file(config).entries(after=after, limit=limit)
    if as_json:
        emit({"entries": [entry.model_dump(mode="json") for entry in found]})
    elif not found:
        say("nothing is recorded there")
    else:
        rows = [
            (
                entry.seq,
                moment(entry.at.isoformat()),
                entry.who,
                entry.deed.value,
                entry.scope,
                entry.subject,
            )
            for entry in found
        ]
        out(table(("n", "at", "who", "deed", "scope", "subject"), rows))


@app.command("verify")
def verify(
    *,
    head: Annotated[
        str | None,
        typer.Option(
            "--head", metavar="HASH", help="A head seen earlier: it must be in the chain."
        ),
    ] = None,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Check the chain from its first entry to its last. Exit 1 when it is broken.

    Keep the head it prints elsewhere: asked for later, it shows that nothing before it was cut off.
    """
    found = _file(config).verify(head)
    if as_json:
        emit({"entries": found.entries, "head": found.head})
    else:
        out(f"{found.entries} entries, whole; head {found.head}")


def _file(config: Path | None) -> AuditFile:
    from sleep_runtime.stores.audit import AuditFile
    from sleep_runtime.stores.datadir import DataDir

    settings = options.load_settings(config).settings
    return AuditFile(DataDir(settings.data_dir).audit_path)
