"""Sweep: what a night does about the notes it was told nothing of, or only what speaks against.

It derives everything from the evidence and the run's own time, so that what one night leaves
undone the next one finds again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from sleep_runtime.consolidation.book import Book, Change, Page
from sleep_runtime.consolidation.compare import Slot, clash, slot
from sleep_runtime.consolidation.reflect import note_id
from sleep_runtime.consolidation.signal import agreement, contested, support
from sleep_runtime.core.note import ALIVE, GIVEN_UP, Evidence, NoteStatus
from sleep_runtime.core.observation import Durability
from sleep_runtime.core.proposal import Critique, DeltaKind, Proposal, Relation, Worth
from sleep_runtime.core.scope import Scope, Tier

# ---------------------------------------------------------------------------- against


def oppose(book: Book, judged: Iterable[tuple[Proposal, Critique]]) -> None:
    """Keep what was said tonight against a note that is in force, or that folded, with that note.

    Only what was said after the note itself was said last, on no less authority. It lowers belief
    in the note, and tells who of those who said it says otherwise now.
    """
    in_force = _by_slot(book)
    for proposal, critique in judged:
        if critique.worth is Worth.DROP or not _says_something(proposal):
            continue
        home = critique.target if critique.relation is Relation.SAME else note_id(proposal)
        named = [page for name in critique.rivals if (page := book.get(name)) and _counts(page)]
        question = slot(proposal.claim)
        beside = in_force.get(question, []) if question else []
        clashing = [page for page in beside if clash(page.claim, proposal.claim)]
        for page in {page.id: page for page in (*named, *clashing)}.values():
            if page.id != home:
                _doubt(book, page, proposal, home)


def _says_something(proposal: Proposal) -> bool:
    """False for a vote, and for taking something back: neither says what holds instead."""
    return not proposal.feedback_on and proposal.durability is not Durability.WITHDRAWN


def _by_slot(book: Book) -> dict[Slot, list[Page]]:
    found: dict[Slot, list[Page]] = defaultdict(list)
    for page in book:
        if page.status is NoteStatus.ACTIVE and (question := slot(page.claim)) is not None:
            found[question].append(page)
    return found


def _counts(page: Page) -> bool:
    """True for a note that is in force here, or above after it folded."""
    folded = page.status is NoteStatus.RETIRED and page.superseded_by
    return page.status is NoteStatus.ACTIVE or bool(folded)


def _doubt(book: Book, page: Page, proposal: Proposal, home: str) -> None:
    since, rank = book.asserted(page), book.trust(page).rank
    later = [
        piece
        for piece in proposal.evidence
        if piece.weight > 0 and piece.trust.rank >= rank and (since is None or piece.ts > since)
    ]
    if count := page.oppose(later):
        reason = f"contradicted {count}x by {home}"
        page.move(None, Change(DeltaKind.DEMOTE, "contradicted", reason, proposal.id))


# ---------------------------------------------------------------------------- fading


def sweep(book: Book, scope: Scope, *, asked: Collection[str], most: int) -> None:
    """Take from view what faded, does harm or has lost its support; retire what nobody says again.

    ``asked`` are the notes about which a person was asked: those wait for the answer. Ends when
    ``most`` notes are changed: the next night finds the rest.
    """
    left = most - book.changed
    for page in book:
        if page.status not in ALIVE:
            continue
        fresh_page = not page.changes
        if fresh_page and left <= 0:
            continue
        _look_at(book, page, scope, asked)
        left -= fresh_page and bool(page.changes)


def _look_at(book: Book, page: Page, scope: Scope, asked: Collection[str]) -> None:
    harmed = contested(page.pieces, page.helpful, page.harmful)
    belief, floor = book.belief(page), book.policy.signal.retire_below
    if belief < floor and not page.fresh:
        code = "harmful" if harmed else "faded"
        _retire(page, code, f"confidence {belief:.2f} is below {floor:g}")
    elif page.status is NoteStatus.ACTIVE:
        _keep_in_view(book, page, scope, harmed=harmed)
    elif page.id not in asked and not page.fresh and book.expired(page):
        _retire(page, "expired", f"nobody said it for {book.policy.signal.candidate_days:g} days")


def _retire(page: Page, code: str, reason: str) -> None:
    page.move(NoteStatus.RETIRED, Change(DeltaKind.RETIRE, code, reason))


def _keep_in_view(book: Book, page: Page, scope: Scope, *, harmed: bool) -> None:
    said = agreement(page.pieces)
    if harmed:
        _demote(page, "harmful", f"{page.harmful} readers were harmed, more than speak for it")
    elif scope.tier is not Tier.INDIVIDUAL and said.lost:
        _demote(page, "moved_on", f"{said.left} of {said.people} people say otherwise since")
    elif _shrunk(page) and not book.enough(page):
        why = f"what spoke for it is gone: {book.bar(page).reason}"
        _demote(page, "unsupported", why)


def _demote(page: Page, code: str, reason: str) -> None:
    page.move(NoteStatus.CANDIDATE, Change(DeltaKind.DEMOTE, code, reason))


def _shrunk(page: Page) -> bool:
    """True when less speaks for a note than when it was written: somebody's words were erased."""
    if page.before is None:
        return False
    was = page.before.support
    now = support(item for key, item in page.evidence.items() if key not in page.fresh)
    return now.events < was.events or now.people < was.people


# ---------------------------------------------------------------------------- below


def folds(scope: Scope, book: Book) -> tuple[Scope, ...]:
    """Scopes strictly below that said what came into force here or ended; and the teams between."""
    if scope.tier is Tier.INDIVIDUAL:
        return ()
    said = {item.scope for page in book for item in _told(page)}
    below = {part for path in said for part in path.lineage() if part != scope}
    return tuple(sorted(part for part in below if scope.covers(part)))


def _told(page: Page) -> Iterable[Evidence]:
    """The evidence whose scopes have to look again at their own copies of a page."""
    was_active = page.before is not None and page.before.status is NoteStatus.ACTIVE
    if not page.changes:
        return ()
    if page.status is NoteStatus.ACTIVE:
        # Who says again what is in force may have put it in words that their own night does not
        # tie to the copy that folded: then it is a note of theirs once more.
        return page.fresh.values() if was_active else page.evidence.values()
    # The copies of what is no longer in force here come back. What replaced a note covers them.
    return page.evidence.values() if was_active and page.status in GIVEN_UP else ()
