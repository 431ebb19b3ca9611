"""What the stage's agents say: days of one organisation each, that teach the same however cut.

Nights begin at any moment there, so what is compared has to come out the same wherever they cut the
day: each person says their own standing wish in two sessions, each team shares one, no two lessons
answer one question. A session is delivered whole, so no night reads half of one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any, NamedTuple

KINDS = 3
"""How many different days there are."""
_START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
"""The runtime has the clock of the machine: what is said long ago would fade at once."""
_OWN = (
    ("ana", "red", "from now on always put the legend below the revenue chart"),
    ("ben", "red", "from now on always round the cash figures to thousands"),
    ("cleo", "blue", "from now on always sort the ticket list by severity"),
    ("dan", "blue", "from now on always name branches after the ticket"),
    ("eva", "blue", "from now on always answer customers in French"),
)
_SHARED = {
    "red": "from now on always write the dates in the deck as ISO dates",
    "blue": "from now on always run the linter before the pull request",
}
_TALK = (
    "thanks, that looks good",
    "can you open the file again?",
    "ok go on",
    "send it over when it is done",
)
_NOISE = ("read_file totals.csv", "I looked at the export and the build log", "42 rows, 3 columns")


class Session(NamedTuple):
    """One session of a person: delivered whole."""

    name: str
    events: tuple[dict[str, Any], ...]


@cache
def day(kind: int, org: str) -> tuple[Session, ...]:
    """The sessions of a day of ``org``, in order of time; the same for each organisation."""
    dice = Random(f"day {kind}")
    said: list[tuple[str, str, str]] = []
    for user, team, own in _OWN:
        said += [(user, team, own)] * 2
        said += [(user, team, _SHARED[team])] * 2
        said += [(user, team, "")]
    dice.shuffle(said)
    return tuple(
        _session(org, number, *each, dice=Random(f"{kind} {number}"))
        for number, each in enumerate(said)
    )


def _session(org: str, number: int, user: str, team: str, lesson: str, *, dice: Random) -> Session:
    turns = [("human", "message", dice.choice(_TALK)), ("agent", "message", dice.choice(_NOISE))]
    if lesson:
        turns.append(("human", "correction", lesson))
    turns.append(("tool", "tool_result", f"{number}: {dice.choice(_NOISE)}"))
    name = f"s{number}"
    return Session(
        name,
        tuple(
            {
                "id": f"{org}-{number}-{turn}",
                "ts": (_START + timedelta(minutes=10 * number, seconds=20 * turn)).isoformat(),
                "scope": {"org": org, "team": team, "user": user},
                "session": name,
                "agent": "agent",
                "kind": kind,
                "role": role,
                "text": text,
            }
            for turn, (role, kind, text) in enumerate(turns)
        ),
    )
