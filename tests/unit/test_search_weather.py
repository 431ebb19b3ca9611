"""Bad weather for search: bounded, clear, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from sleep_runtime.core.errors import EngineError, InvalidInput, StoreError
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.ports import Hit, NoteVector
from sleep_runtime.core.scope import Scope
from sleep_runtime.engines import embedder as minilm
from sleep_runtime.engines.embedder import MiniLmEmbedder
from sleep_runtime.present import away, scopes
from sleep_runtime.present.search import MAX_QUERY_CHARS, Searcher
from sleep_runtime.stores.projector import Projector
from sleep_runtime.telemetry.metrics import METRICS
from sleep_runtime.testing.embedder import HashEmbedder
from sleep_runtime.testing.index import InMemoryIndex
from sleep_runtime.testing.notebook import Notebook, make_note

ANA = Scope("acme/banking/ana")
TEAM = Scope("acme/banking")


def _ids(hits: Sequence[object]) -> list[str]:
    return [hit.note.id for hit in hits]  # type: ignore[attr-defined]


def _degraded(part: str) -> float:
    return float(METRICS.search_degraded.labels(part)._value.get())


def _book(count: int = 40) -> Notebook:
    book = Notebook(HashEmbedder())
    book.write(*(make_note(f"n{i:02}", f"Topic{i} lesson.") for i in range(count)))
    return book


def _indexed(book: Notebook) -> InMemoryIndex:
    index = InMemoryIndex()
    projector = Projector(book.reader, book.writer, index)
    while projector.project():
        continue
    return index


# ---------------------------------------------------------------------------- queries


def test_a_query_of_a_megabyte_is_refused_at_once() -> None:
    searcher = Searcher(_book().reader, None, HashEmbedder())
    began = time.monotonic()
    with pytest.raises(InvalidInput, match=r"^query: has 1,000,000 characters, at most 8,000"):
        searcher.search(ANA, "a " * 500_000)
    assert time.monotonic() - began < 1
    assert searcher.search(ANA, "topic7 " * (MAX_QUERY_CHARS // 7), k=1)


@pytest.mark.parametrize("query", ["?!", "\ud800", "the of and", "x" * 8000, "\0", "topic7\n" * 9])
def test_a_query_of_any_characters_is_answered(query: str) -> None:
    assert len(Searcher(_book().reader, None, HashEmbedder()).search(ANA, query, k=3)) == 3


# ---------------------------------------------------------------------------- the model


class _Broken(HashEmbedder):
    """An embedder whose model is missing until it is mended."""

    mended = False
    asked = 0

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        self.asked += 1
        if not self.mended:
            raise EngineError("the embedding model is not installed", field="embedder.weights")
        return super().embed(texts)


def test_without_the_model_words_answer_and_the_metric_says_so() -> None:
    embedder = _Broken()
    searcher = Searcher(_book().reader, None, embedder)
    before = _degraded("embedder")
    assert _ids(searcher.search(ANA, "what of topic7", k=1)) == ["n07"]
    assert "not installed" in searcher.degraded
    assert _ids(searcher.search(ANA, "what of topic9", k=1)) == ["n09"]
    assert _degraded("embedder") == before + 2
    assert embedder.asked == 1, "a model that failed is left alone for a while"


def test_a_model_that_comes_back_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = _Broken()
    searcher = Searcher(_book().reader, None, embedder)
    searcher.search(ANA, "topic7")
    embedder.mended = True
    later = time.monotonic() + away.RETRY_S + 1
    monkeypatch.setattr("sleep_runtime.present.away.time.monotonic", lambda: later)
    assert searcher.degraded == ""
    assert _ids(searcher.search(ANA, "Topic7 lesson.", k=1)) == ["n07"]
    assert embedder.asked == 2


@pytest.mark.parametrize("weights", [b"not a model", None], ids=["altered", "missing"])
def test_an_altered_or_missing_model_file_leaves_search_by_words(
    weights: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if weights is not None:
        (tmp_path / "model.onnx").write_bytes(weights)
    monkeypatch.setattr("sleep_runtime.engines.embedder.resources.files", lambda _: tmp_path)
    minilm._weights.cache_clear()
    try:
        searcher = Searcher(_book().reader, None, MiniLmEmbedder())
        assert _ids(searcher.search(ANA, "topic7", k=1)) == ["n07"]
        assert "embedder.weights" in searcher.degraded
    finally:
        minilm._weights.cache_clear()


# ---------------------------------------------------------------------------- the index


class _Index(InMemoryIndex):
    """Answers what it is told to, and counts."""

    def __init__(self, answer: list[Hit] | StoreError) -> None:
        super().__init__()
        self.answer = answer
        self.asked = 0

    def query(
        self, generation: int, vector: bytes, scopes: Sequence[Scope], *, k: int
    ) -> list[Hit]:
        self.asked += 1
        if isinstance(self.answer, StoreError):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    "answer", [[], StoreError("unreadable", field="index")], ids=["empty", "corrupt"]
)
def test_an_empty_or_corrupt_index_costs_time_and_no_answer(answer: list[Hit] | StoreError) -> None:
    book = _book()
    index = _Index(answer)
    searcher = Searcher(book.reader, index, HashEmbedder(), exact_limit=10)
    exact = Searcher(book.reader, None, HashEmbedder())
    before = _degraded("index")
    for query in ("Topic7 lesson", "lesson", "Topic31"):
        assert searcher.search(ANA, query, k=40) == exact.search(ANA, query, k=40)
    assert _degraded("index") == before + 3
    assert index.asked == (1 if isinstance(answer, StoreError) else 3)


def test_an_index_of_another_model_is_not_asked() -> None:
    """Its numbers mean nothing here; words answer until the index is rebuilt."""
    book = Notebook(HashEmbedder(dim=16))
    book.write(*(make_note(f"n{i:02}", f"Topic{i} lesson.") for i in range(40)))
    index = _Index([Hit(note_id="n03", revision=1, score=1.0)])
    searcher = Searcher(book.reader, index, HashEmbedder(), exact_limit=10, max_embeds=0)
    assert _ids(searcher.search(ANA, "topic7", k=5)) == ["n07"]
    assert index.asked == 0


def test_a_scope_embedded_anew_is_searched_by_meaning_again() -> None:
    book = Notebook(HashEmbedder(dim=16))
    book.write(*(make_note(f"n{i:02}", f"Topic{i} lesson.") for i in range(40)))
    now = HashEmbedder()
    searcher = Searcher(book.reader, None, now, exact_limit=10)
    searcher.search(ANA, "topic7", k=5)
    texts = [f"Topic{i} lesson." for i in range(40)]
    book.store_vectors(
        [
            NoteVector(note_id=f"n{i:02}", revision=1, model=now.model, vector=vector)
            for i, vector in enumerate(now.embed(texts))
        ]
    )
    assert len(searcher.search(ANA, "Topic7 lesson.", k=5)) == 5


# ---------------------------------------------------------------------------- changes


@pytest.mark.parametrize("exact_limit", [10, 1000], ids=["large", "small"])
def test_a_commit_and_an_erasure_are_seen_by_the_next_search(exact_limit: int) -> None:
    book = _book()
    index = _indexed(book)
    searcher = Searcher(book.reader, index, HashEmbedder(), exact_limit=exact_limit)
    assert _ids(searcher.search(ANA, "topic7", k=1)) == ["n07"]
    book.write(make_note("n07", "Topic7 gone.", status=NoteStatus.RETIRED, revision=2))
    book.write(make_note("new", "Topic7 anew."))
    assert _ids(searcher.search(ANA, "topic7", k=1)) == ["new"]
    book.erase("new")
    assert "new" not in _ids(searcher.search(ANA, "topic7", k=50))
    book.write(make_note("n08", "Topic7 too.", revision=2))
    assert _ids(searcher.search(ANA, "topic7", k=1)) == ["n08"]


def test_a_large_scope_is_not_read_again_for_a_few_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    book = _book()
    searcher = Searcher(book.reader, _indexed(book), HashEmbedder(), exact_limit=10)
    searcher.search(ANA, "topic7", k=1)
    monkeypatch.setattr(book, "segment", _refuse)
    for number in range(3):
        book.write(make_note(f"new{number}", f"Fresh{number} lesson."))
        assert _ids(searcher.search(ANA, f"fresh{number}", k=1)) == [f"new{number}"]


def _refuse(*_: object, **__: object) -> object:
    raise AssertionError("the scope was read again")


@pytest.mark.parametrize("exact_limit", [10, 1000], ids=["indexed", "exact"])
def test_a_large_scope_with_changes_ranks_as_if_it_were_read_anew(
    exact_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scopes, "RENEWED_FROM", 20)
    book = _book(120)
    searcher = Searcher(book.reader, None, HashEmbedder(), exact_limit=exact_limit)
    searcher.search(ANA, "topic7", k=1)
    for number in range(0, 60, 3):
        book.write(make_note(f"n{number:02}", f"Topic{number} anew lesson.", revision=2))
        book.erase(f"n{number + 1:02}")
    anew = Searcher(book.reader, None, HashEmbedder())
    for query in ("Topic6 lesson", "anew", "Topic99"):
        assert _ids(searcher.search(ANA, query, k=20)) == _ids(anew.search(ANA, query, k=20))


# ---------------------------------------------------------------------------- duplicates


def test_of_two_that_say_the_same_the_nearer_is_shown_once() -> None:
    book = Notebook(HashEmbedder())
    book.write(
        make_note("org", "Use adjusted EBITDA in decks.", scope="acme", confidence=0.99),
        make_note("mine", "Use adjusted EBITDA in the decks", scope="acme/banking/ana"),
        make_note("not", "Do not use adjusted EBITDA in decks."),
        make_note("other", "Use adjusted EBITDA in decks.", about={"account": "Northwind"}),
    )
    found = _ids(Searcher(book.reader, None, HashEmbedder()).search(ANA, "EBITDA decks", k=10))
    assert sorted(found) == ["mine", "not", "other"]


def test_folding_does_not_make_the_answer_shorter_than_there_are_notes() -> None:
    book = Notebook(HashEmbedder())
    book.write(*(make_note(f"same{i}", "Use one decimal.") for i in range(30)))
    book.write(*(make_note(f"n{i}", f"Topic{i} decimal.") for i in range(10)))
    hits = Searcher(book.reader, None, HashEmbedder()).search(ANA, "use one decimal", k=5)
    assert len({hit.note.claim.statement for hit in hits}) == 5
