"""The recorder and the real application answer the client alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.config import load
from sleep_runtime.testing.contracts.runtime import RuntimeContract
from sleep_runtime.testing.embedder import HashEmbedder
from sleep_runtime.testing.recorder import CaptureRecorder


class Bridge(httpx.BaseTransport):
    """Hands requests to an application in this process."""

    def __init__(self, app: TestClient) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._app.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.read(),
            headers=dict(request.headers),
        )
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


class TestRecorder(RuntimeContract):
    @pytest.fixture
    def transport(self) -> httpx.BaseTransport:
        return CaptureRecorder()


class TestApplication(RuntimeContract):
    @pytest.fixture
    def transport(self, tmp_path: Path) -> Iterator[httpx.BaseTransport]:
        settings = load(overrides={"data_dir": str(tmp_path / "data")}, environ={}).settings
        with (
            Embedded(settings, embedder=HashEmbedder()) as running,
            TestClient(running.app()) as app,
        ):
            yield Bridge(app)
