"""The peers benchmark: what is asked, how rounds are kept, and how a peer may fail."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import Results
from benchmarks.peers import mem0_peer, ours
from benchmarks.peers.bare_chroma import BareChroma
from benchmarks.peers.mem0_peer import Mem0, PeerUnavailable, prepare
from benchmarks.peers.rounds import TURN, Answers, add_round, interleaved, not_faster, search_round
from benchmarks.peers.side import Searched
from benchmarks.peers.texts import (
    USERS,
    Question,
    additions,
    questions,
    remembered,
    scope_of,
)
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.search import Searcher
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.ledger import SqliteLedgerReader
from sleep_runtime.testing.embedder import HashEmbedder

# ---------------------------------------------------------------------------- texts


def test_notes_are_spread_evenly_and_the_few_are_the_first_of_the_many() -> None:
    many = remembered(1000)
    assert set(Counter(note.user for note in many).values()) == {1000 // USERS}
    assert len({note.id for note in many}) == 1000
    assert [n.about for n in remembered(300)] == [n.about for n in many[:300]]
    assert [n.text for n in remembered(300)] == [n.text for n in many[:300]]
    assert all(Scope(scope_of(note.user)).parts[-1] == note.user for note in many)


def test_no_user_has_two_notes_that_could_answer_one_question() -> None:
    notes = remembered(10_000)
    assert len({(note.user, note.about) for note in notes}) == 10_000


def test_questions_are_distinct_name_their_note_and_let_every_user_ask() -> None:
    notes = {note.id: note for note in remembered(1000)}
    asked = questions(list(notes.values()), 1600)
    assert len({question.text for question in asked}) == 1600
    for question in asked:
        note = notes[question.note]
        assert question.user == note.user
        assert all(word in question.text for word in note.about)
    assert {question.user for question in asked[: 2 * USERS]} == {n.user for n in notes.values()}


def test_too_few_notes_for_so_many_questions_is_said() -> None:
    with pytest.raises(ValueError, match="distinct questions, not 601"):
        questions(remembered(100), 601)
    with pytest.raises(ValueError, match="too many"):
        remembered(10_000_000)


def test_what_is_added_is_new_each_round() -> None:
    said = [text for seed in range(-1, 7) for _, text in additions(50, seed=seed)]
    assert len(set(said)) == len(said)
    assert additions(50, seed=3) == additions(50, seed=3)


# ---------------------------------------------------------------------------- rounds


class Steady:
    """Takes as long as it is told, and finds what it is told."""

    def __init__(self, name: str, ms: float, top: str = "n") -> None:
        self.name = name
        self._ms = ms
        self._top = top

    def search(self, asked: Sequence[tuple[str, str]]) -> Searched:
        return Searched([self._ms] * len(asked), [self._top] * len(asked))

    def add(self, said: Sequence[tuple[str, str]]) -> list[float]:
        return [self._ms] * len(said)


ASKED = [Question("user1", f"q{number}", "n") for number in range(25)]


def medians(results: Results) -> dict[str, float]:
    return {name: row["median"] for name, row in results.report()["results"].items()}


def test_a_round_keeps_times_ratios_and_the_share_of_the_embedding() -> None:
    results = Results("peers")
    sides = [Steady("ours", 4), Steady("ours_http", 16), Steady("chroma", 8), Steady("embed", 2)]
    tops = search_round(results, "search_10", sides, ASKED, 0)
    assert set(tops) == {"ours", "ours_http", "chroma"}, "an embedding finds nothing"
    assert {len(found) for found in tops.values()} == {len(ASKED)}
    kept = medians(results)
    assert kept["search_10_chroma_p99_ms"] == 8
    assert kept["search_10_chroma_over_ours_p50"] == 2
    assert kept["search_10_chroma_over_ours_http_p50"] == 0.5
    assert kept["search_10_embed_share_ours"] == 0.5
    assert not any("embed_over" in name or "ours_over" in name for name in kept)


def test_where_ours_is_not_faster_is_listed_worst_first() -> None:
    results = Results("peers")
    sides = [Steady("ours", 8), Steady("ours_http", 16), Steady("chroma", 8), Steady("mem0", 20)]
    search_round(results, "search_10", sides, ASKED, 0)
    add_round(results, "add_10", [Steady("ours_http", 4), Steady("chroma", 2)], [("u", "t")], 0)
    found = not_faster(results.report()["results"])
    assert len(found) == 6
    assert set(found[:4]) == {
        f"{point}_chroma_over_ours_http_{quantile}"
        for point in ("search_10", "add_10")
        for quantile in ("p50", "p99")
    }
    assert set(found[4:]) == {"search_10_chroma_over_ours_p50", "search_10_chroma_over_ours_p99"}


def test_sides_take_turns_and_each_does_everything_in_order() -> None:
    log: list[str] = []

    def side(name: str) -> Any:
        def act(items: Sequence[int]) -> list[int]:
            log.append(name)
            return list(items)

        return act

    items = list(range(3 * TURN - 1))
    done = interleaved({name: side(name) for name in "abc"}, items, 1)
    assert log == [*"bca", *"cab", *"abc"]
    assert all([item for part in of for item in part] == items for of in done.values())


def test_agreement_counts_queries_with_one_first_hit_and_who_is_right() -> None:
    answers = Answers()
    answers.add(ASKED[:2], {"ours": ["n", "n"], "chroma": ["n", "x"]})
    answers.add(ASKED[:2], {"ours": ["n", "x"], "chroma": ["n", "x"]})
    assert answers.report() == {
        "queries": 4,
        "all": 0.75,
        "right": {"ours": 0.75, "chroma": 0.5},
        "met": False,
    }
    with pytest.raises(ValueError, match="mem0 gave 1 answers to 2"):
        answers.add(ASKED[:2], {"mem0": ["n"]})


# ---------------------------------------------------------------------------- sides


def test_ours_and_chroma_find_a_users_own_note(tmp_path: Path) -> None:
    notes, embedder = remembered(300), HashEmbedder()
    vectors = embedder.embed([note.text for note in notes])
    ours.write_ledger(tmp_path / "ours", notes, vectors, model=embedder.model)
    chroma = BareChroma(tmp_path / "chroma", embedder)
    chroma.fill(notes, vectors)
    asked = [(note.user, note.text) for note in notes[::7]]
    asked.append((notes[1].user, notes[0].text))
    expected = [note.id for note in notes[::7]]
    with SqliteLedgerReader(DataDir(tmp_path / "ours").ledger_path) as reader:
        mine = ours.InProcess(Searcher(reader, None, embedder)).search(asked)
    theirs = chroma.search(asked)
    assert mine.tops[:-1] == theirs.tops[:-1] == expected
    owners = {note.id: note.user for note in notes}
    assert {owners[mine.tops[-1]], owners[theirs.tops[-1]]} == {notes[1].user}
    assert len(mine.ms) == len(theirs.ms) == len(asked)

    (took,) = chroma.add([(notes[0].user, "something new altogether")])
    assert took > 0
    (found,) = chroma.search([(notes[0].user, "something new altogether")]).tops
    assert found not in owners, "what was added is found at once"
    chroma.close()


# ---------------------------------------------------------------------------- mem0's process


def program(place: Path, text: str) -> Path:
    """A program that stands where mem0's Python would."""
    path = place / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


