"""Curate: decides what is written. Deterministic; the rules are the rows of ``table.TABLE``.

Invariants, whatever engine and Reflector say: no two active notes give one slot two values; only a
note on the same subject and aspect is superseded; nothing untrusted becomes active; every change
has a reason; the order in which a night's proposals are listed changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import NamedTuple

from sleep_runtime.consolidation import breakers, review, sweep, withdraw, wording
from sleep_runtime.consolidation.book import Book, Change, Page
from sleep_runtime.consolidation.circle import Circle
from sleep_runtime.consolidation.compare import Tie, clash, same_topic
from sleep_runtime.consolidation.names import NAMES_A_PERSON, WHY, names_below
from sleep_runtime.consolidation.reflect import note_id
from sleep_runtime.consolidation.report import sum_up
from sleep_runtime.consolidation.signal import agreement, bar_again, people_needed
from sleep_runtime.consolidation.table import Move, Stand, look_up
from sleep_runtime.consolidation.words import normalise
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import ALIVE, GIVEN_UP, ONCE_IN_FORCE, Dossier, NoteStatus
from sleep_runtime.core.observation import Claim, Durability
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.proposal import (
    Critique,
    Delta,
    DeltaKind,
    Judgement,
    Proposal,
    Relation,
    Worth,
)
from sleep_runtime.core.review import Question, Review, ReviewKind, ReviewState
from sleep_runtime.core.scope import Scope

DEFERRED = "night.deferred"
"""The count of lessons that were too much for a night, in its run."""


class Decision(NamedTuple):
    """What a night changes. ``folds`` are the scopes below that look at their own copies again.

    ``deferred`` are observations that were too much for one night: the next one takes them.
    """

    deltas: tuple[Delta, ...]
    folds: tuple[Scope, ...]
    counts: dict[str, int]
    reason: str
    questions: tuple[Question, ...] = ()
    applied: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()


def decide(
    scope: Scope,
    judged: Sequence[tuple[Proposal, Critique]],
    dossiers: Sequence[Dossier],
    *,
    above: Sequence[Dossier],
    fold_judgements: Mapping[str, Judgement],
    policy: Policy,
    now: datetime,
    reviews: Sequence[Review] = (),
) -> Decision:
    """The deltas of one night of ``scope``: at most one for each note, revisions in sequence.

    ``above`` and ``fold_judgements`` are empty unless this run consumes fold marks: the notes in
    force above, and those given up into which copies here had folded. ``reviews`` are the scope's
    open ones and those that people decided.
    """
    book = Book(scope, dossiers, policy, now)
    applied = review.carry_out(book, reviews)
    before = review.standing(book)
    curator = _Curator(scope, book, policy, judged)
    most = policy.budget.max_deltas
    taken, waiting = _take(curator, book, sorted(judged, key=_by_event_time), most)
    sweep.oppose(book, taken)
    _unfold(book, above)
    _fold(book, above, fold_judgements)
    sweep.sweep(book, scope, asked=_asked(reviews), most=most)
    curator.withhold()
    halt = breakers.Halt()
    if policy.curation.mode == "auto":
        halt = breakers.hold(book, before, reviews, policy.breakers)
    questions = [*review.conflicts(book), *halt.questions]
    if policy.curation.mode == "review":
        questions += review.hold(book, before)
    deltas = book.deltas()
    counts = Counter(f"delta.{delta.kind.value}" for delta in deltas)
    counts.update(f"review.{question.kind.value}" for question in questions)
    counts.update({**halt.counts, **({DEFERRED: len(waiting)} if waiting else {})})
    critiques = [critique for _, critique in judged]
    return Decision(
        deltas=deltas,
        folds=sweep.folds(scope, book),
        counts=dict(sorted(counts.items())),
        reason=sum_up(deltas, critiques, also=halt.reason, deferred=len(waiting)),
        questions=tuple(questions),
        applied=(*applied, *halt.applied),
        expired=(*review.expired(book, reviews), *halt.expired),
        deferred=tuple(name for proposal in waiting for name in proposal.observations),
    )


def _take(
    curator: _Curator, book: Book, judged: Sequence[tuple[Proposal, Critique]], most: int
) -> tuple[Sequence[tuple[Proposal, Critique]], list[Proposal]]:
    """Take proposals until ``most`` notes are changed; returns those taken, and those that wait.

    A proposal is taken whole: with every note that it replaces.
    """
    left, unseen = most - book.changed, 0
    for place, (proposal, critique) in enumerate(judged):
        if unseen >= max(left // 2, 1):
            left, unseen = most - book.changed, 0
        if left <= 0:
            rest = [one for one, told in judged[place:] if told.worth is not Worth.DROP]
            return judged[:place], rest
        curator.take(proposal, critique)
        unseen += 1
    return judged, []


def _asked(reviews: Iterable[Review]) -> set[str]:
    """The notes that people were asked about, and have not answered."""
    return {
        name
        for one in reviews
        if one.state is ReviewState.OPEN and one.question.kind is not ReviewKind.BREAKER
        for name in one.question.notes[:1]
    }


def _by_event_time(item: tuple[Proposal, Critique]) -> tuple[bool, datetime, str]:
    """Lessons before feedback on them; each in the order of when they were last said."""
    proposal, _ = item
    return bool(proposal.feedback_on), max(e.ts for e in proposal.evidence), proposal.id


class _Curator:
    """Takes one proposal after the other into the book."""

    def __init__(
        self, scope: Scope, book: Book, policy: Policy, judged: Iterable[tuple[Proposal, Critique]]
    ) -> None:
        self._scope = scope
        self._book = book
        self._policy = policy
        self._again: dict[str, list[Proposal]] = defaultdict(list)
        judged = list(judged)
        known = (item for page in book for item in page.evidence.values())
        tonight = (item for proposal, _ in judged for item in proposal.evidence)
        self._names = names_below(scope, chain(known, tonight))
        for proposal, critique in judged:
            said = critique.worth is not Worth.DROP and not proposal.feedback_on
            if said and critique.relation is Relation.SAME:
                self._again[critique.target].append(proposal)

    def take(self, proposal: Proposal, critique: Critique) -> None:
        if critique.worth is Worth.DROP:
            return
        if proposal.feedback_on:
            self._feedback(proposal)
        elif proposal.durability is Durability.WITHDRAWN:
            self._withdrawal(proposal, critique)
        else:
            self._lesson(proposal, critique)

    def _withdrawal(self, proposal: Proposal, critique: Critique) -> None:
        """Retire what a person takes back, if nobody said it since and their word is enough."""
        page = self._book.get(critique.target)
        if page is None:
            return
        page.add(withdraw.pieces(proposal))
        if not page.fresh:
            return
        needed = people_needed(self._scope, self._policy)
        if withdraw.withdrawn(page.pieces) and withdraw.is_enough(page.pieces, needed):
            change = Change(DeltaKind.RETIRE, "withdrawn", "a person took it back", proposal.id)
            page.move(NoteStatus.RETIRED, change)
        else:
            why = "somebody takes it back, which is not enough here"
            page.move(None, Change(DeltaKind.REINFORCE, "contested", why, proposal.id))

    def _feedback(self, proposal: Proposal) -> None:
        page = self._book.get(proposal.feedback_on)
        if page is None:
            return
        votes = page.vote(proposal.evidence)
        if not votes:
            return
        if proposal.helpful:
            change = Change(DeltaKind.REINFORCE, "helpful", f"helped {votes}x", proposal.id)
        else:
            change = Change(DeltaKind.DEMOTE, "harmful", f"did harm {votes}x", proposal.id)
        page.move(None, change)

    def _lesson(self, proposal: Proposal, critique: Critique) -> None:
        page = self._page(proposal, critique)
        page.add(proposal.evidence)
        if not page.fresh:
            return
        rivals = self._rivals(page, critique)
        stand = self._stand(page, rivals, critique)
        found = bar_again(
            page.before, page.pieces, page.fresh, self._scope, self._policy, kind=page.claim.kind
        )
        worth = Worth.KEEP if found.met else Worth.WAIT
        self._merge(page, critique)
        move = look_up(page.status, critique.relation, worth, stand)
        if move is not None and (move.to or page.status) in ONCE_IN_FORCE:
            replaced = rivals if move.to is NoteStatus.ACTIVE else ()
            if not self._without_names(page, rivals, replaced):
                move = _WITHHELD[page.status]
        if move is not None:
            self._apply(page, move, rivals, proposal, critique, found.reason)
        if move is not None and page.status is NoteStatus.ACTIVE:
            self._reword(page, rivals)

    def _without_names(
        self, page: Page, rivals: Sequence[Page] = (), replaced: Sequence[Page] = ()
    ) -> bool:
        """Let it say it in words that name nobody. False when it has none."""
        if not self._names.told_by(page.claim):
            return True
        said = [*page.wordings, *(c for item in self._again[page.id] for c in item.claims)]
        fitting = [claim for claim in said if self._fits(claim, page, rivals, replaced)]
        wordings = wording.Wordings([page.claim, *said])
        best = min(fitting, key=lambda claim: _best(claim, wordings), default=None)
        if best is not None:
            page.claim = best.model_copy(update={"kind": page.claim.kind})
        return best is not None

    def withhold(self) -> None:
        """Whatever came, or stays, into view tonight on another way, and names somebody."""
        for page in self._book:
            shown = page.changes and page.status in ONCE_IN_FORCE
            if shown and not self._without_names(page):
                change = Change(DeltaKind.DEMOTE, NAMES_A_PERSON, WHY)
                page.move(NoteStatus.CANDIDATE, change)

    def _merge(self, page: Page, critique: Critique) -> None:
        """Retire the notes whose evidence has gone over to this page."""
        for key in critique.merges:
            other = self._book.get(key)
            if other is not None and other is not page and other.status in ALIVE:
                change = Change(DeltaKind.RETIRE, "merged", f"says the same as {page.id}")
                other.move(NoteStatus.RETIRED, change, superseded_by=page.id)

    def _reword(self, page: Page, rivals: Iterable[Page]) -> None:
        """Let a note that is in view say it in the words that hold most of the lesson."""
        trust = self._book.trust(page).rank
        said = [*self._said_before(page)]
        said += [
            claim
            for item in self._again[page.id]
            if item.trust.rank >= trust
            for claim in item.claims
        ]
        fitting = [claim for claim in said if self._fits(claim, page, rivals)]
        wordings = wording.Wordings([page.claim, *said])
        best = min(fitting, key=lambda claim: _best(claim, wordings), default=page.claim)
        if self._says_better(best, page, wordings):
            page.claim = best.model_copy(update={"kind": page.claim.kind})
        whole = wordings.complete(page.claim)
        if self._fits(whole, page, rivals):
            page.claim = whole

    def _says_better(self, claim: Claim, page: Page, wordings: wording.Wordings) -> bool:
        """True for words that hold clearly more, or are clearer in a note not in view before."""
        held, before = wordings.score(claim), wordings.score(page.claim)
        waited = page.before is not None and page.before.status is NoteStatus.CANDIDATE
        clearer = wording.rank(claim, standing=True) < wording.rank(page.claim, standing=True)
        return held > before * _BETTER + _MARGIN or (waited and clearer and held >= before)

    def _said_before(self, page: Page) -> tuple[Claim, ...]:
        """The wordings that are stored, where all of them are those of people."""
        human = all(item.trust is Trust.HUMAN for item in page.evidence.values())
        return page.wordings if human else ()

    def _fits(
        self, claim: Claim, page: Page, rivals: Iterable[Page], replaced: Sequence[Page] = ()
    ) -> bool:
        """True for words that cover the same case and leave every decision as it was taken.

        ``replaced`` are about to give way: what they say is no obstacle.
        """
        own = page.claim
        return (
            claim.about == own.about
            and not self._names.told_by(claim)
            and normalise(claim.applies_when) == normalise(own.applies_when)
            and all(same_topic([claim], rival.claims) for rival in rivals)
            and not any(
                other.status is NoteStatus.ACTIVE and clash(claim, other.claim)
                for other in self._book
                if all(other is not one for one in (page, *replaced))
            )
        )

    def _page(self, proposal: Proposal, critique: Critique) -> Page:
        known = self._book.get(critique.target)
        if critique.relation is Relation.SAME and known is not None:
            return known
        page = self._book.new(note_id(proposal), proposal.claim)
        page.wordings = proposal.wordings
        return page

    def _rivals(self, page: Page, critique: Critique) -> list[Page]:
        """Active pages that cannot be true beside this one, and the one that replaced it."""
        return [
            other
            for other in self._book
            if other is not page
            and (
                other.id == page.superseded_by
                or (
                    other.status is NoteStatus.ACTIVE
                    and (other.id in critique.rivals or clash(other.claim, page.claim))
                )
            )
        ]

    def _stand(self, page: Page, rivals: Iterable[Page], critique: Critique) -> Stand:
        judged = {*critique.rivals, page.superseded_by}
        stands = {
            self._against(page, rival) if rival.id in judged else Stand.UNDECIDED
            for rival in rivals
        }
        worst = (Stand.UNDECIDED, Stand.EARLIER, Stand.LATER)
        return next((stand for stand in worst if stand in stands), Stand.CLEAR)

    def _against(self, page: Page, rival: Page) -> Stand:
        """The later standing statement of equal or higher authority, on the same topic, holds."""
        ours, theirs = self._book.asserted(page), self._book.asserted(rival)
        if not same_topic(page.claims, rival.claims) or ours is None or theirs == ours:
            return Stand.UNDECIDED
        if theirs is not None and ours < theirs:
            return Stand.EARLIER
        lower = self._book.trust(page).rank < self._book.trust(rival).rank
        return Stand.UNDECIDED if lower else Stand.LATER

    def _apply(
        self,
        page: Page,
        move: Move,
        rivals: Sequence[Page],
        proposal: Proposal,
        critique: Critique,
        why: str,
    ) -> None:
        reason = move.reason.format(
            why=why,
            rivals=" and ".join(rival.id for rival in rivals) or "what replaced it",
            target=critique.target or "the general rule",
            support=_support(page),
        )
        named = tuple(rival.id for rival in rivals)
        change = Change(move.kind, move.code, reason, proposal.id, named)
        if move.to is NoteStatus.SUPERSEDED:
            page.move(move.to, change, superseded_by=self._latest(rivals).id)
        else:
            page.move(move.to, change)
        if move.to is NoteStatus.ACTIVE:
            self._take_over(page, rivals)

    def _latest(self, rivals: Sequence[Page]) -> Page:
        undated = datetime.min.replace(tzinfo=rivals[0].pieces[0].ts.tzinfo)
        return max(rivals, key=lambda page: (self._book.asserted(page) or undated, page.id))

    def _take_over(self, page: Page, rivals: Iterable[Page]) -> None:
        for rival in rivals:
            if rival.status is NoteStatus.ACTIVE:
                change = Change(DeltaKind.SUPERSEDE, "superseded", f"replaced by {page.id}")
                rival.move(NoteStatus.SUPERSEDED, change, superseded_by=page.id)


_HELD_BACK = Move(None, DeltaKind.REINFORCE, NAMES_A_PERSON, WHY)
_DEMOTED = Move(NoteStatus.CANDIDATE, DeltaKind.DEMOTE, NAMES_A_PERSON, WHY)
_WITHHELD: dict[NoteStatus | None, Move] = {
    None: Move(NoteStatus.CANDIDATE, DeltaKind.ADD, NAMES_A_PERSON, WHY),
    NoteStatus.CANDIDATE: _HELD_BACK,
    NoteStatus.RETIRED: _HELD_BACK,
    NoteStatus.ACTIVE: _DEMOTED,
    NoteStatus.SUPERSEDED: _DEMOTED,
}
"""What is done instead with a note that would be shown in words that name a person."""

# Words are changed for clearly better ones only: each change is one more revision to read.
_BETTER = 1.15
_MARGIN = 0.1


def _best(claim: Claim, wordings: wording.Wordings) -> tuple[float, wording.Rank, int, str]:
    known = wording.rank(claim, standing=True)
    return -round(wordings.score(claim), 2), known, len(claim.statement), claim.statement


def _support(page: Page) -> str:
    for_it = [item for item in page.evidence.values() if item.weight > 0]
    sessions = len({(item.scope, item.session) for item in for_it})
    return f"{len(for_it)} events in {sessions} sessions"


# ---------------------------------------------------------------------------- after the lessons


def _unfold(book: Book, above: Sequence[Dossier]) -> None:
    """Bring back copies that folded into a note above which was given up since.

    One that was replaced above stays covered: what replaced it is the later word.
    """
    gone = {
        found.note.id
        for found in above
        if found.note.status in GIVEN_UP and not withdraw.withdrawn(found.evidence)
    }
    for page in book:
        if page.status is NoteStatus.RETIRED and page.superseded_by in gone and page.evidence:
            why = f"{page.superseded_by} is no longer in force above"
            excluded = agreement(page.pieces).lost or any(
                other.status is NoteStatus.ACTIVE and clash(other.claim, page.claim)
                for other in book
            )
            back = book.enough(page) and not excluded
            page.move(
                NoteStatus.ACTIVE if back else NoteStatus.CANDIDATE,
                Change(DeltaKind.RESTORE, "unfolded", why),
            )


def _fold(book: Book, above: Sequence[Dossier], judgements: Mapping[str, Judgement]) -> None:
    """Retire own copies of what a scope above says; one that disagrees is the nearer exception."""
    upper = {d.note.id: d for d in above if d.note.status is NoteStatus.ACTIVE}
    circle = Circle({key: found.claims for key, found in upper.items()}, judgements)
    for page in book:
        if page.status not in ALIVE:
            continue
        ties = {
            key: tie
            for key, tie in circle.ties(page.claims).items()
            if tie in (Tie.SAME, Tie.EXCLUDES)
        }
        nearest = max(
            ties,
            key=lambda key: (upper[key].note.scope.tier, ties[key] is Tie.EXCLUDES, key),
            default="",
        )
        if nearest and ties[nearest] is Tie.SAME:
            where = upper[nearest].note.scope
            change = Change(DeltaKind.RETIRE, "folded", f"{where} says it for everyone: {nearest}")
            page.move(NoteStatus.RETIRED, change, superseded_by=nearest)
