"""What is taught, captured and asked: sentences by the seed, made from a few words."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.trail import TEAMS, USERS, trail

EVENT_BYTES = 1024
LINES = 2000
LESSONS = 400
_START = datetime(2026, 9, 1, tzinfo=UTC)
_OF = ("sales", "margin", "freight", "payroll", "audit", "tax", "churn", "hiring", "energy")
_THINGS = ("chart", "table", "report", "ticket", "invoice", "dashboard", "memo", "forecast")
_WAYS = ("in blue", "in euros", "sorted by date", "in bold", "rounded to thousands", "on one page")
_ASKED = ("how do we keep the", "what was said about the", "who wants the", "format of the")


def lessons(seed: int) -> list[dict[str, Any]]:
    """Standing corrections, each about an account of its own, from the people of the trail."""
    random = Random(seed)
    people = [(team, user) for team in range(TEAMS) for user in range(USERS)]
    subjects = list(itertools.product(_OF, _THINGS))
    return [
        {
            "id": f"lesson{seed}-{number}",
            "ts": (_START + timedelta(minutes=number)).isoformat(),
            "scope": {"org": "bench", "team": f"t{team}", "user": f"u{user}"},
            "session": f"lesson{seed}-{number}",
            "agent": "bench-agent",
            "kind": "correction",
            "role": "human",
            "text": f"from now on always keep the {of} {thing} {random.choice(_WAYS)}",
            "about": {"account": f"account{number}"},
        }
        for number in range(LESSONS)
        for team, user in [people[number % len(people)]]
        for of, thing in [random.choice(subjects)]
    ]


def write_lines(folder: Path, seed: int) -> None:
    """What ``wrk.lua`` posts: events of 1 KB shaped like the trail, and searches."""
    events = [json.dumps(padded(event)) for event in trail(LINES, seed=seed)]
    (folder / "capture.lines").write_text("\n".join(events) + "\n", encoding="ascii")
    random = Random(seed)
    searches = [json.dumps(_search(random)) for _ in range(LINES)]
    (folder / "search.lines").write_text("\n".join(searches) + "\n", encoding="ascii")


def padded(event: dict[str, Any], *, name: str = "@ID") -> dict[str, Any]:
    """The event under a name of its own for each request, filled up to 1 KB by its payload."""
    event = {**event, "id": name, "session": f"{event['session']}-@TURN", "data": {"trace": ""}}
    short = EVENT_BYTES - len(json.dumps(event))
    return {**event, "data": {"trace": "x" * max(short, 0)}}


def _search(random: Random) -> dict[str, Any]:
    team, user = random.randrange(TEAMS), random.randrange(USERS)
    asked = f"{random.choice(_ASKED)} {random.choice(_OF)} {random.choice(_THINGS)}"
    return {
        "scope": f"bench/t{team}/u{user}",
        "query": f"{asked} {random.choice(_WAYS)} @ID",
        "k": 8,
    }
