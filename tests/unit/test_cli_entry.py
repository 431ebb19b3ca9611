"""The command without the runtime: one line that says what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sleep_runtime.cli.output import out, say

ROOT = Path(__file__).resolve().parents[2]


def test_without_the_runtime_the_command_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['typer'] = None; sys.argv = ['sleep-runtime', 'up']\n"
        "from sleep_runtime.cli.entry import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: only the client is installed here, without typer "
        '(pip install "sleep-runtime[runtime]")\n'
    )


def test_with_it_the_command_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sleep_runtime.cli.entry", "--version"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("sleep-runtime ")


def test_no_text_of_a_note_commands_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out("\x1b[2J\x1b[Ha rule\u202e\x07\n  second line")
    say("\x9b1mloud")
    shown = capsys.readouterr()
    assert shown.out == "[2J[Ha rule\n  second line\n"
    assert shown.err == "1mloud\n"
