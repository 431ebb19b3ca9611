"""Reflect: asks of each proposal whether it is real, consistent with what is known, and worth it.

The Reflector explains; the Curator decides. A critique names the note a proposal is about, the
notes that cannot be true beside it, and in one code and one sentence what becomes of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sleep_runtime.consolidation import withdraw
from sleep_runtime.consolidation.circle import Circle
from sleep_runtime.consolidation.compare import Tie
from sleep_runtime.consolidation.propose import may_climb_kind
from sleep_runtime.consolidation.shortlist import fold_pairs, near_notes, shortlist
from sleep_runtime.consolidation.signal import bar_again
from sleep_runtime.core.event import Trust
from sleep_runtime.core.ids import digest, stable_id
from sleep_runtime.core.note import ALIVE, Dossier, NoteStatus
from sleep_runtime.core.observation import Durability
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.proposal import ClaimPair, Critique, Judgement, Proposal, Relation, Worth

__all__ = ["critique", "fold_pairs", "judgement_key", "near_notes", "note_id", "shortlist"]

# Of several notes that say the same, the one that is most alive is meant.
_LIVELIEST = (
    NoteStatus.ACTIVE,
    NoteStatus.CANDIDATE,
    NoteStatus.SUPERSEDED,
    NoteStatus.RETIRED,
    NoteStatus.QUARANTINED,
)
_MOST = 0.5
"""The share of a note's evidence that makes what is grouped anew that note."""


class _Finding(NamedTuple):
    worth: Worth
    code: str
    reason: str


class _Place(NamedTuple):
    """Where a proposal stands: the note it says again, or is about; and what it excludes."""

    relation: Relation
    target: str
    rivals: tuple[str, ...]
    merges: tuple[str, ...] = ()


def note_id(proposal: Proposal) -> str:
    """The id of the note this proposal would become: named by its first observation."""
    return stable_id("note", proposal.scope, proposal.observations[0])


def judgement_key(pair: ClaimPair, engine_name: str) -> str:
    """Names the question "how does this engine see this pair": the key of its pin."""
    return digest(engine_name, pair.key)


def critique(
    proposals: Sequence[Proposal],
    dossiers: Sequence[Dossier],
    judgements: Mapping[str, Judgement],
    *,
    policy: Policy,
    now: datetime,  # noqa: ARG001 - recency compares events with events, never with the clock
    above_active: Collection[str] = frozenset(),
) -> list[Critique]:
    """One critique for each proposal, in the same order.

    ``above_active`` names the notes in force in the scopes above: what folded into one of them is
    covered for as long as it is in force, and may be said again afterwards.
    """
    notes = {dossier.note.id: dossier for dossier in dossiers}
    places = _places([item for item in proposals if not item.feedback_on], notes, judgements)
    lessons = [*withdraw.noted(dossiers), *_tonight(proposals, places)]
    critiques = []
    for proposal in proposals:
        place = places.get(proposal.id) or _feedback_place(proposal, notes)
        if proposal.durability is Durability.WITHDRAWN:
            place = _withdrawn_place(proposal, lessons, judgements)
        finding = _judge(proposal, notes.get(place.target), place, above_active, policy)
        critiques.append(
            Critique(
                proposal_id=proposal.id,
                relation=place.relation,
                worth=finding.worth,
                target=place.target,
                rivals=place.rivals,
                merges=place.merges,
                code=finding.code,
                reason=finding.reason,
            )
        )
    return critiques


# ---------------------------------------------------------------------------- consistent?


def _places(
    proposals: Sequence[Proposal],
    notes: Mapping[str, Dossier],
    judgements: Mapping[str, Judgement],
) -> dict[str, _Place]:
    """Each proposal against the notes, and against tonight's other proposals."""
    lasting = [item for item in proposals if _may_last(item)]
    with_notes = Circle({key: found.claims for key, found in notes.items()}, judgements)
    with_others = Circle({item.id: item.claims for item in lasting}, judgements)
    known = {item.id: with_notes.ties(item.claims) for item in lasting}
    tonight = {item.id: with_others.ties(item.claims) for item in lasting}
    shares = {item.id: _shares(item, notes) for item in lasting}
    homes: dict[str, str] = {}
    for item in lasting:
        excluded = {homes.get(other, "") for other in _with(tonight[item.id], Tie.EXCLUDES)}
        owned = shares[item.id]
        ties = dict.fromkeys(
            [*(key for key in owned if owned[key] >= _MOST), *_with(known[item.id], Tie.SAME)]
        )
        same = [key for key in ties if key not in excluded]
        same.sort(key=lambda key: (_LIVELIEST.index(notes[key].note.status), -owned.get(key, 0.0)))
        homes[item.id] = same[0] if same else note_id(item)
    places = {
        item.id: _place(homes, item, known[item.id], tonight[item.id], notes)._replace(
            merges=_merges(homes[item.id], shares[item.id], notes)
        )
        for item in lasting
    }
    nowhere = _Place(Relation.NEW, "", ())
    return {item.id: places.get(item.id, nowhere) for item in proposals}


def _shares(proposal: Proposal, notes: Mapping[str, Dossier]) -> dict[str, float]:
    """Which share of what speaks for each note is in the proposal; notes without any left out."""
    events = {item.event_id for item in proposal.evidence}
    found: dict[str, float] = {}
    for key, dossier in notes.items():
        if dossier.note.status in ALIVE and dossier.said:
            for_it = {item.event_id for item in dossier.evidence if item.weight > 0}
            if both := len(for_it & events):
                found[key] = both / len(for_it)
    return found


def _merges(
    home: str, shares: Mapping[str, float], notes: Mapping[str, Dossier]
) -> tuple[str, ...]:
    """Notes all of whose evidence went into a proposal that belongs to another one."""
    if home not in notes:
        return ()
    return tuple(sorted(key for key, share in shares.items() if key != home and share == 1.0))


