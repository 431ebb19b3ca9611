"""A store to walk over: two organisations, their teams and people, a canary in every field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from reliability.isolation.canaries import Aviary
from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.native import parse_events
from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.config import load
from sleep_runtime.core.note import ONCE_IN_FORCE
from sleep_runtime.core.observation import (
    Claim,
    Distillation,
    Draft,
    Durability,
    NoteKind,
    SessionInput,
)
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict
from sleep_runtime.core.scope import Scope, Tier
from sleep_runtime.testing.clock import ManualClock
from sleep_runtime.testing.embedder import HashEmbedder
from sleep_runtime.testing.engine import ScriptedEngine

TEAMS_OF_ORGS = (2, 1)
PEOPLE = 2
_LESSON = "Always "
_EXCLUDING = ("adjusted figures", "reported figures")


class World(NamedTuple):
    """What was built: ``scopes`` hold everything there is."""

    running: Embedded
    clock: ManualClock
    aviary: Aviary
    scopes: tuple[Scope, ...]

    def of_tier(self, tier: Tier) -> list[Scope]:
        return [scope for scope in self.scopes if scope.tier is tier]


@contextmanager
def built(data_dir: Path, seed: int) -> Iterator[World]:
    """A world whose nights are over, until the end of the block."""
    settings = load(overrides={"data_dir": str(data_dir)}, environ={}).settings
    clock, aviary = ManualClock(), Aviary(seed)
    engine = ScriptedEngine(_distil, _compare)
    with Embedded(settings, clock=clock, engine=engine, embedder=HashEmbedder()) as running:
        world = World(running, clock, aviary, tuple(_tree(aviary)))
        _live(world)
        _mark_ids(world)
        yield world


def _tree(aviary: Aviary) -> Iterator[Scope]:
    """Every part of every name is a canary of its own."""
    for teams in TEAMS_OF_ORGS:
        org = _named(aviary, None)
        yield org
        for _ in range(teams):
            team = _named(aviary, org)
            yield team
            for _ in range(PEOPLE):
                yield _named(aviary, team)


def _named(aviary: Aviary, above: Scope | None) -> Scope:
    name = aviary.word()
    scope = Scope(f"{above}/{name}" if above else name)
    aviary.mark(name, scope, "name", lesson=True)
    return scope


# ---------------------------------------------------------------------------- days and nights


def _live(world: World) -> None:
    shared = {
        scope: world.aviary.plant(scope, "lesson", lesson=True)
        for scope in world.scopes
        if scope.tier is not Tier.INDIVIDUAL
    }
    for day in range(2):
        for person in world.of_tier(Tier.INDIVIDUAL):
            _a_day(world, person, shared, day)
        world.clock.advance(timedelta(days=1))
        world.running.nights()
    _feedback(world)
    for scope in world.scopes:  # something waits, everywhere
        _say(world, scope, f"{_LESSON}wait for {world.aviary.plant(scope, 'pending')}")


def _a_day(world: World, person: Scope, shared: dict[Scope, str], day: int) -> None:
    plant = world.aviary.plant
    _say(world, person, f"{_LESSON}use the {_EXCLUDING[day]} of {_subject(person)}")
    _say(world, person, f"{_LESSON}print {plant(person, 'own lesson')} in the footer")
    rivals = plant(person, "rival")
    for words in _EXCLUDING:  # at one moment: which of them holds is for a person to say
        _say(world, person, f"{_LESSON}use the {words} of {rivals}", after_s=0)
    _say(world, person, f"{_LESSON}wait for {plant(person, 'candidate')}")
    _say(
        world, person, f"tool says {plant(person, 'tool result')}", role="tool", kind="tool_result"
    )
    for above in person.lineage()[1:]:
        _say(world, person, f"{_LESSON}show {shared[above]} on the first page")


def _subject(person: Scope) -> str:
    """One that is the person's own, so that a later day replaces what an earlier one said."""
    return person.parts[-1]


def _feedback(world: World) -> None:
    for person in world.of_tier(Tier.INDIVIDUAL):
        for note in world.running.ledger.notes([person], limit=1):
            text = world.aviary.plant(person, "feedback")
            data = {"note": note.id, "helpful": True}
            _say(world, person, text, kind="feedback", data=data)
    world.clock.advance(timedelta(days=1))
    world.running.nights()


def _say(world: World, scope: Scope, text: str, *, after_s: int = 1, **fields: Any) -> None:
    plant = world.aviary.plant
    world.clock.advance(after_s)
    event = {
        "id": plant(scope, "event id"),
        "ts": world.clock.now().isoformat(),
        "scope": str(scope),
        "session": plant(scope, "session"),
        "agent": plant(scope, "agent"),
        "kind": "message",
        "role": "human",
        "text": text,
        "data": {"note": plant(scope, "data")},
        **fields,
    }
    parsed = parse_events(
        json.dumps([event]).encode(),
        content_type="application/json",
        content_encoding="",
        now=world.clock.now(),
        limits=CaptureLimits(),
    )
    world.running.journal.append(parsed.rows)


def _distil(session: SessionInput) -> Distillation:
    return Distillation(
        drafts=tuple(
            Draft(
                claim=_claim(turn.text),
                durability=_durability(turn.text),
                evidence=(turn.event_id,),
            )
            for turn in session.turns
            if turn.text.startswith(_LESSON)
        )
    )


def _claim(text: str) -> Claim:
    if any(words in text for words in _EXCLUDING):
        return Claim(
            statement=text,
            kind=NoteKind.CONVENTION,
            subject=text.rpartition(" ")[2],
            aspect="figures",
            value=next(words for words in _EXCLUDING if words in text),
        )
    return Claim(statement=text, kind=NoteKind.CONVENTION)


def _durability(text: str) -> Durability:
    return Durability.UNCLEAR if "wait for" in text else Durability.STANDING


def _compare(pair: ClaimPair) -> Judgement:
    left, right = pair.left.statement, pair.right.statement
    same_figures = pair.left.subject and pair.left.subject == pair.right.subject
    if left == right:
        return Judgement(verdict=Verdict.SAME, reason="the same words", score=1.0)
    if same_figures:
        return Judgement(verdict=Verdict.EXCLUDES, reason="as scripted", score=1.0)
    return Judgement(verdict=Verdict.UNRELATED, reason="as scripted", score=1.0)


def _mark_ids(world: World) -> None:
    """Ids that the runtime made are canaries of their scopes too."""
    ledger, mark = world.running.ledger, world.aviary.mark
    for note in ledger.notes():
        # What folded into a note above while it was in force goes on naming it.
        in_force = any(one.status in ONCE_IN_FORCE for one in ledger.history(note.id))
        mark(note.id, note.scope, f"{note.status} note", lesson=in_force)
    for run in ledger.runs(limit=10_000):
        mark(run.id, run.scope, "run")
    reviews = ledger.reviews()
    for review in reviews:
        mark(review.id, review.scope, "review")
    if not reviews:
        raise SystemExit("no night asked anything: there are no reviews to look for")
