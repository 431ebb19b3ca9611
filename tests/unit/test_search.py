"""What a reader sees and in which order; that nothing beyond its scopes is ever shown."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from sleep_runtime.core.errors import InvalidInput, StoreError
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.ports import Hit, NoteVector, SegmentRow
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.ranking import Asked, by_confidence, by_relevance
from sleep_runtime.present.rows import row_of
from sleep_runtime.present.search import LOOKS, Searcher
from sleep_runtime.present.segments import Segment, View
from sleep_runtime.present.visible import canonical, slot, visible
from sleep_runtime.stores.projector import Projector
from sleep_runtime.testing.embedder import HashEmbedder
from sleep_runtime.testing.index import InMemoryIndex
from sleep_runtime.testing.notebook import MORNING, Notebook, make_note

ANA = Scope("acme/banking/ana")
BEN = Scope("acme/banking/ben")
EBITDA: dict[str, Any] = {"subject": "EBITDA", "aspect": "basis"}


class CountingEmbedder(HashEmbedder):
    """Remembers what it was asked to embed."""

    def __init__(self, dim: int = 64) -> None:
        super().__init__(dim)
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        self.asked += texts
        return super().embed(texts)


def _book(*notes: Note) -> Notebook:
    book = Notebook(HashEmbedder())
    book.write(*notes)
    return book


def _ids(hits: Sequence[object]) -> list[str]:
    return [hit.note.id for hit in hits]  # type: ignore[attr-defined]


def _searcher(book: Notebook, **settings: int) -> Searcher:
    return Searcher(book.reader, None, HashEmbedder(), **settings)


# ---------------------------------------------------------------------------- visible


def test_a_reader_sees_user_team_and_org_and_nobody_else() -> None:
    shown = visible(
        [
            make_note("mine", scope="acme/banking/ana"),
            make_note("team", scope="acme/banking"),
            make_note("org", scope="acme"),
            make_note("colleague", scope="acme/banking/ben"),
            make_note("other-team", scope="acme/retail"),
            make_note("lookalike", scope="acme/bankin"),
            make_note("other-org", scope="globex"),
        ],
        ANA,
    )
    assert [note.id for note in shown] == ["mine", "org", "team"]


def test_on_one_slot_the_nearest_wins_however_it_is_spelt() -> None:
    notes = [
        make_note("org", scope="acme", subject="ebitda.", aspect="Basis", about={"A": "N wind"}),
        make_note("team", subject="EBITDA", aspect="basis", about={"a": "n  Wind"}),
        make_note("mine", scope="acme/banking/ana", **EBITDA),
        make_note("when", subject="EBITDA", aspect="basis", applies_when="in drafts"),
    ]
    assert [n.id for n in visible(notes, ANA)] == ["mine", "team", "when"]
    assert [n.id for n in visible(notes, Scope("acme"))] == ["org"]


def test_notes_without_a_full_slot_hide_nothing() -> None:
    notes = [
        make_note("org", scope="acme", subject="decks"),
        make_note("mine", scope="acme/banking/ana", subject="decks"),
        make_note("bare-org", scope="acme"),
        make_note("bare", scope="acme/banking/ana"),
    ]
    assert len(visible(notes, ANA)) == 4
    assert slot(notes[0]) is None


def test_only_an_active_note_hides_another() -> None:
    quarantined = make_note(
        "mine", scope="acme/banking/ana", status=NoteStatus.QUARANTINED, **EBITDA
    )
    superseded = make_note("old", scope="acme/banking/ana", status=NoteStatus.SUPERSEDED, **EBITDA)
    team = make_note("team", **EBITDA)
    assert [n.id for n in visible([quarantined, superseded, team], ANA)] == ["team"]
    both = visible([quarantined, superseded, team], ANA, include_superseded=True)
    assert [n.id for n in both] == ["old", "team"]


def test_canonical_folds_case_width_punctuation_and_space() -> None:
    assert canonical("  Adjusted\t\uff25\uff22itda! ") == "adjusted ebitda"


# ---------------------------------------------------------------------------- ranking


def _view(notes: Sequence[Note], vectors: Any = None) -> View:
    """The notes of each scope as a segment, nearest to Ana first."""
    places = {note.id: place for place, note in enumerate(notes)}
    given = np.zeros((len(notes), 4)) if vectors is None else np.array(vectors)
    segments = []
    for scope in ANA.lineage():
        own = sorted((n for n in notes if n.scope == scope), key=lambda n: n.id)
        matrix = given[[places[n.id] for n in own]].astype(np.float32)
        segments.append(Segment(scope, [row_of(n) for n in own], matrix))
    return View(segments)


def _ranked(notes: Sequence[Note], query: str, vectors: Any = None, **how: Any) -> list[str]:
    """Ids, best first; the query's vector is the first unit vector."""
    view = _view(notes, vectors)
    cosines = view.cosines(np.eye(4, dtype=np.float32)[0])
    ranked = by_relevance(view, Asked.of(query), cosines, k=how.get("k", 50))
    return [segment.ids[at] for segment, at in (view.place(place) for place, _ in ranked)]


