"""``up`` and ``down``: start the runtime in this terminal, stop it from another."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Self

import typer

from sleep_runtime.cli import options, process
from sleep_runtime.cli.client import read_runtime_file
from sleep_runtime.cli.output import Talk, out, say
from sleep_runtime.core.errors import RuntimeUnavailable

if TYPE_CHECKING:
    from sleep_runtime.compose.cluster import Running
    from sleep_runtime.config import Settings


class Stages:
    """Shows the stages of a start or a stop: one changing line at a terminal, else plain lines."""

    def __init__(self) -> None:
        self._status: Any = None
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status("starting")
            self._status.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, stage: str) -> None:
        """This stage begins."""
        line = f"{time.monotonic() - self._started:5.1f} s  {stage}"
        if self._status is not None:
            self._status.update(line)
        else:
            say(line)


def up(
    *,
    config: options.Config = None,
    address: Annotated[
        str | None, typer.Option("--address", metavar="A", help="Join this Ray cluster.")
    ] = None,
    sets: options.Set = None,
) -> None:
    """Start the runtime; Ctrl-C drains and stops it."""
    given = [*(sets or []), *([f"ray.address={address}"] if address else [])]
    settings = options.load_settings(config, given).settings.absolute()
    _refuse_second(settings)
    signal.signal(signal.SIGTERM, _interrupt)
    running: Running | None = None
    try:
        running = _start(settings)
        signal.signal(signal.SIGTERM, _interrupt)  # Ray set its own while it started
        _announce(running.url, settings)
        for remark in running.remarks:
            say(f"warning: {remark}")
        running.wait()
    except KeyboardInterrupt:
        if running is None:
            say("stopped before it was up")
    except RuntimeUnavailable as lost:
        if running is not None:  # said now: ending what is left may take its time, and fail
            say(f"lost: {lost.reason}")
        raise
    finally:
        if running is not None:
            _stop(running)


def _start(settings: Settings) -> Running:
    with Stages() as stages:
        stages.show("loading")
        from sleep_runtime.compose.cluster import start

        return start(settings, progress=stages.show)


def _announce(url: str, settings: Settings) -> None:
    out(
        f"sleep-runtime is up: {url}  API {url}/openapi.json  metrics {url}/metrics  "
        f"data {settings.data_dir}"
    )
    sys.stdout.flush()


def _stop(running: Running) -> None:
    # The first signal asked to drain. A second Ctrl-C must not be swallowed.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    say("draining…")
    with Stages() as stages:
        running.stop(stages.show)
    say("down")


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _refuse_second(settings: Settings) -> None:
    known = read_runtime_file(settings)
    if known and process.is_alive(known):
        raise RuntimeUnavailable(
            f"a runtime is up already at {known.get('url')} (pid {known.get('pid')})",
            field="data_dir",
            mend="stop it with: sleep-runtime down, or choose another SLEEP_DATA_DIR",
        )


def down(
    *,
    config: options.Config = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, help="Longest wait.")
    ] = 120.0,
) -> None:
    """Stop the runtime of this data directory.

    It drains first. Exit code 1 when nothing is up.
    """
    settings = options.load_settings(config).settings
    known = read_runtime_file(settings)
    if known is None or not process.is_alive(known):
        raise RuntimeUnavailable(
            f"no runtime is up in {settings.absolute().data_dir}",
            mend="start one with: sleep-runtime up",
        )
    pid = int(known["pid"])
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    _wait_gone(known, timeout)
    out(f"stopped {known.get('url', '')} (pid {pid})")


def _wait_gone(known: dict[str, Any], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    with Talk("draining") as talk:
        while process.is_alive(known):
            if time.monotonic() >= deadline:
                raise RuntimeUnavailable(
                    f"pid {known['pid']} still drains after {timeout_s:.0f} s",
                    mend="wait, or repeat with a longer --timeout",
                )
            talk.update(f"draining, pid {known['pid']}")
            time.sleep(0.1)
