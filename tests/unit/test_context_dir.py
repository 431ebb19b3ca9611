"""The export: the same bytes for the same notes, nothing rewritten, nothing of others touched."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sleep_runtime.core.errors import InvalidInput, StoreError
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.stores import context_dir
from sleep_runtime.stores.context_dir import MANIFEST, ExportReport, export
from sleep_runtime.testing.notebook import make_note

EBITDA = make_note(
    "note_0123456789abcdef0123",
    "Use adjusted EBITDA in every earnings deck.",
    subject="EBITDA",
    aspect="basis",
    value="adjusted",
    applies_when="in earnings decks",
    confidence=0.91234,
)
EXPECTED = """\
---
id: "note_0123456789abcdef0123"
kind: "convention"
scope: "acme/banking"
tier: "team"
subject: "EBITDA"
aspect: "basis"
value: "adjusted"
applies_when: "in earnings decks"
status: "active"
confidence: 0.91
support: {events: 2, sessions: 2, people: 2, days: 1}
valid_from: "2026-11-22T06:00:00+00:00"
valid_to: null
recorded_at: "2026-11-22T06:00:00+00:00"
revision: 1
evidence:
  - "event-of-note_0123456789abcdef0123"
---

Use adjusted EBITDA in every earnings deck.

Why: said with standing intent
"""
EXPECTED_INDEX = """\
# acme/banking

## Notes

- [Use adjusted EBITDA in every earnings deck.]\
(use-adjusted-ebitda-in-every-earnings-deck-cdef0123.md) (convention, 0.91)

## Below