def test_words_of_the_query_decide_between_equally_near_notes() -> None:
    notes = [make_note("a", "waterfall by quarter"), make_note("b", "waterfall by year")]
    assert _ranked(notes, "by year") == ["b", "a"]
    assert _ranked(notes, "by quarter") == ["a", "b"]


def test_meaning_decides_between_notes_that_share_no_word_with_the_query() -> None:
    notes = [make_note("a", "alpha"), make_note("b", "beta"), make_note("c", "gamma")]
    assert _ranked(notes, "zeta", [[0.1, 0, 0, 0], [0.9, 0, 0, 0], [0.5, 0, 0, 0]]) == [
        *("b", "c", "a")
    ]


def test_naming_whom_a_note_is_about_lifts_it_and_half_a_name_does_not() -> None:
    notes = [
        make_note("a", "same", about={"account": "Northwind Foods"}),
        make_note("b", "same", about={"account": "Northwind Traders"}),
    ]
    view = _view(notes)
    assert view.facets(frozenset({"deck", "northwind", "traders"})) is not None
    assert view.facets(frozenset({"deck", "northwind"})) is None
    assert _ranked(notes, "deck for northwind traders") == ["b", "a"]


def test_a_word_most_notes_have_counts_less_than_one_few_have() -> None:
    notes = [make_note(f"n{i}", "deck figures") for i in range(8)]
    notes += [make_note("rare", "waterfall slides")]
    assert _ranked(notes, "deck waterfall")[0] == "rare"


def test_ties_go_to_confidence_then_recency_then_nearness_then_id() -> None:
    notes = [
        make_note("e", scope="acme", confidence=0.5),
        make_note("d", scope="acme/banking", confidence=0.5),
        make_note("c", scope="acme/banking", confidence=0.5),
        make_note("b", scope="acme", confidence=0.5, day=3),
        make_note("a", scope="acme", confidence=0.6),
    ]
    for order in (notes, notes[::-1]):
        assert _ranked(order, "zulu") == ["a", "b", "c", "d", "e"]
        view = _view(order)
        first, _ = next(by_confidence(view, k=1))
        assert view.place(first).segment.ids[view.place(first).at] == "a"


def test_cosines_nearer_than_two_builds_of_a_model_are_a_tie() -> None:
    notes = [make_note("a", confidence=0.5), make_note("b", confidence=0.9)]
    assert _ranked(notes, "zulu", [[0.50004, 0, 0, 0], [0.5, 0, 0, 0]]) == ["b", "a"]


def test_a_vector_that_is_no_number_does_not_hide_the_others() -> None:
    notes = [make_note("bad", "waterfall"), make_note("good", "waterfall")]
    ranked = _ranked(notes, "x", [[np.nan, 0, 0, 0], [0.9, 0, 0, 0]])
    assert ranked == ["good"]


# ---------------------------------------------------------------------------- searcher


def test_the_best_answer_comes_first() -> None:
    book = _book(
        make_note("a", "Use adjusted EBITDA in every deck."),
        make_note("b", "Show the waterfall quarter over quarter."),
        make_note("c", "Write dates the ISO way."),
    )
    hits = _searcher(book).search(ANA, "how to show the waterfall", k=2)
    assert hits[0].note.id == "b"
    assert len(hits) == 2
    assert hits[0].score > hits[1].score


def test_a_query_without_words_gives_the_most_trusted_notes() -> None:
    book = _book(make_note("a", confidence=0.3), make_note("b", confidence=0.9))
    assert _ids(_searcher(book).search(ANA, "  ", k=5)) == ["b", "a"]


