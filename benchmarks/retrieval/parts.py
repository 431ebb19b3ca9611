"""The parts of the retrieval benchmark. Each repeats ``n`` times; a sample is a median of many."""

from __future__ import annotations

import random
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from benchmarks.harness import Results, quantile
from benchmarks.retrieval import store
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.ports import Hit, ScoredNote
from sleep_runtime.core.scope import Scope
from sleep_runtime.engines.embedder import MiniLmEmbedder
from sleep_runtime.present.bm25 import Postings, words
from sleep_runtime.present.budget import BudgetCompiler
from sleep_runtime.present.markdown import MarkdownCompiler
from sleep_runtime.present.search import Searcher
from sleep_runtime.present.tokens import make_counter
from sleep_runtime.stores.chroma import ChromaIndex
from sleep_runtime.stores.ledger import SqliteLedgerReader

QUERIES = 1000
LARGE = 100_000
LARGE_QUERIES = 100
EVERYTHING = 10_000_000
GB = 1024 * 1024 * 1024
READER = Scope("org/team/user")


class Took(NamedTuple):
    """Seconds of each call: on the clock, and of this thread's processor time."""

    wall: list[float]
    cpu: list[float]


def timed(act: Callable[[Any], object], over: Iterable[Any]) -> Took:
    """Call it for each, one after the other."""
    took = Took([], [])
    for one in over:
        cpu, began = time.thread_time(), time.perf_counter()
        act(one)
        took.wall.append(time.perf_counter() - began)
        took.cpu.append(time.thread_time() - cpu)
    return took


def _embedding(embedder: MiniLmEmbedder) -> Callable[[str], list[bytes]]:
    return lambda text: embedder.embed([text])


def _neighbours(index: ChromaIndex, scope: Scope, k: int, vector: bytes) -> list[Hit]:
    return index.query(0, vector, [scope], k=k)


def _asking(searcher: Searcher, scope: Scope, k: int = 8) -> Callable[[str], list[ScoredNote]]:
    return lambda text: searcher.search(scope, text, k=k)


def _by_reader(searcher: Searcher) -> Callable[[tuple[Scope, str]], list[ScoredNote]]:
    return lambda one: searcher.search(one[0], one[1], k=8)


def _add(results: Results, name: str, took: Took, unit: str) -> None:
    """Median and tail on the clock, median of processor time: the work of others is not in that."""
    factor = {"ms": 1e3, "us": 1e6}[unit]
    results.add(f"{name}_p50_{unit}", factor * statistics.median(took.wall), unit)
    results.add(f"{name}_p99_{unit}", factor * quantile(took.wall, 0.99), unit)
    results.add(f"{name}_cpu_{unit}", factor * statistics.median(took.cpu), unit)


# ---------------------------------------------------------------------------- the query's vector


def embedding(results: Results, home: Path, n: int) -> None:  # noqa: ARG001 - parts are called alike
    """One text, the same again, and 8 clients at once by how many run side by side."""
    for turn in range(n):
        texts, _ = store.queries(120, seed=turn)
        embedder = MiniLmEmbedder()
        embedder.embed(["the model is loaded"])
        _add(results, "embed", timed(_embedding(embedder), texts), "ms")
        _add(results, "embed_again", timed(_embedding(embedder), texts), "us")
        for parallel in (1, 2):
            together = MiniLmEmbedder(parallel=parallel)
            together.embed(["the model is loaded"])
            began = time.perf_counter()
            with ThreadPoolExecutor(8) as clients:
                list(clients.map(_embedding(together), texts))
            rate = len(texts) / (time.perf_counter() - began)
            results.add(f"embed_8_clients_{parallel}_side_by_side", rate, "texts/s")


# ---------------------------------------------------------------------------- small and spread


def small(results: Results, home: Path, n: int) -> None:
    """One reader that sees 1,000 notes, distinct queries, apart from their embedding."""
    made = store.write(home / "small.sqlite", [str(s) for s in READER.lineage()], 334, seed=1)
    with SqliteLedgerReader(made.path) as reader:
        for turn in range(n):
            texts, embedder = store.queries(QUERIES, seed=100 + turn)
            searcher = Searcher(reader, None, embedder)
            searcher.search(READER, texts[0], k=8)
            took = timed(_asking(searcher, READER), texts)
            _add(results, "search_1k", took, "us")


