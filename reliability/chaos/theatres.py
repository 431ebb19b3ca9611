"""The two theatres, and in which order they hurt: drawn from the seed, every kind in each round."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from reliability.chaos import bench_wounds, days, facts, stage_wounds
from reliability.chaos.bench import Bench, Missed
from reliability.chaos.night import Order
from reliability.chaos.nursery import Nursery, Unable
from reliability.chaos.stage import Stage, standing
from reliability.chaos.tally import Tally

RARELY = 3
"""A slow kind comes up in one of so many rounds, after the first."""


def plan(
    seed: int, theatre: str, kinds: Sequence[str], rare: Collection[str] = ()
) -> Iterator[tuple[int, str, Random]]:
    """Numbered wounds without an end, each with dice of its own."""
    number = 0
    for round_ in _rounds():
        dice = Random(f"{seed} {theatre} {round_}")
        now = [kind for kind in kinds if kind not in rare or round_ % RARELY == 0]
        for kind in dice.sample(now, k=len(now)):
            yield number, kind, Random(f"{seed} {theatre} {number}")
            number += 1


def _rounds() -> Iterator[int]:
    round_ = 0
    while True:
        yield round_
        round_ += 1


def chosen(kinds: Sequence[str], only: Sequence[str]) -> list[str]:
    """The kinds whose name holds one of the words; all, if there are none."""
    return [kind for kind in kinds if not only or any(word in kind for word in only)]


def run_bench(
    tally: Tally, nursery: Nursery, wounds: Iterator[tuple[int, str, Random]], until_s: float
) -> None:
    """Hurt one night after the other until the time is up or the wounds are."""
    with tempfile.TemporaryDirectory(prefix="chaos-bench-") as place:
        bench = Bench(Path(place), nursery)
        for number, kind, dice in wounds:
            if time.monotonic() > until_s:
                return
            _hurt_night(tally, bench, number, kind, dice)


def _hurt_night(tally: Tally, bench: Bench, number: int, kind: str, dice: Random) -> None:
    patient = bench.patient(number, dice)
    recovered_s, wrong = 0.0, []
    try:
        bench_wounds.WOUNDS[kind](bench, patient, dice)
        healed = bench.heal(patient)
        recovered_s, wrong = healed.recovered_s, list(healed.violations)
        tally.kept(healed.acked, healed.lost, healed.doubled)
    except Missed as missed:
        tally.missed("bench", kind, str(missed))
        return
    except Unable as unable:
        tally.cannot("bench", kind, str(unable))
        return
    except AssertionError as error:
        wrong = [str(error)]
    finally:
        bench.done(patient)
    tally.wound("bench", number, kind, recovered_s, wrong)


def run_stage(
    tally: Tally, nursery: Nursery, wounds: Iterator[tuple[int, str, Random]], until_s: float
) -> None:
    """Hurt a running runtime until the time is up or the wounds are."""
    with (
        tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as place,
        Stage(Path(place), cache(lambda kind: undisturbed_day(nursery, kind))) as stage,
    ):
        for number, kind, dice in wounds:
            if time.monotonic() > until_s:
                break
            _hurt_stage(tally, stage, number, kind, dice)
        tally.kept(len(stage.acked), *stage.lost_and_doubled())


def _hurt_stage(tally: Tally, stage: Stage, number: int, kind: str, dice: Random) -> None:
    captor = stage.begin(number, dice)
    wrong: list[str] = []
    undone: Callable[[], None] | None = None
    try:
        stage.wait_for(lambda: captor.sent >= 4, "the agents to begin")
        time.sleep(dice.uniform(0.0, 1.0))
        stage_wounds.WOUNDS[kind](stage, captor, dice)
    except Missed as missed:
        undone = partial(tally.missed, "stage", kind, str(missed))
    except Unable as unable:
        undone = partial(tally.cannot, "stage", kind, str(unable))
    except AssertionError as error:
        wrong = [str(error)]
    found, recovered_s = stage.settle(number, captor)
    stage.sample()
    if stage.runtime.process.poll() is not None:
        stage.restart([])
    if undone is not None and not found:
        undone()
        return
    tally.wound("stage", number, kind, recovered_s, [*wrong, *found])


def undisturbed_day(nursery: Nursery, kind: int) -> frozenset[Any]:
    """What stands after a day of this kind in a runtime that nobody hurts."""
    with tempfile.TemporaryDirectory(prefix="chaos-quiet-") as place:
        home = Path(place)
        sessions = days.day(kind, "quiet")
        trail = home / "trail.ndjson"
        events = [event for session in sessions for event in session.events]
        trail.write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")
        order = Order(
            home=place,
            trail=str(trail),
            batches=tuple(_places(sessions)),
            at=datetime.now(UTC),
        )
        nursery.undisturbed(order)
        return standing(facts.ledger(order.data_dir), "quiet")


def _places(sessions: Sequence[days.Session]) -> Iterator[tuple[int, ...]]:
    at = 0
    for session in sessions:
        yield tuple(range(at, at + len(session.events)))
        at += len(session.events)