def test_an_unknown_scope_sees_nothing() -> None:
    assert _searcher(_book(make_note("a"))).search(Scope("nobody"), "lesson", k=5) == []


@pytest.mark.parametrize("k", [0, -1, 1001])
def test_a_senseless_k_is_refused(k: int) -> None:
    with pytest.raises(InvalidInput, match=r"^k: "):
        _searcher(_book()).search(ANA, "x", k=k)


def test_as_of_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidInput, match="as_of"):
        _searcher(_book()).search(ANA, "x", k=1, as_of=MORNING.replace(tzinfo=None))


def test_a_commit_is_seen_by_the_next_search() -> None:
    book = _book(make_note("a", "Use GAAP figures.", **EBITDA))
    searcher = _searcher(book)
    assert _ids(searcher.search(ANA, "figures", k=5)) == ["a"]
    book.write(
        make_note("a", "Use GAAP figures.", status=NoteStatus.SUPERSEDED, revision=2, **EBITDA),
        make_note("b", "Use adjusted figures.", **EBITDA),
    )
    assert _ids(searcher.search(ANA, "figures", k=5)) == ["b"]


def test_a_lesson_that_moves_up_while_it_is_looked_for_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = make_note("mine", "Use adjusted figures.", scope="acme/banking/ana", **EBITDA)
    book = _book(mine)
    named = book.named

    def a_night_first(note_ids: Sequence[str]) -> list[Note]:
        monkeypatch.setattr(book, "named", named)
        folded: dict[str, Any] = {
            "scope": "acme/banking/ana",
            "status": NoteStatus.RETIRED,
            "revision": 2,
        }
        book.write(
            make_note("mine", "Use adjusted figures.", **folded, **EBITDA),
            make_note("ours", "Use adjusted figures.", **EBITDA),
        )
        return named(note_ids)

    monkeypatch.setattr(book, "named", a_night_first)
    asked: list[int] = []
    hits = _searcher(book).search(ANA, "figures", k=5, looked=asked.append)
    assert _ids(hits) == ["ours"]
    assert asked == [1], "one question is paid for once"


def test_a_store_that_never_stands_still_is_not_asked_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    book = _book(make_note("a", "Use GAAP figures.", **EBITDA))
    asked: list[int] = []

    def gone(note_ids: Sequence[str]) -> list[Note]:
        asked.append(len(note_ids))
        return []

    monkeypatch.setattr(book, "named", gone)
    assert _searcher(book).search(ANA, "figures", k=5) == []
    assert len(asked) == LOOKS


def test_nothing_is_read_again_while_the_ledger_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    book = _book(make_note("a"))
    searcher = _searcher(book)
    searcher.search(ANA, "lesson", k=1)
    for method in ("notes", "vectors", "segment", "named", "active"):
        monkeypatch.setattr(book, method, _refuse)
    assert _ids(searcher.search(ANA, "lesson", k=1)) == ["a"]


def _refuse(*_: object, **__: object) -> object:
    raise AssertionError("the ledger was read")


def _read_scopes(book: Notebook, monkeypatch: pytest.MonkeyPatch) -> list[Scope]:
    """The scopes whose notes are read from now on, in order."""
    read: list[Scope] = []
    segment = book.segment

    def reading(scope: Scope, **options: Any) -> list[SegmentRow]:
        read.append(scope)
        return segment(scope, **options)

    monkeypatch.setattr(book, "segment", reading)
    return read


def test_a_night_elsewhere_costs_a_reader_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    book = _book(make_note("org", scope="acme"), make_note("team"))
    searcher = _searcher(book)
    searcher.search(ANA, "lesson", k=5)
    read = _read_scopes(book, monkeypatch)
    book.write(make_note("other", scope="globex"), make_note("ben", scope="acme/banking/ben"))
    assert _ids(searcher.search(ANA, "lesson", k=5)) == ["team", "org"]
    assert read == []
    book.write(make_note("mine", scope="acme/banking/ana"))
    assert sorted(_ids(searcher.search(ANA, "lesson", k=5))) == ["mine", "org", "team"]
    assert read == [ANA]


def test_readers_of_one_organisation_share_its_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    book = _book(make_note("org", scope="acme"), make_note("team"))
    read = _read_scopes(book, monkeypatch)
    searcher = _searcher(book)
    for number in range(10):
        searcher.search(Scope(f"acme/banking/u{number}"), "lesson", k=1)
    assert read == [Scope("acme/banking"), Scope("acme")]


