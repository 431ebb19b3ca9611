"""A night dies at every boundary of its run; the store afterwards is that of a quiet night."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reliability.chaos.bench_wounds import BOUNDARIES

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("night_worker.py")
TRAIL = ROOT / "examples" / "earnings_deck" / "events.ndjson"
DELIVERIES = 330  # two days: enough for every tier to learn something and to fold


def night(data_dir: Path, failpoints: str = "") -> subprocess.CompletedProcess[str]:
    data_dir.mkdir(exist_ok=True)
    trail = data_dir.with_suffix(".ndjson")
    trail.write_bytes(b"".join(TRAIL.read_bytes().splitlines(keepends=True)[:DELIVERIES]))
    return subprocess.run(
        [sys.executable, str(WORKER), str(data_dir), str(trail)],
        env={**os.environ, "SLEEP_FAILPOINTS": failpoints},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-4000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    report = told(night(tmp_path_factory.mktemp("undisturbed")))
    assert report["active"], "the trail teaches nothing: this test would compare empty stores"
    return report


@pytest.mark.parametrize("visit", [1, 3])
@pytest.mark.parametrize("place", BOUNDARIES)
def test_killed_anywhere_the_store_is_that_of_an_undisturbed_night(
    place: str, visit: int, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    hurt = night(tmp_path, f"{place}=kill@{visit}")
    if visit > 1 and hurt.returncode == 0:
        pytest.skip(f"the night passes {place} less than {visit} times")
    assert hurt.returncode == -signal.SIGKILL, f"{place} was never passed: {hurt.stderr[-2000:]}"
    healed = told(night(tmp_path))
    assert healed["digest"] == undisturbed["digest"], difference(healed, undisturbed)
    assert healed["events"] == undisturbed["events"]
    assert not healed["unfinished"]
    assert not healed["marks"]
    assert healed["indexed"] == healed["active"] == undisturbed["active"]


def test_killed_again_and_again_it_still_comes_to_the_same(
    undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    for place in BOUNDARIES:
        night(tmp_path, f"{place}=kill")
    healed = told(night(tmp_path))
    assert healed["digest"] == undisturbed["digest"], difference(healed, undisturbed)


def test_a_pinned_answer_is_never_asked_for_again(
    undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    night(tmp_path, "run.generated.pinned=kill")  # a whole scope is pinned, none of it is used
    healed = told(night(tmp_path))
    assert 0 < healed["asked"] < undisturbed["asked"]


def difference(left: dict[str, Any], right: dict[str, Any]) -> str:
    """What a reader needs to see why two stores differ."""
    only = [note for note in left["notes"] if note not in right["notes"]]
    missing = [note for note in right["notes"] if note not in left["notes"]]
    return f"only in the hurt store: {only}; missing there: {missing}"
