"""``erase``: everything of a scope, of one session or of one event, and the receipt."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from sleep_runtime.cli import options
from sleep_runtime.cli.client import Client, connect
from sleep_runtime.cli.output import Talk, WrongUsage, counted, emit, out, say

ASK_EVERY_S = 0.5
WAIT_S = 3600.0
NOT_CLEAN = 1


def erase(
    scope: Annotated[
        str | None, typer.Argument(metavar="[SCOPE]", help="org, org/team or org/team/user.")
    ] = None,
    *,
    session: Annotated[
        str | None, typer.Option("--session", metavar="NAME", help="Only this session of it.")
    ] = None,
    event: Annotated[
        str | None, typer.Option("--event", metavar="ID", help="Only this event of it.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--in", metavar="DIR", help="In a copy or backup that no runtime has open."),
    ] = None,
    again: Annotated[
        Path | None,
        typer.Option(
            "--again", metavar="DIR", help="Instead of SCOPE: all that was erased in this store."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> int:
    """Erase what a scope ever said, wherever it went, and print the receipt.

    It cannot be taken back. Exits 1 when anything of it is left.
    """
    if again is not None:
        return _again(again, scope, directory, as_json=as_json)
    if scope is None:
        raise WrongUsage("is missing", field="SCOPE", mend="such as acme/banking/ana")
    path = options.checked_scope(scope)
    if session is not None and event is not None:
        raise WrongUsage("a session and an event are two erasures", field="--event")
    if "" in (session, event):
        raise WrongUsage("is empty", field="--session" if session == "" else "--event")
    what = f"session {session} of {path}" if session else f"event {event} of {path}"
    _ask(what if session or event else f"everything at and below {path}", yes=yes)
    names = {"session": session or "", "event": event or ""}
    if directory is not None:
        receipt = _offline(directory, path, names, config)
    else:
        receipt = _online(path, names, url, config)
    if as_json:
        emit(receipt)
    else:
        _print(receipt)
    return NOT_CLEAN if left_over(receipt) else 0


def _again(again: Path, scope: str | None, directory: Path | None, *, as_json: bool) -> int:
    """Do in a copy what was erased in the store that it is a copy of: that was asked already."""
    from sleep_runtime.stores.erase_in import erased, reapply

    if scope is not None or directory is None:
        raise WrongUsage("takes --in DIR and no SCOPE", field="--again")
    with Talk("erasing"):
        receipts = reapply(directory, [one for one in erased(again) if one.over])
    if as_json:
        emit({"erasures": receipts})
    else:
        for receipt in receipts:
            _print(receipt)
    return NOT_CLEAN if any(left_over(receipt) for receipt in receipts) else 0


def _ask(what: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUsage("erasing cannot be taken back", field="--yes", mend="say --yes")
    say(f"this erases {what}, for good")
    if input("erase? [y/N] ").strip().lower() not in ("y", "yes"):
        raise WrongUsage("nothing was erased", field="--yes")


def _online(
    scope: str, names: dict[str, str], url: str | None, config: Path | None
) -> dict[str, Any]:
    from urllib.parse import quote

    params = {name: value for name, value in names.items() if value}
    with connect(url, config) as client, Talk("erasing") as talk:
        receipt = client.delete(f"/v1/subjects/{quote(scope, safe='/')}", params)
        return _followed(client, receipt, talk)


def _followed(client: Client, receipt: dict[str, Any], talk: Talk) -> dict[str, Any]:
    """Ask until it is over, or for ``WAIT_S``: it goes on by itself."""
    give_up = time.monotonic() + WAIT_S
    while not receipt["done"] and time.monotonic() < give_up:
        talk.update(f"erasing: {receipt['state']}")
        time.sleep(ASK_EVERY_S)
        receipt = client.get(f"/v1/erasures/{receipt['id']}")
    return receipt


def _offline(
    directory: Path, scope: str, names: dict[str, str], config: Path | None
) -> dict[str, Any]:
    from sleep_runtime.core.erasure import Target
    from sleep_runtime.core.scope import Scope
    from sleep_runtime.stores.erase_in import erase_in

    policy = options.load_settings(config).settings.policy
    with Talk("erasing"):
        return erase_in(directory, Target(scope=Scope(scope), **names), policy=policy)


def left_over(receipt: dict[str, Any]) -> bool:
    """Whether the receipt says that something may be left here."""
    return not receipt["done"] or bool(receipt["scan"]["erased_hits"])


def _print(receipt: dict[str, Any]) -> None:
    state = "erased" if receipt["done"] else f"not over: {receipt['state']}"
    out(f"{receipt['id']}  {receipt['kind']} {receipt['scope']}: {state}")
    out(f"removed: {counted(receipt['removed']) or 'nothing was there'}")
    for note in receipt.get("kept", []):
        before, after = note["support_before"]["people"], note["support_after"]["people"]
        words = ", in other words" if note["reworded"] else ""
        out(
            f"kept {note['note']} of {note['scope']}: {note['why']}, people {before} -> {after}"
            f"{words}, {note['status']}"
        )
    for kind in ("exports", "backups"):
        for place in receipt.get(kind, []):
            told = "mended" if place["reached"] else f"NOT REACHED, mend: {place['mend']}"
            out(f"{kind.removesuffix('s')} {place['path']}: {told}")
    if scan := receipt.get("scan"):
        out(f"scan: {scan['files']} files, {scan['bytes']} bytes, {scan['erased_hits']} hits")
        for where in scan["where"]:
            out(f"  LEFT at {where}")
