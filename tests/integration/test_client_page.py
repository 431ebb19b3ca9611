"""The page about the client, and the example agent: what they show is run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.capture_server import serving
from benchmarks.waiting import free_port
from sleep_runtime.client import Client, Options
from sleep_runtime.testing.recorder import CaptureRecorder, lesson

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "python-client.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def example() -> str:
    """The example of the page."""
    (code,) = EXAMPLE.findall(PAGE.read_text("utf-8"))
    return str(code)


def agent() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "agent_loop", ROOT / "examples" / "agent_loop" / "agent.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_of_the_page_has_five_lines_and_captures(tmp_path: Path) -> None:
    port, journal = free_port(), tmp_path / "journal.ndjson"
    assert len(example().strip().splitlines()) - 1 == 5  # and an empty one
    with serving(port, "--journal", str(journal)):
        subprocess.run(
            [sys.executable, "-c", example()],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "SLEEP_URL": f"http://127.0.0.1:{port}",
                "SLEEP_SPOOL_DIR": str(tmp_path / "spool"),
            },
            timeout=60,
            check=True,
        )
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [(e["kind"], e["role"]) for e in events] == [("correction", "human")]
    assert events[0]["scope"] == "acme/banking/ana"


def test_the_readme_shows_the_same_example() -> None:
    shown = "\n".join(f"    {line}".rstrip() for line in example().splitlines())
    assert shown in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("notes", "corrected"),
    [([], 2), ([lesson("n1", "always use adjusted EBITDA", scope="acme-decks/banking")], 0)],
)
def test_the_example_agent_is_corrected_until_it_remembers(
    tmp_path: Path, notes: list[dict[str, object]], corrected: int
) -> None:
    recorder = CaptureRecorder(notes)
    options = Options(spool_dir=tmp_path)
    with Client("http://runtime", transport=recorder, options=options) as client:
        assert agent().day(client) == corrected
        assert client.flush()
    kinds = [event["kind"] for event in recorder.events]
    assert kinds.count("correction") == corrected
    assert kinds.count("retrieval") == (2 if notes else 0)
    assert {event["scope"] for event in recorder.events} == {
        "acme-decks/banking/ana",
        "acme-decks/banking/ben",
    }
