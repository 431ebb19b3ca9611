"""``backup``, ``backup verify`` and ``restore``: the data directory's copies.

They work on the files of this machine, whether the runtime is up or not.
"""

from __future__ import annotations

import contextlib
import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sleep_runtime.cli import options
from sleep_runtime.cli.output import Talk, WrongUsage, emit, out

if TYPE_CHECKING:
    from sleep_runtime.stores.backup import Manifest
    from sleep_runtime.stores.datadir import DataDir

NICENESS = 10
app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def backup(
    context: typer.Context,
    *,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="The directory to make.")
    ] = None,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Copy journal and ledger, while the runtime is up or down.

    The copy is consistent and has its digests in manifest.json.
    """
    if context.invoked_subcommand is not None:
        return
    if to is None:
        raise WrongUsage("is missing", field="--to", mend="name the directory to make")
    from sleep_runtime.stores.backup import back_up

    paths = _data_dir(config)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)  # requests come first
    with Talk("copying"):
        manifest = back_up(paths, to)
    _record(paths, "backed_up", to, manifest)
    _tell("backup", to, manifest, as_json=as_json)


@app.command("verify")
def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A backup.")],
    *,
    as_json: options.Json = False,
) -> None:
    """Compare a backup with the digests it was made with.

    Exit code 1, and what differs, when it is not as it was.
    """
    from sleep_runtime.stores.backup import verify as check

    with Talk("reading"):
        manifest = check(directory)
    _tell("verified", directory, manifest, as_json=as_json)


def restore(
    *,
    source: Annotated[Path, typer.Option("--from", metavar="DIR", help="A backup.")],
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Fill an empty data directory from a backup.

    Digests are compared before and after.
    """
    from sleep_runtime.compose.restoring import AFTER_RESTORE
    from sleep_runtime.stores.backup import restore as put_back

    paths = _data_dir(config)
    with Talk("restoring"):
        done = put_back(source, paths, after=AFTER_RESTORE)
    _record(paths, "restored", source, done.manifest)
    _tell("restored", paths.path, done.manifest, as_json=as_json)
    if not as_json and not done.ledger_compared:
        out("the ledger is of an older version: the next start migrates it")


def _record(paths: DataDir, deed: str, where: Path, manifest: Manifest) -> None:
    """Both take a person with access to the machine, who needs no key: named as the system does."""
    from sleep_runtime.core.audit import Deed
    from sleep_runtime.stores.audit import AuditFile

    detail = {"path": str(where.absolute()), "events": manifest.journal.events}
    AuditFile(paths.audit_path).record(f"local:{getpass.getuser()}", Deed(deed), detail=detail)


def _data_dir(config: Path | None) -> DataDir:
    from sleep_runtime.stores.datadir import DataDir as Directory

    return Directory(options.load_settings(config).settings.absolute().data_dir)


def _tell(what: str, where: Path, manifest: Manifest, *, as_json: bool) -> None:
    facts: dict[str, Any] = manifest.model_dump(mode="json")
    if as_json:
        emit({"path": str(where), **facts})
        return
    size = sum(file.bytes for file in manifest.files.values())
    digest = manifest.ledger.digest[:12] if manifest.ledger else "of an older version"
    out(
        f"{what} {where}: made {facts['made_at']}, {manifest.journal.events} events, "
        f"{size / 1e6:.1f} MB, ledger {digest}"
    )
