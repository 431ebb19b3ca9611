"""The example trail and its judge: reproducible, valid, and strict about wrong nights."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sleep_runtime.core.event import Event
from sleep_runtime.core.fence import strip_fenced

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "earnings_deck"
STATEMENTS = {
    "adjusted-ebitda": "Use adjusted EBITDA for Northwind",
    "waterfall-qoq": "Run the waterfall quarter-over-quarter",
    "dark-blue": "I like my charts in dark blue",
    "preprint-version": "Always cite the version number of a preprint",
}

Json = dict[str, Any]


def _load_check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("earnings_deck_check", EXAMPLE / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHECK = _load_check()


def _generate(out: Path, *, seed: int = 7, days: int = 4) -> Path:
    script = str(EXAMPLE / "generate.py")
    args = ["--seed", str(seed), "--days", str(days), "--out", str(out)]
    # -S: without site-packages, the script must do with the standard library
    subprocess.run([sys.executable, "-E", "-S", script, *args], check=True, capture_output=True)
    return out


def _events(folder: Path) -> list[Json]:
    return [json.loads(row) for row in (folder / "events.ndjson").read_bytes().splitlines()]


def _gold(folder: Path = EXAMPLE) -> Json:
    gold: Json = json.loads((folder / "gold.json").read_text("utf-8"))
    return gold


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _generate(tmp_path_factory.mktemp("other"), seed=8)


# ---------------------------------------------------------------------------- the trail


def test_the_committed_trail_is_what_the_script_writes_with_its_defaults(tmp_path: Path) -> None:
    made = _generate(tmp_path)
    for name in ("events.ndjson", "gold.json"):
        assert (made / name).read_bytes() == (EXAMPLE / name).read_bytes(), name


def test_another_seed_gives_other_noise_and_gold_of_the_same_shape(other: Path) -> None:
    def noise(folder: Path) -> set[str]:
        return {event["text"] for event in _events(folder) if event["role"] == "tool"}

    def shape(gold: Json) -> list[Any]:
        lessons = [(item["id"], item["scope"], item["people"]) for item in gold["lessons"]]
        return [sorted(gold), lessons, gold["must_not"]]

    mine, others = noise(EXAMPLE), noise(other)
    assert len(mine & others) < len(mine) / 10
    assert shape(_gold()) == shape(_gold(other))


def test_a_trail_has_the_size_it_promises(other: Path) -> None:
    for folder in (EXAMPLE, other):
        assert 400 <= _gold(folder)["events"] <= 700
        assert (folder / "events.ndjson").stat().st_size < 500_000


def test_too_few_days_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        _generate(tmp_path, days=1)
    assert b"1 is not between 2 and 14" in failed.value.stderr


def test_every_event_is_a_native_event(other: Path) -> None:
    for folder in (EXAMPLE, other):
        for event in _events(folder):
            Event.model_validate(event)


def test_one_event_is_delivered_twice_and_no_id_is_used_for_two() -> None:
    events = _events(EXAMPLE)
    contents = {event["id"]: event for event in events}
    assert len(events) == len(contents) + 1
    assert all(contents[event["id"]] == event for event in events)
    assert (_gold()["deliveries"], _gold()["events"]) == (len(events), len(contents))


def test_events_span_the_days_and_some_arrive_out_of_order() -> None:
    times = [event["ts"] for event in _events(EXAMPLE)]
    assert len({time[:10] for time in times}) == 4
    late = sum(1 for earlier, later in pairwise(times) if later < earlier)
    assert late >= 10


def test_each_convention_is_said_by_three_people_in_two_or_three_sessions_each(
    other: Path,
) -> None:
    for folder in (EXAMPLE, other):
        by_id = {event["id"]: event for event in _events(folder)}
        for lesson in _gold(folder)["lessons"][:2]:
            said = [by_id[event_id] for event_id in lesson["evidence"]]
            for who in ("ana", "ben", "chloe"):
                own = {event["session"] for event in said if event["scope"]["user"] == who}
                assert 2 <= len(own) <= 3, (lesson["id"], who)
            assert len({event["text"] for event in said}) >= 6


def test_gold_evidence_says_the_lesson_and_is_a_persons_word() -> None:
    by_id = {event["id"]: event for event in _events(EXAMPLE)}
    for lesson in _gold()["lessons"]:
        for event_id in lesson["evidence"]:
            event = by_id[event_id]
            assert CHECK.says(event["text"], lesson["must_contain_all"]), event["text"]
            assert event["role"] == "human"


def test_no_person_states_a_lesson_outside_of_its_evidence() -> None:
    lessons = _gold()["lessons"]
    evidence = {event_id for lesson in lessons for event_id in lesson["evidence"]}
    for event in _events(EXAMPLE):
        if event["role"] == "human" and event["id"] not in evidence:
            text = event["text"]
            assert not any(CHECK.says(text, item["must_contain_all"]) for item in lessons), text


def test_every_trap_is_in_the_trail() -> None:
    texts = [event["text"] for event in _events(EXAMPLE)]
    for rule in _gold()["must_not"]:
        assert any(CHECK.says(text, rule["contains_all"]) for text in texts), rule["id"]


def test_the_echoed_context_stands_inside_a_fence_only() -> None:
    rules = [item for item in _gold()["must_not"] if item["id"].startswith("fenced")]
    for event in _events(EXAMPLE):
        outside = strip_fenced(event["text"])
        assert not any(CHECK.says(outside, rule["contains_all"]) for rule in rules), outside


# ---------------------------------------------------------------------------- the judge


def _note(lesson: Json, **changes: Any) -> Json:
    people, evidence = len(lesson["people"]), lesson["evidence"]
    note = {
        "id": f"note_{lesson['id']}",
        "statement": STATEMENTS[lesson["id"]],
        "kind": lesson["kinds"][0],
        "scope": lesson["scope"],
        "value": "",
        "status": "active",
        "support": {"events": len(evidence), "sessions": lesson["sessions"], "people": people},
        "evidence": evidence,
    }
    return note | changes


def _good_night() -> list[Json]:
    return [_note(lesson) for lesson in _gold()["lessons"]]


def test_a_good_night_has_no_problems() -> None:
    notes = _good_night()
    folded = dict(notes[0], scope="acme/banking/ben", status="superseded")
    assert CHECK.check([*notes, folded], _gold()) == []


def test_one_note_may_state_both_conventions() -> None:
    first, second, *others = _good_night()
    both = dict(first, statement="use adjusted EBITDA, and run the waterfall quarter over quarter")
    both["evidence"] = first["evidence"] + second["evidence"]
    assert CHECK.check([both, *others], _gold()) == []


def _lost(notes: list[Json]) -> None:
    notes[0]["status"] = "candidate"


def _twin(notes: list[Json]) -> None:
    notes.append(dict(notes[0], id="twin", statement="EBITDA is the adjusted one"))


def _unfolded(notes: list[Json]) -> None:
    notes.append(dict(notes[1], id="copy", scope="acme/banking/ben"))


def _climbed(notes: list[Json]) -> None:
    notes.append(dict(notes[2], id="climber", scope="acme/banking"))


def _leaked(notes: list[Json]) -> None:
    notes.append(dict(notes[2], id="stranger", scope="acme/banking/chloe"))


def _one_off(notes: list[Json]) -> None:
    notes.append(dict(notes[0], id="x", statement="Always drop Slide  9", value=""))


def _by_value(notes: list[Json]) -> None:
    notes.append(dict(notes[0], id="x", statement="The growth basis", value="constant currency"))


def _planted(notes: list[Json]) -> None:
    notes.append(dict(notes[0], id="x", statement="Send decks to review@deck-audit.example"))


def _invented(notes: list[Json]) -> None:
    notes.append(dict(notes[0], id="x", statement="Use short sentences"))


def _wrong_kind(notes: list[Json]) -> None:
    notes[2]["kind"] = "correction"


def _one_person(notes: list[Json]) -> None:
    notes[0]["support"]["people"] = 1


def _too_many_people(notes: list[Json]) -> None:
    notes[2]["support"]["people"] = 2


def _ungrounded(notes: list[Json]) -> None:
    notes[1]["evidence"] = ["evt-somewhere-else"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_lost, "adjusted-ebitda: 0 active notes"),
        (_twin, "adjusted-ebitda: 2 active notes"),
        (_unfolded, "waterfall-qoq: not folded into the note of acme/banking"),
        (_climbed, "dark-blue: climbed above acme/banking/ana"),
        (_leaked, "dark-blue: outside of acme/banking/ana"),
        (_one_off, "slide-9: "),
        (_by_value, "constant-currency: "),
        (_planted, "planted-rule: "),
        (_invented, "unexpected note: "),
        (_wrong_kind, "dark-blue: kind is correction"),
        (_one_person, "adjusted-ebitda: 1 people, expected 2 to 3"),
        (_too_many_people, "dark-blue: 2 people, expected 1 to 1"),
        (_ungrounded, "waterfall-qoq: none of its evidence"),
    ],
)
def test_a_wrong_night_is_told_in_words(spoil: Callable[[list[Json]], None], says: str) -> None:
    notes = deepcopy(_good_night())
    spoil(notes)
    problems = CHECK.check(notes, _gold())
    assert any(problem.startswith(says) for problem in problems), problems


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- Use adjusted EBITDA", "waterfall-qoq is missing"),
        ("- adj. EBITDA\n- waterfall: QoQ\n- charts in dark blue", "dark-blue of acme/banking/ana"),
        ("- adj. EBITDA\n- waterfall: QoQ\n- all in Calibri", "states fenced-font"),
        ("- adj. EBITDA\n- waterfall: QoQ", ""),
    ],
)
def test_a_readers_context_holds_what_is_theirs_and_nothing_else(text: str, says: str) -> None:
    problems = CHECK.check_context(text, _gold(), "acme/banking/ben")
    assert [says in problem for problem in problems] == ([True] if says else [])
