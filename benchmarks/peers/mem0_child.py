"""mem0 in an environment of its own: reads requests on stdin, prints answers, a JSON line each.

Runs there as ``python -m benchmarks.peers.mem0_child`` with this repository on ``PYTHONPATH``, and
is started by ``mem0_peer``. Any connection it tries to open is refused and counted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.side import K, timed
from sleep_runtime.engines.embedder import MiniLmEmbedder

_BATCH = 1000


class MiniLm:
    """Our embedder as mem0's factory makes its own: from a config, one text at a time."""

    def __init__(self, config: Any = None) -> None:
        self.config = config
        self._embedder = MiniLmEmbedder(cache_size=0)

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:  # noqa: ARG002 - mem0's signature
        return _floats(self._embedder.embed([text])[0])

    def embed_batch(self, texts: Sequence[str], memory_action: str = "add") -> list[list[float]]:
        return [self.embed(text, memory_action) for text in texts]


class Offline:
    """Refuses connections to other machines, from when it is made, and counts them."""

    def __init__(self) -> None:
        self.refused = 0
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "socket.getaddrinfo" or (
            event == "socket.connect" and isinstance(args[1], tuple)
        ):
            self.refused += 1
            raise OSError(f"the benchmark is offline: {event}")


class Child:
    """A ``Memory`` over mem0's own Chroma store, and what can be asked of it, once it is open."""

    def open(self, home: str) -> dict[str, Any]:
        """Make an empty store below ``home``."""
        from mem0 import Memory
        from mem0.utils.factory import EmbedderFactory

        # mem0 takes known names of embedders only; this one's class is replaced by ours.
        EmbedderFactory.provider_to_class["langchain"] = f"{__spec__.name}.MiniLm"
        self._memory: Any = Memory.from_config(
            {
                "vector_store": {
                    "provider": "chroma",
                    "config": {"collection_name": "notes", "path": f"{home}/chroma"},
                },
                "embedder": {"provider": "langchain", "config": {}},
                "llm": {"provider": "openai", "config": {"api_key": "unused"}},
                "history_db_path": f"{home}/history.db",
            }
        )
        return {"versions": _versions(), "limits": _limits()}

    def fill(self, texts: str, vectors: str) -> None:
        """(id, user, text) of each, into mem0's store, with the payload its own ``add`` writes.

        Both are files: its own ``add`` of 10,000 takes a quarter of an hour.
        """
        from mem0.utils.lemmatization import lemmatize_for_bm25

        notes = json.loads(Path(texts).read_text(encoding="utf-8"))
        template = self._payload_of_an_added()
        matrix = np.load(vectors)
        for at in range(0, len(notes), _BATCH):
            page = notes[at : at + _BATCH]
            self._memory.vector_store.insert(
                vectors=matrix[at : at + _BATCH].tolist(),
                ids=[note_id for note_id, _, _ in page],
                payloads=[
                    {
                        **template,
                        "user_id": user,
                        "data": text,
                        "text_lemmatized": lemmatize_for_bm25(text),
                    }
                    for _, user, text in page
                ],
            )

    def search(self, asked: Sequence[tuple[str, str]]) -> dict[str, Any]:
        ms, found = timed(self._search, asked)
        answers = [answer["results"] for answer in found]
        return {"ms": ms, "tops": [hits[0]["id"] if hits else "" for hits in answers]}

    def add(self, said: Sequence[tuple[str, str]]) -> dict[str, Any]:
        ms, answers = timed(self._add, said)
        if any(len(answer["results"]) != 1 for answer in answers):
            raise RuntimeError(f"mem0 did not keep what it was given: {answers}")
        return {"ms": ms}

    def _search(self, one: tuple[str, str]) -> Any:
        return self._memory.search(one[1], filters={"user_id": one[0]}, top_k=K)

    def _add(self, one: tuple[str, str]) -> Any:
        return self._memory.add(one[1], user_id=one[0], infer=False)

    def _payload_of_an_added(self) -> dict[str, Any]:
        (added,) = self._memory.add("a first memory", user_id="nobody", infer=False)["results"]
        payload: dict[str, Any] = self._memory.vector_store.get(added["id"]).payload
        self._memory.delete(added["id"])
        return payload


def serve() -> None:
    """Answer requests until stdin ends. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    offline, child = Offline(), Child()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer: dict[str, Any] = getattr(child, request["do"])(*request["args"]) or {}
        except Exception as error:  # noqa: BLE001 - the one who asked decides what it means
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({**answer, "refused": offline.refused}), file=answers, flush=True)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("mem0ai", "chromadb", "onnxruntime", "numpy")}


def _limits() -> dict[str, str]:
    """What of mem0's normal search is not to be had here, and why."""
    from mem0.utils.spacy_models import get_nlp_lemma
    from mem0.vector_stores.base import VectorStoreBase
    from mem0.vector_stores.chroma import ChromaDB

    found = {}
    if get_nlp_lemma() is None:
        found["mem0_entities"] = "needs spaCy's en_core_web_sm, which it downloads when it starts"
    if ChromaDB.keyword_search is VectorStoreBase.keyword_search:
        found["mem0_keywords"] = "mem0's Chroma store has no keyword search: by meaning alone"
    return found


def _floats(vector: bytes) -> list[float]:
    floats: list[float] = np.frombuffer(vector, dtype="<f4").tolist()
    return floats


if __name__ == "__main__":
    serve()
