"""``export``, ``reconcile`` and ``rebuild``: the store as a whole."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sleep_runtime.cli import options
from sleep_runtime.cli.client import connect
from sleep_runtime.cli.output import Talk, counted, emit, out

if TYPE_CHECKING:
    from sleep_runtime.core.note import Note

REPAIR_S = 1800.0
MAX_NOTES = 1_000_000


def export(
    *,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The directory to write.")],
    scope: options.SomeScope = None,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Write the notes as Markdown, one file each.

    Exporting twice changes nothing.
    """
    from sleep_runtime.stores.context_dir import export as write

    params = options.scope_params(scope, status="active")
    with connect(url, config) as client, Talk("exporting") as talk:
        notes = []
        for item in client.pages("/v1/notes", "notes", params, MAX_NOTES):
            notes.append(note_from_public(item))
            talk.update(f"read {len(notes)} notes")
        _remember(to, scope, config)
        counts = write(notes, to).model_dump()
    if as_json:
        emit({"to": str(to), "notes": len(notes), **counts})
    else:
        out(f"{to}: {counted(counts) or 'nothing to write'}")


def _remember(to: Path, scope: str | None, config: Path | None) -> None:
    """Tell the data directory, if it is on this machine: an erasure makes its exports again."""
    from sleep_runtime.stores.exports import remember

    directory = options.load_settings(config).settings.absolute().data_dir
    if directory.is_dir():
        remember(directory, to, scope=scope or "")


def note_from_public(item: dict[str, Any]) -> Note:
    """A note from its public JSON. What that does not carry (trust) has its default."""
    from sleep_runtime.core.note import Note, NoteStatus, Support
    from sleep_runtime.core.observation import Claim
    from sleep_runtime.core.scope import Scope

    ended = item["valid_to"]
    claim = {name: item[name] for name in Claim.model_fields if name in item}
    return Note(
        id=item["id"],
        scope=Scope(item["scope"]),
        claim=Claim.model_validate(claim),
        status=NoteStatus(item["status"]),
        confidence=item["confidence"],
        support=Support.model_validate(item["support"]),
        helpful=item["helpful"],
        harmful=item["harmful"],
        valid_from=datetime.fromisoformat(item["valid_from"]),
        valid_to=datetime.fromisoformat(ended) if ended else None,
        recorded_at=datetime.fromisoformat(item["recorded_at"]),
        superseded_by=item["superseded_by"] or "",
        revision=item["revision"],
        evidence=tuple(item["evidence"]),
        reason=item["reason"],
    )


def reconcile(
    *,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Compare the index with the ledger and repair the index."""
    _repair("reconcile", url, config, as_json=as_json)


def rebuild(
    *,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Build the index anew from the ledger."""
    _repair("rebuild", url, config, as_json=as_json)


def _repair(what: str, url: str | None, config: Path | None, *, as_json: bool) -> None:
    with connect(url, config) as client, Talk(f"{what} of the index"):
        answer = client.post(f"/v1/index/{what}", answer_s=REPAIR_S)
    if as_json:
        emit(answer)
        return
    numbers = {name: value for name, value in answer.items() if isinstance(value, int)}
    out(f"{what}: {counted(numbers) or 'nothing to repair'}")
