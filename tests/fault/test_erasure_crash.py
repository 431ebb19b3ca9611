"""An erasure dies at each of its fail points; opened again it finishes, and nothing is left."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from reliability.erasure import oracle
from reliability.erasure.rounds import PLACES, Tally, a_crash, play, targets
from reliability.erasure.world import KILLED, Store, build, erase, receipts, trail_of

EVENTS = 70
TARGET = {"scope": "acme/banking/ben"}


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("erasure") / "master", events=EVENTS)


@pytest.fixture(scope="module")
def undisturbed(master: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = master.copy(tmp_path_factory.mktemp("quiet") / "store")
    assert erase(store.data, TARGET) == 0
    return store


@pytest.fixture
def wanted(master: Store) -> list[str]:
    found = oracle.needles(trail_of(master.data), TARGET)
    assert oracle.look(master.root, found).hits, "the oracle would find nothing anywhere"
    return found


@pytest.mark.parametrize("place", PLACES)
def test_killed_anywhere_it_goes_on_by_itself_and_leaves_nothing(
    place: str, master: Store, undisturbed: Store, wanted: list[str], tmp_path: Path
) -> None:
    store = master.copy(tmp_path / "store")
    assert erase(store.data, TARGET, f"{place}=kill") == KILLED
    known = receipts(store.data)
    assert known or place == "erasure.asked"
    assert erase(store.data, None if known else TARGET) == 0
    assert store.digests() == undisturbed.digests()
    assert oracle.look(store.root, wanted).hits == ()
    (receipt,) = receipts(store.data)
    assert receipt["done"]
    assert receipt["scan"]["erased_hits"] == 0
    assert not list(store.root.rglob("*erasing-*"))


def test_random_erasures_with_random_crashes_leave_nothing(master: Store, tmp_path: Path) -> None:
    """CI's share of ``scripts/erasure``."""
    random, tally = Random(20261127), Tally(20261127)
    trail = trail_of(master.data)
    for number in range(2):
        crashes = [a_crash(random) for _ in range(2)]
        play(master, tmp_path / f"{number}", targets(trail, random), crashes, tally)
    assert tally.clean, tally.where
    assert tally.needles
    assert tally.crashes
