"""Decisions: the Curator's table as a page to read, docs/reference/decisions.md.

python -m sleep_runtime.consolidation.decisions > docs/reference/decisions.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import StrEnum

from sleep_runtime.consolidation.table import TABLE, Row, Stand
from sleep_runtime.core.note import NoteStatus

_INTRO = """\
# What the Curator decides

This page is written by `python -m sleep_runtime.consolidation.decisions` from the table that
decides, and a test holds it to it.

A night takes one lesson after the other, in the order of when they were last said. It asks of each:

- **note here**: what is the state of the note of this scope that says the same, if there is one?
- **relation**: what did the Reflector find: `new`, `same`, `refines` (its own case of a known
  rule), `contradicts`, `unrelated`?
- **worth**: is there enough behind it at this scope (`keep`), not yet (`wait`), or is it not to be
  learned at all (`drop`: a one-off, a tool's words, known already)?
- **stand**: how does it stand to the notes in force that cannot be true beside it? `clear`: there
  are none. `later`: it was said later than all of them, on the same subject, with no less
  authority. `earlier`: one of them was said later. `undecided`: subjects differ, authority is
  lower, or the moment is the same, so a person has to look.

The first row that fits is the answer; an empty cell fits everything. *Stays* means that the note
keeps its status and its evidence grows.

"""

_AFTER = """
## After the lessons

What a night does about its other notes, in this order. Each row is a reason code of a delta.

"""

_BACK = "`candidate`, and the copies below come back"
_RULES = (
    (
        "contradicted",
        "one in force that somebody contradicted since, without taking its place",
        "belief in it falls",
    ),
    (
        "unfolded",
        "a copy that folded into a note above that was given up",
        "comes back: `active` if enough speaks for it and nothing excludes it, else `candidate`",
    ),
    (
        "folded",
        "a copy of what a scope above says for everyone",
        "`retired`, pointing to that note",
    ),
    ("faded", "one whose confidence fell below `policy.signal.retire_below`", "`retired`"),
    (
        "harmful",
        "one that harmed more readers than speak for it",
        "`candidate`, out of view; `retired` below the floor",
    ),
    (
        "moved_on",
        "a team's or organisation's, when more than half of those who said it say otherwise since",
        _BACK,
    ),
    ("unsupported", "one whose evidence was erased, when the rest is not enough", _BACK),
    (
        "expired",
        "a candidate nobody said for `policy.signal.candidate_days`, nor was asked about",
        "`retired`; all that speaks for it still counts when it is said again",
    ),
    (
        "names_a_person",
        "a team's or organisation's in force, or replaced, in words that name somebody below it",
        "other words of the same lesson are taken; where there are none, `candidate`",
    ),
    (
        "breaker",
        "all that the night would lose so, if more than `policy.breakers.max_loss` of the scope's",
        "stay as they were, and a person is asked",
    ),
)


def page() -> str:
    """The whole page, as Markdown."""
    head = "| note here | relation | worth | stand | it becomes | delta | code | the reason reads |"
    rule = "|---|---|---|---|---|---|---|---|"
    table = "\n".join([head, rule, *map(_line, TABLE)])
    rules = [_cells([f"`{code}`", which, what]) for code, which, what in _RULES]
    after = "\n".join(["| code | which note | what happens |", "|---|---|---|", *rules])
    return f"{_INTRO}{table}\n{_AFTER}{after}\n"


def _line(row: Row) -> str:
    case = [_own(row.own), _names(row.relation), _names(row.worth), _stands(row.stand)]
    if row.move is None:
        return _cells([*case, "nothing changes", "", "", ""])
    becomes = f"`{row.move.to}`" if row.move.to else "stays"
    return _cells([*case, becomes, row.move.kind, f"`{row.move.code}`", row.move.reason])


def _cells(values: Iterable[str]) -> str:
    return "| " + " | ".join(values) + " |"


def _own(statuses: frozenset[NoteStatus | None] | None) -> str:
    if statuses is None:
        return ""
    return ", ".join(sorted(f"`{one}`" if one else "none" for one in statuses))


def _stands(stands: frozenset[Stand] | None) -> str:
    return _names(stands, order=tuple(Stand))


def _names(found: Iterable[StrEnum] | None, order: tuple[StrEnum, ...] = ()) -> str:
    if found is None:
        return ""
    ranked = sorted(found, key=lambda one: (order.index(one) if order else 0, one))
    return ", ".join(f"`{one}`" for one in ranked)


if __name__ == "__main__":
    sys.stdout.write(page())
