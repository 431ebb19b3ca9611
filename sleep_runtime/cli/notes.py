"""``notes``: what is known, and why."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from sleep_runtime.cli import options
from sleep_runtime.cli.client import connect
from sleep_runtime.cli.output import emit, moment, out, say, table
from sleep_runtime.core.text import one_line

app = typer.Typer(help="What is known, and why.", no_args_is_help=True, rich_markup_mode=None)

NoteId = Annotated[str, typer.Argument(metavar="ID", help="A note's id.")]


class Status(StrEnum):
    """What ``--status`` takes."""

    ACTIVE = "active"
    CANDIDATE = "candidate"
    SUPERSEDED = "superseded"
    RETIRED = "retired"
    QUARANTINED = "quarantined"
    ALL = "all"


@app.command("list")
def list_notes(
    *,
    scope: options.SomeScope = None,
    status: Annotated[Status, typer.Option("--status", help="Notes in this state.")] = (
        Status.ACTIVE
    ),
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 1000,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """List notes at and below a scope."""
    params = options.scope_params(scope, status=status.value)
    with connect(url, config) as client:
        notes = list(client.pages("/v1/notes", "notes", params, limit))
    if as_json:
        emit({"notes": notes})
    elif not notes:
        say(f"no {'' if status is Status.ALL else status.value + ' '}note here")
    else:
        out(table(("ID", "SCOPE", "KIND", "STATUS", "CONF", "STATEMENT"), [_row(n) for n in notes]))


def _row(note: dict[str, Any]) -> tuple[str, ...]:
    names = ("id", "scope", "kind", "status")
    said = one_line(note["statement"])
    said = f"[untrusted] {said}" if note.get("trust") == "untrusted" else said
    return (*(note[n] for n in names), f"{note['confidence']:.2f}", said)


@app.command("show")
def show(
    note_id: NoteId,
    *,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Show one note with its evidence and history."""
    with connect(url, config) as client:
        found = client.get(f"/v1/notes/{_path(note_id)}")
    if as_json:
        emit(found)
        return
    out(_heading(found["note"]))
    _print_evidence(found)
    _print_history(found["history"])


@app.command("history")
def history(
    note_id: NoteId,
    *,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Show every revision of a note and why."""
    with connect(url, config) as client:
        revisions = client.get(f"/v1/notes/{_path(note_id)}")["history"]
    if as_json:
        emit({"history": revisions})
    else:
        _print_history(revisions)


def _path(note_id: str) -> str:
    from urllib.parse import quote

    return quote(note_id, safe="")


def _heading(note: dict[str, Any]) -> str:
    support, trust = note["support"], note.get("trust", "")
    rows = {
        "id": f"{note['id']}, revision {note['revision']}",
        "scope": f"{note['scope']} ({note['tier']})",
        "kind": note["kind"],
        "status": note["status"],
        "said by": {"human": "people", "agent": "agents only"}.get(trust, trust),
        "about": ", ".join(f"{k} {v}" for k, v in note.get("about", {}).items()),
        "answers": " / ".join(p for p in (note["subject"], note["aspect"], note["value"]) if p),
        "applies when": note["applies_when"],
        "confidence": f"{note['confidence']:.2f}",
        "support": f"{support['events']} events, {support['sessions']} sessions, "
        f"{support['people']} people, {support['days']} days",
        "feedback": _feedback(note),
        "true": f"{moment(note['valid_from'])} to {moment(note['valid_to'])}"
        if note["valid_to"]
        else f"since {moment(note['valid_from'])}",
        "superseded by": note["superseded_by"] or "",
    }
    lines = [f"  {name + ':':<15}{value}" for name, value in rows.items() if value]
    return "\n".join([note["statement"], "", *lines])


def _feedback(note: dict[str, Any]) -> str:
    if not (note["helpful"] or note["harmful"]):
        return ""
    return f"helped {note['helpful']} times, harmed {note['harmful']}"


def _print_evidence(found: dict[str, Any]) -> None:
    excerpts, counted = found["excerpts"], found.get("counted")
    if counted:
        out("\nwhy we believe it:")
        out(f"  said by {', '.join(counted['people']) or 'nobody: agents noticed it'}")
        out(f"  in {len(counted['sessions'])} sessions on {', '.join(counted['days']) or 'no day'}")
        if counted["undone"]:
            out(f"  {counted['undone']} more were taken back by an undo and count for nothing")
    out(f"\nevidence ({len(excerpts)} of {len(found['note']['evidence'])} events):")
    for item in excerpts:
        out(f"  {moment(item['ts'])}  {item['role']}, {item['kind']}  {item['event_id']}")
        out(f"    {' '.join(item['text'].split())}")


def _print_history(revisions: list[dict[str, Any]]) -> None:
    out("\nhistory:")
    for note in revisions:
        head = f"  {note['revision']}  {moment(note['recorded_at'])}  {note['status']}"
        out(f"{head}, confidence {note['confidence']:.2f}")
        out(f"     {note['statement']}")
        if note["reason"]:
            out(f"     because {note['reason']}")
