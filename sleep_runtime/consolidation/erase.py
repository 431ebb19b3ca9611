"""Erase: what becomes of the notes that others support too, when somebody's words are gone.

What rested on the erased words alone is gone before this is asked. The rest keeps standing on what
remains: its support and its belief are derived anew, it is put in the words of somebody who still
says it, and it leaves view when too little is left. What had been replaced by, or had folded into,
a note that is gone comes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sleep_runtime.consolidation.book import Book, Change, Page
from sleep_runtime.consolidation.compare import clash
from sleep_runtime.consolidation.wording import Wordings, rank
from sleep_runtime.core.note import Dossier, NoteStatus
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.proposal import Delta, DeltaKind
from sleep_runtime.core.scope import Scope

CODE = "erased"
_LESS = "what somebody said was erased: less speaks for it"
_TOO_LITTLE = "what somebody said was erased: too little speaks for it"
_BACK = "what had taken its place was erased"
_HEIR = "what had taken its place was erased; what replaced that stays"


def lowered(
    scope: Scope,
    dossiers: Sequence[Dossier],
    touched: Mapping[str, Sequence[Claim]],
    gone: Mapping[str, str],
    *,
    policy: Policy,
    now: datetime,
) -> tuple[Delta, ...]:
    """New revisions of the notes of a scope, after evidence was taken away.

    ``dossiers`` hold what remains. ``touched`` are the notes that lost evidence, with the claims
    that still speak for each; ``gone`` the notes that are no more, each with what had taken its
    place in turn ("": nothing).
    """
    book = Book(scope, dossiers, policy, now)
    for page in book:
        if page.id in touched:
            _lower(book, page, touched[page.id])
    _bring_back(book, gone)
    return book.deltas()


def _lower(book: Book, page: Page, said: Sequence[Claim]) -> None:
    _reword(book, page, said)
    if page.status is NoteStatus.ACTIVE and (not book.enough(page) or _clashes(book, page)):
        page.move(NoteStatus.CANDIDATE, Change(DeltaKind.DEMOTE, CODE, _TOO_LITTLE))
    else:
        page.move(None, Change(DeltaKind.DEMOTE, CODE, _LESS))


def _reword(book: Book, page: Page, said: Sequence[Claim]) -> None:
    """Keep its words only if somebody else still says it in these; else take the best of theirs."""
    own = next((claim for claim in said if claim.statement == page.claim.statement), None)
    if own is None and said:
        wordings = Wordings(list(said))
        fitting = [claim for claim in said if not _excluded(book, page, claim)] or said
        own = min(
            fitting,
            key=lambda claim: (
                rank(claim, standing=True),
                -round(wordings.score(claim), 2),
                len(claim.statement),
                claim.statement,
            ),
        )
    if own is not None:
        page.claim = own.model_copy(update={"kind": page.claim.kind})


def _clashes(book: Book, page: Page) -> bool:
    return _excluded(book, page, page.claim)


def _excluded(book: Book, page: Page, claim: Claim) -> bool:
    return any(
        other is not page and other.status is NoteStatus.ACTIVE and clash(claim, other.claim)
        for other in book
    )


def _bring_back(book: Book, gone: Mapping[str, str]) -> None:
    """What a note that is gone had replaced, the one that was said last first.

    Unless that note had been replaced itself: then its heir takes its place.
    """
    back: list[Page] = []
    for page in book:
        if page.superseded_by not in gone or not page.evidence:
            continue
        heir = _heir(page.superseded_by, gone)
        if heir:
            page.move(page.status, Change(DeltaKind.DEMOTE, CODE, _HEIR), superseded_by=heir)
        else:
            back.append(page)
    _restore(book, back)


def _heir(note_id: str, gone: Mapping[str, str]) -> str:
    """The first in the chain of heirs that is still there; each is passed once."""
    passed: set[str] = set()
    while note_id in gone and note_id not in passed:
        passed.add(note_id)
        note_id = gone[note_id]
    return "" if note_id in passed else note_id


def _restore(book: Book, pages: Iterable[Page]) -> None:
    def said_last(page: Page) -> tuple[bool, datetime, str]:
        at = book.asserted(page)
        return at is not None, at or page.pieces[0].ts, page.id

    for page in sorted(pages, key=said_last, reverse=True):
        back = book.enough(page) and not _clashes(book, page)
        status = NoteStatus.ACTIVE if back else NoteStatus.CANDIDATE
        page.move(status, Change(DeltaKind.RESTORE, CODE, _BACK))
