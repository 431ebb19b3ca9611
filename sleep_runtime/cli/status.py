"""``status``: what is awake, what is pending, when the next night is due."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sleep_runtime.cli import options
from sleep_runtime.cli.client import connect
from sleep_runtime.cli.output import counted, emit, moment, out, relative
from sleep_runtime.cli.pool import in_words as pool_in_words
from sleep_runtime.cli.runs import what_happened


def status(
    *,
    scope: options.SomeScope = None,
    as_json: options.Json = False,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Say what is awake, pending and due next.

    Exit code 1 when nothing is up.
    """
    params = options.scope_params(scope)
    with connect(url, config) as client:
        answer = client.get("/v1/status", params)
        where = client.url
    if as_json:
        emit({"url": where, **answer})
        return
    for name, value in _rows(answer, where, datetime.now(UTC)):
        out(f"{name + ':':<12}{value}")


def _rows(status: dict[str, Any], url: str, now: datetime) -> list[tuple[str, str]]:
    started = status["started_at"]
    held = [("budget", _held(one, now)) for one in status.get("budgets", [])]
    return [
        ("up", f"{url}, version {status['version']}, started {relative(started, now)}"),
        ("engine", status["engine"]),
        ("journal", f"{status['journal']['events']} events"),
        ("notes", counted(status["notes"]) or "none"),
        ("awake", _awake(status["awake"])),
        ("idle pool", pool_in_words(status["pool"], now)),
        ("pending", _pending(status)),
        ("next night", _next(status["next"], now)),
        *held,
        ("last night", _last(status["last_run"], now)),
    ]


def _awake(awake: list[dict[str, Any]]) -> str:
    if not awake:
        return "nothing"
    return ", ".join(f"{lease['scope']} ({lease['state']})" for lease in awake)


def _pending(status: dict[str, Any]) -> str:
    pending = status["pending"]
    if not any(pending.values()) and not status["outbox"]:
        return "nothing"
    parts = [
        f"{pending['events']} events (about {pending['tokens']} tokens)",
        f"{pending['observations']} observations",
    ]
    if pending["folds"]:
        parts.append(f"{pending['folds']} folds")
    if status["outbox"]:
        parts.append(f"{status['outbox']} notes to index")
    return f"{', '.join(parts)} at {pending['scopes']} scopes"


def _next(due: dict[str, Any] | None, now: datetime) -> str:
    if due is None:
        return "not due: nothing is pending"
    why = f", {due['trigger']}" if due.get("trigger") else ""
    return f"{relative(due['due_at'], now)} ({moment(due['due_at'])}) for {due['scope']}{why}"


def _held(spent: dict[str, Any], now: datetime) -> str:
    until = f"no night before {moment(spent['until'])}, {relative(spent['until'], now)}"
    return f"{spent['reason']} ({spent['limit']}): {until}"


def _last(run: dict[str, Any] | None, now: datetime) -> str:
    if run is None:
        return "none yet"
    head = f"{run['scope']} {relative(run['updated_at'], now)}, {run['trigger']}, {run['state']}"
    return f"{head}: {what_happened(run) or 'nothing to learn'} [{run['id']}]"
