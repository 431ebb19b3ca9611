"""Rounds that interleave everybody, and what follows from them: ratios, shares, agreement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from benchmarks.harness import Results, quantile
from benchmarks.peers.side import Adds, Searches
from benchmarks.peers.texts import Question

EMBED = "embed"
OURS = ("ours", "ours_http")
QUANTILES = {"p50": 0.5, "p99": 0.99}
TARGET = 0.9
"""The least share of queries to which everybody gives the same first answer."""
TURN = 10
"""Requests in a row of one side: what else the machine does meets everybody alike."""
_RATIO = "_over_"

Item = TypeVar("Item")
Part = TypeVar("Part")


class Answers:
    """The first hit of everybody for every question, over all rounds."""

    def __init__(self) -> None:
        self._tops: dict[str, list[str]] = {}
        self._wanted: list[str] = []

    def add(self, asked: Sequence[Question], tops: Mapping[str, Sequence[str]]) -> None:
        """One round. Raises ``ValueError`` when somebody left a question out."""
        for name, found in tops.items():
            if len(found) != len(asked):
                raise ValueError(f"{name} gave {len(found)} answers to {len(asked)} questions")
            self._tops.setdefault(name, []).extend(found)
        self._wanted.extend(question.note for question in asked)

    def report(self) -> dict[str, object]:
        """Shares of all queries.

        ``all`` have the same first hit; ``right`` is, for each, how often that is the note the
        question was made from; ``met`` whether ``all`` is at least 0.9.
        """
        everybody = list(zip(*self._tops.values(), strict=True))
        same = _share([len(set(tops)) == 1 for tops in everybody])
        return {
            "queries": len(self._wanted),
            "all": same,
            "right": {
                name: _share([a == b for a, b in zip(tops, self._wanted, strict=True)])
                for name, tops in self._tops.items()
            },
            "met": same >= TARGET,
        }


def search_round(
    results: Results, point: str, sides: Sequence[Searches], asked: Sequence[Question], turn: int
) -> dict[str, list[str]]:
    """Everybody answers the same questions; the first hits by name."""
    pairs = [(question.user, question.text) for question in asked]
    parts = interleaved({side.name: side.search for side in sides}, pairs, turn)
    keep(results, point, {name: [ms for p in of for ms in p.ms] for name, of in parts.items()})
    return {
        name: [top for p in of for top in p.tops] for name, of in parts.items() if name != EMBED
    }


def add_round(
    results: Results, point: str, sides: Sequence[Adds], said: Sequence[tuple[str, str]], turn: int
) -> None:
    """Everybody remembers the same texts."""
    parts = interleaved({side.name: side.add for side in sides}, said, turn)
    keep(results, point, {name: [ms for part in of for ms in part] for name, of in parts.items()})


def interleaved(
    sides: Mapping[str, Callable[[Sequence[Item]], Part]], items: Sequence[Item], turn: int
) -> dict[str, list[Part]]:
    """Every side does all items, ten at a time; another side goes first with each ten."""
    names = list(sides)
    done: dict[str, list[Part]] = {name: [] for name in names}
    for at in range(0, len(items), TURN):
        first = (turn + at // TURN) % len(names)
        for name in (*names[first:], *names[:first]):
            done[name].append(sides[name](items[at : at + TURN]))
    return done


def keep(results: Results, point: str, took_ms: Mapping[str, Sequence[float]]) -> None:
    """One round's quantiles, each peer's ratios to ours (above 1: ours is faster), and what share
    of everybody's median the embedding is, where that was measured as well.
    """
    at = {
        name: {label: quantile(ms, share) for label, share in QUANTILES.items()}
        for name, ms in took_ms.items()
    }
    mine = [name for name in OURS if name in at]
    peers = [name for name in at if name not in (*OURS, EMBED)]
    for name, values in at.items():
        for label, value in values.items():
            results.add(f"{point}_{name}_{label}_ms", value, "ms")
    for peer in peers:
        for own in mine:
            for label in QUANTILES:
                ratio = at[peer][label] / at[own][label]
                results.add(f"{point}_{peer}{_RATIO}{own}_{label}", ratio, "x")
    if EMBED in at:
        for name in (*mine, *peers):
            share = at[EMBED]["p50"] / at[name]["p50"]
            results.add(f"{point}_embed_share_{name}", share, "of p50")


def not_faster(report: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The ratios of a report's results whose median is not above 1, worst first."""
    ratios = {name: row["median"] for name, row in report.items() if _RATIO in name}
    return sorted((name for name in ratios if ratios[name] <= 1), key=lambda name: ratios[name])


def _share(held: Sequence[bool]) -> float:
    return round(sum(held) / len(held), 4) if held else 0.0
