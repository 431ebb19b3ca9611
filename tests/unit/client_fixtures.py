"""Fixtures of the client's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from client_rig import NOTES, Make

from sleep_runtime.client import Client, Options
from sleep_runtime.testing.recorder import CaptureRecorder


@pytest.fixture
def recorder() -> CaptureRecorder:
    return CaptureRecorder(NOTES)


@pytest.fixture
def make(recorder: CaptureRecorder, tmp_path: Path) -> Iterator[Make]:
    made: list[Client] = []

    def client(transport: httpx.BaseTransport | None = recorder, **options: Any) -> Client:
        # Back-off in milliseconds, so that tests wait for events and not for clocks.
        chosen = {"spool_dir": tmp_path, "retry_base_s": 0.01, "retry_max_s": 0.02, **options}
        made.append(Client("http://runtime", transport=transport, options=Options(**chosen)))
        return made[-1]

    yield client
    for each in made:
        each.close()
