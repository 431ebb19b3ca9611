"""Lessons: what a trail teaches, to whom, and on which day who says it again."""

from __future__ import annotations

from random import Random

from benchmarks.sharpness.bank import Bank, Topic, Value
from benchmarks.sharpness.people import Person, Size, Staff, Team
from benchmarks.sharpness.slots import GENERAL_SHARE, Mention, Plan, Slots

COUNTS = {
    "individual": 10,
    "team": 14,
    "org": 6,
    "near_miss": 6,
    "changed": 8,
    "scoped": 5,
    "standing": 10,
    "retracted": 5,
    "one_off": 24,
    "lure": 24,
}
"""How many of each at 3,000 events; ``scoped`` counts pairs of teams."""

SPLIT_SHARE = 0.10


class Planner:
    """Draws all lessons of a trail and when they are said."""

    def __init__(self, random: Random, staff: Staff, size: Size) -> None:
        self.random, self.staff, self.size = random, staff, size
        banks = dict.fromkeys(bank for team in staff.teams for bank in team.banks)
        self.slots = Slots(random, list(banks))
        self.plans: list[Plan] = []
        self.mentions: list[Mention] = []
        self._tastes: set[tuple[str, Topic]] = set()
        self._said_by: dict[tuple[Topic, str], list[str]] = {}
        self._last = size.days - 1

    def plan(self) -> None:
        """Everything, in an order that leaves the scarce questions to those who need them."""
        for _ in range(self._count("scoped")):
            self._scoped()
        for _ in range(self._count("org")):
            self._org()
        for number in range(self._count("team")):
            self._team_lesson(near=number < self._count("near_miss"))
        for number in range(self._count("changed")):
            self._changed(individual=number % 4 == 3)
        for number in range(self._count("individual")):
            self._individual(moved=number == 0)
        for _ in range(self._count("standing")):
            self._standing()
        for number in range(self._count("retracted")):
            self._retracted(("individual", "standing", "team")[number % 3])
        for number in range(self._count("one_off")):
            self._once("once", beside=number % 3 == 0)
        for number in range(self._count("lure")):
            self._once("lures", beside=number % 3 == 0)

    def _count(self, cls: str) -> int:
        return max(1, round(COUNTS[cls] * self.size.lessons))

    # ------------------------------------------------------------------ classes

    def _scoped(self) -> None:
        sharing = self.staff.sharing()
        if not sharing:
            return
        bank, teams = self.random.choice(sharing)
        slot = self.slots.draw(bank)
        if slot is None:
            return
        values = self.random.sample(slot[0].values, 2)
        name = f"pair{len(self.plans)}"
        for team, value in zip(self.random.sample(teams, 2), values, strict=True):
            plan = self._new("scoped", f"{self.staff.org}/{team.name}", bank, slot, value)
            plan.pair = name
            self._recur(plan, self._three(team), self.random.randint(3, 5))

    def _org(self) -> None:
        sharing = self.staff.sharing()
        if not sharing:
            return
        bank, teams = self.random.choice(sharing)
        slot = self.slots.draw(bank)
        if slot is None:
            return
        plan = self._new("org", self.staff.org, bank, slot)
        people = [p for team in self.random.sample(teams, 2) for p in self._some(team, 2)]
        self._recur(plan, people, self.random.randint(4, 9))

    def _team_lesson(self, *, near: bool) -> None:
        team, bank = self._place()
        slot = self.slots.draw(bank, general=0.0 if near else GENERAL_SHARE)
        if slot is None:
            return
        plan = self._new("team", f"{self.staff.org}/{team.name}", bank, slot)
        self._recur(plan, self._three(team), self.random.randint(3, 9))
        if near:
            self._near_miss(plan, team)

    def _near_miss(self, plan: Plan, team: Team) -> None:
        """The same question about something else, with another answer and the same words."""
        free = [f for f in self.slots.facets(plan.bank) if self.slots.free(plan.topic, f)]
        if not free:
            return
        slot = self.slots.take(plan.topic, self.random.choice(free))
        other = self._other(plan.topic, plan.value)
        twin = self._new("near_miss", plan.owner, plan.bank, slot, other)
        self._recur(twin, self._three(team), self.random.randint(3, 5))

    def _changed(self, *, individual: bool) -> None:
        team, bank = self._place()
        slot = self.slots.draw(bank)
        if slot is None:
            return
        people = self._some(team, 1) if individual else self._three(team)
        owner = people[0].path(self.staff.org, 0) if individual else f"{self.staff.org}/{team.name}"
        plan = self._new("changed", owner, bank, slot)
        plan.old = self._other(plan.topic, plan.value)
        self._said_by[slot].append(plan.old.id)
        plan.changed_on = change = max(2, self.size.days // 2)
        for number in range(self.random.randint(3, 4)):
            who = people[number % len(people)]
            self._say(plan, self.random.randrange(change), who, "ways", plan.old)
        self.random.shuffle(people)
        tellers = self.random.randint(1, min(2, len(people)))
        for who in people[:tellers]:
            self._say(plan, change, who, "change")
        for number in range(self.random.randint(2, 4)):
            who = people[(tellers + number) % len(people)]
            self._say(plan, self.random.randint(change + 1, self._last), who, "ways")

    def _individual(self, *, moved: bool = False) -> Plan | None:
        person = self.staff.movers[0] if moved else self._anybody()
        found = self._taste(person, self.staff.team_of(person, 0))
        if found is None:
            return None
        plan = self._new("individual", person.path(self.staff.org, 0), *found)
        plan.moved = moved
        if moved:
            for _ in range(3):
                self._say(plan, self.random.randrange(person.moves_on), person, "ways")
        else:
            self._recur(plan, [person], self.random.randint(3, 9))
        return plan

    def _standing(self) -> Plan | None:
        person = self._anybody()
        bank = self.random.choice(self.staff.team_of(person, 0).banks)
        slot = self.slots.draw(bank)
        if slot is None:
            return None
        plan = self._new("standing", person.path(self.staff.org, 0), bank, slot)
        self._say(plan, self.random.randrange(self.size.core_days), person, "standing")
        return plan

    def _retracted(self, kind: str) -> None:
        before = len(self.mentions)
        if kind == "team":
            self._team_lesson(near=False)
        else:
            made = self._standing() if kind == "standing" else self._individual()
            if made is None:
                return
        said = self.mentions[before:]
        if not said:
            return
        plan = said[0].plan
        plan.cls, plan.kept = "retracted", False
        late = self.size.days // 2 + 1
        self.mentions[before:] = [m for m in said if m.day < late]
        people = list(dict.fromkeys(m.person for m in said))
        self._say(plan, self.random.randint(late, self._last), people[0], "retract")

    def _once(self, form: str, *, beside: bool) -> None:
        """Wanted once, or only mentioned: beside a lesson with another answer, or on its own."""
        taught = [p for p in self.plans if p.cls in ("team", "org", "near_miss")]
        if beside and taught:
            plan = self.random.choice(taught)
            bank, topic, facet, owner = plan.bank, plan.topic, plan.facet, plan.owner
            team = next((t for t in self.staff.teams if owner.endswith(f"/{t.name}")), None)
            person = self.random.choice(team.members) if team else self._works_in(bank)
        else:
            person = self._anybody()
            bank = self.random.choice(self.staff.team_of(person, 0).banks)
            slot = self.slots.draw(bank, general=0.0)
            if slot is None:
                return
            topic, facet = slot
        said = self._said_by.get((topic, facet), [])
        values = [v for v in topic.values if v.id not in said]
        if not values:
            return
        value = self.random.choice(values)
        said = self._said_by.setdefault((topic, facet), [])
        said.append(value.id)
        kind = "one_off" if form == "once" else "lure"
        plan = Plan(kind, person.path(self.staff.org, 0), bank, topic, facet, value, kept=False)
        self._say(plan, self.random.randint(0, self._last), person, form)

    # ------------------------------------------------------------------ parts

    def _new(
        self,
        cls: str,
        owner: str,
        bank: Bank,
        slot: tuple[Topic, str],
        value: Value | None = None,
    ) -> Plan:
        topic, facet = slot
        value = value or self.random.choice(topic.values)
        plan = Plan(cls, owner, bank, topic, facet, value, audience=self._audience(owner))
        self._said_by.setdefault((topic, facet), []).append(value.id)
        self.plans.append(plan)
        return plan

    def _audience(self, owner: str) -> tuple[str, ...]:
        readers = self.staff.readers(self._last)
        return tuple(r for r in readers if r == owner or r.startswith(f"{owner}/"))

    def _other(self, topic: Topic, value: Value) -> Value:
        return self.random.choice([v for v in topic.values if v is not value])

    def _taste(self, person: Person, team: Team) -> tuple[Bank, tuple[Topic, str], Value] | None:
        """A taste nobody else in reach shares, or it would be the team's or everybody's."""
        for bank in self.random.sample(team.banks, len(team.banks)):
            topics = [topic for topic in bank.topics if topic.personal and topic.general]
            for topic in self.random.sample(topics, len(topics)):
                taken = self._said_by.get((topic, ""), [])
                free = [v for v in topic.values if v.id not in taken]
                if free and (person.name, topic) not in self._tastes:
                    self._tastes.add((person.name, topic))
                    return bank, (topic, ""), self.random.choice(free)
        return None

    def _recur(self, plan: Plan, people: list[Person], times: int) -> None:
        """Everybody once (one person three times) in the first days, the rest whenever."""
        core = max(len(people), 3)
        times += (self.size.days - 6) // 3
        for number in range(max(times, core)):
            if number < core:
                day = (number + self.random.randrange(3)) % self.size.core_days
            else:
                day = self.random.randint(0, self._last)
            self._say(plan, day, people[number % len(people)], "ways")

    def _say(
        self, plan: Plan, day: int, person: Person, form: str, value: Value | None = None
    ) -> None:
        if form == "ways" and self.random.random() < SPLIT_SHARE:
            form = "split"
        self.mentions.append(Mention(plan, day, person, form, value or plan.value))

    def _three(self, team: Team) -> list[Person]:
        return self._some(team, max(3, len(team.members) * 3 // 4))

    def _some(self, team: Team, count: int) -> list[Person]:
        return self.random.sample(team.members, min(count, len(team.members)))

    def _anybody(self) -> Person:
        return self.random.choice([p for team in self.staff.teams for p in team.members])

    def _works_in(self, bank: Bank) -> Person:
        teams = [team for team in self.staff.teams if bank in team.banks]
        return self.random.choice(self.random.choice(teams).members)

    def _place(self) -> tuple[Team, Bank]:
        team = self.random.choice(self.staff.teams)
        return team, self.random.choice(team.banks)
