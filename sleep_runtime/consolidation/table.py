"""Table: what the Curator does in each case, as data. The first row that fits is the answer.

A case is: is the lesson known here (``own``: the state of the note that says it); is there enough
behind it (``worth``); and how it stands to active notes that cannot be true beside it (``stand``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.proposal import DeltaKind, Relation, Worth


class Stand(StrEnum):
    """How a lesson stands to the active notes that exclude it."""

    CLEAR = "clear"
    """There are none."""
    LATER = "later"
    """It was said later than all of them, on the same subject, with no less authority."""
    EARLIER = "earlier"
    """One of them was said later."""
    UNDECIDED = "undecided"
    """Subjects differ, authority is lower, or the moment is the same: a person has to look."""


class Move(NamedTuple):
    """What is done. ``to`` is the note's next status, None: the one it has."""

    to: NoteStatus | None
    kind: DeltaKind
    code: str
    reason: str


class Row(NamedTuple):
    """One line of the table; None fits everything. ``move`` None: nothing is done."""

    own: frozenset[NoteStatus | None] | None
    relation: frozenset[Relation] | None
    worth: frozenset[Worth] | None
    stand: frozenset[Stand] | None
    move: Move | None


_CANDIDATE, _ACTIVE = NoteStatus.CANDIDATE, NoteStatus.ACTIVE
_SUPERSEDED, _RETIRED = NoteStatus.SUPERSEDED, NoteStatus.RETIRED
_NEW = frozenset({None})
_KEEP, _DROP = frozenset({Worth.KEEP}), frozenset({Worth.DROP})
_CLEAR, _LATER = frozenset({Stand.CLEAR}), frozenset({Stand.LATER})
_EARLIER = frozenset({Stand.EARLIER})
_FREE = _CLEAR | _LATER
_REFINES = frozenset({Relation.REFINES})


def _own(*statuses: NoteStatus) -> frozenset[NoteStatus | None]:
    return frozenset(statuses)


_OLDER_WHY = "{why}, but {rivals} was said later"
_CONFLICT_WHY = "{why}, but it cannot be told whether it or {rivals} holds"
_WAITS_WHY = "waits: {why}"

_ADD = Move(_ACTIVE, DeltaKind.ADD, "new", "{why}")
_ADD_LATER = Move(_ACTIVE, DeltaKind.ADD, "takes_over", "{why}, later than {rivals}")
_ADD_OLDER = Move(_SUPERSEDED, DeltaKind.ADD, "older", _OLDER_WHY)
_ADD_CONFLICT = Move(_CANDIDATE, DeltaKind.ADD, "conflict", _CONFLICT_WHY)
_ADD_WAITS = Move(_CANDIDATE, DeltaKind.ADD, "waits", _WAITS_WHY)
_SCOPE = Move(_ACTIVE, DeltaKind.SCOPE, "scoped", "{why}; its own case beside {target}")
_AGAIN = Move(None, DeltaKind.REINFORCE, "said_again", "said again: {support}")
_AGAIN_LATER = Move(_ACTIVE, DeltaKind.REINFORCE, "said_again", "said again: {support}")
_OLDER = Move(_SUPERSEDED, DeltaKind.SUPERSEDE, "older", _OLDER_WHY)
_PROMOTE = Move(_ACTIVE, DeltaKind.PROMOTE, "enough", "{why}")
_CONFLICT = Move(None, DeltaKind.REINFORCE, "conflict", _CONFLICT_WHY)
_WAITS = Move(None, DeltaKind.REINFORCE, "waits", _WAITS_WHY)
_RESTORE = Move(_ACTIVE, DeltaKind.RESTORE, "holds_again", "{why}, after it was given up")
_HISTORY = Move(None, DeltaKind.REINFORCE, "history", "said again, but {rivals} replaced it")
_BACK_CONFLICT = Move(_CANDIDATE, DeltaKind.RESTORE, "conflict", _CONFLICT_WHY)
_STAYS_RETIRED = Move(None, DeltaKind.REINFORCE, "waits", _WAITS_WHY)

# fmt: off
TABLE: tuple[Row, ...] = (
    #   own                          relation  worth  stand     move
    Row(None,                        None,     _DROP, None,     None),
    Row(_own(NoteStatus.QUARANTINED), None,    None,  None,     None),

    # A lesson that is not noted here yet.
    Row(_NEW,                        _REFINES, _KEEP, _CLEAR,   _SCOPE),
    Row(_NEW,                        None,     _KEEP, _CLEAR,   _ADD),
    Row(_NEW,                        None,     _KEEP, _LATER,   _ADD_LATER),
    Row(_NEW,                        None,     _KEEP, _EARLIER, _ADD_OLDER),
    Row(_NEW,                        None,     _KEEP, None,     _ADD_CONFLICT),
    Row(_NEW,                        None,     None,  None,     _ADD_WAITS),

    # A note that is shown.
    Row(_own(_ACTIVE),               None,     _KEEP, _EARLIER, _OLDER),
    Row(_own(_ACTIVE),               None,     _KEEP, _LATER,   _AGAIN_LATER),
    Row(_own(_ACTIVE),               None,     None,  None,     _AGAIN),

    # A note that waits.
    Row(_own(_CANDIDATE),            None,     _KEEP, _FREE,    _PROMOTE),
    Row(_own(_CANDIDATE),            None,     _KEEP, _EARLIER, _OLDER),
    Row(_own(_CANDIDATE),            None,     _KEEP, None,     _CONFLICT),
    Row(_own(_CANDIDATE),            None,     None,  None,     _WAITS),

    # A note that was replaced comes back when it is said again, later, with enough behind it.
    Row(_own(_SUPERSEDED),           None,     _KEEP, _FREE,    _RESTORE),
    Row(_own(_SUPERSEDED),           None,     None,  None,     _HISTORY),

    # A note that faded, or was folded: it comes back on what was said since.
    Row(_own(_RETIRED),              None,     _KEEP, _FREE,    _RESTORE),
    Row(_own(_RETIRED),              None,     _KEEP, _EARLIER, _OLDER),
    Row(_own(_RETIRED),              None,     _KEEP, None,     _BACK_CONFLICT),
    Row(_own(_RETIRED),              None,     None,  None,     _STAYS_RETIRED),
)
# fmt: on


def look_up(own: NoteStatus | None, relation: Relation, worth: Worth, stand: Stand) -> Move | None:
    """The move of the first row that fits; None when nothing is to be done."""
    for row in TABLE:
        if (
            (row.own is None or own in row.own)
            and (row.relation is None or relation in row.relation)
            and (row.worth is None or worth in row.worth)
            and (row.stand is None or stand in row.stand)
        ):
            return row.move
    return None
