"""The layers hold, and the linter that holds them notices every kind of break."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 60
LINT = (
    "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
)

LAYERS = "Layers"
NEVER_LEARNS = "The hot path never learns"
NEVER_PRESENTS = "Accumulating never presents"
RAY_IN_SHELLS = "Ray stays in the shells"
ONLY_PYDANTIC = "The nouns know only pydantic"
CLIENT_ALONE = "The client needs only httpx"
NO_CLIENT = "The runtime is no client of itself"
NO_IO = "Decisions have no I/O"


class Break(NamedTuple):
    """An import, the module it is planted in, and the contract it has to break."""

    module: str
    line: str
    contract: str


BREAKS = [
    Break("core/event.py", "import sleep_runtime.consolidation.curate", LAYERS),
    Break("consolidation/curate.py", "import sleep_runtime.telemetry.log", LAYERS),
    Break("telemetry/log.py", "import sleep_runtime.stores.journal", LAYERS),
    Break("stores/journal.py", "import sleep_runtime.engines.llm", LAYERS),
    Break("capture/native.py", "import sleep_runtime.stores.journal", LAYERS),
    Break("engines/llm.py", "import sleep_runtime.config", LAYERS),
    Break("actors/driver.py", "import sleep_runtime.serve.app", LAYERS),
    Break("testing/engine.py", "import sleep_runtime.actors.driver", LAYERS),
    Break("config.py", "import sleep_runtime.compose.hot", LAYERS),
    Break("compose/hot.py", "import sleep_runtime.cli.main", LAYERS),
    Break("serve/app.py", "import sleep_runtime.consolidation.curate", NEVER_LEARNS),
    Break("present/search.py", "import sleep_runtime.engines.embedder", NEVER_LEARNS),
    Break("capture/native.py", "import sleep_runtime.consolidation.words", NEVER_LEARNS),
    Break("serve/hot_path.py", "import sleep_runtime.actors.driver", NEVER_LEARNS),
    Break("actors/driver.py", "import sleep_runtime.present.search", NEVER_PRESENTS),
    Break("stores/projector.py", "import sleep_runtime.present.search", NEVER_PRESENTS),
    Break("consolidation/curate.py", "import sleep_runtime.present.lines", NEVER_PRESENTS),
    Break("stores/journal.py", "import ray", RAY_IN_SHELLS),
    Break("testing/engine.py", "def later() -> None:\n    import ray", RAY_IN_SHELLS),
    Break("core/note.py", "import numpy", ONLY_PYDANTIC),
    Break("core/ports/index.py", "from sqlalchemy import select", ONLY_PYDANTIC),
    Break("client/sync.py", "import sleep_runtime.config", LAYERS),
    Break("client/wire.py", "from pydantic import BaseModel", CLIENT_ALONE),
    Break("client/face.py", "import sleep_runtime.core.event", CLIENT_ALONE),
    Break("testing/recorder.py", "import sleep_runtime.core.note", CLIENT_ALONE),
    Break("serve/app.py", "import sleep_runtime.client", NO_CLIENT),
    Break("actors/driver.py", "def later() -> None:\n    import sleep_runtime.client", NO_CLIENT),
    Break("consolidation/signal.py", "import time", NO_IO),
    Break("consolidation/group.py", "def pick() -> float:\n    import random", NO_IO),
    Break("consolidation/generate.py", "from socket import socket", NO_IO),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and its contracts, to break things in."""
    place = tmp_path_factory.mktemp("house")
    skip = shutil.ignore_patterns("__pycache__", "*.json", "*.pyc")
    shutil.copytree(ROOT / "sleep_runtime", place / "sleep_runtime", ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", place)
    return place


def lint(place: Path) -> tuple[int, str]:
    """The linter's exit code and what it said, in a process that imports the copy."""
    command = [sys.executable, "-c", LINT]
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_layers_hold(house: Path) -> None:
    code, said = lint(house)
    assert code == 0, said
    assert "0 broken" in said


@pytest.mark.parametrize("planted", BREAKS, ids=lambda b: f"{b.module}: {b.line.split()[-1]}")
def test_a_planted_import_breaks_its_contract(house: Path, planted: Break) -> None:
    module = house / "sleep_runtime" / planted.module
    whole = module.read_text()
    module.write_text(f"{whole}\n\n{planted.line}\n")
    try:
        code, said = lint(house)
    finally:
        module.write_text(whole)
    assert code == 1, said
    assert f"{planted.contract} BROKEN" in said


def test_every_contract_is_seen_to_break() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = {contract["name"] for contract in config["tool"]["importlinter"]["contracts"]}
    assert named == {planted.contract for planted in BREAKS}
