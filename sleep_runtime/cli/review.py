"""``review``: what the Curator would not decide, and what a person says to it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from sleep_runtime.cli import options
from sleep_runtime.cli.client import connect
from sleep_runtime.cli.output import emit, moment, out, say

app = typer.Typer(
    help="What the Curator would not decide.", no_args_is_help=True, rich_markup_mode=None
)


class State(StrEnum):
    """What ``--state`` takes."""

    OPEN = "open"
    RESOLVED = "resolved"
    EXPIRED = "expired"
    ALL = "all"


class Decision(StrEnum):
    """What ``--decision`` takes."""

    SAME = "same"
    EXCLUDES = "excludes"
    UNRELATED = "unrelated"
    KEEP_LEFT = "keep-left"
    KEEP_RIGHT = "keep-right"
    APPROVE = "approve"
    REJECT = "reject"


@app.command("list")
def list_reviews(
    *,
    scope: options.SomeScope = None,
    state: Annotated[State, typer.Option("--state", help="Reviews in this state.")] = State.OPEN,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 100,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """List what waits for a person, at and below a scope."""
    params = options.scope_params(scope, state=state.value, limit=limit)
    with connect(url, config) as client:
        found = client.get("/v1/reviews", params)
    if as_json:
        emit(found)
    elif not found["reviews"]:
        say("nothing waits for a person here")
    else:
        out("\n\n".join(_told(review) for review in found["reviews"]))


def _told(review: dict[str, Any]) -> str:
    sides = [
        f"  {_side(place)} {note['id']}: {note['statement']}"
        for place, note in enumerate(review["notes"])
    ]
    head = f"{review['id']}  {review['scope']}, {review['kind']}, {moment(review['created_at'])}"
    lines = [head, f"  because {review['reason']}", *sides]
    if review["wanted"]:
        lines.append(f"  would become {review['wanted']}")
    if review["decision"]:
        done = f", done by {review['applied_by']}" if review["applied_by"] else ""
        lines.append(f"  {review['by']} decided {review['decision']}{done}")
    else:
        lines.append(f"  decide: {', '.join(review['takes'])}")
    return "\n".join(lines)


def _side(place: int) -> str:
    return "left " if place == 0 else "right"


@app.command("resolve")
def resolve(
    review_id: Annotated[str, typer.Argument(metavar="ID", help="A review's id.")],
    *,
    decision: Annotated[Decision, typer.Option("--decision", help="What holds.")],
    by: Annotated[
        str, typer.Option("--by", metavar="NAME", help="Who decides.", envvar="USER")
    ] = "a person",
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Decide one. The next night of its scope does it; the verdict is remembered."""
    from urllib.parse import quote

    body = {"decision": decision.value, "by": by}
    with connect(url, config) as client:
        found = client.post(f"/v1/reviews/{quote(review_id, safe='')}", body)
    if as_json:
        emit(found)
    else:
        out(_told(found["review"]))
