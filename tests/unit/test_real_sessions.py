"""The figures on real sessions say what they are called, and the labels are well formed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.redaction import masked
from benchmarks.sharpness.real import Labels, explain, measure, nights

NIGHT = datetime(2026, 6, 2, 3, tzinfo=UTC)
LABELS = Labels(
    label={"a": "standing", "b": "one_off", "c": "injected", "d": "correction"},
    keep=(frozenset({"a", "e"}), frozenset({"d"})),
    clear=frozenset({"d"}),
)


def event(name: str, text: str, day: int = 1) -> dict[str, Any]:
    return {
        "id": name,
        "ts": f"2026-06-{day:02}T09:00:00Z",
        "scope": {"org": "acme", "team": "cli", "user": "ana"},
        "session": f"s{day}",
        "kind": "message",
        "role": "human",
        "text": text,
    }


def note(status: str, *evidence: str) -> dict[str, Any]:
    return {
        "statement": " ".join(evidence),
        "status": status,
        "evidence": list(evidence),
        "confidence": 0.7,
        "reason": "said",
    }


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    texts = {
        "a": "always use tabs here",
        "b": "run it now",
        "c": "<command-name>/exit</command-name>",
        "d": "we don't want a cap",
        "e": "tabs, as I said",
    }
    path = tmp_path / "events.ndjson"
    path.write_text("\n".join(json.dumps(event(*item)) for item in texts.items()))
    return path


def test_a_perfect_store_scores_one(recording: Path) -> None:
    figures = measure(recording, [(NIGHT, [note("active", "a", "e"), note("active", "d")])], LABELS)
    for name in ("note_precision", "note_recall", "clear_recall", "standing_recall"):
        assert figures[name] == 1.0, name
    assert figures["standing_precision"] == 0.5
    assert figures["notes_per_human_turn"] == 2 / 4
    assert figures["injected_precision"] == figures["injected_recall"] == 1.0


def test_a_note_of_something_else_costs_precision(recording: Path) -> None:
    kept = [note("active", "a", "e"), note("active", "b")]
    assert measure(recording, [(NIGHT, kept)], LABELS)["note_precision"] == 0.5


def test_a_note_mostly_of_something_else_is_wrong(recording: Path) -> None:
    kept = [note("active", "a", "b", "c")]
    assert measure(recording, [(NIGHT, kept)], LABELS)["notes_right"] == 0


def test_saying_a_lesson_twice_recalls_it_once(recording: Path) -> None:
    kept = [note("active", "a"), note("active", "e")]
    assert measure(recording, [(NIGHT, kept)], LABELS)["note_recall"] == 0.5


def test_a_waiting_note_is_noticed_and_not_kept(recording: Path) -> None:
    figures = measure(recording, [(NIGHT, [note("candidate", "a")])], LABELS)
    assert figures["note_precision"] is None
    assert (figures["standing_recall"], figures["noticed_standing_recall"]) == (0.0, 1.0)


def test_only_the_last_night_counts(recording: Path) -> None:
    seen = [(NIGHT, [note("active", "a")]), (NIGHT, [note("retired", "a")])]
    assert measure(recording, seen, LABELS)["notes_active"] == 0


def test_labels_of_another_recording_are_refused(recording: Path) -> None:
    with pytest.raises(ValueError, match="not in this recording"):
        measure(recording, [(NIGHT, [])])


def test_explaining_names_wrong_notes_and_missed_lessons(recording: Path) -> None:
    told = "\n".join(explain(recording, [(NIGHT, [note("active", "b")])], LABELS))
    assert "WRONG b" in told
    assert "MISSED 0" in told
    assert "we don't want a cap" in told


def test_a_night_follows_each_day_of_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    days = [event("x", "From now on, use tabs in the deck tables.", 1), event("y", "thanks", 3)]
    path.write_text("\n".join(map(json.dumps, days)))
    seen = nights(path)
    assert [when.day for when, _ in seen] == [2, 4]
    assert [note["evidence"] for note in seen[-1][1] if note["status"] == "active"] == [["x"]]


def test_the_labels_are_ids_of_the_known_kinds() -> None:
    labels = Labels.read()
    kinds = {"standing", "one_off", "correction", "question", "injected", "other"}
    assert len(labels.label) == 150
    assert set(labels.label.values()) == kinds
    assert all(group for group in labels.keep)
    assert labels.clear <= frozenset().union(*labels.keep)
    assert not labels.of("injected") & frozenset().union(*labels.keep)


def test_what_was_masked_is_found_by_what_stands_around_it() -> None:
    found = masked("mail a@b.co or call 1", "mail [email] or call [phone]")
    assert found == [("email", (5, 11)), ("phone", (20, 21))]
