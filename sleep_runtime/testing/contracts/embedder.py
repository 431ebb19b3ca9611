"""What every ``Embedder`` promises. Subclass in a test and give it an ``embedder`` fixture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sleep_runtime.core.ports import Embedder

TEXTS = (
    "use adjusted EBITDA",
    "please use adjusted EBITDA, not reported",
    "deploys go out on Tuesdays",
    "",
    "naïve café — ünïcode ✓",
    "a long text about many things " * 100,
    "?!",
)


def unpack(vector: bytes) -> npt.NDArray[np.float32]:
    """A vector as numbers."""
    return np.frombuffer(vector, dtype="<f4")


class EmbedderContract:
    """Run by pytest in a subclass named ``Test...`` that has an ``embedder`` fixture."""

    def test_vectors_are_unit_float32_of_the_stated_length(self, embedder: Embedder) -> None:
        for vector in embedder.embed(TEXTS):
            assert len(vector) == 4 * embedder.dim
            assert abs(float(np.linalg.norm(unpack(vector))) - 1.0) < 1e-5

    def test_answers_come_in_order_and_nothing_gives_nothing(self, embedder: Embedder) -> None:
        assert embedder.embed([]) == []
        assert list(reversed(embedder.embed(TEXTS[:3]))) == embedder.embed(TEXTS[2::-1])

    def test_a_vector_does_not_depend_on_its_batch(self, embedder: Embedder) -> None:
        together = embedder.embed(TEXTS)
        assert together == [embedder.embed([text])[0] for text in TEXTS]

    def test_repeats_give_the_same_bits(self, embedder: Embedder) -> None:
        first, again = embedder.embed(["run the tests", "run the tests"])
        assert first == again

    def test_similar_texts_are_nearer_than_others(self, embedder: Embedder) -> None:
        base, near, far = (unpack(vector) for vector in embedder.embed(TEXTS[:3]))
        assert float(base @ near) > float(base @ far)

    def test_lone_surrogates_are_taken(self, embedder: Embedder) -> None:
        assert len(embedder.embed(["broken \ud800 text"])) == 1

    def test_the_model_has_a_name(self, embedder: Embedder) -> None:
        assert embedder.model
        assert embedder.dim > 0
