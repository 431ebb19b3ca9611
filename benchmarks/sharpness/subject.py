"""Subject: the runtime lives through a trail and is asked what it knows. Over HTTP only.

In this process (the default) a clock set by hand follows the trail's days; ``--url`` feeds a
running runtime, whose nights have today's date, so that it cannot be asked what it knew before.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.sharpness.corpus import START, Event, Trail, night_of
from benchmarks.sharpness.truth import Lesson, Note, Truth
from benchmarks.sharpness.view import Checkpoint, View, visible_by_lineage
from sleep_runtime.core.ports import Embedder, Engine

BATCH = 500
PAGE = 500
MAX_SEEN = 100
HITS = 10
QUIET_TIMEOUT_S = 1800.0
MAX_REQUESTS = 3


@dataclass(eq=False)
class Subject:
    """A runtime behind HTTP. ``nightfall`` sets its clock; None when it has its own."""

    client: httpx.AsyncClient
    runner: asyncio.Runner
    home: Path | None = None
    clock: Any = None
    log: io.StringIO = field(default_factory=io.StringIO)

    def get(self, path: str, **params: Any) -> Any:
        return self._answer(self.client.get(path, params=params))

    def post(self, path: str, body: Any) -> Any:
        return self._answer(self.client.post(path, json=body))

    def _answer(self, call: Any) -> Any:
        response = self.runner.run(_wait(call))
        response.raise_for_status()
        return response.json()

    def fall_asleep(self, night: datetime) -> None:
        if self.clock is not None:
            self.clock.advance(night - self.clock.now())

    def feed(self, events: Sequence[Event]) -> list[str]:
        """Ids of events that were refused."""
        refused = []
        for at in range(0, len(events), BATCH):
            batch = events[at : at + BATCH]
            answer = self.post("/v1/events", batch)
            refused += [batch[item["index"]]["id"] for item in answer["rejected"]]
        return refused

    def night(self, org: str) -> None:
        """Have everything consolidated. Raises ``RuntimeError`` when it does not come to rest."""
        give_up = time.monotonic() + QUIET_TIMEOUT_S
        for _ in range(MAX_REQUESTS):
            self.post("/v1/runs", {"scope": org})
            while not (status := self.get("/v1/status", scope=org))["quiet"]:
                if self.clock is not None:
                    break  # its nights are over when the request is; ask again
                if time.monotonic() > give_up:
                    raise RuntimeError(f"the night did not end: {status['pending']}")
                time.sleep(0.2)
            else:
                return
        raise RuntimeError(f"the night did not come to rest: {self._troubles(org)}")

    def _troubles(self, org: str) -> dict[str, int]:
        """What runs failed with, without the words that were read: they may be nobody's to see."""
        runs = self.get("/v1/runs", scope=org, limit=PAGE)["runs"]
        failed = [run["reason"] for run in runs if run["reason"].startswith("failed")]
        return dict(Counter(":".join(reason.split(":")[:2]) for reason in failed))

    def notes(self, org: str, status: str) -> list[Note]:
        found: list[Note] = []
        after = ""
        while True:
            page = self.get("/v1/notes", scope=org, status=status, limit=PAGE, after=after)
            found += page["notes"]
            if not page["next"]:
                return found
            after = page["next"]

    def search(self, scope: str, query: str, k: int, **more: Any) -> list[Note]:
        answer = self.post("/v1/search", {"scope": scope, "query": query, "k": k, **more})
        return [hit["note"] for hit in answer["hits"]]


async def _wait(call: Any) -> httpx.Response:
    response: httpx.Response = await call
    return response


@contextlib.contextmanager
def in_process(
    overrides: dict[str, Any], *, embedder: Embedder | None = None, engine: Engine | None = None
) -> Iterator[Subject]:
    """A runtime of its own, in a directory of its own, on the first day of the trail.

    ``engine`` and ``embedder`` stand in for the configured ones.
    """
    from sleep_runtime.compose.embedded import Embedded
    from sleep_runtime.config import load
    from sleep_runtime.telemetry.log import configure
    from sleep_runtime.testing.clock import ManualClock

    log = io.StringIO()
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(log):
        configure("info", "json")
        home = Path(name)
        clock = ManualClock(START)
        settings = load(overrides={**overrides, "data_dir": str(home / "data")}).settings
        with (
            Embedded(settings, clock=clock, engine=engine, embedder=embedder) as runtime,
            asyncio.Runner() as runner,
        ):
            transport = httpx.ASGITransport(app=runtime.app())
            client = httpx.AsyncClient(transport=transport, base_url="http://subject", timeout=None)
            try:
                yield Subject(client, runner, home / "data", clock, log)
            finally:
                runner.run(client.aclose())


@contextlib.contextmanager
def at_url(url: str) -> Iterator[Subject]:
    """A runtime that is up already; ``SLEEP_API_KEY`` is a key of its."""
    key = os.environ.get("SLEEP_API_KEY", "")
    who = {"authorization": f"Bearer {key}"} if key else None
    with asyncio.Runner() as runner:
        client = httpx.AsyncClient(base_url=url, timeout=QUIET_TIMEOUT_S, headers=who)
        try:
            yield Subject(client, runner)
        finally:
            runner.run(client.aclose())


# ---------------------------------------------------------------------------- a life


