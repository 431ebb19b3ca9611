"""Structured logs: event names with fields, on stderr, without secrets."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Literal

import structlog

from sleep_runtime.telemetry.events import LogEvent

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["console", "json"]

MASK = "***"
MAX_FIELD_CHARS = 2000
_LEVELS: dict[Level, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_SECRET_NAME = re.compile(r"api_?key|authori[sz]ation|passw|secret|token$|credential", re.I)
_SECRET_VALUE = re.compile(
    r"(?P<head>\bbearer\s+|://[^/\s:@]*:)[^\s@\"']+|\b(?:sk|ghp|xox[abp])[-_][A-Za-z0-9_-]{8,}",
    re.I,
)


class Log:
    """Writes log events of one module. Safe in any thread; never raises for a field's value."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def debug(self, event: LogEvent, **fields: object) -> None:
        self._inner.debug(LogEvent(event), **fields)

    def info(self, event: LogEvent, **fields: object) -> None:
        self._inner.info(LogEvent(event), **fields)

    def warning(self, event: LogEvent, **fields: object) -> None:
        self._inner.warning(LogEvent(event), **fields)

    def error(self, event: LogEvent, **fields: object) -> None:
        self._inner.error(LogEvent(event), **fields)

    def exception(self, event: LogEvent, **fields: object) -> None:
        """As ``error``, with the traceback of the exception being handled."""
        self._inner.error(LogEvent(event), exc_info=True, **fields)

    def bind(self, **fields: object) -> Log:
        """The same log with fields that every line of it carries."""
        return Log(self._inner.bind(**fields))


class _Stderr:
    """Writes to whatever stderr is at that moment, one line at a time."""

    def msg(self, message: str) -> None:
        sys.stderr.write(message + "\n")
        sys.stderr.flush()

    log = debug = info = warn = warning = error = critical = exception = fatal = failure = msg


def get_logger(name: str) -> Log:
    """The log of one module, usually ``get_logger(__name__)``. Cheap; follows ``configure``."""
    return Log(structlog.get_logger(module=name))


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Every line written inside carries these fields, in this thread or task."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def configure(level: Level = "info", format: Format = "json") -> None:  # noqa: A002
    """Choose what is written and how. Once in each process; before it, JSON from ``info`` up."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            _mask_secrets,
            *_renderer(format),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_factory,
        cache_logger_on_first_use=False,
    )


def _factory(*_: Any) -> _Stderr:
    return _Stderr()


def _renderer(format: Format) -> list[Any]:  # noqa: A002
    if format == "json":
        return [structlog.processors.JSONRenderer(sort_keys=True, default=str, ensure_ascii=False)]
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=20)]


def _mask_secrets(
    _logger: Any, _method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    return {name: _masked(name, value) for name, value in fields.items()}


def _masked(name: str, value: Any) -> Any:
    """A field without secrets, whatever its depth; long text is cut."""
    if _SECRET_NAME.search(name):
        return MASK
    if isinstance(value, dict):
        return {key: _masked(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_masked("", item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = _SECRET_VALUE.sub(lambda hit: (hit["head"] or "") + MASK, str(value))
    return text if len(text) <= MAX_FIELD_CHARS else text[:MAX_FIELD_CHARS] + "…"


configure()
