"""Real text: what the nights keep of recorded sessions, against labels given by hand.

The recording is not part of the project; the labels are, as ids only (``labels/``). ``nights``
lives the recording through in process, over HTTP, a night after each of its days; ``measure``
compares what was kept with the labels; ``explain`` says why, in the recording's own words.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx

from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.config import load
from sleep_runtime.consolidation.injected import injected
from sleep_runtime.core.ports import Embedder, Engine
from sleep_runtime.testing.clock import ManualClock

LABELS = Path(__file__).with_name("labels") / "coding_sessions.json"
NIGHT_AT = time(3, tzinfo=UTC)
BATCH = 1000
PAGE = 500
RUNS = 20
HALF = 0.5

Event = dict[str, Any]
NoteJson = dict[str, Any]
Nights = Sequence[tuple[datetime, Sequence[NoteJson]]]
"""The notes of any status after each night, as the API gives them, in order."""


@dataclass(frozen=True)
class Labels:
    """``keep``: groups of events that state one lesson; an event may state several.

    ``label``: what a drawn human turn is, one of standing, one_off, correction, question,
    injected, other. ``clear``: events of ``keep`` that state their lesson by themselves.
    """

    label: Mapping[str, str]
    keep: tuple[frozenset[str], ...]
    clear: frozenset[str]

    @classmethod
    def read(cls, path: Path = LABELS) -> Labels:
        raw = json.loads(path.read_text(encoding="utf-8"))
        groups = tuple(frozenset(group) for group in raw["keep"])
        return cls(raw["labels"], groups, frozenset(raw["clear"]))

    def of(self, *names: str) -> set[str]:
        """The drawn turns with one of these labels."""
        return {event for event, label in self.label.items() if label in names}

    def lesson(self, note: NoteJson) -> int | None:
        """The group that holds most of a note's evidence, and at least half of it."""
        evidence = set(note["evidence"])
        shares = [len(evidence & group) / max(len(evidence), 1) for group in self.keep]
        best = max(range(len(shares)), key=shares.__getitem__, default=None)
        return best if best is not None and shares[best] >= HALF else None


