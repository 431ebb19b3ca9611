"""Book: the notes of one scope while a night decides about them.

Every note is a page; several proposals may write on one page, and it becomes one delta. What
follows from the evidence (support, confidence, since when it holds) is derived once, at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sleep_runtime.consolidation.signal import (
    Bar,
    asserted_at,
    bar,
    confidence,
    expired,
    support,
)
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Evidence, Note, NoteStatus
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.proposal import Delta, DeltaKind
from sleep_runtime.core.scope import Scope

# A note shows this many of its newest events; the ledger holds all of them.
MAX_EVIDENCE_SHOWN = 200

# Of several changes in one night, the delta is named after the weightiest.
_WEIGHT = (
    DeltaKind.RETIRE,
    DeltaKind.SUPERSEDE,
    DeltaKind.QUARANTINE,
    DeltaKind.RESTORE,
    DeltaKind.PROMOTE,
    DeltaKind.DEMOTE,
    DeltaKind.SCOPE,
    DeltaKind.ADD,
    DeltaKind.REINFORCE,
)


Voter = tuple[str, str]
"""Who votes, and in which session: one vote each."""


class Change(NamedTuple):
    """One thing that was done to a page, and why."""

    kind: DeltaKind
    code: str
    reason: str
    proposal_id: str = ""
    rivals: tuple[str, ...] = ()


@dataclass
class Page:
    """One note as it stands at this point of the night. ``before`` is its stored revision."""

    id: str
    claim: Claim
    before: Note | None
    status: NoteStatus | None
    evidence: dict[str, Evidence]
    votes: dict[Voter, Evidence] = field(default_factory=dict)
    superseded_by: str = ""
    fresh: dict[str, Evidence] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    stored_votes: frozenset[str] = frozenset()
    undone: frozenset[str] = frozenset()
    wordings: tuple[Claim, ...] = ()

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Every way the lesson was put, the note's own words first."""
        return (self.claim, *self.wordings)

    @property
    def pieces(self) -> list[Evidence]:
        return list(self.evidence.values())

    @property
    def helpful(self) -> int:
        return sum(1 for item in self.votes.values() if item.vote > 0)

    @property
    def harmful(self) -> int:
        return sum(1 for item in self.votes.values() if item.vote < 0)

    def add(self, pieces: Iterable[Evidence]) -> None:
        """Count each believable event once. Words of tools are no evidence."""
        for piece in pieces:
            known = piece.event_id in self.evidence or piece.event_id in self.undone
            if piece.trust is not Trust.UNTRUSTED and not known:
                self.evidence[piece.event_id] = piece
                self.fresh[piece.event_id] = piece

    def oppose(self, pieces: Iterable[Evidence]) -> int:
        """Count each event once that speaks against it; returns how many are new."""
        known = len(self.fresh)
        self.add(piece.model_copy(update={"weight": -abs(piece.weight)}) for piece in pieces)
        return len(self.fresh) - known

    def vote(self, pieces: Iterable[Evidence]) -> int:
        """Count the last vote of each person in each session; returns how many are a change."""
        changed = 0
        for piece in sorted((p for p in pieces if p.event_id not in self.undone), key=_by_time):
            known = self.votes.get(_voter(piece))
            if known is None or _by_time(known) < _by_time(piece):
                self.votes[_voter(piece)] = piece
                changed += known is None or known.vote != piece.vote
        return changed

    @property
    def has_news(self) -> bool:
        """True when there is something to store, whatever its status becomes."""
        return self.before is None or bool(self.fresh or _new_votes(self))

    def move(self, to: NoteStatus | None, change: Change, *, superseded_by: str = "") -> None:
        if to is not None:
            self.status = to
            self.superseded_by = superseded_by
        self.changes.append(change)


