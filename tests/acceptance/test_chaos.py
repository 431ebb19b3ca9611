"""CI's share of chaos: five minutes of it, from a fixed seed, in both theatres."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from living import ROOT

from sleep_runtime.testing.needs import missing

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SEED = 20261127
MINUTES = 5.0


@pytest.mark.timeout(900)
def test_five_minutes_of_chaos_break_nothing(
    record_property: Callable[[str, object], None],
) -> None:
    words = ["--seed", str(SEED), "--minutes", str(MINUTES), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "reliability.chaos", *words],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )
    assert done.stdout, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    record_property("wounds", found["wounds"])
    print(f"{found['wounds']} wounds, {found['acked']} acked, {found['missed']} missed")
    assert found["violations"] == [], done.stderr[-6000:]
    assert (found["lost"], found["doubled"]) == (0, 0)
    assert {kind.partition(":")[0] for kind in found["by_wound"]} == {"bench", "stage"}
    assert done.returncode == 0
    if found["unable"]:
        missing(f"what these wounds need: {found['unable']}")
