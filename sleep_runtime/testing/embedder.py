"""HashEmbedder: an embedder without a model, for tests: texts with common words are near."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

_WORD = re.compile(r"\w+")


class HashEmbedder:
    """Implements ``Embedder``: a bag of words hashed into ``dim`` signed buckets, unit length.

    Deterministic across processes and machines. Case and punctuation do not count. A text
    without words maps to one fixed vector.
    """

    def __init__(self, dim: int = 64) -> None:
        self._dim = dim

    @property
    def model(self) -> str:
        return f"hash-words-{self._dim}"

    @property
    def dim(self) -> int:
        return self._dim

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> bytes:
        vector = np.zeros(self._dim, dtype=np.float64)
        for word in _WORD.findall(text.lower()):
            raw = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
            number = int.from_bytes(raw, "little")
            vector[(number >> 1) % self._dim] += 1.0 if number & 1 else -1.0
        norm = float(np.linalg.norm(vector))
        if norm == 0.0:
            vector[0] = norm = 1.0
        return (vector / norm).astype("<f4").tobytes()