def _may_last(proposal: Proposal) -> bool:
    passing = proposal.durability in (Durability.ONE_OFF, Durability.WITHDRAWN)
    return not passing and proposal.trust is not Trust.UNTRUSTED


def _with(ties: Mapping[str, Tie], wanted: Tie) -> list[str]:
    return [key for key, answer in ties.items() if answer is wanted]


def _place(
    homes: Mapping[str, str],
    proposal: Proposal,
    known: Mapping[str, Tie],
    tonight: Mapping[str, Tie],
    notes: Mapping[str, Dossier],
) -> _Place:
    home = homes[proposal.id]
    excluded = {homes[other] for other in _with(tonight, Tie.EXCLUDES)}
    excluded.update(_with(known, Tie.EXCLUDES))
    rivals = tuple(sorted(excluded - {home}))
    if home in notes:
        return _Place(Relation.SAME, home, rivals)
    shown = [key for key in rivals if key in notes and notes[key].note.status in ALIVE]
    if shown:
        return _Place(Relation.CONTRADICTS, shown[0], rivals)
    cases = [key for key in _with(known, Tie.SCOPED) if notes[key].note.status in ALIVE]
    if cases:
        return _Place(Relation.REFINES, cases[0], rivals)
    return _Place(Relation.CONTRADICTS if rivals else Relation.NEW, "", rivals)


def _tonight(proposals: Sequence[Proposal], places: Mapping[str, _Place]) -> list[withdraw.Lesson]:
    """What tonight's proposals may become, where it is no note yet."""
    return [
        withdraw.Lesson(
            note_id(item),
            active=False,
            claims=item.claims,
            speakers=withdraw.speakers(item.evidence),
        )
        for item in proposals
        if _may_last(item) and not item.feedback_on and not places[item.id].target
    ]


def _withdrawn_place(
    proposal: Proposal, lessons: Sequence[withdraw.Lesson], judgements: Mapping[str, Judgement]
) -> _Place:
    target = withdraw.meant(proposal, lessons, judgements)
    return _Place(Relation.CONTRADICTS if target else Relation.UNRELATED, target, ())


def _feedback_place(proposal: Proposal, notes: Mapping[str, Dossier]) -> _Place:
    here = proposal.feedback_on in notes
    return _Place(
        Relation.SAME if here else Relation.UNRELATED, proposal.feedback_on if here else "", ()
    )


# ---------------------------------------------------------------------------- worth it?


def _judge(
    proposal: Proposal,
    dossier: Dossier | None,
    place: _Place,
    above_active: Collection[str],
    policy: Policy,
) -> _Finding:
    if proposal.feedback_on:
        return _feedback(proposal, dossier)
    if proposal.trust is Trust.UNTRUSTED:
        return _drop("untrusted", "said by a tool or a document, and by nobody who may be believed")
    if proposal.durability is Durability.ONE_OFF:
        return _drop("one_off", "said for this once only")
    if proposal.durability is Durability.WITHDRAWN:
        return _withdrawal(proposal, place.target)
    if not may_climb_kind(proposal):
        return _drop("preference", "a preference stays with its person")
    same = dossier if place.relation is Relation.SAME else None
    if same is not None and (known := _nothing_new(proposal, same, above_active)):
        return known
    return _weigh(proposal, same, policy)


def _weigh(proposal: Proposal, same: Dossier | None, policy: Policy) -> _Finding:
    pieces = {item.event_id: item for item in proposal.evidence}
    known = {item.event_id: item for item in same.evidence} if same else {}
    found = bar_again(
        same.note if same else None,
        list({**pieces, **known}.values()),
        pieces.keys() - known.keys(),
        proposal.scope,
        policy,
        kind=same.note.claim.kind if same else proposal.claim.kind,
    )
    return _Finding(Worth.KEEP if found.met else Worth.WAIT, found.code, found.reason)


def _withdrawal(proposal: Proposal, target: str) -> _Finding:
    if not target:
        return _drop("nothing_to_withdraw", "it takes back what no note clearly says")
    if proposal.trust is not Trust.HUMAN:
        return _drop("agents_only", "only a person takes a note back")
    return _Finding(Worth.KEEP, "withdrawn", "a person takes it back")


def _feedback(proposal: Proposal, dossier: Dossier | None) -> _Finding:
    if dossier is None:
        return _drop("not_here", "the note belongs to another scope")
    if proposal.trust.rank < dossier.note.trust.rank:
        return _drop("lower_trust", "an agent's feedback does not weigh on a person's word")
    said = "helped" if proposal.helpful else "did harm"
    return _Finding(Worth.KEEP, "feedback", f"readers say that it {said}")


def _nothing_new(
    proposal: Proposal, same: Dossier, above_active: Collection[str]
) -> _Finding | None:
    """Why a lesson that the scope knows is not weighed again, if there is a reason."""
    note = same.note
    if note.status is NoteStatus.RETIRED and note.superseded_by in above_active:
        return _drop("covered_above", "a note above says it already")
    if note.status is NoteStatus.QUARANTINED:
        return _drop("quarantined", "the note that says it waits for review")
    events = {*same.undone, *(item.event_id for item in same.evidence)}
    if all(item.event_id in events for item in proposal.evidence):
        return _drop("already_known", "these events are counted already")
    if note.status is NoteStatus.ACTIVE and proposal.trust is not Trust.HUMAN:
        # Agents read active notes: their saying it again is an echo of the store, not a sighting.
        return _drop("already_known", "an agent repeats what it may have read here")
    return None


def _drop(code: str, reason: str) -> _Finding:
    return _Finding(Worth.DROP, code, reason)
