"""The wheel without extras is a client: it installs httpx, no Ray, and the page's example runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.capture_server import serving
from benchmarks.waiting import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "python-client.md"
INSTALL_S = 300
NOT_REACHED = ("Connection", "connection", "No matching distribution", "Temporary failure")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=INSTALL_S, check=False,
    )  # fmt: skip


def installing(done: subprocess.CompletedProcess[str]) -> None:
    """Without a package index a laptop skips; CI has one."""
    if done.returncode == 0:
        return
    if os.environ.get("CI") != "true" and any(word in done.stderr for word in NOT_REACHED):
        pytest.skip("no package index here")
    pytest.fail(done.stderr[-3000:])


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of a fresh environment with the wheel and what it needs."""
    place = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    source = place / "source"  # a build leaves files beside what it builds
    shutil.copytree(
        ROOT / "sleep_runtime", source / "sleep_runtime",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    installing(run(*pip, "wheel", "--no-deps", "--quiet", "-w", place, source, cwd=place))
    (wheel,) = place.glob("*.whl")
    assert run(sys.executable, "-m", "venv", place / "venv", cwd=place).returncode == 0
    bin_ = place / "venv" / "bin"
    installing(run(bin_ / "python", "-m", "pip", "install", "--quiet", wheel, cwd=place))
    return bin_


def test_it_needs_httpx_and_nothing_of_the_runtime(installed: Path) -> None:
    done = run(installed / "python", "-m", "pip", "list", "--format=json", cwd=installed)
    names = {package["name"].lower() for package in json.loads(done.stdout)}
    assert {"sleep-runtime", "httpx"} <= names
    assert not names & {"ray", "pydantic", "numpy", "typer", "chromadb", "sqlalchemy"}
    assert len(names) <= 12


def test_the_example_of_the_page_runs_and_arrives(installed: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    port, journal = free_port(), tmp_path / "journal.ndjson"
    with serving(port, "--journal", str(journal)):
        done = subprocess.run(
            [installed / "python", "-c", code],
            env={"SLEEP_URL": f"http://127.0.0.1:{port}", "HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["kind"] for line in journal.read_text().splitlines()] == ["correction"]


def test_the_command_says_what_is_missing(installed: Path) -> None:
    done = run(installed / "sleep-runtime", "up", cwd=installed)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith('(pip install "sleep-runtime[runtime]")')


def test_the_recorder_comes_with_it(installed: Path) -> None:
    code = "from sleep_runtime.testing.recorder import CaptureRecorder; CaptureRecorder()"
    assert run(installed / "python", "-c", code, cwd=installed).returncode == 0