def test_new_vectors_are_used_by_the_next_search() -> None:
    book = _book(make_note("a", "Alpha."), make_note("b", "Beta."))
    searcher = _searcher(book)
    assert _ids(searcher.search(ANA, "zulu", k=2)) == ["a", "b"]
    (zulu,) = HashEmbedder().embed(["zulu"])
    model = HashEmbedder().model
    book.store_vectors([NoteVector(note_id="b", revision=1, model=model, vector=zulu)])
    assert _ids(searcher.search(ANA, "zulu", k=2)) == ["b", "a"]


def test_what_is_held_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    teams = [Scope(f"team{number}") for number in range(5)]
    book = _book(*(make_note(f"n-{team}", scope=str(team)) for team in teams))
    one = _searcher(book)
    one.search(teams[0], "lesson", k=5)
    read = _read_scopes(book, monkeypatch)
    searcher = _searcher(book, cache_bytes=int(3.5 * one.segment_bytes / 0.875))
    for team in [*teams, *teams[::-1]]:
        assert _ids(searcher.search(team, "lesson", k=5)) == [f"n-{team}"]
    assert read == [*teams, *teams[1::-1]], "the three used last are held, and no more"


def test_a_scope_larger_than_the_bound_is_held_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    book = _book(*(make_note(f"n{number}") for number in range(5)))
    searcher = _searcher(book, cache_bytes=1)
    searcher.search(ANA, "lesson", k=5)
    read = _read_scopes(book, monkeypatch)
    assert len(searcher.search(ANA, "lesson", k=5)) == 5
    assert read == []


def test_a_view_of_shared_segments_ranks_as_if_it_were_made_alone() -> None:
    """Hidden notes neither appear nor count in the weights of words."""
    rng = random.Random(7)
    terms = ["ebitda", "waterfall", "dates", "deck", "quarter", "year"]
    notes = [
        make_note(
            f"n{number:03}",
            " ".join(rng.choices(terms, k=4)),
            scope=str(rng.choice(ANA.lineage())),
            subject=rng.choice(["", "deck", "Deck.", "dates"]),
            aspect=rng.choice(["", "basis", "style"]),
            confidence=rng.random(),
        )
        for number in range(200)
    ]
    searcher = _searcher(_book(*notes))
    for scope in (*ANA.lineage(), BEN):
        alone = _searcher(_book(*visible(notes, scope)))
        for query in ("waterfall by quarter", "deck dates", "unheard of"):
            assert searcher.search(scope, query, k=300) == alone.search(scope, query, k=300)


def test_as_of_shows_what_was_known_and_true_then() -> None:
    book = _book(make_note("a", "Use GAAP figures.", day=0))
    old = make_note("a", "Use GAAP figures.", status=NoteStatus.SUPERSEDED, revision=2, day=5)
    book.write(old, make_note("b", "Use adjusted figures.", day=5))
    searcher = _searcher(book)

    def at(day: float) -> list[str]:
        return _ids(searcher.search(ANA, "figures", k=5, as_of=MORNING + timedelta(days=day)))

    assert at(-1) == []
    assert at(1) == ["a"]
    assert at(5) == ["b"]
    assert _ids(searcher.search(ANA, "figures", k=5)) == ["b"]


def test_as_of_leaves_out_what_was_recorded_but_not_true_then() -> None:
    note = make_note("a", day=0)
    later = note.model_copy(update={"valid_from": MORNING + timedelta(days=3)})
    ended = note.model_copy(update={"id": "e", "valid_to": MORNING + timedelta(days=1)})
    searcher = _searcher(_book(later, ended))
    noon = MORNING + timedelta(hours=6)
    assert _ids(searcher.search(ANA, "lesson", k=5, as_of=noon)) == ["e"]
    two_days = MORNING + timedelta(days=2)
    assert searcher.search(ANA, "lesson", k=5, as_of=two_days) == []


