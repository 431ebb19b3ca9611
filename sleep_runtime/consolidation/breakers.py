"""Breakers: a night that would take too much out of view stops, and asks.

What is lost is what readers saw before the night and would see in no form after it: retired,
demoted, quarantined, or replaced by what is not in force itself. A copy that folds into a note
above and a note with an heir in force are no loss. Fading counts: a scope that nobody used for a
year is the commonest way to lose everything at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from sleep_runtime.consolidation.book import Book, Page
from sleep_runtime.consolidation.compare import clash
from sleep_runtime.consolidation.review import Standing, put_back
from sleep_runtime.core.ids import stable_id
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.policy import BreakerPolicy
from sleep_runtime.core.review import Question, Review, ReviewKind, ReviewState, Ruling

QUARTER = "breaker.quarter"
"""The count of a night that was stopped, in its run."""


class Halt(NamedTuple):
    """What a breaker did. ``reason`` is empty when it had nothing to stop.

    ``applied`` are the reviews in which people let a loss pass, ``expired`` the open ones whose
    loss no longer threatens.
    """

    questions: tuple[Question, ...] = ()
    counts: Mapping[str, int] = MappingProxyType({})
    reason: str = ""
    applied: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()


def hold(book: Book, before: Standing, reviews: Sequence[Review], policy: BreakerPolicy) -> Halt:
    """Take back the losses of a night that lost too much; what else it did stays.

    ``before`` is how every note stood when people's decisions were done: what they ended is no loss
    of the night's. What was said counts, even for a note that is kept as it was.
    """
    asked = [one for one in reviews if one.question.kind is ReviewKind.BREAKER]
    passed = [one for one in asked if one.waits and one.decision is Ruling.APPROVE]
    allowed = {name for one in passed for name in one.question.notes}
    in_force = [name for name, was in before.items() if was.status is NoteStatus.ACTIVE]
    losing = [page for name in in_force if (page := book.get(name)) and _lost(book, page)]
    losses = [page for page in losing if page.id not in allowed]
    applied = tuple(one.id for one in passed)
    if not too_much(len(losses), len(in_force), policy):
        return Halt(applied=applied, expired=_open_but(asked, ""))
    question = _asked(losses, len(in_force))
    kept = sum(1 for page in losses if _keep(book, page, before))
    return Halt(
        questions=(question,),
        counts={QUARTER: 1, "breaker.kept": kept},
        reason=f"stopped, as {question.reason}",
        applied=applied,
        expired=_open_but(asked, question.key),
    )


def too_much(lost: int, of: int, policy: BreakerPolicy) -> bool:
    """True when one night may not lose so many of so many notes in force."""
    return of >= policy.min_notes and lost > policy.max_loss * of


def _lost(book: Book, page: Page) -> bool:
    """True when nothing of the page is in view any more."""
    if page.status is NoteStatus.ACTIVE:
        return False
    seen = {page.id}
    while page.superseded_by and page.superseded_by not in seen:
        heir = book.get(page.superseded_by)
        if heir is None:  # a note of a scope above, into which a copy folds
            return page.status is not NoteStatus.RETIRED
        if heir.status is NoteStatus.ACTIVE:
            return False
        seen.add(heir.id)
        page = heir
    return True


def _asked(losses: Sequence[Page], of: int) -> Question:
    ordered = sorted(losses, key=lambda page: page.id)
    return Question(
        kind=ReviewKind.BREAKER,
        key=stable_id("loss", *(page.id for page in ordered)),
        notes=tuple(page.id for page in ordered),
        claims=tuple(page.claim for page in ordered),
        reason=f"it would have taken {len(losses)} of {of} notes in force out of view",
    )


def _keep(book: Book, page: Page, before: Standing) -> bool:
    """Put a page back as it stood; not beside what contradicts it and came into force tonight."""
    was = before[page.id]
    if any(_shown(other) and clash(other.claim, was.claim) for other in book if other is not page):
        return False
    put_back(page, was, "breaker", "stays, as the night would have lost too much")
    return True


def _shown(page: Page) -> bool:
    return page.status is NoteStatus.ACTIVE


def _open_but(reviews: Iterable[Review], key: str) -> tuple[str, ...]:
    return tuple(
        one.id for one in reviews if one.state is ReviewState.OPEN and one.question.key != key
    )
