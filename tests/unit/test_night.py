"""Nights without stores: observations in, notes out, over several nights and tiers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from sleep_runtime.consolidation import curate, propose, reflect
from sleep_runtime.core.event import Trust
from sleep_runtime.core.ids import stable_id
from sleep_runtime.core.note import Dossier, Note, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, NoteKind, Observation
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.proposal import DeltaKind, Verdict
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.engine import ScriptedEngine

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
ANA, BEN, CLEO = (Scope(f"acme/banking/{name}") for name in ("ana", "ben", "cleo"))
DAN = Scope("acme/retail/dan")
BANKING, ACME = Scope("acme/banking"), Scope("acme")
POLICY = Policy()
NORTHWIND = {"account": "northwind"}


def at(day: float) -> datetime:
    return START + timedelta(days=day)


def claim(
    value: str,
    *,
    statement: str = "",
    kind: NoteKind = NoteKind.CONVENTION,
    about: dict[str, str] | None = None,
    applies_when: str = "",
) -> Claim:
    return Claim(
        statement=statement or f"use {value} EBITDA",
        kind=kind,
        subject="EBITDA",
        aspect="basis",
        value=value,
        applies_when=applies_when,
        about=NORTHWIND if about is None else about,
    )


ADJUSTED, REPORTED = claim("adjusted"), claim("reported")
ADJUSTED_TOO = claim("adjusted", statement="figures are adjusted EBITDA, please")


def said(
    what: Claim,
    day: float,
    who: Scope = ANA,
    *,
    durability: Durability = Durability.STANDING,
    trust: Trust = Trust.HUMAN,
    session: str = "",
) -> Observation:
    session = session or f"session-{day}"
    event = stable_id("ev", who, session, what.statement, trust.value, str(day))
    return Observation(
        id=stable_id("obs", who, session, what.statement, event),
        scope=who,
        session=session,
        person=str(who) if trust is Trust.HUMAN else f"agent:{who}",
        ts=at(day),
        claim=what,
        durability=durability,
        trust=trust,
        evidence=(event,),
    )


def thumb(note_id: str, day: float, who: Scope = ANA, *, helpful: bool = False) -> Observation:
    what = Claim(statement=f"feedback on {note_id}", kind=NoteKind.FACT)
    seen = said(what, day, who, durability=Durability.UNCLEAR)
    return seen.model_copy(update={"feedback_on": note_id, "helpful": helpful})


class World:
    """Scopes with their notes, and one night after the other over them; no ledger, no engine."""

    def __init__(
        self, verdicts: dict[tuple[str, str], Verdict] | None = None, policy: Policy = POLICY
    ) -> None:
        self._engine = ScriptedEngine(verdicts=verdicts or EXCLUDING)
        self._policy = policy
        self._dossiers: dict[Scope, dict[str, Dossier]] = {}

    def night(
        self, scope: Scope, observations: Sequence[Observation], day: float, *, fold: bool = False
    ) -> curate.Decision:
        policy, dossiers = self._policy, self.dossiers(scope)
        claims = [item.claim for item in observations] + [d.note.claim for d in dossiers]
        vectors = {item.statement: ONE for item in claims}
        pairs = reflect.shortlist(observations, dossiers, vectors, policy.reflect)
        answers = self._engine.compare(pairs)
        judgements = {pair.key: answer for pair, answer in zip(pairs, answers, strict=True)}
        proposals = propose.propose(scope, observations, judgements, policy)
        critiques = reflect.critique(
            proposals,
            dossiers,
            judgements,
            policy=policy,
            now=at(day),
            above_active={note.id for note in self._above(scope)},
        )
        above = [Dossier(note=note) for note in self._above(scope)] if fold else []
        upper = {found.note.claim.statement: ONE for found in above}
        asked = reflect.fold_pairs(dossiers, above, {**vectors, **upper}, policy.reflect)
        decision = curate.decide(
            scope,
            list(zip(proposals, critiques, strict=True)),
            dossiers,
            above=above,
            fold_judgements={
                pair.key: answer
                for pair, answer in zip(asked, self._engine.compare(asked), strict=True)
            },
            policy=policy,
            now=at(day),
        )
        self._store(scope, decision)
        return decision

    def _above(self, scope: Scope) -> list[Note]:
        return [note for part in scope.lineage()[1:] for note in self.active(part)]

    def _store(self, scope: Scope, decision: curate.Decision) -> None:
        shelf = self._dossiers.setdefault(scope, {})
        for delta in decision.deltas:
            known = shelf.get(delta.note.id)
            assert delta.note.revision == (known.note.revision if known else 0) + 1
            assert delta.reason
            before = known.evidence if known else ()
            assert not {e.event_id for e in before} & {e.event_id for e in delta.evidence}
            shelf[delta.note.id] = Dossier(note=delta.note, evidence=before + delta.evidence)

    def dossiers(self, scope: Scope) -> list[Dossier]:
        shelf = self._dossiers.get(scope, {})
        return [shelf[key] for key in sorted(shelf)]

    def notes(self, scope: Scope, status: NoteStatus) -> list[Note]:
        return [d.note for d in self.dossiers(scope) if d.note.status is status]

    def active(self, scope: Scope) -> list[Note]:
        return self.notes(scope, NoteStatus.ACTIVE)

    def values(self, scope: Scope) -> list[str]:
        return [note.claim.value for note in self.active(scope)]


ONE = b"\x00\x00\x80\x3f"
EXCLUDING = {
    (ADJUSTED.statement, REPORTED.statement): Verdict.EXCLUDES,
    (ADJUSTED_TOO.statement, REPORTED.statement): Verdict.EXCLUDES,
    (ADJUSTED.statement, ADJUSTED_TOO.statement): Verdict.SAME,
}


def test_ten_times_the_same_lesson_is_one_note_with_more_confidence() -> None:
    world = World()
    world.night(ANA, [said(ADJUSTED, 0)], 1)
    first = world.active(ANA)[0]
    for day in range(1, 10):
        wording = ADJUSTED_TOO if day % 2 else ADJUSTED
        world.night(ANA, [said(wording, day)], day + 1)
    (note,) = world.active(ANA)
    assert note.id == first.id
    assert note.confidence > first.confidence + 0.15
    assert (note.support.events, note.support.sessions, note.support.people) == (10, 10, 1)
    assert note.revision == 10
    assert not world.notes(ANA, NoteStatus.CANDIDATE)


def test_ten_paraphrases_in_one_night_become_one_note() -> None:
    world = World()
    wordings = [ADJUSTED, ADJUSTED_TOO] * 5
    decision = world.night(ANA, [said(what, day) for day, what in enumerate(wordings)], 11)
    (note,) = world.active(ANA)
    assert note.support.sessions == 10
    assert [delta.kind for delta in decision.deltas] == [DeltaKind.ADD]
    assert decision.reason == "wrote 1 note"


def test_a_change_supersedes_and_keeps_the_old_note_as_history() -> None:
    world = World()
    world.night(ANA, [said(REPORTED, 0), said(REPORTED, 1)], 2)
    world.night(ANA, [said(ADJUSTED, 3)], 4)
    (new,), (old,) = world.active(ANA), world.notes(ANA, NoteStatus.SUPERSEDED)
    assert (new.claim.value, old.claim.value) == ("adjusted", "reported")
    assert old.superseded_by == new.id
    assert old.valid_to == new.valid_from == at(3)
    assert new.valid_to is None


def test_old_and_new_in_one_night_leave_only_the_new_one_active() -> None:
    world = World()
    decision = world.night(ANA, [said(REPORTED, 0), said(REPORTED, 1), said(ADJUSTED, 3)], 4)
    assert world.values(ANA) == ["adjusted"]
    assert len(world.notes(ANA, NoteStatus.SUPERSEDED)) == 1
    assert decision.reason == "wrote 1 note, kept 1 as history"


@pytest.mark.parametrize("together", [True, False])
def test_a_lesson_that_changes_back_ends_where_it_was_last(together: bool) -> None:
    world = World()
    trail = [said(REPORTED, 0), said(ADJUSTED, 2), said(REPORTED, 4)]
    for night in [trail] if together else [[item] for item in trail]:
        world.night(ANA, night, 5)
    (now,), (old,) = world.active(ANA), world.notes(ANA, NoteStatus.SUPERSEDED)
    assert (now.claim.value, now.valid_from) == ("reported", at(4))
    assert (old.claim.value, old.valid_to) == ("adjusted", at(4))


def test_an_older_statement_that_arrives_late_does_not_win() -> None:
    world = World()
    world.night(ANA, [said(ADJUSTED, 5)], 6)
    decision = world.night(ANA, [said(REPORTED, 1)], 7)
    assert world.values(ANA) == ["adjusted"]
    (old,) = world.notes(ANA, NoteStatus.SUPERSEDED)
    assert (old.valid_from, old.valid_to) == (at(1), at(5))
    assert decision.reason == "kept 1 as history"


def test_one_stale_repetition_without_intent_does_not_bring_the_old_back() -> None:
    world = World()
    world.night(ANA, [said(REPORTED, 0)], 1)
    world.night(ANA, [said(ADJUSTED, 2)], 3)
    world.night(ANA, [said(REPORTED, 4, durability=Durability.UNCLEAR)], 5)
    assert world.values(ANA) == ["adjusted"]


def test_one_offs_leave_nothing() -> None:
    world = World()
    trail = [said(ADJUSTED, day, durability=Durability.ONE_OFF) for day in range(14)]
    decision = world.night(ANA, trail, 15)
    assert decision.deltas == ()
    assert decision.reason == "changed nothing; 1 one-off dropped"


def test_what_is_said_without_intent_waits_until_it_recurs() -> None:
    world = World()
    world.night(ANA, [said(ADJUSTED, 0, durability=Durability.UNCLEAR)], 1)
    assert not world.active(ANA)
    assert world.notes(ANA, NoteStatus.CANDIDATE)
    decision = world.night(ANA, [said(ADJUSTED_TOO, 2, durability=Durability.UNCLEAR)], 3)
    assert world.values(ANA) == ["adjusted"]
    assert [delta.kind for delta in decision.deltas] == [DeltaKind.PROMOTE]


def test_poison_from_a_tool_fifty_times_leaves_nothing() -> None:
    world = World()
    poison = [said(ADJUSTED, day, trust=Trust.UNTRUSTED) for day in range(50)]
    for scope in (ANA, BANKING, ACME):
        assert world.night(scope, poison, 51).deltas == ()


def test_poison_lends_no_weight_to_a_true_lesson() -> None:
    clean, poisoned = World(), World()
    true = said(ADJUSTED, 0, durability=Durability.UNCLEAR)
    poison = [said(ADJUSTED, day, trust=Trust.UNTRUSTED) for day in range(50)]
    clean.night(ANA, [true], 51)
    poisoned.night(ANA, [true, *poison], 51)
    assert clean.dossiers(ANA) == poisoned.dossiers(ANA)


def test_agents_make_facts_by_recurrence_and_rules_never() -> None:
    world = World()
    fact = claim("adjusted", kind=NoteKind.FACT)
    world.night(ANA, [said(fact, day, trust=Trust.AGENT) for day in range(2)], 3)
    assert not world.active(ANA)
    world.night(ANA, [said(fact, 4, trust=Trust.AGENT)], 5)
    (note,) = world.active(ANA)
    assert note.trust is Trust.AGENT
    rules = World()
    rules.night(ANA, [said(ADJUSTED, day, trust=Trust.AGENT) for day in range(30)], 31)
    assert not rules.active(ANA)


def test_an_agent_does_not_overrule_a_person() -> None:
    world = World()
    world.night(ANA, [said(ADJUSTED, 0)], 1)
    later = claim("reported", kind=NoteKind.FACT)
    world.night(ANA, [said(later, day, trust=Trust.AGENT) for day in range(2, 9)], 10)
    assert world.values(ANA) == ["adjusted"]


def test_an_agent_that_repeats_an_active_note_does_not_reinforce_it() -> None:
    world = World()
    world.night(ANA, [said(ADJUSTED, 0)], 1)
    assert world.night(ANA, [said(ADJUSTED, 2, trust=Trust.AGENT)], 3).deltas == ()


# ---------------------------------------------------------------------------- tiers


def test_two_teams_may_rightly_differ() -> None:
    world = World()
    retail = Scope("acme/retail")
    world.night(BANKING, [said(ADJUSTED, 0, ANA), said(ADJUSTED, 1, BEN)], 2)
    eve = Scope("acme/retail/eve")
    world.night(retail, [said(REPORTED, 3, DAN), said(REPORTED, 4, eve)], 5)
    assert world.values(BANKING) == ["adjusted"]
    assert world.values(retail) == ["reported"]


def test_one_person_repeating_never_climbs() -> None:
    world = World()
    for day in range(30):
        world.night(BANKING, [said(ADJUSTED, day)], day + 1)
    assert not world.active(BANKING)
    (waiting,) = world.notes(BANKING, NoteStatus.CANDIDATE)
    assert waiting.reason == "waits: 1 of 2 people"


def test_a_second_person_lifts_a_lesson_to_the_team() -> None:
    world = World()
    world.night(BANKING, [said(ADJUSTED, 0, ANA)], 1)
    decision = world.night(BANKING, [said(ADJUSTED_TOO, 2, BEN)], 3)
    (note,) = world.active(BANKING)
    assert note.support.people == 2
    assert [delta.kind for delta in decision.deltas] == [DeltaKind.PROMOTE]
    assert decision.folds == (ANA, BEN)


def test_the_organisation_needs_people_of_several_teams() -> None:
    world = World()
    world.night(ACME, [said(ADJUSTED, day, who) for day, who in enumerate((ANA, BEN, CLEO))], 3)
    assert not world.active(ACME)
    decision = world.night(ACME, [said(ADJUSTED, 4, DAN)], 5)
    assert world.values(ACME) == ["adjusted"]
    assert decision.folds == (BANKING, ANA, BEN, CLEO, Scope("acme/retail"), DAN)


def test_a_person_who_changes_teams_is_one_person() -> None:
    world = World()
    moved = Scope("acme/retail/ana")
    world.night(ACME, [said(ADJUSTED, 0, ANA), said(ADJUSTED, 1, moved), said(ADJUSTED, 2, BEN)], 3)
    assert not world.active(ACME)


def test_a_preference_never_climbs() -> None:
    world = World()
    taste = claim("adjusted", kind=NoteKind.PREFERENCE)
    trail = [said(taste, day, who) for day, who in enumerate((ANA, BEN, CLEO, DAN))]
    for scope in (BANKING, ACME):
        assert world.night(scope, trail, 5).deltas == ()
    world.night(ANA, trail[:1], 5)
    assert world.values(ANA) == ["adjusted"]


def test_what_is_said_at_the_team_itself_is_kept_there() -> None:
    world = World()
    world.night(BANKING, [said(ADJUSTED, 0, BANKING)], 1)
    assert world.values(BANKING) == ["adjusted"]


def test_one_person_does_not_change_what_a_team_agreed_on() -> None:
    world = World()
    world.night(BANKING, [said(REPORTED, 0, ANA), said(REPORTED, 1, BEN)], 2)
    world.night(BANKING, [said(ADJUSTED, 3, ANA)], 4)
    assert world.values(BANKING) == ["reported"]
    world.night(BANKING, [said(ADJUSTED, 5, CLEO)], 6)
    assert world.values(BANKING) == ["adjusted"]


# ---------------------------------------------------------------------------- folding


def _agreed(world: World) -> None:
    for who in (ANA, BEN):
        world.night(who, [said(ADJUSTED, 0, who)], 1)
    world.night(BANKING, [said(ADJUSTED, 0, ANA), said(ADJUSTED, 0, BEN)], 1)


def test_a_copy_folds_into_the_note_above() -> None:
    world = World()
    _agreed(world)
    decision = world.night(ANA, [], 2, fold=True)
    assert not world.active(ANA)
    (folded,) = world.notes(ANA, NoteStatus.RETIRED)
    assert folded.superseded_by == world.active(BANKING)[0].id
    assert [delta.code for delta in decision.deltas] == ["folded"]
    assert decision.reason == "retired 1"


def test_a_copy_in_other_words_folds_too() -> None:
    world = World()
    _agreed(world)
    world.night(CLEO, [said(ADJUSTED_TOO, 0, CLEO)], 1)
    world.night(CLEO, [], 2, fold=True)
    assert not world.active(CLEO)


def test_the_nearer_exception_stays() -> None:
    world = World()
    _agreed(world)
    world.night(CLEO, [said(REPORTED, 0, CLEO)], 1)
    assert world.night(CLEO, [], 2, fold=True).deltas == ()
    assert world.values(CLEO) == ["reported"]


def test_saying_it_again_does_not_resurrect_a_folded_copy() -> None:
    world = World()
    _agreed(world)
    world.night(ANA, [], 2, fold=True)
    decision = world.night(ANA, [said(ADJUSTED_TOO, 3)], 4)
    assert decision.deltas == ()
    assert decision.reason == "changed nothing; 1 covered above dropped"


def test_who_says_the_team_note_again_reinforces_it_and_is_folded() -> None:
    world = World()
    _agreed(world)
    decision = world.night(BANKING, [said(ADJUSTED, 5, CLEO), said(ADJUSTED, 6, ANA)], 7)
    assert decision.folds == (ANA, CLEO)
    assert [delta.kind for delta in decision.deltas] == [DeltaKind.REINFORCE]


def test_a_folded_lesson_said_again_in_words_of_its_own_is_folded_again() -> None:
    strange = claim("adjusted", statement="the adjusted figure it is")
    world = World({**EXCLUDING, (ADJUSTED_TOO.statement, strange.statement): Verdict.SAME})
    _agreed(world)
    world.night(BANKING, [said(ADJUSTED_TOO, 1, CLEO)], 2)
    world.night(ANA, [], 2, fold=True)
    world.night(ANA, [said(strange, 3)], 4)
    assert [note.claim for note in world.active(ANA)] == [strange]
    trail = [said(ADJUSTED_TOO, 3, CLEO), said(ADJUSTED_TOO, 3.5, BEN), said(strange, 3)]
    assert ANA in world.night(BANKING, trail, 4).folds


def test_a_copy_comes_back_once_what_it_folded_into_is_gone() -> None:
    world = World()
    _agreed(world)
    world.night(ANA, [], 2, fold=True)
    trail = [said(REPORTED, 3, CLEO), said(REPORTED, 3, Scope("acme/banking/dee"))]
    world.night(BANKING, trail, 4)
    assert world.values(BANKING) == ["reported"]
    world.night(ANA, [said(ADJUSTED_TOO, 5, durability=Durability.UNCLEAR)], 6)
    assert not world.active(ANA)
    world.night(ANA, [said(ADJUSTED_TOO, 7)], 8)
    (mine,) = world.active(ANA)
    assert (mine.claim.value, mine.superseded_by) == ("adjusted", "")


def test_a_faded_rule_does_not_come_back_because_an_agent_mentions_it() -> None:
    world = World()
    world.night(ANA, [said(ADJUSTED, 0)], 1)
    world.night(ANA, [], 900)
    for day in range(901, 905):
        world.night(ANA, [said(ADJUSTED, day, trust=Trust.AGENT)], day + 0.5)
    assert not world.active(ANA)
    (faded,) = world.notes(ANA, NoteStatus.RETIRED)
    assert faded.valid_to == at(900)


# ---------------------------------------------------------------------------- belief over time


def test_harmful_feedback_takes_a_note_from_view_and_then_retires_it() -> None:
    world = World()
    world.night(ANA, [said(ADJUSTED, 0)], 1)
    note_id = world.active(ANA)[0].id
    world.night(ANA, [thumb(note_id, 2, helpful=True)], 2)
    assert world.active(ANA)[0].helpful == 1
    assert [(e.weight, e.vote) for e in world.dossiers(ANA)[0].evidence] == [(1.0, 0), (0.0, 1)]
    votes = [thumb(note_id, day) for day in range(3, 6)]
    decision = world.night(ANA, votes, 6)
    assert not world.active(ANA)
    assert decision.deltas[0].kind is DeltaKind.DEMOTE
    world.night(ANA, [thumb(note_id, day) for day in range(6, 16)], 16)
    assert world.notes(ANA, NoteStatus.RETIRED)


def test_feedback_on_a_note_of_another_scope_is_left_to_that_scope() -> None:
    world = World()
    assert world.night(ANA, [thumb("note_elsewhere", 2)], 3).deltas == ()


def test_silence_lets_a_note_fade_but_not_within_a_year() -> None:
    world = World()
    world.night(ANA, [said(ADJUSTED, 0)], 1)
    assert world.night(ANA, [], 365).deltas == ()
    decision = world.night(ANA, [], 900)
    assert [delta.code for delta in decision.deltas] == ["faded"]
    world.night(ANA, [said(ADJUSTED, 901)], 902)
    assert world.values(ANA) == ["adjusted"]


# ---------------------------------------------------------------------------- conflicts


def test_two_cases_that_can_both_be_true_are_scoped() -> None:
    lenders = claim("reported", statement="use reported EBITDA", applies_when="for lenders")
    world = World()
    world.night(ANA, [said(ADJUSTED, 0)], 1)
    decision = world.night(ANA, [said(lenders, 2)], 3)
    assert sorted(world.values(ANA)) == ["adjusted", "reported"]
    assert [delta.kind for delta in decision.deltas] == [DeltaKind.SCOPE]


def test_other_accounts_are_never_compared() -> None:
    world = World()
    other = claim("reported", about={"account": "fabrikam"})
    world.night(ANA, [said(ADJUSTED, 0), said(other, 1)], 2)
    assert sorted(world.values(ANA)) == ["adjusted", "reported"]


def test_a_conflict_nobody_can_decide_waits_for_review() -> None:
    world = World(verdicts={("", ""): Verdict.SAME})
    world.night(ANA, [said(ADJUSTED, 0)], 1)
    decision = world.night(ANA, [said(REPORTED, 2)], 3)
    assert world.values(ANA) == ["adjusted"]
    (waiting,) = world.notes(ANA, NoteStatus.CANDIDATE)
    assert waiting.claim.value == "reported"
    assert decision.deltas[0].code == "conflict"


def test_only_a_note_on_the_same_subject_is_superseded() -> None:
    stranger = claim("reported").model_copy(
        update={"statement": "Ben likes tea", "subject": "Ben", "aspect": "drink", "value": "tea"}
    )
    world = World(verdicts={(ADJUSTED.statement, stranger.statement): Verdict.EXCLUDES})
    world.night(ANA, [said(ADJUSTED, 0)], 1)
    world.night(ANA, [said(stranger, 2)], 3)
    assert world.values(ANA) == ["adjusted"]


# ---------------------------------------------------------------------------- determinism


def _trail() -> list[Observation]:
    lenders = claim("reported", applies_when="for lenders")
    return [
        *(said(ADJUSTED, day, who) for day, who in enumerate((ANA, BEN, ANA))),
        *(said(ADJUSTED_TOO, day + 0.5, who) for day, who in enumerate((CLEO, ANA))),
        *(said(REPORTED, day, who) for day, who in ((1.5, ANA), (7, BEN), (8, CLEO))),
        said(lenders, 3, DAN),
        said(ADJUSTED, 4, durability=Durability.ONE_OFF),
        said(ADJUSTED, 4, trust=Trust.UNTRUSTED),
        said(claim("adjusted", kind=NoteKind.FACT), 5, trust=Trust.AGENT),
    ]


@pytest.mark.parametrize("scope", [ANA, BANKING, ACME])
def test_the_order_in_which_a_night_is_listed_changes_nothing(scope: Scope) -> None:
    def decide(trail: Iterable[Observation]) -> curate.Decision:
        inside = [item for item in trail if scope.covers(item.scope)]
        return World().night(scope, inside, 10)

    expected = decide(_trail())
    shuffle: Callable[[list[Observation]], None] = random.Random(7).shuffle
    for _ in range(20):
        trail = _trail()
        shuffle(trail)
        assert decide(trail) == expected


def test_a_night_repeated_changes_nothing() -> None:
    world = World()
    trail = [said(ADJUSTED, 0), said(REPORTED, 1), said(ADJUSTED, 2)]
    world.night(ANA, trail, 3)
    before = world.dossiers(ANA)
    assert world.night(ANA, trail, 4).deltas == ()
    assert world.dossiers(ANA) == before
