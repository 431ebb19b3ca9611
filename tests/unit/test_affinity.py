"""The store's own statistics: what claims say about each other's words, and the trained head."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleep_runtime.consolidation.affinity import head
from sleep_runtime.consolidation.affinity.affine import measured, odds, table
from sleep_runtime.consolidation.affinity.features import NAMES, measure
from sleep_runtime.consolidation.affinity.head import COLUMNS, RANKED, Head
from sleep_runtime.consolidation.affinity.store import Store
from sleep_runtime.consolidation.affinity.weights import NUMBER, RARE, weight, weighted
from sleep_runtime.consolidation.compare import pair_of
from sleep_runtime.consolidation.words import stem
from sleep_runtime.core.observation import Claim, NoteKind

SHOP = {"shop": "arlen"}
ABOUT = (("shop", "arlen"),)


def claim(statement: str, corrects: str = "", about: dict[str, str] | None = None) -> Claim:
    return Claim(
        statement=statement,
        kind=NoteKind.FACT,
        corrects=corrects,
        about=SHOP if about is None else about,
    )


GLAZE = (
    claim("glaze the tiles with celadon"),
    claim("celadon on the tiles, please", "I glazed the tiles with cobalt."),
    claim("tiles get cobalt", "The tiles are glazed with celadon."),
    claim("fire the kiln overnight"),
    claim("the kiln runs overnight, I said"),
)
WORDS = (
    *("glaze", "tile", "tiles", "celadon", "celadin", "cobalt"),
    *("kiln", "overnight", "not", "40", "never", "is"),
)


def vectors(claims: Sequence[Claim], seed: int = 0) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    raw = {item.statement: rng.normal(size=8) for item in claims}
    return {key: (v / np.linalg.norm(v)).astype("<f4").tobytes() for key, v in raw.items()}


# ---------------------------------------------------------------------------- weights


def test_numbers_and_rare_words_weigh_more_than_everyday_ones() -> None:
    assert weight("celadon") == RARE
    assert weight("q3") == NUMBER
    assert weight("people") < weight("kiln") <= RARE
    assert set(weighted("the celadon is not for you")) == {stem("celadon")}


# ---------------------------------------------------------------------------- store


def test_a_store_counts_the_claims_that_hold_a_word_about_one_thing() -> None:
    elsewhere = claim("celadon", about={"shop": "brixton"})
    store = Store([*GLAZE, elsewhere, GLAZE[0]])
    assert store.size(ABOUT) == len(GLAZE)
    assert store.here(ABOUT, stem("celadon")) == 2
    assert store.here(ABOUT, stem("overnight")) == 2
    assert store.holding(ABOUT, frozenset({stem("tiles"), stem("celadon")})) == 2
    assert store.here((("shop", "nobody"),), stem("celadon")) == 0
    assert store.size((("shop", "nobody"),)) == 0


def test_words_put_in_each_others_place_answer_one_question() -> None:
    once = Store(GLAZE)
    assert once.alternates(stem("celadon"), stem("cobalt")) == 0, "said once, it may be chatter"
    store = Store([*GLAZE, claim("cobalt on the sills")])
    assert store.alternates(stem("celadon"), stem("cobalt")) > 0
    assert store.alternates("cobalt", "celadon") == store.alternates("celadon", "cobalt")
    assert store.alternates(stem("celadon"), stem("kiln")) == 0
    often = Store([*GLAZE, claim("cobalt on the sills", "celadon on the sills")])
    assert often.alternates(stem("celadon"), stem("cobalt")) > store.alternates(
        stem("celadon"), stem("cobalt")
    )


def test_a_word_that_lives_with_anything_is_less_coherent_than_one_of_a_lesson() -> None:
    mixed = [claim(f"sheet {word}") for word in ("celadon", "kiln", "invoice", "courier")]
    held = [claim(f"raku {word} crackle smoke") for word in ("slow", "cold", "thin")]
    store = Store([*mixed, *held])
    assert store.coherence(stem("sheet")) < store.coherence(stem("raku"))
    assert 0 <= store.coherence(stem("sheet")) <= 1
    assert store.coherence("never-seen") == store.coherence("neither")


def test_what_is_rejected_is_not_asserted_and_facets_are_no_words() -> None:
    reading = Store([]).reading(claim("arlen: celadon, not cobalt"))
    assert reading.rejected == {stem("cobalt")}
    assert set(reading.said) == {stem("celadon")}
    assert reading.about == ABOUT


def test_a_reading_is_the_same_whether_the_claim_is_stored_or_not() -> None:
    assert Store(GLAZE).reading(GLAZE[1]) == Store([]).reading(GLAZE[1])


def test_the_order_of_the_claims_changes_no_statistic() -> None:
    pairs = [pair_of(GLAZE[0], other) for other in GLAZE[1:]]
    shuffled = random.Random(3).sample(GLAZE, k=len(GLAZE))
    keys, rows = measured(pairs, GLAZE, {})
    keys_again, rows_again = measured(pairs, shuffled, {})
    assert keys == keys_again
    assert np.array_equal(rows, rows_again)


# ---------------------------------------------------------------------------- features

texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).map(" ".join)


@given(texts, texts, texts, texts, st.floats(-1, 1))
@settings(max_examples=40, deadline=None)
def test_features_have_no_direction(
    left: str, right: str, cause: str, other_cause: str, cosine: float
) -> None:
    one, other = claim(left, cause), claim(right, other_cause)
    store = Store([*GLAZE, one, other])
    ours, theirs = store.reading(one), store.reading(other)
    there, back = measure(ours, theirs, store, cosine), measure(theirs, ours, store, cosine)
    assert len(there) == len(NAMES)
    assert all(map(math.isfinite, there))
    assert there == pytest.approx(back)


def test_ranks_say_how_near_a_pair_is_among_the_neighbours_of_either_claim() -> None:
    rows = [[0.0] * len(NAMES) for _ in range(3)]
    for row, value in zip(rows, (0.9, 0.5, 0.7), strict=True):
        row[NAMES.index("cosine")] = value
    found = table(rows, ["a:b", "a:c", "b:c"])
    least, most = (COLUMNS.index(f"cosine_rank_{end}") for end in ("least", "most"))
    assert found.shape == (3, len(COLUMNS))
    # b:c is the nearer one of c's two, and the farther one of b's.
    assert found[:, least].tolist() == [0, 1, 0]
    assert found[:, most].tolist() == [0, 1, 1]
    assert table([], []).shape == (0, len(COLUMNS))


def test_pairs_about_different_things_are_left_to_the_engine() -> None:
    elsewhere = claim("glaze the tiles with celadon", about={"shop": "brixton"})
    nowhere = claim("glaze the tiles with celadon", about={})
    pairs = [pair_of(GLAZE[0], other) for other in (GLAZE[1], elsewhere, nowhere)]
    assert set(odds(pairs, [*GLAZE, elsewhere, nowhere], {})) == {pairs[0].key}


def test_the_same_said_again_is_likelier_one_lesson_than_another_answer_or_another_thing() -> None:
    claims = [
        *(claim(f"glaze the tiles with celadon {word}") for word in ("please", "again", "now")),
        *(claim(f"glaze the tiles with cobalt {word}", "celadon tiles") for word in ("ok", "yes")),
        *(claim(f"fire the kiln overnight {word}") for word in ("please", "as agreed")),
    ]
    again, another, apart = (pair_of(claims[0], claims[n]) for n in (1, 3, 5))
    found = odds([again, another, apart], claims, vectors(claims))
    assert found[again.key].same > found[another.key].same
    assert found[again.key].same > found[apart.key].same
    assert found[apart.key].same < 0.5
    assert all(0 <= share <= 1 for answer in found.values() for share in answer)


# ---------------------------------------------------------------------------- head


def random_rows(count: int, seed: int = 0) -> head.Rows:
    return np.random.default_rng(seed).uniform(-1, 4, size=(count, len(COLUMNS)))


def test_the_shipped_head_gives_probabilities_row_by_row() -> None:
    rows = random_rows(600)
    found = head.load().odds(rows)
    assert len(found) == len(rows)
    assert all(o.same >= 0 and o.excludes >= 0 and o.same + o.excludes <= 1 + 1e-9 for o in found)
    assert np.allclose(head.load().odds(rows[590:]), found[590:])
    assert head.load().odds(rows[:0]) == []


def test_a_head_of_other_features_is_refused() -> None:
    with pytest.raises(ValueError, match="train-affinity"):
        Head({"columns": list(NAMES), "version": 1, "depth": 1, "base": [0], "trees": []})
    assert len(set(COLUMNS)) == len(COLUMNS) == len(NAMES) + 2 * len(RANKED)


def test_a_head_goes_down_its_trees_by_hand() -> None:
    split = [[0, 1.5, 1, 2, 0.0], [0, 0.0, 1, 1, -1.0], [0, 0.0, 2, 2, 2.0]]
    leaf = [[0, 0.0, 0, 0, 0.0]]
    tiny = Head(
        {
            "columns": list(COLUMNS),
            "version": 1,
            "center": [0.0],
            "spread": [1.0],
            "depth": 1,
            "base": [0.0, 0.0, 1.0],
            "trees": [[leaf, leaf, split]],
        }
    )
    rows = np.zeros((3, len(COLUMNS)))
    rows[:, 0] = (1.0, 1.5, 1.6)
    same = [math.exp(score) / (math.exp(score) + 2) for score in (0.0, 0.0, 3.0)]
    assert [found.same for found in tiny.odds(rows)] == pytest.approx(same)


def test_the_exported_trees_say_what_the_library_that_grew_them_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("sklearn")
    fit = pytest.importorskip("benchmarks.affinity.fit")
    monkeypatch.setattr(fit, "TURNS", 5)
    rows = random_rows(400, seed=1)
    labels = (rows[:, 0] > 1).astype(int) + (rows[:, 3] + rows[:, 5] > 3).astype(int)
    model = fit.fit(rows, labels.tolist())
    asked = random_rows(200, seed=2)
    expected = model.predict_proba(asked)
    found = Head(fit.export(model, rows)).odds(asked)
    assert np.allclose([(o.excludes, o.same) for o in found], expected[:, 1:], atol=5e-3)
    assert len({round(o.same, 2) for o in found}) > 5
