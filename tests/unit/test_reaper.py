"""What is guarded ends with its owner, and only then."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from sleep_runtime.engines.reaper import Reaper

OWNER = """
import subprocess, sys
from sleep_runtime.engines.reaper import Reaper
nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
child = subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE)
reaper = Reaper()
reaper.guard(child.pid)
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_killed_owner_takes_what_it_guards_and_all_below_along() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        guarded = psutil.Process(int(owner.stdout.readline()))
        give_up = time.monotonic() + 20
        while not guarded.children():
            assert time.monotonic() < give_up
            time.sleep(0.01)
        family = psutil.Process(owner.pid).children(recursive=True)
        assert guarded in family
        owner.kill()
        _, left = psutil.wait_procs(family, timeout=20)
        for process in left:
            process.kill()
        assert left == []


def test_closing_it_leaves_everything_running(sleeper: subprocess.Popen[bytes]) -> None:
    reaper = Reaper()
    reaper.guard(sleeper.pid)
    reaper.close()
    reaper.close()
    assert sleeper.poll() is None
