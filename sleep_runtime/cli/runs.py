"""``runs``: what nights did, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sleep_runtime.cli import options
from sleep_runtime.cli.client import connect
from sleep_runtime.cli.output import counted, emit, moment, out, plain, say, table
from sleep_runtime.cli.reasons import in_words

app = typer.Typer(help="What nights did, and why.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_runs(
    *,
    scope: options.SomeScope = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="The newest so many.")] = 50,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """List the newest runs at and below a scope."""
    params = options.scope_params(scope, limit=limit)
    with connect(url, config) as client:
        runs = client.get("/v1/runs", params)["runs"]
    if as_json:
        emit({"runs": runs})
    elif not runs:
        say("no night has run here yet")
    else:
        headers = ("ID", "PLANNED", "SCOPE", "TRIGGER", "STATE", "WHAT HAPPENED")
        out(table(headers, [_row(run) for run in runs]))


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    when = moment(run["planned_at"])
    return (run["id"], when, run["scope"], run["trigger"], run["state"], what_happened(run))


def what_happened(run: dict[str, Any]) -> str:
    """Why the run did what it did, in one line: its reason and its counts."""
    return "; ".join(p for p in (run.get("reason", ""), counted(run.get("counts", {}))) if p)


@app.command("show")
def show(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="A run's id.")],
    *,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Show one run: input, changes, proposals and critiques."""
    from urllib.parse import quote

    with connect(url, config) as client:
        found = client.get(f"/v1/runs/{quote(run_id, safe='')}")
    if as_json:
        emit(found)
        return
    _print_run(found["run"])
    _print_nearest(found.get("nearest", []))
    _print_deltas(found["deltas"])
    _print_proposals(found["proposals"])


@app.command("undo")
def undo(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="A run's id.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    cascade: Annotated[
        bool, typer.Option("--cascade", help="Undo later runs that built on it, too.")
    ] = False,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Restore the state before a run. The undo is a run, and can be undone."""
    from urllib.parse import quote

    body = {"dry_run": dry_run, "cascade": cascade}
    with connect(url, config) as client:
        found = client.post(f"/v1/runs/{quote(run_id, safe='')}/undo", body)
    if as_json:
        emit(found)
    else:
        _print_undo(found)


def _print_undo(found: dict[str, Any]) -> None:
    done = found["run"]
    head = f"{done['id']} undid" if done else "would undo"
    out(f"{head} {', '.join(found['undoes'])} of {found['scope']}")
    for item in found["later"]:
        out(f"  later: {item['run']} (night {item['number']}) built on {', '.join(item['notes'])}")
    out(f"\nchanges ({len(found['changes'])}):")
    for change in found["changes"]:
        note = change["note"]
        what = f"as at revision {change['restores']}" if change["restores"] else "was not there"
        out(f"  {change['kind']:<10} {note['id']}: {note['status']}, {what}")
        out(f"             {note['statement']}")
    for item in found["folded"]:
        out(f"  comes back {item['note']} of {item['scope']}, which had folded into {item['into']}")
    if found["later"] and not done:
        say("the later runs have to be undone too: --cascade")


def _print_run(run: dict[str, Any]) -> None:
    usage = run["usage"]
    rows = {
        "state": run["state"] + (f", stood at {run['stood_at']}" if run.get("stood_at") else ""),
        "trigger": plain(run["trigger"]),
        "planned": moment(run["planned_at"]),
        "ended": moment(run["updated_at"]),
        "events": _range(run["journal"]),
        "observations": _range(run["observations"]),
        "attempts": run["attempts"],
        "engine": f"{usage['calls']} calls, {usage['input_tokens']} tokens in, "
        f"{usage['output_tokens']} out" + _gpu(usage.get("gpu_seconds", 0.0)),
        "took": f"{run['seconds']:.1f} s" if run.get("seconds") else "",
        "because": run["reason"],
        "undoes": ", ".join(run.get("undoes", [])),
        "undone by": run.get("undone_by", ""),
    }
    out(f"{run['id']}: night {run['number']} of {run['scope']}\n")
    for name, value in rows.items():
        if value:
            out(f"  {name + ':':<14}{value}")
    out("\ncounts by reason:")
    for name, count in sorted(run["counts"].items(), key=lambda item: (-item[1], item[0])):
        out(f"  {count:>6}  {in_words(name)}")


def _gpu(seconds: float) -> str:
    return f", {seconds:.1f} GPU-seconds" if seconds else ""


def _print_nearest(nearest: list[dict[str, Any]]) -> None:
    if nearest:
        out("\nclosest to the bar now:")
    for item in nearest:
        out(f"  {item['note']['id']} needs {item['needs']}")
        out(f"    {item['note']['statement']}")


def _range(cursor: dict[str, int]) -> str:
    if cursor["upto"] <= cursor["after"]:
        return "none"
    return f"after {cursor['after']} up to {cursor['upto']}"


def _print_deltas(deltas: list[dict[str, Any]]) -> None:
    out(f"\nchanges ({len(deltas)}):")
    for delta in deltas:
        out(f"  {delta['kind']:<10} {delta['note_id']} revision {delta['revision']}")
        out(f"             because {delta['reason']}")


def _print_proposals(proposals: list[dict[str, Any]]) -> None:
    out(f"\nproposals ({len(proposals)}):")
    for item in proposals:
        proposal, critique = item["proposal"], item["critique"]
        target = f" {critique['target']}" if critique.get("target") else ""
        out(f"  {critique['worth']}, {critique['relation']}{target}: {critique['reason']}")
        out(f"    {proposal['claim']['statement']}")
