"""Peers: learning the way memory layers do it, asked with the same care as ours.

(a) one call for each event; (b) one call for each human turn, with the ten notes nearest to it.
Both use our system text and worked examples for what is to be noted, (b) also our rules for how a
note relates to another: it asks both at once. They are told the same right answers. Real ones cost
more: they send longer prompts, the last turns along with the new one, and a second call to merge.

A peer keeps the notes of each person by themselves and files each lesson once: what says the same
as one of the ten is no new note.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.economy.counting import Messages, Meter
from benchmarks.economy.right import MAX_ITEMS, distilled, item, quote_of
from sleep_runtime.consolidation.generate import MAX_TOOL_CHARS
from sleep_runtime.core.observation import Claim, Draft
from sleep_runtime.core.policy import GeneratePolicy
from sleep_runtime.core.ports import Embedder, Engine
from sleep_runtime.core.proposal import ClaimPair, Verdict
from sleep_runtime.engines.llm_lines import show
from sleep_runtime.engines.llm_sheets import note_line
from sleep_runtime.engines.prompt import load_prompt

NOTES = 10
MAX_CHARS = GeneratePolicy().max_turn_chars
_LABELS = {"human": "H1", "agent": "A1", "tool": "T1", "system": "S1"}

Event = Mapping[str, Any]
Lessons = Mapping[str, Sequence[Draft]]
"""What each event teaches, by its id."""


def per_event(events: Iterable[Event], lessons: Lessons, meter: Meter) -> None:
    """(a): every event is read by itself."""
    prompt = load_prompt("distil")
    for event in events:
        meter.call([*prompt, ("user", _lines(event))], _answer(event, lessons))


def per_turn(
    events: Iterable[Event], lessons: Lessons, meter: Meter, embedder: Embedder, judge: Engine
) -> None:
    """(b): every human turn is read beside the notes of that person that are nearest to it."""
    prompt = _with_rules()
    stores: dict[str, _Store] = defaultdict(lambda: _Store(embedder, judge))
    for event in events:
        if event["role"] != "human":
            continue
        store = stores["/".join(event["scope"].values())]
        near = store.nearest(_text(event))
        shown = [f"{n}: {note_line(claim)}" for n, claim in enumerate(near, start=1)]
        notes = ["<notes>", *shown, "</notes>"] if shown else []
        answer = _answer(event, lessons)
        answer["related"] = store.file([d.claim for d in lessons.get(event["id"], ())], near)
        meter.call([*prompt, ("user", "\n".join([*notes, _lines(event)]))], answer)


def _with_rules() -> Messages:
    """Our prompt for what to note, and our rules for how that relates to what is known."""
    (role, text), *examples = load_prompt("distil")
    rules = load_prompt("compare")[0][1]
    return [(role, f"{text}\n\n{rules}"), *examples]


def _answer(event: Event, lessons: Lessons) -> dict[str, Any]:
    label, quote = _LABELS[event["role"]], quote_of(show(_text(event)))
    found = lessons.get(event["id"], ())
    return distilled([item(draft, [label], quote) for draft in found][:MAX_ITEMS])


def _lines(event: Event) -> str:
    return f"<lines>\n{_LABELS[event['role']]}: {show(_text(event))}\n</lines>"


def _text(event: Event) -> str:
    """As much of an event as our own Generator reads of one."""
    return str(event["text"])[: MAX_TOOL_CHARS if event["role"] == "tool" else MAX_CHARS]


class _Store:
    """One person's notes."""

    def __init__(self, embedder: Embedder, judge: Engine) -> None:
        self._embedder, self._judge = embedder, judge
        self._claims: list[Claim] = []
        self._rows: list[np.ndarray] = []

    def nearest(self, text: str) -> list[Claim]:
        if not self._claims:
            return []
        scores = np.stack(self._rows) @ self._vector(text)
        return [self._claims[at] for at in np.argsort(-scores, kind="stable")[:NOTES]]

    def file(self, said: Sequence[Claim], near: Sequence[Claim]) -> list[dict[str, Any]]:
        """How what was said relates to the notes that were shown; what is new is kept."""
        related = []
        for claim in said:
            pairs = [ClaimPair(key=str(n), left=claim, right=c) for n, c in enumerate(near, 1)]
            verdicts = [answer.verdict for answer in self._judge.compare(pairs)]
            related += [
                {"note": n, "verdict": v.value}
                for n, v in enumerate(verdicts, start=1)
                if v is not Verdict.UNRELATED
            ]
            if claim not in near and Verdict.SAME not in verdicts:
                self._claims.append(claim)
                self._rows.append(self._vector(claim.statement))
        return related

    def _vector(self, text: str) -> np.ndarray:
        return np.frombuffer(self._embedder.embed([text])[0], dtype="<f4")
