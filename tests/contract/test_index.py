"""Every index keeps the contract; ChromaDB's besides survives what happens to its directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sleep_runtime.core.errors import StoreBusy, StoreError
from sleep_runtime.core.ports import Index
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.chroma import ChromaIndex
from sleep_runtime.testing.contracts.index import BANKING, IndexContract, axis, note
from sleep_runtime.testing.index import InMemoryIndex


class TestInMemoryIndex(IndexContract):
    @pytest.fixture
    def index(self) -> Index:
        return InMemoryIndex()


class TestChromaIndex(IndexContract):
    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[Index]:
        chroma = ChromaIndex(tmp_path / "index", buckets=4)
        yield chroma
        chroma.close()


def _fill(path: Path, count: int = 1) -> None:
    index = ChromaIndex(path)
    index.upsert(1, [(note(f"n{i}"), axis(1, i)) for i in range(count)])
    index.close()


def test_what_was_upserted_is_there_after_reopening(tmp_path: Path) -> None:
    _fill(tmp_path / "index")
    index = ChromaIndex(tmp_path / "index")
    assert index.set_aside is None
    assert not index.fresh
    assert index.revisions(1) == {"n0": 1}
    assert [hit.note_id for hit in index.query(1, axis(1), [BANKING], k=1)] == ["n0"]
    index.close()


def test_says_that_there_was_nothing_to_open(tmp_path: Path) -> None:
    for _ in range(2):  # nothing was put in, so the second time it is still empty
        index = ChromaIndex(tmp_path / "index")
        assert index.fresh
        index.close()
    _fill(tmp_path / "index")
    shutil.rmtree(tmp_path / "index")
    index = ChromaIndex(tmp_path / "index")
    assert index.fresh
    assert index.revisions(1) == {}
    index.close()


def test_what_lies_in_another_number_of_buckets_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "index"
    _fill(path, 3)
    index = ChromaIndex(path, buckets=5)
    assert (index.fresh, index.set_aside) == (True, None)
    assert index.revisions(1) == {}
    index.upsert(1, [(note("a"), axis(1))])
    index.close()
    index = ChromaIndex(path, buckets=5)
    assert not index.fresh
    assert index.revisions(1) == {"a": 1}
    index.close()
    index = ChromaIndex(path)
    assert index.fresh, "the old ones are gone, not taken for whole again"
    index.close()


def test_dying_while_other_buckets_are_dropped_leaves_nothing_half(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = ChromaIndex(path)
    many = [(note(f"n{n}", Scope(f"org{n}/team")), axis(1, n)) for n in range(20)]
    index.upsert(1, many)
    index.close()
    killer = (
        "import os, sys; from sleep_runtime.stores import chroma;"
        "from chromadb.api.client import Client; delete = Client.delete_collection;"
        "Client.delete_collection = lambda *a: (delete(*a), os.kill(os.getpid(), 9));"
        "chroma.ChromaIndex(sys.argv[1], buckets=5)"
    )
    died = subprocess.run([sys.executable, "-c", killer, str(path)], check=False)
    assert died.returncode == -9
    index = ChromaIndex(path)  # back to the first number: some of its collections are gone
    assert index.fresh
    assert index.set_aside is not None
    index.close()


def test_a_second_owner_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    first = ChromaIndex(tmp_path / "index")
    with pytest.raises(StoreBusy, match=str(os.getpid())):
        ChromaIndex(tmp_path / "index")
    first.upsert(1, [(note("a"), axis(1))])
    assert first.revisions(1) == {"a": 1}
    first.close()


def _ruin_database(path: Path) -> None:
    (path / "chroma.sqlite3").write_bytes(b"garbage" * 1000)


def _ruin_segment(path: Path) -> None:
    segments = [*path.glob("*/index_metadata.pickle"), *path.glob("*/header.bin")]
    assert segments, "the index was not persisted: the test would prove nothing"
    for segment in segments:
        segment.write_bytes(b"\xff" * segment.stat().st_size)


def _ruin_directory(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.write_text("not a directory")


@pytest.mark.parametrize("ruin", [_ruin_database, _ruin_segment, _ruin_directory])
def test_a_ruined_index_is_set_aside_and_a_new_one_works(tmp_path: Path, ruin: object) -> None:
    path = tmp_path / "index"
    _fill(path, 1500)
    assert callable(ruin)
    ruin(path)
    for _ in range(2):  # the second time there is a broken one already
        index = ChromaIndex(path)
        assert index.set_aside == tmp_path / "index.broken"
        assert index.set_aside.exists()
        assert index.revisions(1) == {}
        index.upsert(1, [(note("a"), axis(1))])
        assert index.revisions(1) == {"a": 1}
        index.close()
        _ruin_database(path)


def test_an_index_that_killed_its_opener_is_not_opened_again(tmp_path: Path) -> None:
    _fill(tmp_path / "index")
    killer = (
        "import os, sys; from sleep_runtime.stores import chroma;"
        "chroma._probe = lambda collection: os.kill(os.getpid(), 9);"
        "chroma.ChromaIndex(sys.argv[1])"
    )
    died = subprocess.run([sys.executable, "-c", killer, str(tmp_path / "index")], check=False)
    assert died.returncode == -9
    index = ChromaIndex(tmp_path / "index")
    assert index.set_aside is not None
    index.close()
    index = ChromaIndex(tmp_path / "index")
    assert index.set_aside is None
    index.close()


def test_damage_that_shows_while_running_is_a_store_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PanicException(BaseException):
        pass

    index = ChromaIndex(tmp_path / "index")
    index.upsert(1, [(note("a"), axis(1))])

    def panic(*_: object, **__: object) -> None:
        raise PanicException("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr(type(next(iter(index._collections.values()))), "query", panic)
    with pytest.raises(StoreError, match="PanicException"):
        index.query(1, axis(1), [BANKING], k=1)
    index.close()


def test_chroma_is_imported_only_when_an_index_is_opened() -> None:
    check = "import sys, sleep_runtime.stores.chroma; sys.exit('chromadb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_the_directory_holds_no_word_of_a_statement(tmp_path: Path) -> None:
    _fill(tmp_path / "index")
    blob = b"".join(p.read_bytes() for p in (tmp_path / "index").rglob("*") if p.is_file())
    assert b"Lesson" not in blob
    assert b"acme/banking" in blob