OPENED = """read _; echo '{"versions": {"mem0ai": "9"}, "limits": {}, "refused": 2}'"""


def test_a_peer_answers_in_lines_and_ends_when_it_is_closed(tmp_path: Path) -> None:
    script = f"""{OPENED}
    read _; printf '{{"ms": [1.5], '; echo '"tops": ["n1"], "refused": 3}}'; read _ || exit 0"""
    peer = Mem0(program(tmp_path, script), tmp_path / "home")
    assert (peer.versions, peer.limits, peer.refused) == ({"mem0ai": "9"}, {}, 2)
    assert peer.search([("user1", "q")]) == Searched([1.5], ["n1"])
    assert peer.refused == 3
    peer.close()
    peer.close()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'no such module' >&2; exit 1", "ended at open: no such module"),
        ("""read _; echo '{"error": "ValueError: no such store"}'; read _""", "no such store"),
        ("exec sleep 60", "silent for 0.3 s at open"),
    ],
)
def test_a_peer_that_does_not_open_says_why_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    monkeypatch.setattr(mem0_peer, "CLOSE_TIMEOUT_S", 0.3)
    timeout_s = 0.3 if "sleep" in script else 30.0
    with pytest.raises(PeerUnavailable, match=reason):
        Mem0(program(tmp_path, script), tmp_path / "home", timeout_s=timeout_s)


def test_a_package_that_cannot_be_installed_is_no_failure_but_a_reason(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin", "echo 'no matching distribution' >&2; exit 1")
    with pytest.raises(PeerUnavailable, match="could not install mem0ai: no matching"):
        prepare(tmp_path)


def test_the_child_opens_no_connection() -> None:
    tried = """
import socket
from benchmarks.peers.mem0_child import Offline
offline = Offline()
for attempt in (
    lambda: socket.create_connection(("198.51.100.1", 9), timeout=1),
    lambda: socket.socket().connect(("198.51.100.1", 9)),
):
    try:
        attempt()
    except OSError as error:
        assert "offline" in str(error), error
print(offline.refused)
"""
    done = subprocess.run(
        [sys.executable, "-c", tried],
        cwd=mem0_peer.REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "2"
