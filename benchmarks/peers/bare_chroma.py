"""Bare Chroma: one collection, the user in the metadata, a filter in every query."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from benchmarks.peers.side import K, Searched, timed
from benchmarks.peers.texts import Remembered
from sleep_runtime.core.ports import Embedder

_BATCH = 1000


class BareChroma:
    """A ``PersistentClient`` in this process with Chroma's defaults, given our embedder's vectors.

    Vectors have unit length, so that Chroma's default distance orders them as cosine does.
    """

    name = "chroma"

    def __init__(self, home: Path, embedder: Embedder) -> None:
        import chromadb
        from chromadb.config import Settings

        settings = Settings(anonymized_telemetry=False)
        self._client: Any = chromadb.PersistentClient(str(home), settings=settings)
        self._collection: Any = self._client.create_collection("notes", embedding_function=None)
        self._embedder = embedder

    def fill(self, notes: Sequence[Remembered], vectors: Sequence[bytes]) -> None:
        for at in range(0, len(notes), _BATCH):
            page = notes[at : at + _BATCH]
            self._collection.upsert(
                ids=[note.id for note in page],
                embeddings=[_floats(vector) for vector in vectors[at : at + _BATCH]],
                documents=[note.text for note in page],
                metadatas=[{"user": note.user} for note in page],
            )

    def search(self, asked: Sequence[tuple[str, str]]) -> Searched:
        ms, found = timed(self._search, asked)
        return Searched(ms, [ids[0] if ids else "" for ids in found])

    def add(self, said: Sequence[tuple[str, str]]) -> list[float]:
        ms, _ = timed(self._add, said)
        return ms

    def close(self) -> None:
        self._client.close()

    def _search(self, one: tuple[str, str]) -> list[str]:
        user, text = one
        answer = self._collection.query(
            query_embeddings=[self._vector(text)], n_results=K, where={"user": user}
        )
        ids: list[str] = answer["ids"][0]
        return ids

    def _add(self, one: tuple[str, str]) -> None:
        user, text = one
        self._collection.upsert(
            ids=[uuid4().hex],
            embeddings=[self._vector(text)],
            documents=[text],
            metadatas=[{"user": user}],
        )

    def _vector(self, text: str) -> npt.NDArray[np.float32]:
        return _floats(self._embedder.embed([text])[0])


def _floats(vector: bytes) -> npt.NDArray[np.float32]:
    return np.frombuffer(vector, dtype="<f4").astype(np.float32)