- [acme/banking/ana](<ana/index.md>)
"""


def _notes() -> list[Note]:
    return [EBITDA, make_note("b", scope="acme/banking/ana"), make_note("c", scope="acme")]


def _tree(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _front(path: Path) -> dict[str, Any]:
    head = path.read_text("utf-8").split("---\n")[1]
    loaded = yaml.safe_load(head)
    assert isinstance(loaded, dict)
    return loaded


def test_a_note_is_a_file_with_front_matter(tmp_path: Path) -> None:
    export(_notes(), tmp_path)
    path = tmp_path / "acme/banking/use-adjusted-ebitda-in-every-earnings-deck-cdef0123.md"
    assert path.read_bytes() == EXPECTED.encode()
    assert (tmp_path / "acme/banking/index.md").read_text() == EXPECTED_INDEX


def test_exporting_twice_changes_no_byte_and_no_mtime(tmp_path: Path) -> None:
    assert export(_notes(), tmp_path) == ExportReport(written=6)
    before = _tree(tmp_path)
    assert export(_notes()[::-1], tmp_path) == ExportReport(unchanged=6)
    assert _tree(tmp_path) == before


def test_the_same_notes_give_the_same_bytes_anywhere(tmp_path: Path) -> None:
    export(_notes(), tmp_path / "one")
    export(_notes()[:1], tmp_path / "two")
    export(_notes()[::-1], tmp_path / "two")
    one, two = _tree(tmp_path / "one"), _tree(tmp_path / "two")
    assert {p: raw for p, (raw, _) in one.items()} == {p: raw for p, (raw, _) in two.items()}


def test_a_note_that_is_no_longer_active_goes_and_its_empty_directory_too(tmp_path: Path) -> None:
    export(_notes(), tmp_path)
    retired = make_note("b", scope="acme/banking/ana", status=NoteStatus.RETIRED, revision=2)
    report = export([EBITDA, retired, make_note("c", scope="acme")], tmp_path)
    assert report == ExportReport(written=1, unchanged=3, removed=2)
    assert not (tmp_path / "acme/banking/ana").exists()
    assert export([], tmp_path) == ExportReport(removed=4)
    assert list(_tree(tmp_path)) == [MANIFEST]


def test_files_of_others_are_never_removed(tmp_path: Path) -> None:
    export(_notes(), tmp_path)
    theirs = tmp_path / "acme/banking/ana/diary.md"
    theirs.write_text("mine")
    export([], tmp_path)
    assert theirs.read_text() == "mine"


def test_files_of_others_are_never_overwritten(tmp_path: Path) -> None:
    theirs = tmp_path / "acme/index.md"
    theirs.parent.mkdir()
    theirs.write_text("mine")
    with pytest.raises(InvalidInput, match="in the way"):
        export(_notes(), tmp_path)
    assert theirs.read_text() == "mine"
    assert list(_tree(tmp_path)) == ["acme/index.md"]


@pytest.mark.parametrize(
    "path", ["../victim.md", "acme/../../victim.md", "/etc/victim.md", "acme/x.txt", "victim.md", 7]
)
def test_a_manifest_that_points_elsewhere_is_refused(tmp_path: Path, path: object) -> None:
    victim = tmp_path / "victim.md"
    victim.write_text("mine")
    root = tmp_path / "context"
    export(_notes(), root)
    (root / MANIFEST).write_text(json.dumps({"format": 1, "files": [path]}))
    with pytest.raises(InvalidInput, match="cannot be read"):
        export([], root)
    assert victim.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"files": 3}', "\xff"])
def test_a_broken_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidInput, match="cannot be read"):
        export(_notes(), tmp_path)


def test_a_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "context"
    root.mkdir()
    (root / "acme").symlink_to(outside)
    with pytest.raises(InvalidInput, match="outside"):
        export(_notes(), root)
    assert list(outside.iterdir()) == []


def test_an_export_that_died_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def dying(target: Path, text: str) -> bool:
        written.append(target)
        if len(written) == 4:
            raise KeyboardInterrupt
        return whole(target, text)

    whole = context_dir._replace
    monkeypatch.setattr(context_dir, "_replace", dying)
    with pytest.raises(KeyboardInterrupt):
        export(_notes(), tmp_path / "died")
    monkeypatch.undo()
    assert export(_notes(), tmp_path / "died").unchanged == 2
    export(_notes(), tmp_path / "whole")
    died, good = _tree(tmp_path / "died"), _tree(tmp_path / "whole")
    assert {p: raw for p, (raw, _) in died.items()} == {p: raw for p, (raw, _) in good.items()}


def test_a_file_that_cannot_be_replaced_keeps_its_old_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export([EBITDA], tmp_path)
    before = _tree(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreError):
        export([EBITDA.model_copy(update={"confidence": 0.1})], tmp_path)
    monkeypatch.undo()
    assert _tree(tmp_path) == before


@pytest.mark.parametrize(
    "text",
    [
        'quote " and \\ back',
        "--- \nid: evil\n---\n",
        "a: b # c",
        "!!python/object/apply:os.system ['true']",
        "{x: [1",
        "nel\x85ls\u2028ps\u2029null\x00bom\ufeffdel\x7f",
        "emoji \U0001f600 and \ue000 private and \ufffe none",
        "*anchor &anchor %TAG",
    ],
)
def test_hostile_text_stays_a_value(tmp_path: Path, text: str) -> None:
    note = make_note("n", text, subject=text, value=text, applies_when=text)
    note = note.model_copy(update={"reason": text, "evidence": (text, "b")})
    export([note], tmp_path)
    (path,) = [p for p in (tmp_path / "acme/banking").glob("*.md") if p.name != "index.md"]
    front = _front(path)
    assert front["id"] == "n"
    assert front["status"] == "active"
    assert len(front) == 16
    assert len(front["evidence"]) == 2
    assert path.read_text().count("\n---\n") == 1


@given(text=st.text(min_size=1, max_size=60))
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_loads_back_as_one_line(tmp_path: Path, text: str) -> None:
    export([make_note("n", text, subject=text)], tmp_path)
    (path,) = [p for p in (tmp_path / "acme/banking").glob("*.md") if p.name != "index.md"]
    front = _front(path)
    assert isinstance(front["subject"], str)
    assert "\n" not in front["subject"]


def test_a_scope_named_like_our_files_gets_its_own_directory(tmp_path: Path) -> None:
    notes = [make_note("a", scope="acme"), make_note("b", scope="acme/index.md/x.MD")]
    assert export(notes, tmp_path).written == 5
    assert (tmp_path / "acme/index.md").is_file()
    assert (tmp_path / "acme/index%2Emd/x%2EMD/index.md").is_file()
    assert export(notes, tmp_path).unchanged == 5


def test_two_notes_of_one_wording_get_two_files(tmp_path: Path) -> None:
    one = make_note("note_aaaaaaaaaaaa11111111", "Same.")
    two = make_note("note_bbbbbbbbbbbb11111111", "Same.")
    export([one, two], tmp_path)
    names = sorted(p.name for p in (tmp_path / "acme/banking").iterdir())
    assert len(names) == 3


def test_a_statement_without_letters_still_has_a_name(tmp_path: Path) -> None:
    export([make_note("note_aaaaaaaaaaaa11111111", "→ ✓")], tmp_path)
    assert (tmp_path / "acme/banking/note-11111111.md").is_file()