def read_events(path: Path) -> list[Event]:
    """The recording, one event in the native format a line, in order of event time."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda event: str(event["ts"]))


# ---------------------------------------------------------------------------- living it through


def nights(
    path: Path, *, engine: Engine | None = None, embedder: Embedder | None = None
) -> list[tuple[datetime, list[NoteJson]]]:
    """Feed the recording day by day over HTTP; the notes of any status after each night."""
    days = _days(read_events(path))
    clock = ManualClock(days[0][0])
    with tempfile.TemporaryDirectory() as home, asyncio.Runner() as loop:
        settings = load(overrides={"data_dir": home}).settings
        with Embedded(settings, clock=clock, engine=engine, embedder=embedder) as runtime:
            transport = httpx.ASGITransport(app=runtime.app())
            client = httpx.AsyncClient(transport=transport, base_url="http://runtime")
            return loop.run(_live(client, clock, days))


def _days(events: Iterable[Event]) -> list[tuple[datetime, list[Event]]]:
    """Events by calendar day (UTC), each day with the time of the night after it."""
    days: dict[datetime, list[Event]] = defaultdict(list)
    for event in events:
        day = datetime.fromisoformat(event["ts"]).astimezone(UTC).date()
        days[datetime.combine(day + timedelta(days=1), NIGHT_AT)].append(event)
    return sorted(days.items())


async def _live(
    client: httpx.AsyncClient, clock: ManualClock, days: Sequence[tuple[datetime, list[Event]]]
) -> list[tuple[datetime, list[NoteJson]]]:
    seen: list[tuple[datetime, list[NoteJson]]] = []
    async with client:
        for night, events in days:
            clock.advance(max(night - clock.now(), timedelta()))
            for start in range(0, len(events), BATCH):
                await _post_events(client, events[start : start + BATCH])
            await _sleep(client)
            seen.append((night, await _notes(client)))
    return seen


async def _post_events(client: httpx.AsyncClient, events: Sequence[Event]) -> None:
    body = "\n".join(json.dumps(event) for event in events)
    answer = await client.post(
        "/v1/events",
        content=body.encode(),
        headers={"Content-Type": "application/x-ndjson"},
        timeout=None,
    )
    answer.raise_for_status()
    if rejected := answer.json()["rejected"]:
        raise ValueError(f"the runtime refused {len(rejected)} events, first: {rejected[0]}")


async def _sleep(client: httpx.AsyncClient) -> None:
    """One night of all scopes. A night that failed must not pass for one that kept nothing."""
    (await client.post("/v1/runs", json={}, timeout=None)).raise_for_status()
    runs = (await client.get("/v1/runs", params={"limit": RUNS})).raise_for_status().json()["runs"]
    if failed := [run["reason"] for run in runs if run["reason"].startswith("failed")]:
        raise ValueError(f"a night failed: {failed[0]}")


async def _notes(client: httpx.AsyncClient) -> list[NoteJson]:
    found: list[NoteJson] = []
    after = ""
    while True:
        query: dict[str, str | int] = {"status": "all", "limit": PAGE, "after": after}
        answer = (await client.get("/v1/notes", params=query)).raise_for_status().json()
        found += answer["notes"]
        after = answer["next"] or ""
        if not after:
            return found


# ---------------------------------------------------------------------------- figures


def measure(
    path: Path, notes_by_night: Nights, labels: Labels | None = None
) -> dict[str, float | None]:
    """The figures by name; None where a share has nothing to be a share of.

    A note is right when at least half of its evidence lies in one group of ``keep``; a group is
    recalled when a right note is its. ``standing_*``: drawn turns that an active note rests on,
    against the label; ``noticed_standing_recall``: the same with notes of any status.
    ``notes_per_human_turn`` counts turns that are a person's own words only.
    """
    labels = labels or Labels.read()
    human = [event for event in read_events(path) if event["role"] == "human"]
    own = sum(not injected(event["text"]) for event in human)
    last = list(notes_by_night[-1][1]) if notes_by_night else []
    active = [note for note in last if note["status"] == "active"]
    lessons = [lesson for note in active if (lesson := labels.lesson(note)) is not None]
    clear = [index for index, group in enumerate(labels.keep) if group & labels.clear]
    return {
        "human_turns": float(len(human)),
        "own_words_turns": float(own),
        "nights": float(len(notes_by_night)),
        "notes_active": float(len(active)),
        "notes_waiting": float(sum(note["status"] == "candidate" for note in last)),
        "notes_right": float(len(lessons)),
        "lessons_to_keep": float(len(labels.keep)),
        "note_precision": _share(len(lessons), len(active)),
        "note_recall": _share(len(set(lessons)), len(labels.keep)),
        "clear_recall": _share(len(set(lessons) & set(clear)), len(clear)),
        "notes_per_human_turn": _share(len(active), own),
        **_agreement("injected", _injected(human, labels), labels.of("injected")),
        **_agreement("standing", _held(active, labels), labels.of("standing")),
        "noticed_standing_recall": _recall(_held(last, labels), labels.of("standing")),
    }


def _injected(human: Iterable[Event], labels: Labels) -> set[str]:
    drawn = {event["id"]: event["text"] for event in human if event["id"] in labels.label}
    if missing := set(labels.label) - set(drawn):
        raise ValueError(f"{len(missing)} labelled events are not in this recording")
    return {event for event, text in drawn.items() if injected(text)}


def _held(notes: Iterable[NoteJson], labels: Labels) -> set[str]:
    return {event for note in notes for event in note["evidence"]} & set(labels.label)


def _agreement(name: str, found: set[str], true: set[str]) -> dict[str, float | None]:
    return {
        f"{name}_precision": _share(len(found & true), len(found)),
        f"{name}_recall": _recall(found, true),
    }


def _recall(found: set[str], true: set[str]) -> float | None:
    return _share(len(found & true), len(true))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


# ---------------------------------------------------------------------------- reading it


def explain(path: Path, notes_by_night: Nights, labels: Labels | None = None) -> Iterator[str]:
    """Every active note with its turns, then every lesson that no active note states."""
    labels = labels or Labels.read()
    texts = {event["id"]: event["text"] for event in read_events(path)}
    last = list(notes_by_night[-1][1]) if notes_by_night else []
    active = [note for note in last if note["status"] == "active"]
    for note in active:
        verdict = "right" if labels.lesson(note) is not None else "WRONG"
        yield f"{verdict} {note['statement']}  [{note['confidence']:.2f}, {note['reason']}]"
        yield from (f"      {_line(texts.get(event, event))}" for event in note["evidence"])
    stated = {labels.lesson(note) for note in active}
    for index, group in enumerate(labels.keep):
        if index in stated:
            continue
        held = [note for note in last if group & set(note["evidence"])]
        yield f"MISSED {index}"
        yield from (f"      {_line(texts.get(event, event))}" for event in sorted(group))
        yield from sorted({f"   {note['status']}: {note['statement']}" for note in held})


def _line(text: str, most: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"
