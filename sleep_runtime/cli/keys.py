"""``keys``: who is let in. Works on the data directory itself, runtime up or not."""

from __future__ import annotations

import getpass
import re
import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sleep_runtime.cli import options
from sleep_runtime.cli.output import WrongUsage, emit, moment, out, say, table
from sleep_runtime.core.errors import InvalidConfig

if TYPE_CHECKING:
    from pathlib import Path

    from sleep_runtime.core.keys import ApiKey
    from sleep_runtime.stores.keys import KeyStore

EVERYWHERE = "*"
LOOK_S = 0.5
MAX_EXPIRES_S = 3650 * 86_400
_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}

app = typer.Typer(
    help="Who is let in, where, and as whom.", no_args_is_help=True, rich_markup_mode=None
)


class RoleName(StrEnum):
    """What ``--role`` takes."""

    CAPTURE = "capture"
    READ = "read"
    CURATE = "curate"
    ADMIN = "admin"


class Speaks(StrEnum):
    """What ``--speaks`` takes."""

    HUMAN = "human"
    AGENT = "agent"
    UNTRUSTED = "untrusted"


_Rate = Annotated[float | None, typer.Option(min=0.001, help="At most so many a second.")]
_Size = Annotated[int | None, typer.Option(min=1, help="At most so many.")]


@app.command("create")
def create(
    *,
    scope: Annotated[
        str,
        typer.Option("--scope", metavar="SCOPE", help='At and below it; "*" is everywhere.'),
    ],
    role: Annotated[list[RoleName], typer.Option("--role", help="Once or more.")],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Whose key it is.")
    ] = "unnamed",
    speaks: Annotated[
        Speaks,
        typer.Option("--speaks", help="Highest trust of what it captures, whatever that says."),
    ] = Speaks.AGENT,
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", metavar="TIME", help="Such as 90d, 12h or 30m.")
    ] = None,
    requests_per_s: _Rate = None,
    events_per_s: _Rate = None,
    query_cost_per_s: _Rate = None,
    burst_s: Annotated[
        float | None, typer.Option(min=0.001, max=3600, help="Unused rates are saved so long.")
    ] = None,
    max_concurrent: _Size = None,
    max_body_bytes: _Size = None,
    max_batch_events: _Size = None,
    max_text_chars: _Size = None,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Make a key and print its secret, which is shown only now.

    Whoever may read the data directory may make any key. --speaks human is for a harness that is
    trusted to say what people said.
    """
    now = datetime.now(UTC)
    limits = {
        "requests_per_s": requests_per_s,
        "events_per_s": events_per_s,
        "query_cost_per_s": query_cost_per_s,
        "burst_s": burst_s,
        "max_concurrent": max_concurrent,
        "max_body_bytes": max_body_bytes,
        "max_batch_events": max_batch_events,
        "max_text_chars": max_text_chars,
    }
    wanted = {
        "name": name,
        "scope": None if scope == EVERYWHERE else options.checked_scope(scope),
        "roles": [one.value for one in role],
        "speaks": speaks.value,
        "limits": {field: value for field, value in limits.items() if value is not None},
        "expires_at": now + _duration(expires_in) if expires_in else None,
    }
    made = _store(config).create(_new_key(wanted), now)
    _record(config, "key.created", made.key)
    secret = made.secret.get_secret_value()
    if as_json:
        emit({**_public(made.key, now), "secret": secret})
        return
    say(f"{made.key.id}: {_sentence(made.key)}. The secret is shown only now:")
    out(secret)


@app.command("list")
def list_keys(*, as_json: options.Json = False, config: options.Config = None) -> None:
    """List all keys, without their secrets."""
    now = datetime.now(UTC)
    keys = _store(config).all()
    if as_json:
        emit({"keys": [_public(key, now) for key in keys]})
    elif not keys:
        say("there is no key; the first start makes one for this machine")
    else:
        out(
            table(
                ("ID", "NAME", "SCOPE", "ROLES", "SPEAKS", "STATE", "EXPIRES", "CREATED"),
                [_row(key, now) for key in keys],
            )
        )


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Such as k_ab12cd34ef.")],
    *,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Let nobody in with a key any more. A runtime that is up knows within a second."""
    now = datetime.now(UTC)
    key = _store(config).revoke(key_id, now)
    _record(config, "key.revoked", key)
    if as_json:
        emit(_public(key, now))
    else:
        out(f"{key.id} ({key.name}) lets nobody in any more")


@app.command("wait")
def wait(
    *,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0, help="Longest wait.")
    ] = 3600.0,
    config: options.Config = None,
) -> None:
    """Wait until a runtime with these settings may start: others need a key first.

    For what starts it unattended. Exit code 1 when there is none in time.
    """
    from sleep_runtime.compose.access import check_exposure

    settings = options.load_settings(config).settings
    store, give_up, told = _store(config), time.monotonic() + timeout, False
    while True:
        try:
            check_exposure(settings, store, datetime.now(UTC))
        except InvalidConfig as missing:
            if time.monotonic() >= give_up:
                raise
            if not told:
                say(f"waiting: {missing}")
            told = True
            time.sleep(LOOK_S)
        else:
            return


def _record(config: Path | None, deed: str, key: ApiKey) -> None:
    """A key that could not be entered is of no use to anybody: its secret is not shown."""
    from sleep_runtime.core.audit import Deed
    from sleep_runtime.stores.audit import AuditFile
    from sleep_runtime.stores.datadir import DataDir

    data = DataDir(options.load_settings(config).settings.absolute().data_dir)
    AuditFile(data.audit_path).record(
        f"local:{getpass.getuser()}",
        Deed(deed),
        scope=str(key.scope or EVERYWHERE),
        subject=key.id,
        detail={"name": key.name, "roles": sorted(key.roles), "speaks": key.speaks.value},
    )


def _store(config: Path | None) -> KeyStore:
    from sleep_runtime.stores.datadir import DataDir
    from sleep_runtime.stores.keys import KeyStore

    data = DataDir(options.load_settings(config).settings.absolute().data_dir).ensure()
    return KeyStore(data.access_path)


def _new_key(wanted: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from sleep_runtime.core.keys import NewKey

    try:
        return NewKey.model_validate(wanted)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        option = f"--{str(first['loc'][-1]).replace('_', '-')}"
        raise WrongUsage(first["msg"], field=option) from None


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text.strip())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= MAX_EXPIRES_S:
        raise WrongUsage(
            f"{text!r} is no time up to ten years",
            field="--expires-in",
            mend="write 90d, 12h, 30m or 4w",
        )
    return timedelta(seconds=seconds)


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "usable" if key.usable(now) else "expired"


def _public(key: ApiKey, now: datetime) -> dict[str, Any]:
    return {**key.model_dump(mode="json"), "roles": sorted(key.roles), "state": _state(key, now)}


def _row(key: ApiKey, now: datetime) -> tuple[str, ...]:
    return (
        key.id,
        key.name,
        str(key.scope or EVERYWHERE),
        ",".join(sorted(key.roles)),
        key.speaks.value,
        _state(key, now),
        moment(key.expires_at.isoformat()) if key.expires_at else "never",
        moment(key.created_at.isoformat()),
    )


def _sentence(key: ApiKey) -> str:
    where = f"at and below {key.scope}" if key.scope else "everywhere"
    until = f" until {moment(key.expires_at.isoformat())}" if key.expires_at else ""
    return f"may {', '.join(sorted(key.roles))} {where}{until}, speaks as {key.speaks.value}"