def spread_readers(results: Results, home: Path, n: int) -> None:
    """100,000 notes in 10,000 scopes, every query by another reader: first reads, then later."""
    made = store.write(home / "spread.sqlite", store.spread(10_000), 10, seed=2)
    people = [Scope(scope) for scope in made.scopes if scope.count("/") == 2]
    with SqliteLedgerReader(made.path) as reader:
        for turn in range(n):
            random.Random(turn).shuffle(people)
            texts, embedder = store.queries(len(people) + QUERIES, seed=200 + turn)
            searcher = Searcher(reader, None, embedder)
            asked = list(zip(people, texts, strict=False))
            took = timed(_by_reader(searcher), asked)
            _add(
                results,
                "search_spread_first",
                Took(*(part[len(part) // 10 :] for part in took)),
                "us",
            )
            again = list(zip(people[:QUERIES], texts[len(people) :], strict=True))
            took = timed(_by_reader(searcher), again)
            _add(results, "search_spread_later", took, "us")


# ---------------------------------------------------------------------------- one large scope


def large_scope(results: Results, home: Path, n: int) -> None:
    """100,000 notes of one scope: through the index, exactly in memory, and Chroma by itself."""
    made = store.write(home / "large.sqlite", ["org"], LARGE, seed=3)
    scope = Scope("org")
    index = ChromaIndex(home / "large.chroma")
    try:
        with SqliteLedgerReader(made.path) as reader:
            results.add("chroma_fill_s", _fill(reader, index, scope), "s")
            exact = Searcher(reader, None, store.PlantedEmbedder(), exact_limit=EVERYTHING)
            for turn in range(n):
                _large_turn(results, reader, index, exact, seed=300 + turn)
    finally:
        index.close()


def _fill(reader: SqliteLedgerReader, index: ChromaIndex, scope: Scope) -> float:
    began = time.perf_counter()
    after = ""
    while notes := reader.notes([scope], statuses=[NoteStatus.ACTIVE], limit=2000, after=after):
        vectors = {v.note_id: v.vector for v in reader.vectors([note.id for note in notes])}
        index.upsert(0, [(note, vectors[note.id]) for note in notes])
        after = notes[-1].id
    return time.perf_counter() - began


def _large_turn(
    results: Results, reader: SqliteLedgerReader, index: ChromaIndex, exact: Searcher, *, seed: int
) -> None:
    scope = Scope("org")
    texts, embedder = store.queries(LARGE_QUERIES, seed=seed)
    searcher = Searcher(reader, index, embedder, exact_limit=0)
    began = time.perf_counter()
    searcher.search(scope, texts[0], k=8)
    results.add("search_large_first_s", time.perf_counter() - began, "s")
    exact._vectors._embedder = embedder  # noqa: SLF001 - the same searcher, other queries
    exact.search(scope, texts[0], k=8)
    vectors = [embedder.vectors[text] for text in texts]
    for k in (8, 125):
        took = timed(partial(_neighbours, index, scope, k), vectors)
        _add(results, f"chroma_k{k}", took, "ms")
    found: list[list[ScoredNote]] = []
    took = timed(lambda t: found.append(searcher.search(scope, t, k=8)), texts)
    _add(results, "search_large", took, "ms")
    true: list[list[ScoredNote]] = []
    took = timed(lambda t: true.append(exact.search(scope, t, k=8)), texts)
    _add(results, "search_large_exact", took, "ms")
    results.add("recall_at_8_of_search", _recall(_ids(found), _ids(true)), "share")
    hits = [[hit.note_id for hit in index.query(0, v, [scope], k=100)] for v in vectors[:50]]
    results.add("recall_at_10_of_index", _recall_of_index(reader, hits, vectors, 10), "share")
    results.add("recall_at_100_of_index", _recall_of_index(reader, hits, vectors, 100), "share")


def _ids(answers: Sequence[Sequence[ScoredNote]]) -> list[list[str]]:
    return [[hit.note.id for hit in answer] for answer in answers]


def _recall(found: Sequence[Sequence[str]], true: Sequence[Sequence[str]]) -> float:
    shares = [len(set(a) & set(b)) / len(b) for a, b in zip(found, true, strict=True)]
    return statistics.fmean(shares)


def _recall_of_index(
    reader: SqliteLedgerReader, hits: list[list[str]], vectors: list[bytes], k: int
) -> float:
    rows = reader.segment(Scope("org"), limit=EVERYTHING)
    matrix = np.frombuffer(b"".join(row.vector for row in rows), dtype="<f4")
    matrix = matrix.reshape(len(rows), -1)
    true = []
    for vector in vectors[: len(hits)]:
        scores = np.vecdot(matrix, np.frombuffer(vector, dtype="<f4"))
        true.append([rows[at].note_id for at in np.argsort(-scores, kind="stable")[:k]])
    return _recall([one[:k] for one in hits], true)


# ---------------------------------------------------------------------------- memory


def memory(results: Results, home: Path, n: int) -> None:  # noqa: ARG001 - once is enough
    """What scopes of 10 notes and one of 20,000 take, as Python sees it and as counted."""
    many = store.write(home / "scopes.sqlite", store.spread(4000), 10, seed=4)
    _held(results, "scope_of_10", many, len(many.scopes))
    one = store.write(home / "one.sqlite", ["org"], 20_000, seed=5)
    _held(results, "note_of_20k", one, one.notes)


def _held(results: Results, name: str, made: store.Made, count: int) -> None:
    texts, embedder = store.queries(1, seed=6)
    with SqliteLedgerReader(made.path) as reader:
        searcher = Searcher(reader, None, embedder, cache_bytes=4 * GB)
        searcher.search(Scope("nobody"), texts[0], k=1)
        tracemalloc.start()
        for scope in made.scopes:
            searcher.search(Scope(scope), texts[0], k=1)
        results.add(f"traced_per_{name}", tracemalloc.get_traced_memory()[0] / count, "bytes")
        tracemalloc.stop()
        held = searcher.segment_bytes + searcher.note_bytes
        results.add(f"counted_per_{name}", held / count, "bytes")


def million(results: Results, home: Path, n: int) -> None:
    """1,000,000 notes over 100,000 scopes, readers spread over all, with the default memory."""
    began = time.perf_counter()
    made = store.write(home / "million.sqlite", store.spread(100_000), 10, seed=7)
    results.add("million_write_s", time.perf_counter() - began, "s")
    people = [Scope(scope) for scope in made.scopes if scope.count("/") == 2]
    process = psutil.Process()
    with SqliteLedgerReader(made.path) as reader:
        before = process.memory_info().rss
        texts, embedder = store.queries(20_000, seed=400)
        searcher = Searcher(reader, None, embedder)
        for turn in range(n):
            random.Random(turn).shuffle(people)
            asked = list(zip(people, texts, strict=False))
            took = timed(_by_reader(searcher), asked)
            _add(results, "search_million", took, "us")
        results.add("million_rss_mb", (process.memory_info().rss - before) / 2**20, "MB")
        results.add("million_counted_mb", searcher.segment_bytes / 2**20, "MB")


# ---------------------------------------------------------------------------- compilers, libraries


def compilers(results: Results, home: Path, n: int) -> None:
    """100 notes into 800 tokens, by each compiler and counter."""
    made = store.write(home / "compile.sqlite", [str(s) for s in READER.lineage()], 334, seed=8)
    texts, embedder = store.queries(50, seed=500)
    with SqliteLedgerReader(made.path) as reader:
        searcher = Searcher(reader, None, embedder)
        answers = [searcher.search(READER, text, k=100) for text in texts]
    for _ in range(n):
        for counted in ("estimate", "o200k_base"):
            for make in (BudgetCompiler, MarkdownCompiler):
                compiler = make(make_counter(counted))

                def compiled(hits: list[ScoredNote], compiler: Any = compiler) -> None:
                    assert compiler.compile(hits, query="", budget_tokens=800).tokens <= 800

                _add(results, f"{compiler.name}_{counted}", timed(compiled, answers), "us")


def other_bm25(results: Results, home: Path, n: int) -> None:
    """A kept library beside ours: an index of 10 texts and of 1,000, a query over 1,000."""
    import bm25s

    made = store.write(home / "texts.sqlite", ["org"], 1000, seed=9)
    with SqliteLedgerReader(made.path) as reader:
        texts = [row.statement for row in reader.segment(Scope("org"), limit=1000)]
    split = [words(text) for text in texts]

    def theirs(count: int) -> Any:
        index = bm25s.BM25(method="lucene")
        index.index(split[:count], show_progress=False)
        return index

    for _ in range(n):
        for count in (10, 1000):
            _add(results, f"bm25s_index_{count}", timed(theirs, [count] * 20), "us")
            took = timed(lambda c: Postings(texts[:c]), [count] * 20)
            _add(results, f"postings_index_{count}", took, "us")
        index, ours = theirs(1000), Postings(texts)
        asked = [words(text)[:8] for text in texts]
        _add(results, "bm25s_query", timed(index.get_scores, asked), "us")

        def score(text: Sequence[str], ours: Postings = ours) -> None:
            found = ours.find(np.array(sorted({hash(word) for word in text}), dtype=np.int64))
            ours.add(found, [1.0] * len(found.begins), np.zeros(1000, dtype=np.float32))

        _add(results, "postings_query", timed(score, asked), "us")
