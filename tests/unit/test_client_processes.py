"""Imports, ends, kills, forks and signals: what a process does to its client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from client_rig import WHO, Make, spooled

from sleep_runtime.testing.recorder import CaptureRecorder

ROOT = Path(__file__).resolve().parents[2]
Done = subprocess.CompletedProcess[str]


def python(
    code: str, *, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=check,
    )


def test_importing_it_loads_nothing_but_the_standard_library() -> None:
    code = (
        "import sys, sleep_runtime.client; before = set(sys.modules)\n"
        "tops = {name.partition('.')[0] for name in before}\n"
        "print(sorted(tops - set(sys.stdlib_module_names) - {'sleep_runtime', '__main__'}))\n"
        "import sleep_runtime.testing.recorder\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(tops & {'pydantic', 'numpy', 'ray', 'sqlalchemy', 'typer', 'chromadb'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(httpx.__file__).parents[1]}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "[]"]


ENDING = """
import os, sys
from sleep_runtime.client import Client, Options

pytest_plugins = ("client_fixtures",)
client = Client("http://127.0.0.1:9", options=Options(exit_s=1.0))
session = client.session("acme/banking/ana")
for number in range(3):
    session.message(f"m{number}", role="agent")
"""


def test_the_end_of_the_process_loses_nothing(tmp_path: Path) -> None:
    python(ENDING, SLEEP_SPOOL_DIR=str(tmp_path))
    assert spooled(tmp_path) == ["m0", "m1", "m2"]
    assert not list(tmp_path.rglob("*.lock"))


def test_a_killed_process_loses_only_what_was_in_memory(tmp_path: Path) -> None:
    code = ENDING.replace("exit_s=1.0", "durable=True") + "os.kill(os.getpid(), 9)"
    done = python(code, check=False, SLEEP_SPOOL_DIR=str(tmp_path))
    assert done.returncode == -signal.SIGKILL
    assert sorted(spooled(tmp_path)) == ["m0", "m1", "m2"]


def test_a_forked_child_begins_anew_and_the_parents_events_stay_the_parents(
    tmp_path: Path,
) -> None:
    code = (
        ENDING
        + """
child = os.fork()
if child == 0:
    assert client.stats().captured == 0
    session.message("child", role="agent")
    client.close()
    os._exit(0)
os.waitpid(child, 0)
session.message("parent", role="agent")
"""
    )
    python(code, SLEEP_SPOOL_DIR=str(tmp_path))
    assert sorted(spooled(tmp_path)) == ["child", "m0", "m1", "m2", "parent"]
    lines = [x for path in tmp_path.rglob("*-*.ndjson") for x in path.read_text().splitlines()]
    assert len({json.loads(line)["id"] for line in lines}) == 5


def test_a_signal_handler_may_capture_while_the_threads_start(
    make: Make, recorder: CaptureRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make()
    session = client.session(WHO)
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        session.message("signal", role="system")
        real(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        session.message("work", role="agent")
    assert client.flush(20.0)
    assert [e["text"] for e in recorder.events].count("work") == 1


@pytest.mark.timeout(60, method="thread")  # the other method has the signal this test takes
def test_a_signal_handler_may_capture(make: Make, recorder: CaptureRecorder) -> None:
    client = make()
    session = client.session(WHO)
    caught = 0

    def handle(*_: object) -> None:
        nonlocal caught
        caught += 1
        session.message("signal", role="system")
        signal.setitimer(signal.ITIMER_REAL, 0.0005)  # the next one, when this one is done

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    try:
        sent = 0
        while caught < 50:
            session.message("work", role="agent")
            sent += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert client.flush(20.0)
    assert client._pipeline._buffer._bytes == 0
    assert len(recorder.events) + client.stats().dropped == sent + caught
