"""Corpus: a seeded trail of work in the public event format, and the truth about it.

people -> lessons (who says what, when) -> sessions of beats -> events in the order they arrive
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from benchmarks.sharpness.bank import Bank, load
from benchmarks.sharpness.lessons import Planner
from benchmarks.sharpness.people import Size, Staff, size_of, staff
from benchmarks.sharpness.sessions import DUPLICATE_SHARE, Maker, Session, Turn
from benchmarks.sharpness.slots import Plan
from benchmarks.sharpness.truth import Label, Lesson, OneOff, Query, Truth
from benchmarks.sharpness.wording import Wording

Event = dict[str, Any]

START = datetime(2026, 3, 2, tzinfo=UTC)
NIGHT = timedelta(hours=23)
_WORK_BEGINS, _WORK_ENDS = 8 * 3600, 18 * 3600
DISPLACED_SHARE = 0.04
READERS_A_LESSON = 2
_TRIGGERS = re.compile(
    r"\b(?:always|never|must|policy|ignore|forget|from now on|instead|supersede\w*|remember"
    r"|rule|override|disregard|instructions?)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Trail:
    """Events by the day of their arrival, in order of arrival; a night follows each day."""

    days: tuple[tuple[Event, ...], ...]
    truth: Truth

    @property
    def events(self) -> list[Event]:
        return [event for day in self.days for event in day]


def night_of(day: int) -> datetime:
    """When the night after that day begins."""
    return START + timedelta(days=day) + NIGHT


def corpus(
    seed: int, events: int = 3000, split: str = "dev", banks: tuple[Bank, ...] | None = None
) -> Trail:
    """The trail of a seed: equal arguments give equal bytes."""
    size = size_of(events)
    random = Random(f"{split}/{seed}/{events}")
    found = staff(random, f"{split}{seed}", size, banks or load(split))
    planner = Planner(random, found, size)
    planner.plan()
    words = Wording(random)
    maker = Maker(random, found, size, planner, words)
    sessions = maker.make()
    days = _arrivals(random, _happen(random, found, sessions, size), size)
    truth = _truth(random, split, found, size, planner, maker, words, days)
    return Trail(tuple(tuple(event for event, _ in day) for day in days), truth)


# ---------------------------------------------------------------------------- events


def _happen(
    random: Random, staff: Staff, sessions: list[Session], size: Size
) -> list[list[tuple[Event, Turn]]]:
    """The events of each day in the order of their time, one session after the other."""
    by_person: dict[tuple[int, str], list[Session]] = defaultdict(list)
    for session in sessions:
        by_person[session.day, session.person.name].append(session)
    days: list[list[tuple[Event, Turn]]] = [[] for _ in range(size.days)]
    for (day, name), mine in sorted(by_person.items()):
        random.shuffle(mine)
        slot = (_WORK_ENDS - _WORK_BEGINS) / len(mine)
        for place, session in enumerate(mine):
            begin = _WORK_BEGINS + place * slot
            agent = random.choice(session.bank.agents)
            for seconds, turn in _clocked(random, session, begin, slot):
                ts = START + timedelta(days=day, seconds=round(seconds, 3))
                event = _event(turn, ts, session, staff.org, f"{name}-{day}-{place}", agent)
                days[day].append((event, turn))
    number = 0
    for found in days:
        found.sort(key=lambda pair: (pair[0]["ts"], pair[0]["session"]))
        for event, turn in found:
            number += 1
            event["id"] = turn.id = f"{staff.org}-{number:06}"
    return days


def _clocked(
    random: Random, session: Session, begin: float, length: float
) -> Iterator[tuple[float, Turn]]:
    """Seconds of the day and turns: a beat takes minutes, between beats there is time."""
    room = length / max(len(session.beats), 1)
    for number, beat in enumerate(session.beats):
        at = begin + room * (number + 0.3 * random.random())
        step = min(60.0, 0.6 * room / len(beat))
        for turn in beat:
            yield at, turn
            at += step * (0.4 + 0.6 * random.random())


def _event(turn: Turn, ts: datetime, session: Session, org: str, name: str, agent: str) -> Event:
    _, team, user = session.person.path(org, session.day).split("/")
    return {
        "id": "",
        "ts": ts.isoformat(),
        "scope": {"org": org, "team": team, "user": user},
        "session": name,
        "agent": agent,
        "kind": turn.kind,
        "role": turn.role,
        "text": turn.text,
        "about": turn.about,
        "data": {},
    }


def _arrivals(
    random: Random, days: list[list[tuple[Event, Turn]]], size: Size
) -> list[list[tuple[Event, Turn]]]:
    """As the network brings them: some a day late, some out of order, some twice."""
    arrived: list[list[tuple[Event, Turn]]] = [[] for _ in days]
    last = size.days - 1
    for day, found in enumerate(days):
        for pair in found:
            arrived[min(day + pair[1].late, last)].append(pair)
    for found in arrived:
        for _ in range(round(len(found) * DISPLACED_SHARE)):
            at = random.randrange(len(found))
            pair = found.pop(at)
            found.insert(min(max(at + random.randint(-30, 30), 0), len(found)), pair)
    for _ in range(round(size.events * DUPLICATE_SHARE)):
        day = random.randrange(size.days)
        if arrived[day]:
            again = random.choice(arrived[day])
            found = arrived[min(day + random.randrange(2), last)]
            found.append(again)
    return arrived


# ---------------------------------------------------------------------------- truth


def _truth(
    random: Random,
    split: str,
    staff: Staff,
    size: Size,
    planner: Planner,
    maker: Maker,
    words: Wording,
    days: list[list[tuple[Event, Turn]]],
) -> Truth:
    pairs = {event["id"]: (event, turn) for day in days for event, turn in day}
    said: dict[int, list[Turn]] = defaultdict(list)
    for _, turn in pairs.values():
        if turn.plan is not None:
            said[id(turn.plan)].append(turn)
    lessons = {
        id(plan): _lesson(f"l{number:03}", plan, said[id(plan)])
        for number, plan in enumerate(planner.plans)
    }
    taught = {id_: turn for id_, (_, turn) in pairs.items() if turn.plan is not None}
    return Truth(
        split=split,
        org=staff.org,
        lessons=tuple(lessons.values()),
        one_offs=tuple(
            OneOff(id_, turn.plan.facet, turn.plan.topic, turn.plan.value)
            for id_, turn in sorted(taught.items())
            if turn.plan and turn.plan.cls == "one_off"
        ),
        labels={id_: _label(turn, lessons) for id_, turn in sorted(taught.items())},
        canaries={name: tuple(found) for name, found in maker.canaries.items()},
        secrets=tuple(maker.secrets),
        queries=_queries(random, words, planner.plans, lessons),
        readers=staff.readers(size.days - 1),
        facets=frozenset(facet for team in staff.teams for b in team.banks for facet in b.facets),
        sayings={
            id_: (event["scope"]["user"], event["session"])
            for id_, (event, turn) in pairs.items()
            if turn.role == "human"
        },
        benign=frozenset(
            id_
            for id_, turn in taught.items()
            if turn.plan and turn.plan.kept and _TRIGGERS.search(turn.text)
        ),
        learned_from=sum(len(day) for day in days[: size.core_days]),
    )


def _lesson(name: str, plan: Plan, turns: list[Turn]) -> Lesson:
    def ids(value: str) -> frozenset[str]:
        return frozenset(
            turn.id
            for turn in turns
            if turn.value == value and turn.form not in ("split_first", "retract")
        )

    probe = night_of(plan.changed_on - 1) + timedelta(minutes=45)
    return Lesson(
        id=name,
        cls=plan.cls,
        owner=plan.owner,
        audience=plan.audience,
        facet=plan.facet,
        topic=plan.topic,
        value=plan.value,
        events=ids(plan.value.id),
        old=plan.old,
        old_events=ids(plan.old.id) if plan.old else frozenset(),
        aside=frozenset(turn.id for turn in turns if turn.form in ("split_first", "retract")),
        kept=plan.kept,
        pair=plan.pair,
        moved=plan.moved,
        probe=probe.isoformat() if plan.old else "",
    )


def _label(turn: Turn, lessons: dict[int, Lesson]) -> Label:
    plan = turn.plan
    assert plan is not None  # the caller took it from there
    lesson = lessons.get(id(plan))
    cls = turn.form if turn.form in ("split_first", "retract") else plan.cls
    return Label(cls, plan.facet, plan.topic.key, turn.value, lesson.id if lesson else "")


def _queries(
    random: Random, words: Wording, plans: list[Plan], lessons: dict[int, Lesson]
) -> tuple[Query, ...]:
    found: list[Query] = []
    for plan in plans:
        if not plan.kept:
            continue
        readers = random.sample(plan.audience, min(READERS_A_LESSON, len(plan.audience)))
        for reader in readers:
            name = f"q{len(found):04}"
            found.append(Query(name, lessons[id(plan)].id, reader, words.query(plan)))
    return tuple(found)
