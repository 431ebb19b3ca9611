"""Review: what a night asks people, and how it does what they decided.

A decision is done by a night of the scope, before it looks at what is new: what was said since
may still change it. With ``curation.mode: review`` whatever would come into force, or end, by the
night's own decision is held back, and asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sleep_runtime.consolidation.book import Book, Change, Page
from sleep_runtime.consolidation.compare import clash
from sleep_runtime.core.note import ALIVE, NoteStatus
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.proposal import DeltaKind
from sleep_runtime.core.review import Question, Review, ReviewKind, ReviewState, Ruling

_ENDS = {
    NoteStatus.SUPERSEDED: DeltaKind.SUPERSEDE,
    NoteStatus.RETIRED: DeltaKind.RETIRE,
    NoteStatus.CANDIDATE: DeltaKind.DEMOTE,
    NoteStatus.QUARANTINED: DeltaKind.QUARANTINE,
}
_MAY_COME = (NoteStatus.CANDIDATE, NoteStatus.SUPERSEDED, NoteStatus.RETIRED)


# ---------------------------------------------------------------------------- doing


def carry_out(book: Book, reviews: Iterable[Review]) -> tuple[str, ...]:
    """Do what people decided, in the order they did; returns the reviews that are done with.

    One that cannot be done yet, as another note in force fills the same slot, waits on.
    """
    waiting = sorted((one for one in reviews if one.waits), key=lambda one: (str(one.at), one.id))
    return tuple(
        one.id for one in waiting if one.question.kind is not ReviewKind.BREAKER and _do(book, one)
    )


def _do(book: Book, review: Review) -> bool:
    pages = [page for name in review.question.notes if (page := book.get(name))]
    if not pages or pages[0].id != review.question.notes[0]:
        return True
    left, rights = pages[0], pages[1:]
    match review.decision:
        case Ruling.SAME:
            _merge(left, rights, review)
        case Ruling.KEEP_LEFT:
            return _let_in(book, left, rights, review)
        case Ruling.KEEP_RIGHT:
            _give_way(left, rights, review)
        case Ruling.UNRELATED:
            return not book.enough(left) or _let_in(book, left, (), review, beside=rights)
        case Ruling.EXCLUDES:
            return _later_holds(book, left, rights, review)
        case Ruling.APPROVE if review.question.wanted is NoteStatus.ACTIVE:
            return _let_in(book, left, rights, review)
        case Ruling.APPROVE:
            _end(left, review)
    return True


def _why(review: Review) -> str:
    return f"{review.by} decided {review.decision}"


def _merge(left: Page, rights: Sequence[Page], review: Review) -> None:
    """Two wordings of one lesson: what speaks for the one that waits speaks for the other."""
    if not rights or left.status not in ALIVE:
        return
    right = rights[0]
    right.add(left.pieces)
    if right.fresh:
        right.move(None, Change(DeltaKind.REINFORCE, "decided", _why(review)))
    change = Change(DeltaKind.RETIRE, "decided", f"{_why(review)}: {right.id} says it")
    left.move(NoteStatus.RETIRED, change, superseded_by=right.id)


def _let_in(
    book: Book,
    page: Page,
    instead_of: Iterable[Page],
    review: Review,
    beside: Sequence[Page] = (),
) -> bool:
    """Bring a note into force instead of others; False while a third note stands in its way."""
    if page.status not in _MAY_COME:
        return True
    ends = [other for other in instead_of if other.status is NoteStatus.ACTIVE]
    meant = {page.id, *(other.id for other in (*ends, *beside))}
    if any(other.id not in meant and _in_the_way(other, page) for other in book):
        return False
    kind = DeltaKind.PROMOTE if page.status is NoteStatus.CANDIDATE else DeltaKind.RESTORE
    page.move(NoteStatus.ACTIVE, Change(kind, "decided", _why(review)))
    for other in ends:
        change = Change(DeltaKind.SUPERSEDE, "decided", f"{_why(review)}: {page.id} holds")
        other.move(NoteStatus.SUPERSEDED, change, superseded_by=page.id)
    return True


def _in_the_way(other: Page, page: Page) -> bool:
    return other.status is NoteStatus.ACTIVE and clash(other.claim, page.claim)


def _give_way(left: Page, rights: Sequence[Page], review: Review) -> None:
    if rights and left.status in ALIVE:
        change = Change(DeltaKind.SUPERSEDE, "decided", f"{_why(review)}: {rights[0].id} holds")
        left.move(NoteStatus.SUPERSEDED, change, superseded_by=rights[0].id)


def _later_holds(book: Book, left: Page, rights: Sequence[Page], review: Review) -> bool:
    """They exclude each other, so the one said later holds; said at once, nothing changes."""
    ours = book.asserted(left)
    theirs = [moment for page in rights if (moment := book.asserted(page))]
    if ours is None or not theirs or ours == max(theirs):
        return True
    if ours > max(theirs):
        return _let_in(book, left, rights, review)
    _give_way(
        left, sorted(rights, key=lambda p: (book.asserted(p) == max(theirs), p.id))[-1:], review
    )
    return True


def _end(page: Page, review: Review) -> None:
    wanted = review.question.wanted
    if wanted in _ENDS and page.status is NoteStatus.ACTIVE:
        change = Change(_ENDS[wanted], "decided", f"{_why(review)}: {review.question.reason}")
        page.move(wanted, change, superseded_by=review.question.heir)


# ---------------------------------------------------------------------------- asking


class Before(NamedTuple):
    """What a page was when people's decisions were done and the night's own began."""

    status: NoteStatus | None
    superseded_by: str
    claim: Claim
    changes: int


Standing = Mapping[str, Before]


def standing(book: Book) -> Standing:
    """How every note stands before the night decides anything of its own."""
    return {
        page.id: Before(page.status, page.superseded_by, page.claim, len(page.changes))
        for page in book
    }


def hold(book: Book, before: Standing) -> list[Question]:
    """Take back whatever the night brought into force or ended, and ask instead.

    What was learned stays: the evidence counts, a new note waits as a candidate.
    """
    turned = [(page, _was(page, before)) for page in book]
    turned = [(page, was) for page, was in turned if _active(page) is not (was.status is _ON)]
    coming = [(page, was) for page, was in turned if _active(page)]
    names = {page.id for page, _ in coming}
    replaced = [page for page, _ in turned if page.superseded_by in names]
    questions = [
        _asked(page, was, [p for p in replaced if p.superseded_by == page.id])
        for page, was in coming
    ]
    alone = [(page, was) for page, was in turned if not _active(page) and page not in replaced]
    questions += [_asked(page, was, ()) for page, was in alone]
    for page, was in turned:
        put_back(page, was, "review", "waits for a person")
    return questions


_ON = NoteStatus.ACTIVE


def _active(page: Page) -> bool:
    return page.status is _ON


def _was(page: Page, before: Standing) -> Before:
    return before.get(page.id) or Before(None, "", page.claim, 0)


def _asked(page: Page, was: Before, ended: Sequence[Page]) -> Question:
    about = (page, *ended)
    return Question(
        kind=ReviewKind.CHANGE,
        key=f"{page.id}:{page.status}",
        notes=tuple(one.id for one in about),
        claims=tuple(one.claim for one in about),
        wanted=page.status,
        heir="" if _active(page) else page.superseded_by,
        reason="; ".join(dict.fromkeys(c.reason for c in page.changes[was.changes :])),
    )


def put_back(page: Page, was: Before, code: str, why: str) -> None:
    """Take back what the night did to a page; what it learned stays, and says ``why`` it waits."""
    made = page.changes[was.changes :]
    page.status = was.status or NoteStatus.CANDIDATE
    page.superseded_by = was.superseded_by
    page.claim = was.claim
    del page.changes[was.changes :]
    if page.has_news:
        kind = DeltaKind.ADD if page.before is None else DeltaKind.REINFORCE
        told = "; ".join(dict.fromkeys(change.reason for change in made))
        proposal = next((change.proposal_id for change in made if change.proposal_id), "")
        page.changes.append(Change(kind, code, f"{why}: {told}", proposal))


def conflicts(book: Book) -> list[Question]:
    """A question for each note that waits since the table could not tell what holds."""
    found = []
    for page in book:
        undecided = [change for change in page.changes if change.code == "conflict"]
        rivals = sorted({name for change in undecided for name in change.rivals})
        others = [other for name in rivals if (other := book.get(name)) and _active(other)]
        if page.status is NoteStatus.CANDIDATE and others:
            found.append(
                Question(
                    kind=ReviewKind.CONFLICT,
                    key=page.id,
                    notes=(page.id, *(other.id for other in others)),
                    claims=(page.claim, *(other.claim for other in others)),
                    reason=undecided[-1].reason,
                )
            )
    return found


def expired(book: Book, reviews: Iterable[Review]) -> tuple[str, ...]:
    """The open reviews whose question is none any more, as their notes moved on."""
    return tuple(
        one.id
        for one in reviews
        if one.state is ReviewState.OPEN
        and one.question.kind is not ReviewKind.BREAKER
        and not _still_asked(book, one.question)
    )


def _still_asked(book: Book, question: Question) -> bool:
    page = book.get(question.notes[0]) if question.notes else None
    if page is None:
        return False
    if question.kind is ReviewKind.CONFLICT:
        others = (book.get(name) for name in question.notes[1:])
        return page.status is NoteStatus.CANDIDATE and any(o and _active(o) for o in others)
    if question.wanted is NoteStatus.ACTIVE:
        ended = page.before is not None and page.before.status is not page.status
        return page.status in _MAY_COME and not ended
    return _active(page)
