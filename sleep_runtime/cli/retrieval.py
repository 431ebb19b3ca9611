"""``search`` and ``context``: what the next agent is told."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sleep_runtime.cli import options
from sleep_runtime.cli.client import connect
from sleep_runtime.cli.output import emit, instant, out, say

Query = Annotated[str, typer.Argument(metavar="QUERY", help="What the agent is about to do.")]


def search(
    query: Query,
    *,
    scope: options.Scope,
    k: Annotated[int | None, typer.Option("-k", min=1, max=1000, help="How many notes.")] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="As it was known then.")
    ] = None,
    include_superseded: Annotated[
        bool, typer.Option("--include-superseded", help="Also what was replaced.")
    ] = False,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Find the notes that answer a query.

    A reader sees user, team and org; on one question the nearest wins.
    """
    body: dict[str, Any] = {
        "scope": options.checked_scope(scope),
        "query": query,
        "k": k or options.load_settings(config).settings.search.k,
    }
    if as_of:
        body["as_of"] = instant(as_of, field="--as-of")
    if include_superseded:
        body["include_superseded"] = True
    with connect(url, config) as client:
        hits = client.post("/v1/search", body)["hits"]
    if as_json:
        emit({"hits": hits})
        return
    if not hits:
        say("no note answers this")
    for hit in hits:
        out(_hit_line(hit))


def _hit_line(hit: dict[str, Any]) -> str:
    note = hit["note"]
    status = "" if note["status"] == "active" else f", {note['status']}"
    when = f" (when {note['applies_when']})" if note["applies_when"] else ""
    return (
        f"{hit['score']:.2f}  {note['statement']}{when}\n"
        f"      {note['id']}  {note['scope']}  {note['kind']}, "
        f"confidence {note['confidence']:.2f}{status}"
    )


def context(
    query: Query,
    *,
    scope: options.Scope,
    compiler: Annotated[
        str | None, typer.Option("--compiler", metavar="NAME", help="Who writes the text.")
    ] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", metavar="TOKENS", min=1, help="Its largest size.")
    ] = None,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Print the prompt text that the next agent gets."""
    defaults = options.load_settings(config).settings.compiler
    body = {
        "scope": options.checked_scope(scope),
        "query": query,
        "budget_tokens": budget or defaults.budget_tokens,
        "compiler": compiler or defaults.name,
    }
    with connect(url, config) as client:
        answer = client.post("/v1/context", body)
    if as_json:
        emit(answer)
        return
    out(answer["text"])
    say(f"{len(answer['notes'])} notes, {answer.get('tokens', 0)} tokens, {answer['compiler']}")
