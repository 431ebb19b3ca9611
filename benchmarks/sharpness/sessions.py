"""Sessions: mentions become beats of work, and work is filled up around them.

A beat is a few events that stay together: the agent acts, a person corrects it, the agent goes on.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from random import Random

from benchmarks.sharpness import hostile
from benchmarks.sharpness.bank import TECHNIQUES, Bank
from benchmarks.sharpness.lessons import Planner
from benchmarks.sharpness.people import Person, Size, Staff
from benchmarks.sharpness.slots import Mention, Plan
from benchmarks.sharpness.wording import Wording

ABOUT_SHARE = 0.85
CORRECTION_SHARE = 0.70
LATE_SHARE = 0.03
DUPLICATE_SHARE = 0.02
RECALL_SHARE = 0.15
BEATS_A_SESSION = 3
HUMAN_NOISE_SHARE = 0.06
AGENT_SHARE = 0.1
REPLY_SHARE = 0.3
NOISE_SECRETS, LESSON_SECRETS = 12, 6


@dataclass(eq=False)
class Turn:
    """An event that has no time and no id yet."""

    kind: str
    role: str
    text: str
    about: dict[str, str]
    plan: Plan | None = None
    form: str = ""
    value: str = ""
    late: bool = False
    id: str = ""


@dataclass(eq=False)
class Session:
    """A piece of work of one person with one agent in one domain."""

    person: Person
    day: int
    bank: Bank
    facet: str
    beats: list[list[Turn]] = field(default_factory=list)
    plans: set[int] = field(default_factory=set)

    @property
    def about(self) -> dict[str, str]:
        return {self.bank.facet: self.facet}


class Maker:
    """Makes the sessions of a trail from its plan."""

    def __init__(
        self, random: Random, staff: Staff, size: Size, planner: Planner, words: Wording
    ) -> None:
        self.random, self.staff, self.size, self.planner = random, staff, size, planner
        self.words = words
        self.all: list[Session] = []
        self.sessions: dict[tuple[int, Person], list[Session]] = defaultdict(list)
        self.canaries: dict[str, list[str]] = {name: [] for name in TECHNIQUES}
        self.secrets: list[str] = []
        self._said: list[str] = []
        self._chat: dict[Bank, list[str]] = defaultdict(list)

    def make(self) -> list[Session]:
        """All sessions, each with its beats in the order they happen."""
        for mention in sorted(self.planner.mentions, key=lambda m: m.day):
            self._place(mention)
        self._everybody_works()
        self.all = [session for found in self.sessions.values() for session in found]
        self._secrets_in_lessons()
        self._poison()
        self._chatter()
        for session in self.all:
            self.random.shuffle(session.beats)
        self._fill_up()
        return self.all

    # ------------------------------------------------------------------ beats

    def _place(self, mention: Mention) -> None:
        """Into a session of that day that has room and does not speak of the lesson yet."""
        sessions = self.sessions[mention.day, mention.person]
        plan = mention.plan
        fits = [
            s
            for s in sessions
            if s.bank is plan.bank and len(s.beats) < BEATS_A_SESSION and id(plan) not in s.plans
        ]
        session = fits[0] if fits else self._open(mention.person, mention.day, plan.bank)
        session.plans.add(id(plan))
        session.beats.append(self._taught(mention))

    def _open(self, person: Person, day: int, bank: Bank) -> Session:
        facet = self.random.choice(self.planner.slots.facets(bank))
        session = Session(person, day, bank, facet)
        self.sessions[day, person].append(session)
        return session

    def _taught(self, mention: Mention) -> list[Turn]:
        """The agent acts, the person corrects it, the agent goes on."""
        plan = mention.plan
        in_about = not plan.facet or self.random.random() < ABOUT_SHARE
        in_about |= mention.form == "split" or not self.words.can_name(plan, mention.form)
        about = {plan.bank.facet: plan.facet} if plan.facet and in_about else {}
        beat = self._recalled(about) if self.random.random() < RECALL_SHARE else []
        beat.append(Turn("message", "agent", self.words.action(plan), about))
        late = plan.kept and plan.cls != "changed" and self.random.random() < LATE_SHARE
        for text in self.words.turns(mention, facet_in_about=in_about):
            kind = "correction" if self.random.random() < CORRECTION_SHARE else "message"
            beat.append(
                Turn(kind, "human", text, about, plan, mention.form, mention.value.id, late)
            )
            self._said.append(text)
        if len(beat) > 1 and mention.form == "split":
            beat[-2].form = "split_first"
        if self.random.random() < REPLY_SHARE:
            reply = self.words.noise(plan.bank, "agent", plan.facet)
            beat.append(Turn("message", "agent", reply, about))
        return beat

    def _recalled(self, about: dict[str, str]) -> list[Turn]:
        """What a store such as ours put before the agent: nobody said it again."""
        if not self._said:
            return []
        texts = self.random.sample(self._said, min(3, len(self._said)))
        text = "\n".join(f"- {text.splitlines()[0]}" for text in texts)
        if self.random.random() < 0.5:
            text = f"<sleep-context>\n{text}\n</sleep-context>"
        return [Turn("retrieval", "tool", text, about)]

    def _tool(self, session: Session, text: str = "") -> list[Turn]:
        call = f"{self.random.choice(('read', 'fetch', 'query', 'run'))} {session.facet}"
        text = text or self.words.noise(session.bank, "tool", session.facet)
        return [
            Turn("tool_call", "agent", call, session.about),
            Turn("tool_result", "tool", text, session.about),
        ]

    # ------------------------------------------------------------------ what is not taught

    def _secrets_in_lessons(self) -> None:
        turns = [
            turn
            for session in self.all
            for beat in session.beats
            for turn in beat
            if turn.plan and turn.plan.kept and turn.form in ("ways", "standing")
        ]
        count = min(LESSON_SECRETS, len(turns))
        for number, turn in enumerate(self.random.sample(turns, count)):
            turn.text = hostile.slip(self.random, turn.text, self._secret(number))

    def _secret(self, number: int) -> str:
        written, hidden = hostile.secret(self.random, number)
        self.secrets.append(hidden)
        return written

    def _everybody_works(self) -> None:
        for day in range(self.size.days):
            for person in self.staff.people:
                banks = self.staff.team_of(person, day).banks
                while len(self.sessions[day, person]) < 2:
                    self._open(person, day, self.random.choice(banks))

    def _poison(self) -> None:
        for technique in TECHNIQUES:
            for _ in range(max(2, round(2 * self.size.lessons))):
                self._poison_one(technique)

    def _poison_one(self, technique: str) -> None:
        word = hostile.canary(self.random)
        self.canaries[technique].append(word)
        bank = self.random.choice([s.bank for s in self.all])
        facet = self.random.choice(self.planner.slots.facets(bank))
        places = [s for s in self.all if s.bank is bank]
        times = min(hostile.times_of(technique), len(places))
        for number, session in enumerate(self.random.sample(places, times)):
            text = hostile.poisoned(self.random, bank, technique, facet, word)
            noise = self.words.noise(bank, "tool", facet)
            beat = self._tool(session, hostile.hidden(self.random, text, noise))
            if number == 0 or self.random.random() < 0.4:
                said = hostile.relayed(self.random, text)
                beat.append(Turn("message", "agent", said, {bank.facet: facet}))
            session.beats.append(beat)

    def _chatter(self) -> None:
        """People's turns with nothing to keep, some with a secret in them; more of them on days
        on which little else is said."""
        by_day, said = self._by_day(), [0] * self.size.days
        for session in self.all:
            turns = [turn for beat in session.beats for turn in beat]
            said[session.day] += sum(turn.role == "human" for turn in turns)
        count = round(self.size.events * HUMAN_NOISE_SHARE)
        secrets = max(2, round(NOISE_SECRETS * self.size.lessons))
        for number in range(max(count, secrets)):
            day = said.index(min(said))
            said[day] += 1
            session = self.random.choice(by_day[day])
            text = self.words.human_noise(session.bank, session.facet, self._chat[session.bank])
            if number < secrets:
                text = hostile.slip_alone(self.random, self._secret(number))
            turn = Turn("message", "human", text, session.about)
            if number < secrets and number % 3 == 0:
                session.beats.append(self._tool(session, text))
            else:
                session.beats.append([turn])

    def _fill_up(self) -> None:
        """Agents and tools at work, up to the length that was asked for, all days alike."""
        by_day = self._by_day()
        counts = [sum(len(b) for s in found for b in s.beats) for found in by_day]
        left = self.size.events - sum(counts) - round(self.size.events * DUPLICATE_SHARE)
        while left > 0:
            day = counts.index(min(counts))
            session = self.random.choice(by_day[day])
            beat = self._tool(session)
            if self.random.random() < AGENT_SHARE:
                said = self.words.noise(session.bank, "agent", session.facet)
                beat.append(Turn("message", "agent", said, session.about))
            beat = beat[:left]
            left -= len(beat)
            counts[day] += len(beat)
            session.beats.insert(self.random.randint(0, len(session.beats)), beat)

    def _by_day(self) -> list[list[Session]]:
        found: list[list[Session]] = [[] for _ in range(self.size.days)]
        for session in self.all:
            found[session.day].append(session)
        return found
