"""When ``up`` gives up: what brings itself back gets its time, what was taken away does not."""

from __future__ import annotations

import threading

import pytest

from sleep_runtime.compose.watch import PATIENCE_S, Kind, Patience, Trouble, Watch

GONE = Trouble(Kind.DELETED, "serve", "the application was deleted")
SILENT = Trouble(Kind.AILING, "ledger", "the ledger gives no sign")


@pytest.mark.parametrize("kind", list(Kind))
def test_each_trouble_may_last_as_long_as_its_kind(kind: Kind) -> None:
    trouble, patience = Trouble(kind, "x", "y"), Patience()
    assert patience.overdue([trouble], 100.0) is None
    assert patience.overdue([trouble], 99.9 + PATIENCE_S[kind]) is None
    assert patience.overdue([trouble], 100.0 + PATIENCE_S[kind]) == trouble


def test_what_came_back_is_forgotten() -> None:
    patience = Patience({Kind.AILING: 10.0, Kind.DELETED: 10.0})
    assert patience.overdue([SILENT], 0.0) is None
    assert patience.overdue([], 9.0) is None
    assert patience.overdue([SILENT], 11.0) is None
    assert patience.overdue([SILENT], 21.0) == SILENT


def test_one_trouble_does_not_use_up_the_time_of_another() -> None:
    patience = Patience({Kind.AILING: 100.0, Kind.DELETED: 10.0})
    assert patience.overdue([SILENT], 0.0) is None
    assert patience.overdue([SILENT, GONE], 50.0) is None
    assert patience.overdue([SILENT, GONE], 60.0) == GONE


def test_ray_does_not_end_the_process_before_it_can_say_why() -> None:
    assert PATIENCE_S[Kind.CLUSTER] < 60, "Ray's own patience with a control store that is away"


def test_a_look_that_cannot_be_made_is_trouble_of_the_cluster() -> None:
    woken = threading.Event()

    def blind() -> list[Trouble]:
        raise RuntimeError("no connection")

    watch = Watch(blind, woken.set, every_s=0.001, patience=Patience({Kind.CLUSTER: 0.0}))
    watch.start()
    assert woken.wait(10)
    assert watch.lost is not None
    assert watch.lost.kind is Kind.CLUSTER
    assert "no connection" in watch.lost.reason


def test_a_look_that_hangs_is_seen_from_outside() -> None:
    begun, release = threading.Event(), threading.Event()

    def hanging() -> list[Trouble]:
        begun.set()
        release.wait(10)
        return []

    watch = Watch(hanging, begun.set, every_s=0.001, hangs_s=0.0)
    assert watch.hangs() is None
    watch.start()
    assert begun.wait(10)
    found = watch.hangs()
    watch.stop()
    release.set()
    assert found is not None
    assert found.kind is Kind.CLUSTER


def test_a_well_runtime_is_looked_at_again_and_again_and_nobody_is_woken() -> None:
    looks, enough = [0], threading.Event()

    def well() -> list[Trouble]:
        looks[0] += 1
        if looks[0] == 3:
            enough.set()
        return []

    watch = Watch(well, lambda: pytest.fail("woken"), every_s=0.001)
    watch.start()
    assert enough.wait(10)
    watch.stop()
    assert watch.lost is None
