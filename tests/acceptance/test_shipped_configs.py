"""The settings shipped for a machine with a GPU, as far as one without can start them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from living import ROOT, event, start, stop

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]


def test_gpu_yaml_starts_and_a_night_holds_the_whole_gpu(tmp_path: Path) -> None:
    runtime = start(
        tmp_path,
        SLEEP_CONFIG=str(ROOT / "configs" / "gpu.yaml"),
        # What this machine has not: a GPU is only said to be there, and no model asks for it.
        SLEEP_ENGINE__KIND="extractive",
        SLEEP_RAY__NUM_GPUS="1",
        # At whatever time of the day this runs.
        SLEEP_POOL__QUIET_HOURS="[]",
        RAY_AUTH_MODE="disabled",
        RAY_USAGE_STATS_ENABLED="0",
    )
    try:
        runtime.capture(event(1, "gpu", "from now on deploy on mondays", kind="correction"))
        runtime.night("gpu")
        assert len(runtime.notes("gpu")) == 1
        pool: dict[str, Any] = runtime.http.get("/v1/pool").json()
        assert pool["gpu_seconds_today"] > 0, "it held no GPU"
    finally:
        assert stop(runtime) == 0
