"""head.sh, the head pod's command: what it does when the runtime or Ray ends.

``ray`` and ``sleep-runtime`` are small scripts here that end as they are told, since the script's
own work is to start, watch and end them. With the real ones: tests/acceptance/test_head_pod.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

SCRIPT = Path(__file__).parents[2] / "cluster" / "kubernetes" / "base" / "head.sh"
WAIT_S = 20.0

RAY = """#!/bin/bash
if [ "$1" = health-check ]; then [ -e "$HERE/ray.up" ]; exit; fi
printf '%s\\n' "$@" > "$HERE/ray.args"
trap 'rm -f "$HERE/ray.up"; exit 0' TERM
touch "$HERE/ray.up"
while [ -e "$HERE/ray.up" ]; do sleep 0.05; done
exit 1
"""
RUNTIME = """#!/bin/bash
if [ "$1" = keys ]; then
  echo "$*" >> "$HERE/keys.asked"
  while [ -e "$HERE/no.key" ]; do sleep 0.05; done
  exit "${KEYS_CODE:-0}"
fi
echo "$*" >> "$HERE/runtime.starts"
trap 'echo drained >> "$HERE/runtime.log"; exit 0' TERM
touch "$HERE/runtime.up"
while [ ! -e "$HERE/runtime.broken" ]; do sleep 0.05; done
exit 1
"""


class Head:
    """The script under way, and the files by which its children are told to end."""

    def __init__(self, here: Path, **environment: str) -> None:
        self.here = here
        self.stderr = here / "stderr"
        for name, text in (("ray", RAY), ("sleep-runtime", RUNTIME)):
            command = here / name
            command.write_text(text, "utf-8")
            command.chmod(0o755)
        with self.stderr.open("w") as stderr:
            self.process = self._start(stderr, environment)

    def _start(self, stderr: TextIO, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", str(SCRIPT)],
            env={
                "PATH": f"{self.here}:{os.environ['PATH']}",
                "HERE": str(self.here),
                "FIRST_PAUSE_S": "0",
                "KUBERAY_GEN_RAY_START_CMD": "ray start --head --block",
                **environment,
            },
            stderr=stderr,
            start_new_session=True,  # so that its children can be ended with it
        )

    def starts(self) -> list[str]:
        file = self.here / "runtime.starts"
        return file.read_text("utf-8").splitlines() if file.exists() else []

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, "did not happen in time"
            time.sleep(0.02)

    def ended(self) -> tuple[int, str]:
        code = self.process.wait(WAIT_S)
        return code, self.stderr.read_text("utf-8")

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(WAIT_S)


@pytest.fixture
def head_of(tmp_path: Path) -> Iterator[Callable[..., Head]]:
    heads: list[Head] = []

    def start(**environment: str) -> Head:
        heads.append(Head(tmp_path, **environment))
        return heads[-1]

    yield start
    for head in heads:
        head.close()


def test_the_runtime_starts_when_ray_answers(head_of: Callable[..., Head]) -> None:
    head = head_of(SLEEP_CONFIG="/etc/x.yaml", RAY_ADDRESS="127.0.0.1:6379")
    head.wait_for(lambda: len(head.starts()) == 1)
    assert (head.here / "ray.up").exists()
    assert head.starts() == ["up --address 127.0.0.1:6379 --config /etc/x.yaml"]


def test_it_waits_for_the_first_key_before_the_runtime_starts(
    head_of: Callable[..., Head], tmp_path: Path
) -> None:
    (tmp_path / "no.key").touch()
    head = head_of(SLEEP_CONFIG="/etc/x.yaml", KEY_WAIT_S="60")
    head.wait_for(lambda: (head.here / "keys.asked").exists())
    assert (head.here / "keys.asked").read_text("utf-8").split() == [
        *("keys", "wait", "--timeout", "60", "--config", "/etc/x.yaml")
    ]
    assert (head.starts(), head.process.poll()) == ([], None)
    (tmp_path / "no.key").unlink()
    head.wait_for(lambda: len(head.starts()) == 1)


def test_asked_to_stop_while_it_waits_for_a_key_it_ends(
    head_of: Callable[..., Head], tmp_path: Path
) -> None:
    (tmp_path / "no.key").touch()
    head = head_of()
    head.wait_for(lambda: (head.here / "keys.asked").exists())
    head.process.send_signal(signal.SIGTERM)
    assert head.ended()[0] == 0
    assert not (head.here / "ray.up").exists()


def test_without_a_key_in_time_the_container_ends(head_of: Callable[..., Head]) -> None:
    code, said = head_of(KEYS_CODE="1").ended()
    assert code == 1
    assert "no key was made" in said


def test_quotes_in_rays_command_are_read_as_a_shell_does(head_of: Callable[..., Head]) -> None:
    head = head_of(KUBERAY_GEN_RAY_START_CMD='ray start --resources="{\\"idle_pool\\": 1}" --block')
    head.wait_for(lambda: (head.here / "ray.up").exists())
    args = (head.here / "ray.args").read_text("utf-8").splitlines()
    assert args == ["start", '--resources={"idle_pool": 1}', "--block"]


def test_asked_to_stop_it_drains_the_runtime_before_ray_ends(head_of: Callable[..., Head]) -> None:
    head = head_of()
    head.wait_for(lambda: (head.here / "runtime.up").exists())
    head.process.send_signal(signal.SIGTERM)
    code, said = head.ended()
    assert (code, (head.here / "runtime.log").read_text("utf-8")) == (0, "drained\n")
    assert not (head.here / "ray.up").exists()
    assert "draining" in said


def test_a_runtime_that_dies_is_started_again_on_the_same_ray(head_of: Callable[..., Head]) -> None:
    head = head_of()
    head.wait_for(lambda: (head.here / "runtime.up").exists())
    (head.here / "runtime.broken").touch()
    head.wait_for(lambda: len(head.starts()) >= 2)
    (head.here / "runtime.broken").unlink()
    head.wait_for(lambda: head.process.poll() is None and (head.here / "ray.up").exists())


def test_a_runtime_that_never_lives_ends_the_container(head_of: Callable[..., Head]) -> None:
    head = head_of(MAX_RESTARTS="3")
    (head.here / "runtime.broken").touch()
    code, said = head.ended()
    assert (code, len(head.starts())) == (1, 4)
    assert "the runtime ended 4 times: giving up" in said
    assert not (head.here / "ray.up").exists()


def test_when_ray_ends_the_container_does(head_of: Callable[..., Head]) -> None:
    head = head_of()
    head.wait_for(lambda: (head.here / "runtime.up").exists())
    (head.here / "ray.up").unlink()
    code, said = head.ended()
    assert (code, (head.here / "runtime.log").read_text("utf-8")) == (1, "drained\n")
    assert "Ray ended" in said


def test_a_ray_that_never_answers_is_not_waited_for_forever(head_of: Callable[..., Head]) -> None:
    head = head_of(KUBERAY_GEN_RAY_START_CMD="sleep 30", RAY_READY_S="1")
    code, said = head.ended()
    assert (code, head.starts()) == (1, [])
    assert "Ray did not answer in 1 s" in said


def test_without_the_annotation_it_says_what_is_missing(head_of: Callable[..., Head]) -> None:
    head = head_of(KUBERAY_GEN_RAY_START_CMD="")
    code, said = head.ended()
    assert code != 0
    assert "ray.io/overwrite-container-cmd" in said
