"""Ranks become one score: equal values share a rank, and far down nothing is told apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleep_runtime.present.fusion import C, fuse, ranks


def _plain(values: list[float], window: int) -> list[int]:
    return [min(window, sum(other > value for other in values)) for value in values]


@given(
    st.lists(st.integers(-3, 12).map(float), min_size=1, max_size=80),
    st.integers(1, 10),
)
@settings(max_examples=300, deadline=None)
def test_a_rank_is_how_many_are_better_up_to_the_window(values: list[float], window: int) -> None:
    assert ranks(np.array(values, dtype=np.float32), window).tolist() == _plain(values, window)


def test_what_is_first_in_every_order_scores_one() -> None:
    fused = fuse([np.array([0, 1, 2]), np.array([0, 2, 1])], 10)
    assert fused[0] == 1.0
    assert fused[1] == pytest.approx(((C + 1) / (C + 2) + (C + 1) / (C + 3)) / 2)
    assert fused[1] == fused[2]


def test_a_good_place_in_two_orders_beats_the_first_in_one_and_the_last_in_the_other() -> None:
    both, one = fuse([np.array([1, 0]), np.array([1, 100])], 100)
    assert both > one
