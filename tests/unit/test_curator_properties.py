"""What the Curator keeps in every case of its table, and over random nights in a row.

Never two notes in force that answer one question of one case differently; never a note replaced by
one of another subject; never a rule from words that nobody may be believed for, however often they
are repeated; and every change leads back to the revision before it.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleep_runtime.consolidation import curate
from sleep_runtime.consolidation.table import Stand, look_up
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Evidence, Note, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, NoteKind
from sleep_runtime.core.policy import BreakerPolicy, BudgetPolicy, Policy
from sleep_runtime.core.proposal import Critique, Delta, DeltaKind, Proposal, Relation, Worth
from sleep_runtime.core.scope import Scope

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
DAY = timedelta(days=1)
ANA, BEN, TEAM = Scope("acme/banking/ana"), Scope("acme/banking/ben"), Scope("acme/banking")
Judged = tuple[Proposal, Critique]
# Subjects, values and cases without a word in common: these are two subjects to anybody.
SUBJECTS = {"ebitda": ("adjusted", "reported"), "tea": ("green", "black")}
CASES_OF = {"ebitda": "for lenders", "tea": "at breakfast"}


def claim(subject: str, value: str, case: str = "", kind: NoteKind = NoteKind.FACT) -> Claim:
    when = f" {case}" if case else ""
    return Claim(
        statement=f"{value} {subject}{when}",
        kind=kind,
        subject=subject,
        aspect="sort",
        value=value,
        applies_when=case,
    )


def piece(
    name: str,
    day: float,
    who: Scope = ANA,
    trust: Trust = Trust.HUMAN,
    weight: float = 1.0,
) -> Evidence:
    return Evidence(
        event_id=name,
        observation_id=f"obs-{name}",
        scope=who,
        session=f"s-{name}",
        person=str(who) if trust is Trust.HUMAN else f"agent:{who}",
        ts=START + day * DAY,
        trust=trust,
        weight=weight,
    )


def proposed(
    name: str,
    what: Claim,
    evidence: Sequence[Evidence],
    relation: Relation = Relation.NEW,
    worth: Worth = Worth.KEEP,
    target: str = "",
    rivals: Iterable[str] = (),
    scope: Scope = ANA,
) -> Judged:
    trust = max((item.trust for item in evidence), key=lambda one: one.rank)
    proposal = Proposal(
        id=name,
        scope=scope,
        claim=what,
        durability=Durability.STANDING,
        trust=trust,
        observations=(f"obs-{name}",),
        evidence=tuple(evidence),
    )
    critique = Critique(
        proposal_id=name,
        relation=relation,
        worth=worth,
        target=target,
        rivals=tuple(rivals),
        code="x",
        reason="x",
    )
    return proposal, critique


class Store:
    """The notes of one scope over many nights: every revision, and all evidence."""

    def __init__(self, scope: Scope = ANA, policy: Policy | None = None) -> None:
        self.scope = scope
        self.policy = policy or Policy()
        self.chains: dict[str, list[Note]] = {}
        self.evidence: dict[str, dict[str, Evidence]] = defaultdict(dict)

    def put(self, note: Note, evidence: Sequence[Evidence] = ()) -> None:
        self.chains[note.id] = [note]
        self.evidence[note.id] = {item.event_id: item for item in evidence}

    @property
    def dossiers(self) -> list[Dossier]:
        return [
            Dossier(note=chain[-1], evidence=tuple(self.evidence[name].values()))
            for name, chain in sorted(self.chains.items())
        ]

    def night(self, day: float, judged: Sequence[Judged]) -> curate.Decision:
        """Decide and take the deltas over, checking each; afterwards check the whole."""
        decision = curate.decide(
            self.scope,
            judged,
            self.dossiers,
            above=(),
            fold_judgements={},
            policy=self.policy,
            now=START + day * DAY,
        )
        for delta in decision.deltas:
            self._check(delta)
            self.chains.setdefault(delta.note.id, []).append(delta.note)
            self.evidence[delta.note.id].update({e.event_id: e for e in delta.evidence})
        self.check()
        return decision

    def _check(self, delta: Delta) -> None:
        chain = self.chains.get(delta.note.id, [])
        assert delta.note.revision == (chain[-1].revision if chain else 0) + 1, "leads back"
        assert (delta.kind in (DeltaKind.ADD, DeltaKind.SCOPE)) == (not chain)
        assert delta.reason
        assert delta.code

    def check(self) -> None:
        newest = {name: chain[-1] for name, chain in self.chains.items()}
        active = [note for note in newest.values() if note.status is NoteStatus.ACTIVE]
        for left, right in itertools.combinations(active, 2):
            assert not _at_odds(left.claim, right.claim), "two answers in one view"
        for note in newest.values():
            heir = newest.get(note.superseded_by)
            if note.status is NoteStatus.SUPERSEDED and heir:
                assert heir.claim.subject == note.claim.subject, "replaced across subjects"
        for note in active:
            believed = [e for e in self.evidence[note.id].values() if e.weight > 0]
            assert believed, "nobody said it"
            assert all(e.trust is not Trust.UNTRUSTED for e in believed)
            if note.claim.kind not in (NoteKind.FACT, NoteKind.PITFALL):
                assert any(e.trust is Trust.HUMAN for e in believed), "a rule no person gave"


def _at_odds(left: Claim, right: Claim) -> bool:
    """Written out here, and not taken from the code that is tested."""
    question = (left.subject, left.aspect, left.applies_when)
    return question == (right.subject, right.aspect, right.applies_when) and (
        left.value != right.value
    )


# ---------------------------------------------------------------------------- every case


class Case(NamedTuple):
    own: NoteStatus | None
    relation: Relation
    worth: Worth
    stand: Stand


CASES = [
    Case(*case)
    for case in itertools.product([None, *NoteStatus], Relation, Worth, Stand)
    # The note here that says the same is what makes the relation "same".
    if (case[0] is None) != (case[1] is Relation.SAME)
]


def store_of(case: Case) -> tuple[Store, Judged]:
    """A scope in which one proposal is this case of the table."""
    store = Store()
    if case.own is not None:
        own = claim("ebitda", "adjusted")
        heard = piece("own-1", 19, trust=Trust.AGENT)  # not enough by itself
        if case.own is NoteStatus.ACTIVE:
            heard = piece("own-1", 0)
        store.put(_note("own", own, case.own), [heard])
    rivals = []
    if case.stand is not Stand.CLEAR:
        said = 5 if case.stand is Stand.LATER else 50
        subject, value = ("ebitda", "reported")
        store.put(
            _note("rival", claim(subject, value), NoteStatus.ACTIVE), [piece("rival-1", said)]
        )
        rivals = [] if case.stand is Stand.UNDECIDED else ["rival"]
    if case.own is NoteStatus.ACTIVE and rivals:
        # Both in force is what no night leaves behind; the rival then names another case.
        rival = store.chains["rival"][0]
        other = rival.model_copy(update={"claim": claim("ebitda", "reported", "for lenders")})
        store.chains["rival"] = [other]
    weight = 1.0 if case.worth is Worth.KEEP else 0.5
    target = "own" if case.own is not None else ""
    judged = proposed(
        "p",
        claim("ebitda", "adjusted"),
        [piece("new", 20, weight=weight)],
        case.relation,
        case.worth,
        target,
        rivals,
    )
    return store, judged


def _note(name: str, what: Claim, status: NoteStatus) -> Note:
    return Note(
        id=name,
        scope=ANA,
        claim=what,
        status=status,
        confidence=0.5,
        valid_from=START,
        recorded_at=START,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_every_case_of_the_table_keeps_what_always_holds(case: Case) -> None:
    store, judged = store_of(case)
    if case.own is NoteStatus.ACTIVE and case.stand is Stand.UNDECIDED:
        del store.chains["rival"]  # two answers in force is what no night leaves behind
    decision = store.night(51, [judged])
    own = store.chains.get("own", [None])[-1]
    move = look_up(*case)
    if case.own is not None and case.own is not NoteStatus.ACTIVE and move is not None:
        assert own is not None
        assert own.status is (move.to or case.own)
    if move is None:
        assert all(delta.note.id == "rival" for delta in decision.deltas)


# ---------------------------------------------------------------------------- many nights


class Said(NamedTuple):
    """One proposal of a random night, before it gets its name and its day."""

    subject: str
    value: int
    case: bool
    kind: NoteKind
    who: Scope
    trust: Trust
    weight: float
    earlier: int
    relation: Relation
    worth: Worth
    target: int
    rivals: tuple[int, ...]


lines = st.builds(
    Said,
    subject=st.sampled_from(sorted(SUBJECTS)),
    value=st.integers(0, 1),
    case=st.booleans(),
    kind=st.sampled_from([NoteKind.FACT, NoteKind.CONVENTION]),
    who=st.sampled_from([ANA, BEN]),
    trust=st.sampled_from(Trust),
    weight=st.sampled_from([1.0, 0.5]),
    earlier=st.integers(0, 40),
    relation=st.sampled_from(Relation),
    worth=st.sampled_from(Worth),
    target=st.integers(0, 5),
    rivals=st.lists(st.integers(0, 5), max_size=2).map(tuple),
)
trails = st.lists(
    st.tuples(st.sampled_from([1, 30, 400]), st.lists(lines, max_size=4)), min_size=1, max_size=6
)


def night_of(store: Store, night: int, day: int, said: Sequence[Said]) -> list[Judged]:
    """Whatever the Reflector says: any note as its target, any notes as rivals."""
    known = [*sorted(store.chains), "nowhere"]
    judged = []
    for n, one in enumerate(said):
        name = f"p{night}-{n}"
        case = CASES_OF[one.subject] if one.case else ""
        what = claim(one.subject, SUBJECTS[one.subject][one.value], case, one.kind)
        judged.append(
            proposed(
                name,
                what,
                [piece(name, day - one.earlier, one.who, one.trust, one.weight)],
                one.relation,
                one.worth,
                known[one.target % len(known)],
                [known[rival % len(known)] for rival in one.rivals],
                store.scope,
            )
        )
    return judged


@settings(max_examples=250, deadline=None)
@given(trails, st.sampled_from([ANA, TEAM]), st.sampled_from([1, 3, 500]))
def test_random_nights_in_a_row_keep_what_always_holds(
    trail: list[tuple[int, list[Said]]], scope: Scope, most: int
) -> None:
    store = Store(scope, Policy(budget=BudgetPolicy(max_deltas=most)))
    day = 40
    for night, (days, said) in enumerate(trail):
        day += days
        store.night(day, night_of(store, night, day, said))
    for name, chain in store.chains.items():
        assert [note.revision for note in chain] == list(range(1, len(chain) + 1)), name


@settings(max_examples=100, deadline=None)
@given(trails)
def test_without_its_breaker_too(trail: list[tuple[int, list[Said]]]) -> None:
    store = Store(ANA, Policy(breakers=BreakerPolicy(max_loss=1)))
    day = 40
    for night, (days, said) in enumerate(trail):
        day += days
        store.night(day, night_of(store, night, day, said))


@given(st.integers(1, 60), st.sampled_from(Relation), st.booleans())
@settings(max_examples=60, deadline=None)
def test_untrusted_words_never_become_a_rule_however_often(
    times: int,
    relation: Relation,
    at_once: bool,
) -> None:
    store = Store()
    heard = [piece(f"u{n}", n % 30, trust=Trust.UNTRUSTED) for n in range(times)]
    nights = [heard] if at_once else [[one] for one in heard]
    for n, pieces in enumerate(nights):
        what = claim("ebitda", "reported", kind=NoteKind.CONVENTION)
        target = next(iter(store.chains), "")
        store.night(31 + n, [proposed(f"p{n}", what, pieces, relation, target=target)])
    assert store.chains == {}