class Book:
    """The pages of a scope by note id."""

    def __init__(
        self, scope: Scope, dossiers: Iterable[Dossier], policy: Policy, now: datetime
    ) -> None:
        self._scope = scope
        self._policy = policy
        self._now = now
        self._pages = {dossier.note.id: _page(dossier) for dossier in dossiers}

    @property
    def policy(self) -> Policy:
        return self._policy

    @property
    def changed(self) -> int:
        """How many notes were changed so far."""
        return sum(1 for page in self._pages.values() if page.changes)

    def __iter__(self) -> Iterator[Page]:
        """Every page, by note id."""
        return iter([self._pages[key] for key in sorted(self._pages)])

    def get(self, note_id: str) -> Page | None:
        return self._pages.get(note_id)

    def new(self, note_id: str, claim: Claim) -> Page:
        """A page for a note that is not stored yet; it is part of the book once it has a status."""
        return self._pages.setdefault(note_id, Page(note_id, claim, None, None, {}))

    def asserted(self, page: Page) -> datetime | None:
        """When the page's lesson was last really said."""
        return asserted_at(page.pieces, self._scope, page.claim.kind, self._policy)

    def enough(self, page: Page) -> bool:
        """True when what speaks for the page is enough at this scope."""
        return self.bar(page).met

    def bar(self, page: Page) -> Bar:
        """Whether what speaks for the page is enough at this scope, and why."""
        return bar(page.pieces, self._scope, page.claim.kind, self._policy)

    def expired(self, page: Page) -> bool:
        """True when nobody has said the page's lesson for as long as a candidate may wait."""
        return expired(page.pieces, self._policy.signal, self._now)

    def belief(self, page: Page) -> float:
        """Confidence in the page tonight."""
        return confidence(page.pieces, page.votes.values(), self._policy.signal, self._now)

    def trust(self, page: Page) -> Trust:
        """On whose word the page stands."""
        found = self.bar(page)
        if found.met:
            return found.trust
        said = [item.trust for item in page.evidence.values() if item.weight > 0]
        return max(said, key=lambda trust: trust.rank, default=Trust.UNTRUSTED)

    def holds_since(self, page: Page) -> datetime:
        """Since when it is true: its first sighting after what it replaced was last said."""
        if page.before and page.before.status is page.status is NoteStatus.RETIRED:
            return page.before.valid_from
        ends = [
            self.asserted(old) or max(item.ts for item in old.evidence.values())
            for old in self._pages.values()
            if old.status is NoteStatus.SUPERSEDED and old.superseded_by == page.id and old.evidence
        ]
        sightings = sorted(item.ts for item in page.evidence.values() if item.weight > 0)
        if not sightings:
            return page.before.valid_from if page.before else self._now
        later = [ts for ts in sightings if not ends or ts > max(ends)]
        return later[0] if later else sightings[-1]

    def deltas(self) -> tuple[Delta, ...]:
        """One delta for each page that was changed tonight, by note id."""
        return tuple(self._delta(page) for page in self if page.changes)

    def _delta(self, page: Page) -> Delta:
        change = _headline(page)
        reason = "; ".join(dict.fromkeys(item.reason for item in page.changes))
        return Delta(
            kind=change.kind,
            note=self._note(page, reason),
            evidence=tuple(sorted([*page.fresh.values(), *_new_votes(page)], key=_by_time)),
            code=change.code,
            reason=reason,
            proposal_id=next((c.proposal_id for c in page.changes if c.proposal_id), ""),
        )

    def _note(self, page: Page, reason: str) -> Note:
        status = page.status or NoteStatus.CANDIDATE
        return Note(
            id=page.id,
            scope=self._scope,
            claim=page.claim,
            status=status,
            confidence=self.belief(page),
            support=support(page.evidence.values()),
            trust=self.trust(page),
            helpful=page.helpful,
            harmful=page.harmful,
            valid_from=self.holds_since(page),
            valid_to=self._valid_to(page, status),
            recorded_at=self._now,
            superseded_by=page.superseded_by,
            revision=page.before.revision + 1 if page.before else 1,
            evidence=_shown(page.evidence),
            reason=reason,
        )

    def _valid_to(self, page: Page, status: NoteStatus) -> datetime | None:
        if status is NoteStatus.SUPERSEDED:
            heir = self._pages.get(page.superseded_by)
            return max(self.holds_since(heir), self.holds_since(page)) if heir else self._now
        if status is NoteStatus.RETIRED:
            if any(change.code == "expired" for change in page.changes):
                return self.holds_since(page)  # it was never in force
            was_retired = page.before and page.before.status is NoteStatus.RETIRED
            return page.before.valid_to if page.before and was_retired else self._now
        return None


def _page(dossier: Dossier) -> Page:
    note = dossier.note
    return Page(
        id=note.id,
        claim=note.claim,
        before=note,
        status=note.status,
        evidence={item.event_id: item for item in dossier.evidence if not item.vote},
        votes=_last_votes(dossier.evidence),
        superseded_by=note.superseded_by,
        wordings=dossier.wordings,
        stored_votes=frozenset(item.event_id for item in dossier.evidence if item.vote),
        undone=frozenset(dossier.undone),
    )


def _by_time(item: Evidence) -> tuple[datetime, str]:
    return item.ts, item.event_id


def _voter(item: Evidence) -> Voter:
    return item.person, item.session


def _last_votes(evidence: Iterable[Evidence]) -> dict[Voter, Evidence]:
    return {_voter(item): item for item in sorted(evidence, key=_by_time) if item.vote}


def _new_votes(page: Page) -> list[Evidence]:
    return [item for item in page.votes.values() if item.event_id not in page.stored_votes]


def _headline(page: Page) -> Change:
    """The change the delta is named after; a note that is new tonight was added."""
    if page.before is None:
        first, last = page.changes[0], page.changes[-1]
        return first._replace(code=last.code)
    return min(page.changes, key=lambda change: _WEIGHT.index(change.kind))


def _shown(evidence: Mapping[str, Evidence]) -> tuple[str, ...]:
    for_it = [item for item in evidence.values() if item.weight > 0]
    newest: Sequence[Evidence] = sorted(for_it, key=_by_time)
    return tuple(item.event_id for item in newest[-MAX_EVIDENCE_SHOWN:])
