"""Report: one line that says what a night did, or why it did nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.proposal import Critique, Delta, DeltaKind, Worth

_NOUNS = {
    "one_off": ("one-off", "one-offs"),
    "untrusted": ("untrusted claim", "untrusted claims"),
    "already_known": ("known already", "known already"),
    "covered_above": ("covered above", "covered above"),
    "preference": ("preference", "preferences"),
    "not_here": ("feedback for other scopes", "feedbacks for other scopes"),
    "lower_trust": ("feedback of lower trust", "feedbacks of lower trust"),
    "quarantined": ("quarantined", "quarantined"),
}
_DONE = {
    DeltaKind.REINFORCE: "reinforced",
    DeltaKind.SUPERSEDE: "superseded",
    DeltaKind.RETIRE: "retired",
    DeltaKind.RESTORE: "restored",
    DeltaKind.DEMOTE: "demoted",
    DeltaKind.QUARANTINE: "quarantined",
}
_WRITTEN = (DeltaKind.ADD, DeltaKind.SCOPE, DeltaKind.PROMOTE)


def sum_up(
    deltas: Sequence[Delta],
    critiques: Iterable[Critique],
    *,
    also: str = "",
    deferred: int = 0,
) -> str:
    """Such as "wrote 2 notes, reinforced 1; 14 one-offs dropped". ``also`` is said at its end."""
    parts = [", ".join(_changes(deltas)) or "changed nothing"]
    dropped = Counter(item.code for item in critiques if item.worth is Worth.DROP)
    if dropped:
        parts.append(f"{_and([_count(code, dropped[code]) for code in sorted(dropped)])} dropped")
    if waiting := sum(1 for delta in deltas if _waits(delta)):
        parts.append(f"{waiting} waiting for more")
    if deferred:
        parts.append(f"{deferred} left for the next night")
    if also:
        parts.append(also)
    return "; ".join(parts)


def _changes(deltas: Sequence[Delta]) -> Iterable[str]:
    active = [delta for delta in deltas if delta.note.status is NoteStatus.ACTIVE]
    if written := sum(1 for delta in active if delta.kind in _WRITTEN):
        yield f"wrote {written} note{'' if written == 1 else 's'}"
    done = Counter(delta.kind for delta in deltas if not (_waits(delta) or _doubted(delta)))
    yield from (f"{verb} {done[kind]}" for kind, verb in _DONE.items() if done[kind])
    if doubted := sum(1 for delta in deltas if _doubted(delta)):
        yield f"doubted {doubted}"
    if history := sum(
        1
        for delta in deltas
        if delta.kind in _WRITTEN and delta.note.status is NoteStatus.SUPERSEDED
    ):
        yield f"kept {history} as history"


def _doubted(delta: Delta) -> bool:
    """True for a note that something spoke against, and that stays what it was."""
    return delta.kind is DeltaKind.DEMOTE and delta.note.status is not NoteStatus.CANDIDATE


def _waits(delta: Delta) -> bool:
    """True for a candidate, and for a retired note that was said again, but not enough."""
    again = delta.note.status is NoteStatus.RETIRED and delta.kind is DeltaKind.REINFORCE
    return again or delta.note.status is NoteStatus.CANDIDATE


def _count(code: str, number: int) -> str:
    one, many = _NOUNS.get(code, (code.replace("_", " "),) * 2)
    return f"{number} {one if number == 1 else many}"


def _and(items: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))
