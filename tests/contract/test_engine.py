"""The engines keep the Engine contract."""

from __future__ import annotations

import pytest

from sleep_runtime.core.observation import Claim, NoteKind
from sleep_runtime.core.ports import Engine
from sleep_runtime.engines.extractive import ExtractiveEngine
from sleep_runtime.engines.prefilter import Prefiltered
from sleep_runtime.testing.contracts.engine import LESSON, EngineContract
from sleep_runtime.testing.embedder import HashEmbedder
from sleep_runtime.testing.engine import Line, ScriptedEngine


class TestExtractive(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return ExtractiveEngine(HashEmbedder())


class TestScripted(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        claim = Claim(statement="use adjusted EBITDA", kind=NoteKind.CONVENTION)
        return ScriptedEngine({LESSON: [Line(claim)]})


class TestPrefiltered(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        embedder = HashEmbedder()
        return Prefiltered(ExtractiveEngine(embedder), embedder)
