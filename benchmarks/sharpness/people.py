"""People: who works in which team, on what, and who moves."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from benchmarks.sharpness.bank import Bank

_NAMES = (
    "ana", "ben", "cleo", "dev", "ema", "finn", "gita", "hugo", "ines", "jon", "kaya",
    "leo", "mira", "nils", "olga", "paul", "qi", "rosa", "sven", "tara", "umut", "vera",
    "wim", "xena", "yan", "zoe", "abel", "bea", "carl", "dina", "emil", "fara", "gus",
    "hana", "ivo", "jana", "kim", "lars", "maya", "noor", "otto", "pia", "ravi", "sara",
    "theo", "uma", "vito", "wanda", "yves", "zita", "amir", "bibi", "cora", "dario", "elin",
    "faye", "gil", "hedda",
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """How much of everything a trail of some length holds."""

    events: int
    days: int
    teams: int
    people: int
    lessons: float

    @property
    def core_days(self) -> int:
        """The first days, in which every lesson is seen."""
        return max(3, self.days // 3)


def size_of(events: int) -> Size:
    """People and lessons grow gently with the length; days do so that a day stays a day."""
    if events <= 10_000:
        return Size(events, 6, 4, 4, min(1.0, max(events / 3000, 0.2)))
    if events <= 100_000:
        return Size(events, 15, 6, 5, 1.5)
    return Size(events, 40, 8, 6, 2.0)


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody in a team; from ``moves_on`` on in another."""

    name: str
    team: str
    later: str = ""
    moves_on: int = 0

    def team_on(self, day: int) -> str:
        return self.later if self.later and day >= self.moves_on else self.team

    def path(self, org: str, day: int) -> str:
        return f"{org}/{self.team_on(day)}/{self.name}"


@dataclass(frozen=True, eq=False)
class Team:
    """People who work in one or two domains. ``members`` are those who stay."""

    name: str
    banks: tuple[Bank, ...]
    members: tuple[Person, ...]


@dataclass(frozen=True, eq=False)
class Staff:
    """Everybody in the organisation."""

    org: str
    teams: tuple[Team, ...]
    movers: tuple[Person, ...]

    @property
    def people(self) -> tuple[Person, ...]:
        return (*(p for team in self.teams for p in team.members), *self.movers)

    def readers(self, last_day: int, team: str = "") -> tuple[str, ...]:
        """Where people read from in the end, of one team or of all."""
        return tuple(
            p.path(self.org, last_day)
            for p in self.people
            if not team or p.team_on(last_day) == team
        )

    def team_of(self, person: Person, day: int) -> Team:
        return next(team for team in self.teams if team.name == person.team_on(day))

    def sharing(self) -> list[tuple[Bank, tuple[Team, ...]]]:
        """Domains that several teams work in."""
        found = []
        for bank in dict.fromkeys(bank for team in self.teams for bank in team.banks):
            teams = tuple(team for team in self.teams if bank in team.banks)
            if len(teams) > 1:
                found.append((bank, teams))
        return found


def staff(random: Random, org: str, size: Size, banks: tuple[Bank, ...]) -> Staff:
    """Teams whose domains overlap like the links of a chain, each with one person who moves on
    in the first of them."""
    names = random.sample(_NAMES, len(_NAMES))
    order = random.sample(banks, len(banks))
    teams = []
    for number in range(size.teams):
        mine = dict.fromkeys(order[(number + step) % len(order)] for step in range(2))
        members = tuple(Person(names.pop(), f"team{number + 1}") for _ in range(size.people))
        teams.append(Team(f"team{number + 1}", tuple(mine), members))
    first, second = teams[0], teams[1]
    mover = Person(first.members[-1].name, first.name, second.name, size.days // 2)
    teams[0] = Team(first.name, first.banks, first.members[:-1])
    return Staff(org, tuple(teams), (mover,))