def test_time_travel_shows_a_note_as_active_until_its_end_and_then_on_request() -> None:
    book = _book(make_note("a", "Use GAAP figures.", day=0))
    end = MORNING + timedelta(days=5)
    old = make_note("a", "Use GAAP figures.", status=NoteStatus.SUPERSEDED, revision=2)
    book.write(old.model_copy(update={"recorded_at": end, "valid_to": end}))
    book.write(make_note("b", "Use adjusted figures.", day=5))
    searcher = _searcher(book)

    def at(day: float) -> list[tuple[str, NoteStatus]]:
        then = MORNING + timedelta(days=day)
        hits = searcher.search(ANA, "figures", k=5, as_of=then, include_superseded=True)
        return sorted((hit.note.id, hit.note.status) for hit in hits)

    assert at(-1) == []
    assert at(4.9) == [("a", NoteStatus.ACTIVE)]
    assert at(9) == [("a", NoteStatus.SUPERSEDED), ("b", NoteStatus.ACTIVE)]
    later = [hit.note.id for hit in searcher.search(ANA, "figures", k=5, as_of=end)]
    assert later == ["b"]


def test_a_superseded_note_that_was_not_yet_true_is_not_shown_then() -> None:
    begins = MORNING + timedelta(days=3)
    note = make_note("a", status=NoteStatus.SUPERSEDED).model_copy(update={"valid_from": begins})
    searcher = _searcher(_book(note))
    for then, shown in ((MORNING + timedelta(days=2), []), (begins, ["a"])):
        found = searcher.search(ANA, "lesson", k=5, as_of=then, include_superseded=True)
        assert _ids(found) == shown


def test_superseded_notes_come_on_request_only() -> None:
    book = _book(make_note("a"), make_note("old", status=NoteStatus.SUPERSEDED))
    searcher = _searcher(book)
    assert _ids(searcher.search(ANA, "lesson", k=5)) == ["a"]
    found = searcher.search(ANA, "lesson", k=5, include_superseded=True)
    assert sorted(_ids(found)) == ["a", "old"]


# ---------------------------------------------------------------------------- vectors


def test_notes_of_another_model_are_embedded_once_within_the_bound() -> None:
    book = Notebook(HashEmbedder(dim=16))
    book.write(*(make_note(f"n{i}", f"Lesson number {i}.") for i in range(10)))
    embedder = CountingEmbedder()
    searcher = Searcher(book.reader, None, embedder, max_embeds=4)
    for expected in (4, 4, 2, 0):
        embedder.asked.clear()
        assert len(searcher.search(ANA, "q", k=20)) == 10
        assert len(embedder.asked) == expected + 1


def test_a_vector_of_the_wrong_length_is_not_trusted() -> None:
    book = _book(make_note("a", "waterfall by quarter"), make_note("b", "dates"))
    model = HashEmbedder().model
    book.store_vectors([NoteVector(note_id="a", revision=1, model=model, vector=b"\0" * 8)])
    assert _ids(_searcher(book).search(ANA, "waterfall", k=1)) == ["a"]


# ---------------------------------------------------------------------------- large scopes


def _large(count: int = 40) -> Notebook:
    book = _book(*(make_note(f"n{i:02}", f"Topic{i} lesson.") for i in range(count)))
    book.write(make_note("mine", "My own lesson.", scope="acme/banking/ana"))
    book.write(make_note("foreign", "Topic7 lesson.", scope="globex/secret"))
    book.write(make_note("ben", "Topic7 lesson.", scope="acme/banking/ben"))
    return book


def _indexed(book: Notebook) -> InMemoryIndex:
    index = InMemoryIndex()
    projector = Projector(book.reader, book.writer, index)
    while projector.project():
        continue
    return index


def test_a_large_scope_is_asked_of_the_index_and_a_small_one_is_not() -> None:
    book = _large()
    asked: list[Sequence[Scope]] = []

    class Spy(InMemoryIndex):
        def query(
            self, generation: int, vector: bytes, scopes: Sequence[Scope], *, k: int
        ) -> list[Hit]:
            asked.append(scopes)
            return index.query(generation, vector, scopes, k=k)

    index = _indexed(book)
    searcher = Searcher(book.reader, Spy(), HashEmbedder(), exact_limit=10)
    hits = searcher.search(ANA, "Topic7", k=3)
    assert hits[0].note.id == "n07"
    assert asked == [[Scope("acme/banking")]]
    assert searcher.search(ANA, "my own", k=3)[0].note.id == "mine"


def test_exact_and_indexed_search_agree_on_the_best() -> None:
    book = _large()
    exact = _searcher(book)
    indexed = Searcher(book.reader, _indexed(book), HashEmbedder(), exact_limit=10)
    for query in ("Topic3 lesson", "Topic31", "my own lesson"):
        assert exact.search(ANA, query, k=1)[0].note == indexed.search(ANA, query, k=1)[0].note