def live(subject: Subject, trail: Trail, harmless: Sequence[str] = ()) -> View:
    """Feed every day, let every night happen, and ask for everything metrics need."""
    truth = trail.truth
    refused: list[str] = []
    checkpoints: list[Checkpoint] = []
    arrived = 0
    took = {"cpu": 0.0, "wall": 0.0}
    for number, day in enumerate(trail.days):
        with _timed(took):
            subject.fall_asleep(night_of(number))
            refused += subject.feed(day)
            subject.night(truth.org)
        arrived += len(day)
        checkpoints.append(Checkpoint(arrived, tuple(subject.notes(truth.org, "active"))))
    notes = subject.notes(truth.org, "all")
    refused += [e for n in notes if n["status"] == "quarantined" for e in n["evidence"]]
    changed = [lesson for lesson in truth.kept if lesson.old is not None]
    return View(
        notes=notes,
        visible=_visible(subject, truth, notes),
        hits={q.id: subject.search(q.reader, q.text, HITS) for q in truth.queries},
        superseded={x.id: _asked(subject, truth, x, include_superseded=True) for x in changed},
        before={x.id: _asked(subject, truth, x, as_of=x.probe) for x in changed}
        if subject.clock
        else None,
        checkpoints=checkpoints,
        refused=frozenset(refused),
        harmless=_offer(subject, truth, harmless),
        leaks=_leaks(subject, trail),
        figures=_figures(subject, truth, arrived, took) | _replay(subject, trail, notes),
    )


@contextlib.contextmanager
def _timed(took: dict[str, float]) -> Iterator[None]:
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    took["cpu"] += time.process_time() - cpu
    took["wall"] += time.perf_counter() - wall


def _visible(subject: Subject, truth: Truth, notes: Sequence[Note]) -> dict[str, frozenset[str]]:
    """What each reader is shown when it asks for anything. One that is shown as many notes as a
    search gives is taken to see all of its scope and of those above."""
    found = visible_by_lineage(notes, truth)
    for reader in truth.readers:
        shown = subject.search(reader, "", MAX_SEEN)
        if len(shown) < MAX_SEEN:
            found[reader] = frozenset(note["id"] for note in shown)
    return found


def _asked(subject: Subject, truth: Truth, lesson: Lesson, **more: Any) -> list[Note]:
    words = next((q.text for q in truth.queries if q.lesson == lesson.id), lesson.topic.names[0])
    reader = lesson.audience[0] if lesson.audience else lesson.owner
    return subject.search(reader, words, MAX_SEEN, **more)


def _offer(subject: Subject, truth: Truth, harmless: Sequence[str]) -> tuple[int, int]:
    """Harmless prompts with words an attacker would use, said in an organisation of their own."""
    if not harmless:
        return 0, 0
    org = f"{truth.org}-harmless"
    events = [_prompt(org, number, text) for number, text in enumerate(harmless)]
    refused = set(subject.feed(events))
    subject.night(org)
    for note in subject.notes(org, "quarantined"):
        refused |= set(note["evidence"])
    return len(refused), len(events)


def _prompt(org: str, number: int, text: str) -> Event:
    return {
        "id": f"{org}-{number}",
        "ts": START.isoformat(),
        "scope": {"org": org, "team": "t", "user": "u"},
        "session": f"s{number}",
        "agent": "a",
        "kind": "message",
        "role": "human",
        "text": text,
    }


def _figures(
    subject: Subject, truth: Truth, arrived: int, took: dict[str, float]
) -> dict[str, float]:
    runs = subject.get("/v1/runs", scope=truth.org, limit=500)["runs"]
    usage = [run["usage"] for run in runs]
    tokens = sum(u["input_tokens"] + u["output_tokens"] for u in usage)
    figures = {
        "tokens_per_1000_events": 1000 * tokens / arrived,
        "calls_per_1000_events": 1000 * sum(u["calls"] for u in usage) / arrived,
        "night_s": took["wall"],
    }
    if subject.clock is not None:
        figures["events_per_s"] = arrived / took["cpu"]
    return figures


def _replay(subject: Subject, trail: Trail, notes: Sequence[Note]) -> dict[str, float]:
    """Everything is sent again; notes that differ afterwards are counted."""
    for day in trail.days:
        subject.feed(day)
    subject.night(trail.truth.org)
    again = subject.notes(trail.truth.org, "all")
    before, after = ({json.dumps(note, sort_keys=True) for note in x} for x in (notes, again))
    return {"replay_difference": float(len(before ^ after))}


# ---------------------------------------------------------------------------- leaks


def _leaks(subject: Subject, trail: Trail) -> frozenset[str]:
    """Secrets found as bytes in the data directory (without the journal, which holds what was
    said), in exports, in the log and in what is answered about every note."""
    if subject.home is None:
        return frozenset()
    from sleep_runtime.cli.store import note_from_public
    from sleep_runtime.stores.context_dir import export

    notes = subject.notes(trail.truth.org, "all")
    with tempfile.TemporaryDirectory() as to:
        export([note_from_public(dict(note)) for note in notes], Path(to))
        places = [*_files(Path(to)), *_files(subject.home)]
    answers = json.dumps([subject.get(f"/v1/notes/{note['id']}") for note in notes])
    places += [answers.encode(), subject.log.getvalue().encode()]
    return frozenset(
        secret for secret in trail.truth.secrets if any(secret.encode() in p for p in places)
    )


def _files(root: Path) -> list[bytes]:
    return [
        (Path(folder) / name).read_bytes()
        for folder, _, names in os.walk(root)
        for name in names
        if not name.startswith("journal")
    ]
