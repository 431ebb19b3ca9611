"""A runtime with something in it, for tests of backups."""

from __future__ import annotations

from pathlib import Path

from daylight import (
    ADJUSTED,
    ANA,
    BEN,
    DAY,
    PORT,
    TERSE,
    World,
    runtime,
    scripted,
)

from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.testing.clock import ManualClock


def lived_in(running: World) -> None:
    """Two days and a night: notes in force, notes that wait, events nobody read yet."""
    running.say(ANA, ADJUSTED.statement, TERSE.statement)
    running.clock.advance(DAY.total_seconds())
    running.say(BEN, ADJUSTED.statement)
    running.running.nights()
    running.say(ANA, PORT.statement)


def opened(data_dir: Path, clock: ManualClock) -> World:
    """A world over an embedded runtime that is not entered yet."""
    engine = scripted()
    return World(runtime(data_dir, clock, engine), clock, engine)


def everything(paths: DataDir) -> bytes:
    """All bytes of the directory's files, whatever they are called."""
    return b"".join(p.read_bytes() for p in sorted(paths.path.rglob("*")) if p.is_file())
