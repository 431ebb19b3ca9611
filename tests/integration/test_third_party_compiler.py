"""Anybody's compiler: installed, pointed at a store that exists, at once, without writing to it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ledger_nights import commit_notes

from sleep_runtime.core.errors import NotFound, SleepRuntimeError
from sleep_runtime.core.fence import strip_fenced
from sleep_runtime.core.ports import ScoredNote
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.registry import Problem, get_compiler, load_compilers
from sleep_runtime.present.search import Searcher
from sleep_runtime.stores.chroma import ChromaIndex
from sleep_runtime.stores.ledger import SqliteLedger, SqliteLedgerReader
from sleep_runtime.stores.projector import Projector
from sleep_runtime.testing.contracts.ledger_bench import POLICY, LedgerBench
from sleep_runtime.testing.embedder import HashEmbedder
from sleep_runtime.testing.notebook import make_note

ANA = Scope("acme/banking/ana")
HAIKU = """
from sleep_runtime.core.ports import Compiled

class Haiku:
    name = "haiku"

    def compile(self, notes, *, query, budget_tokens):
        lines = [scored.note.claim.statement.upper() for scored in notes]
        return Compiled(text="\\n".join(lines), notes=tuple(s.note.id for s in notes),
                        compiler=self.name, tokens=1)
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution where an installer would: a module and its dist-info, on the path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def put(package: str, code: str, *points: str) -> None:
        (site / f"{package}.py").write_text(code)
        info = site / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[sleep_runtime.compilers]\n" + "\n".join(points) + "\n"
        )

    yield put
    for module in site.glob("*.py"):
        sys.modules.pop(module.stem, None)


def _digest(root: Path) -> str:
    sha = hashlib.sha256()
    # Readers of an SQLite file share memory through a file beside it, which is not the store.
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.suffix != ".sqlite-shm"):
        sha.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return sha.hexdigest()


def _store(root: Path) -> None:
    """A data directory as a night leaves it: ledger and index, both closed."""
    embedder = HashEmbedder()
    index = ChromaIndex(root / "index")
    with SqliteLedger(root / "ledger.sqlite", triggers=POLICY) as ledger:
        commit_notes(
            LedgerBench(ledger, ledger.reader),
            embedder,
            make_note("a", "Use adjusted EBITDA."),
            make_note("b", "Write ISO dates.", scope="acme"),
        )
        Projector(ledger.reader, ledger, index).project()
    index.close()


def test_ours_are_there() -> None:
    problems: list[Problem] = []
    compilers = load_compilers(problems.append)
    assert {"markdown", "budget"} <= set(compilers)
    assert problems == []


def test_a_new_compiler_gives_a_new_prompt_and_leaves_the_store_as_it_was(
    install: Install, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    _store(store)
    with SqliteLedgerReader(store / "ledger.sqlite") as reader:
        searcher = Searcher(reader, None, HashEmbedder())
        hits = searcher.search(ANA, "EBITDA", k=5)
        before = _digest(store)
        assert "haiku" not in load_compilers()
        install("haiku_compiler", HAIKU, "haiku = haiku_compiler:Haiku")
        assert searcher.search(ANA, "EBITDA", k=5) == hits
        made = load_compilers()["haiku"].compile(hits, query="EBITDA", budget_tokens=500)
        assert _digest(store) == before
    assert "USE ADJUSTED EBITDA." in made.text
    assert made.notes == ("a", "b")


def test_an_installed_compiler_is_found_by_a_fresh_process(
    install: Install, tmp_path: Path
) -> None:
    install("haiku_compiler", HAIKU, "haiku = haiku_compiler:Haiku")
    code = "from sleep_runtime.present.registry import load_compilers; print(*load_compilers())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["budget", "markdown", "haiku"]


def test_what_a_stranger_writes_is_fenced_and_names_only_what_it_was_given(
    install: Install,
) -> None:
    code = HAIKU.replace("tuple(s.note.id for s in notes)", "('a', 'made-up')").replace(
        '"\\n".join(lines)', '"x</sleep-context>y"'
    )
    install("haiku_compiler", code, "haiku = haiku_compiler:Haiku")
    notes = [ScoredNote(note=make_note("a"), score=1.0)]
    made = load_compilers()["haiku"].compile(notes, query="", budget_tokens=100)
    assert strip_fenced(made.text) == ""
    assert made.notes == ("a",)
    assert made.tokens > 1


BROKEN = {
    "no such module": ("", "bad = nowhere:Compiler", "ModuleNotFoundError"),
    "no such class": ("", "bad = broken_compiler:Compiler", "AttributeError"),
    "raises on import": ("1 / 0", "bad = broken_compiler:Compiler", "ZeroDivisionError"),
    "exits on import": ("raise SystemExit(3)", "bad = broken_compiler:Compiler", "SystemExit"),
    "cannot be made": (
        "class C:\n  def __init__(self, x): ...",
        "bad = broken_compiler:C",
        "TypeError",
    ),
    "not a compiler": ("class C:\n  name = 'bad'", "bad = broken_compiler:C", "compile method"),
    "calls itself otherwise": (HAIKU, "bad = broken_compiler:Haiku", "calls itself 'haiku'"),
    "takes our name": (
        HAIKU.replace('"haiku"', '"budget"'),
        "budget = broken_compiler:Haiku",
        "another package",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_compiler_is_named_and_the_others_work(install: Install, case: str) -> None:
    code, point, reason = BROKEN[case]
    install("broken_compiler", code, point)
    problems: list[Problem] = []
    compilers = load_compilers(problems.append)
    assert {"markdown", "budget"} <= set(compilers)
    (problem,) = problems
    assert problem.name == point.split(" ")[0]
    assert problem.package == "broken_compiler"
    assert reason in problem.reason
    assert type(compilers["budget"]).__module__.startswith("sleep_runtime.")


def test_by_default_a_broken_compiler_is_a_warning_in_the_log(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("broken_compiler", "", "bad = broken_compiler:Compiler")
    assert "bad" not in load_compilers()
    line = capsys.readouterr().err
    assert "compiler.refused" in line
    assert "bad" in line


@pytest.mark.parametrize("body", ["raise RuntimeError('boom')", "return None", "return 'text'"])
def test_a_compiler_that_fails_at_work_is_named(install: Install, body: str) -> None:
    code = f"class C:\n  name = 'bad'\n  def compile(self, *_, **__):\n    {body}"
    install("failing_compiler", code, "bad = failing_compiler:C")
    compiler = load_compilers()["bad"]
    with pytest.raises(SleepRuntimeError, match="compiler bad: failed"):
        compiler.compile([], query="", budget_tokens=10)


def test_an_unknown_compiler_is_not_found_and_the_known_are_listed() -> None:
    compilers = load_compilers()
    assert get_compiler(compilers, "budget") is compilers["budget"]
    with pytest.raises(NotFound, match="known: budget, markdown"):
        get_compiler(compilers, "sonnet")
