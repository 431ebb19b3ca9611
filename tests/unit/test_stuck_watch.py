"""An owner whose index does not come back ends itself, and only then."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WATCHED = """
import sys, threading
from sleep_runtime.actors.owners import end_when_stuck
busy = iter(map(float, sys.argv[1].split(",")))
left = threading.Event()
def busy_s():
    try:
        return next(busy)
    except StopIteration:
        left.set()
        return 0.0
end_when_stuck(busy_s, limit_s=1.0, every_s=0.001)
left.wait(20)
"""


@pytest.mark.parametrize(
    ("busy_s", "code"), [("0,0.5,1.5,1.6", 1), ("0,0.9,0,0.9,1.0", 0)], ids=["stuck", "slow"]
)
def test_the_process_ends_when_what_it_asked_takes_longer_than_the_limit(
    busy_s: str, code: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, busy_s],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert ("index.stuck" in done.stdout + done.stderr) == bool(code)


_HOLDS_THE_LOCK = """
import ctypes, time
from sleep_runtime.actors.owners import end_when_stuck
end_when_stuck(lambda: 0.0, limit_s=0.5, every_s=0.1)
time.sleep(1.5)                # looked at all the time: nothing happens
print("lived", flush=True)
ctypes.PyDLL(None).sleep(30)   # a call that keeps the interpreter's lock
"""


def test_the_process_ends_though_the_call_that_hangs_keeps_the_interpreters_lock() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HOLDS_THE_LOCK],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "lived\n"), done.stderr