class _Hostile(InMemoryIndex):
    """Names whatever it likes."""

    def __init__(self, answer: Callable[[], list[Hit]]) -> None:
        super().__init__()
        self._answer = answer

    def query(
        self, generation: int, vector: bytes, scopes: Sequence[Scope], *, k: int
    ) -> list[Hit]:
        return self._answer()


def test_an_index_that_lies_costs_recall_and_never_isolation() -> None:
    book = _large()
    book.write(make_note("gone", "Topic7 retired.", status=NoteStatus.RETIRED))
    lies = [
        Hit(note_id="foreign", revision=1, score=9.0),
        Hit(note_id="ben", revision=1, score=9.0),
        Hit(note_id="gone", revision=1, score=9.0),
        Hit(note_id="n03", revision=99, score=9.0),
        Hit(note_id="never-was", revision=1, score=9.0),
        Hit(note_id="n04", revision=1, score=9.0),
        Hit(note_id="n04", revision=1, score=9.0),
        Hit(note_id="n07", revision=1, score=float("nan")),
    ]
    searcher = Searcher(book.reader, _Hostile(lambda: lies), HashEmbedder(), exact_limit=10)
    hits = searcher.search(ANA, "Topic7", k=10)
    assert sorted(_ids(hits)) == ["mine", "n04", "n07"]
    assert hits[0].note.id == "n07"
    assert all(hit.score < 2 for hit in hits)


@pytest.mark.parametrize(
    "answer", [[], [Hit(note_id="foreign", revision=1, score=1.0)]], ids=["nothing", "foreign"]
)
def test_an_index_with_nothing_true_to_say_is_not_believed(answer: list[Hit]) -> None:
    book = _large()
    searcher = Searcher(book.reader, _Hostile(lambda: answer), HashEmbedder(), exact_limit=10)
    hits = searcher.search(ANA, "Topic7", k=5)
    assert hits[0].note.id == "n07"
    assert not {"foreign", "ben"} & set(_ids(hits))


def test_an_index_that_fails_is_replaced_by_an_exact_scan() -> None:
    def fail() -> list[Hit]:
        raise StoreError("bricked", field="index")

    book = _large()
    searcher = Searcher(book.reader, _Hostile(fail), HashEmbedder(), exact_limit=10)
    exact = _searcher(book).search(ANA, "Topic7 lesson", k=5)
    assert searcher.search(ANA, "Topic7 lesson", k=5) == exact


def test_the_nearest_wins_over_a_hit_from_a_large_scope() -> None:
    book = _large()
    book.write(make_note("team", "Topic7 by year.", subject="Topic7", aspect="period"))
    near = make_note("near", "By quarter.", scope="acme/banking/ana", subject="topic7")
    book.write(
        near.model_copy(update={"claim": near.claim.model_copy(update={"aspect": "Period"})})
    )
    searcher = Searcher(book.reader, _indexed(book), HashEmbedder(), exact_limit=10)
    shown = _ids(searcher.search(ANA, "Topic7 by year", k=20))
    assert "near" in shown
    assert "team" not in shown
    assert "team" in _ids(searcher.search(BEN, "Topic7 by year", k=20))


def test_time_travel_in_a_large_scope_does_not_use_the_index() -> None:
    book = _large()
    searcher = Searcher(book.reader, _Hostile(list), HashEmbedder(), exact_limit=10)
    hits = searcher.search(ANA, "Topic7 lesson", k=1, as_of=MORNING)
    assert _ids(hits) == ["n07"]


def test_searches_and_commits_in_many_threads_agree_with_the_ledger() -> None:
    book = _book(make_note("n", "Lesson zero.", revision=1))
    searcher = _searcher(book, cache_bytes=1)
    scopes = [Scope(f"acme/banking/u{i}") for i in range(4)]

    def read(number: int) -> bool:
        floor = book.history("n")[-1].revision
        (hit,) = searcher.search(scopes[number % 4], "lesson", k=3)
        return hit.note.revision >= floor

    with ThreadPoolExecutor(8) as pool:
        answers = []
        for revision in range(2, 40):
            answers += [pool.submit(read, n) for n in range(8)]
            book.write(make_note("n", f"Lesson {revision}.", revision=revision))
        assert all(answer.result(timeout=30) for answer in answers)
