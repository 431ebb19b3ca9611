"""A disk that can be filled: a file system in memory, mounted over a data directory."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from reliability.chaos.nursery import Unable


@contextlib.contextmanager
def small_disk(place: Path, *, mib: int) -> Iterator[None]:
    """What lies at ``place`` is on a disk of so many MiB while the block runs, and back after it.

    Raises ``Unable`` where nothing may be mounted.
    """
    aside = place.with_name(f"{place.name}.aside")
    place.rename(aside)
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(place)]
    try:
        done = subprocess.run(["mount", *options], check=False, capture_output=True, text=True)
        if done.returncode:
            raise Unable(f"nothing may be mounted here: {done.stderr.strip()}")
        try:
            shutil.copytree(aside, place, dirs_exist_ok=True)
            yield
            shutil.rmtree(aside)
            shutil.copytree(place, aside)
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)
    finally:
        place.rmdir()
        aside.rename(place)


@contextlib.contextmanager
def ballast(path: Path) -> Iterator[None]:
    """No space is left on the disk of ``path`` while the block runs."""
    try:
        with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0" * 2**18):
                continue
        yield
    finally:
        path.unlink(missing_ok=True)
