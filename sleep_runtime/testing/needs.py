"""What a test cannot do without: a skip on a laptop, with the reason; a failure where ``CI=true``.

A check that is silently left out everywhere protects nothing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Give the running test up for want of something."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"CI has to have this: {reason}")
    pytest.skip(reason)


def program(name: str) -> str:
    """The path of a program on this machine, or the test is given up."""
    return shutil.which(name) or missing(f"{name} is not installed")


ENV_VLLM_MODEL = "TEST_VLLM_MODEL"
_WEIGHTS = Path(__file__).resolve().parents[2] / ".weights" / "smollm2-135m-instruct"


def vllm_model() -> Path:
    """A directory of weights that vLLM can load here, or the test is given up.

    ``TEST_VLLM_MODEL`` names one; else it is what ``scripts/setup --with-vllm-cpu`` makes.
    """
    mend = "run scripts/setup --with-vllm-cpu"
    if importlib.util.find_spec("vllm") is None:
        missing(f"vLLM is not installed: {mend}")
    path = Path(os.environ.get(ENV_VLLM_MODEL) or _WEIGHTS)
    return path if (path / "config.json").is_file() else missing(f"no weights at {path}: {mend}")


@contextmanager
def small_disk(place: Path, *, mib: int) -> Iterator[Path]:
    """A file system of its own at ``place``, of so many MiB, while the block runs."""
    mount, umount = program("mount"), program("umount")
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(place)]
    if subprocess.run([mount, *options], check=False, capture_output=True).returncode:  # noqa: S603 - a fixed command
        missing("mounting needs a privilege this user has not")
    try:
        yield place
    finally:
        subprocess.run([umount, "-l", str(place)], check=True)  # noqa: S603
