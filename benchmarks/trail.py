"""A seeded trail for speed measurements: mostly tool noise, some people's turns, a few lessons.

It is shaped like real agent work (one turn in ten is a person's, events of about 600 bytes) and
says nothing about the quality of what is learned.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

TEAMS, USERS = 4, 5
SESSION_TURNS = 40
_START = datetime(2026, 10, 1, tzinfo=UTC)

_THINGS = ("chart", "table", "report", "branch", "ticket", "invoice", "dashboard", "release note")
_VALUES = ("blue", "weekly", "in euros", "sorted by date", "in bold", "rounded", "on one page")
_LESSONS = (
    "from now on keep the {thing} {value}",
    "we always want the {thing} {value}, please",
    "no, the {thing} should be {value}",
    "for this account the {thing} is {value}, not the other way",
)
_CHAT = (
    "thanks, that looks good",
    "can you open the {thing} again?",
    "add a row to the {thing} and send it over",
    "just for this draft leave the {thing} out",
    "hm, what did you change there?",
    "ok go on",
)
_WORDS = (
    "total",
    "value",
    "margin",
    "quarter",
    "revenue",
    "account",
    "export",
    "import",
    "file",
    "row",
    "column",
    "error",
    "warning",
    "result",
    "query",
    "index",
    "page",
    "cache",
    "build",
    "deploy",
    "test",
    "commit",
    "merge",
    "branch",
    "user",
    "session",
    "token",
)


def trail(events: int, *, seed: int) -> list[dict[str, Any]]:
    """That many native events of the scopes ``bench/t0..3/u0..4``, in order of time."""
    random = Random(seed)
    return [_event(number, seed, random) for number in range(events)]


def _event(number: int, seed: int, random: Random) -> dict[str, Any]:
    block = number // SESSION_TURNS
    person = block % (TEAMS * USERS)
    team, user = person % TEAMS, person // TEAMS
    kind, role, text = _turn(number, random)
    return {
        "id": f"b{seed}-{number}",
        "ts": (_START + timedelta(seconds=20 * number)).isoformat(),
        "scope": {"org": "bench", "team": f"t{team}", "user": f"u{user}"},
        "session": f"s{seed}-{block}",
        "agent": "bench-agent",
        "kind": kind,
        "role": role,
        "text": text,
        "about": {"account": f"account{team}"},
    }


def _turn(number: int, random: Random) -> tuple[str, str, str]:
    if number % 10 == 3:
        said = random.choice(_LESSONS if random.random() < 0.2 else _CHAT)
        text = said.format(thing=random.choice(_THINGS), value=random.choice(_VALUES))
        return ("correction" if said in _LESSONS else "message"), "human", text
    noise = " ".join(random.choices(_WORDS, k=random.randint(40, 120)))
    if number % 10 in (0, 5):
        return "message", "agent", f"I looked at {noise[:200]}"
    if number % 10 in (1, 6):
        return "tool_call", "agent", f"read_file {random.choice(_WORDS)}.csv"
    return "tool_result", "tool", f"{number}: {noise}"
