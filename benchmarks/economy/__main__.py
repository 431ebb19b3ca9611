"""``scripts/bench economy``: calls, tokens and prefix-cached share per 1,000 events.

Ours is the runtime's real path: every night of every scope and tier over the whole trail, through
the engine that asks a writing model. Beside it, on the same events and with one tokenizer: (a) one
call for each event, (b) one call for each human turn with its ten nearest notes. Answers are what a
right answer would be, as long for one as for the others (``right.py``); the peers are as lean as
they can be (``peers.py``), real ones cost more.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.economy import recall
from benchmarks.economy.counting import Bpe, Meter, Tokenizer
from benchmarks.economy.peers import Lessons, per_event, per_turn
from benchmarks.economy.right import Asking, RightModel
from benchmarks.harness import Results, say, show
from benchmarks.sharpness.bank import SPLITS
from benchmarks.sharpness.corpus import corpus, night_of
from benchmarks.sharpness.real import nights, read_events
from benchmarks.sharpness.subject import in_process
from sleep_runtime.compose.cold import make_embedder
from sleep_runtime.config import Settings
from sleep_runtime.core.event import EventKind, Role, derive_trust
from sleep_runtime.core.observation import Draft, SessionInput, Turn, Usage
from sleep_runtime.core.ports import Embedder, Engine
from sleep_runtime.core.scope import Scope
from sleep_runtime.engines.extractive import ExtractiveEngine
from sleep_runtime.engines.llm import LlmEngine
from sleep_runtime.engines.prefilter import Prefiltered
from sleep_runtime.telemetry.log import configure

Event = dict[str, Any]
LEFT_OUT_SEED = 2026
Live = Callable[[Engine, Embedder], None]


def main() -> int:
    options = _parser().parse_args()
    configure("error", "console")
    results = Results("economy")
    if options.recall or options.left_out:
        return _recall(options)
    tokenizer = Bpe()
    for seed in range(options.seed, options.seed + options.seeds):
        say(f"generated trail, seed {seed} of split {options.split}, {options.events} events")
        trail = corpus(seed, options.events, options.split)

        def through(engine: Engine, embedder: Embedder) -> None:
            with in_process({}, engine=engine, embedder=embedder) as subject:
                for number, day in enumerate(trail.days):  # noqa: B023 - used in this turn only
                    subject.fall_asleep(night_of(number))
                    subject.feed(day)
                    subject.night(trail.truth.org)  # noqa: B023

        measure(results, "generated", trail.events, through, tokenizer, options)
    if options.data is not None:
        say(f"recorded trail {options.data.name}")
        configure("error", "console")  # in_process has its own
        recorded = read_events(options.data)

        def lived(engine: Engine, embedder: Embedder) -> None:
            nights(options.data, engine=engine, embedder=embedder)

        measure(results, "recorded", recorded, lived, tokenizer, options)
    show(results, as_json=options.json)
    return 0


def _recall(options: argparse.Namespace) -> int:
    results = Results("economy")
    if options.left_out:
        say("the bar for messages, on dev domains left out of training")
        recall.left_out(results, LEFT_OUT_SEED)
        show(results, as_json=options.json)
        return 0
    for split in SPLITS:
        for seed in range(options.seed, options.seed + options.seeds):
            say(f"what the prefilter lets through, seed {seed} of split {split}")
            recall.measure(results, corpus(seed, options.events, split), split)
    show(results, as_json=options.json)
    return 0


def measure(
    results: Results,
    trail: str,
    arrived: Sequence[Event],
    live: Live,
    tokenizer: Tokenizer,
    options: argparse.Namespace,
) -> None:
    """All figures of one trail."""
    embedder = make_embedder(Settings())
    knows = ExtractiveEngine(embedder)
    events = list({event["id"]: event for event in arrived}.values())
    model = RightModel(Meter(tokenizer))
    live(_ours(model, knows, embedder, options), embedder)
    lessons = _lessons(events, knows)
    a, b = Meter(tokenizer), Meter(tokenizer)
    per_event(events, lessons, a)
    per_turn(events, lessons, b, embedder, knows)
    used = {"": model.meter.used, "per_event_": a.used, "per_turn_": b.used}
    for kind, usage in model.by_kind.items():
        used[f"{kind}_"] = usage
    for who, usage in used.items():
        _add(results, f"{trail}_{who}", usage, len(events))
    for who, meter in (("per_event", a), ("per_turn", b)):
        name = f"{trail}_tokens_over_{who}"
        results.add(name, _all(model.meter.used) / _all(meter.used), "")
        own, other = (_all(u) - u.cached_tokens for u in (model.meter.used, meter.used))
        results.add(f"{trail}_uncached_tokens_over_{who}", own / other, "")
        results.add(f"{trail}_calls_over_{who}", model.meter.used.calls / meter.used.calls, "")
    human = sum(event["role"] == "human" for event in events)
    results.add(f"{trail}_events", len(events), "events")
    results.add(f"{trail}_human_turns", human, "events")


def _ours(
    model: RightModel, knows: Engine, embedder: Embedder, options: argparse.Namespace
) -> Engine:
    """The engine as the settings make it by default, but for its model."""
    chosen = Settings().engine
    engine = LlmEngine(
        model,
        max_output_tokens=chosen.max_output_tokens,
        max_parts=1 if options.unshared else chosen.sessions_per_question,
        max_pairs=1 if options.unshared else chosen.pairs_per_question,
    )
    asking = Asking(engine, model, knows)
    return asking if options.no_prefilter else Prefiltered(asking, embedder)


def _add(results: Results, name: str, usage: Usage, events: int) -> None:
    by_thousand = 1000 / events
    results.add(f"{name}calls", usage.calls * by_thousand, "/1000 ev")
    results.add(f"{name}input_tokens", usage.input_tokens * by_thousand, "/1000 ev")
    results.add(f"{name}output_tokens", usage.output_tokens * by_thousand, "/1000 ev")
    results.add(f"{name}cached_share", usage.cached_tokens / max(usage.input_tokens, 1), "of input")


def _all(usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens


# ---------------------------------------------------------------------------- what is taught


def _lessons(events: Sequence[Event], knows: Engine) -> Lessons:
    """What each event teaches, by the built-in engine over whole sessions; the last of a lesson's
    events has it."""
    ordered = sorted(events, key=lambda event: (event["session"], event["ts"]))
    sessions = [
        _session(list(found)) for _, found in groupby(ordered, key=lambda event: event["session"])
    ]
    lessons: dict[str, list[Draft]] = {}
    for answer in knows.distil(sessions):
        for draft in answer.drafts:
            lessons.setdefault(draft.evidence[-1], []).append(draft)
    return lessons


def _session(events: Sequence[Event]) -> SessionInput:
    first = events[0]
    return SessionInput(
        scope=Scope("/".join(first["scope"].values())),
        session=first["session"],
        turns=tuple(_turn(event) for event in events),
    )


def _turn(event: Mapping[str, Any]) -> Turn:
    role = Role(event["role"])
    return Turn(
        event_id=event["id"],
        ts=datetime.fromisoformat(event["ts"]),
        role=role,
        kind=EventKind(event["kind"]),
        trust=derive_trust(role),
        text=event["text"],
        about=event.get("about", {}),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench economy", description=__doc__)
    add = parser.add_argument
    add("--json", action="store_true", help="one JSON object on stdout")
    add("--split", choices=SPLITS, default="eval", help="whose sentences (default: eval)")
    add("--events", type=int, default=3000, help="length of the generated trail")
    add("--seed", type=int, default=1, help="its seed")
    add("--seeds", type=int, default=1, help="how many generated trails")
    add("--data", type=Path, help="recorded events, native format, one a line")
    add("--no-prefilter", action="store_true", help="as with engine.prefilter: false")
    add("--unshared", action="store_true", help="a question for each session and for each pair")
    add("--recall", action="store_true", help="what the prefilter loses, on both splits, instead")
    add("--left-out", action="store_true", help="what its bar for messages loses, on dev, instead")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
