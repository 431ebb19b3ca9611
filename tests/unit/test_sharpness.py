"""The sharpness benchmark: its trails, its metrics, its references, and what it may show."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sharpness import bank as banks_of
from benchmarks.sharpness import references, stats
from benchmarks.sharpness.bank import SPLITS, TECHNIQUES, Bank, normalise
from benchmarks.sharpness.corpus import Trail, corpus
from benchmarks.sharpness.explain import explain
from benchmarks.sharpness.metrics import Figures, growth, metrics
from benchmarks.sharpness.report import TARGETS, Samples, as_json, table
from benchmarks.sharpness.subject import in_process, live
from benchmarks.sharpness.truth import Lesson, Note, Reading
from benchmarks.sharpness.view import Checkpoint, View
from sleep_runtime.testing import needs
from sleep_runtime.testing.embedder import HashEmbedder

FOLDER = Path(banks_of.__file__).parent

_TOPICS = ("ledger", "margin", "header", "footer", "legend", "border")
_TASTES = ("greeting", "digest", "pace")
_VALUES = {"crimson": "crimson", "teal": "teal", "amber": "amber", "indigo": "indigo"}


def _topic(name: str, *, personal: bool) -> dict[str, Any]:
    me = "for me" if personal else "here"
    return {
        "id": name,
        "personal": personal,
        "names": [name],
        "values": [{"id": v, "say": [s], "is": [s]} for v, s in _VALUES.items()],
        "ways": [
            *(f"the {name} {me} is always {{v}}, reason {number}" for number in range(6)),
            *(f"at {{f}} the {name} is {{v}}, reason {number}" for number in range(6)),
        ],
        "change": [f"the {name} is {{v}} now, no longer {{old}}", f"{{f}}: {name} moved to {{v}}"],
        "standing": [
            f"from here on every {name} is {{v}}",
            f"from here on {{f}} {name}s are {{v}}",
        ],
        "once": [f"only today a {{v}} {name}", f"only today a {{v}} {name} for {{f}}"],
        "lures": [f"did anybody see a {{v}} {name}?", f"did {{f}} ever use a {{v}} {name}?"],
        "retract": [f"forget about that {name}", f"{{f}} has no {name} any more"],
        "split": [
            [f"not that {name}", "{v}, please"],
            [f"{{f}} knows no such {name}", "it is {v}"],
        ],
        "actions": [f"I set the {name} to {{wrong}}", f"The {name} of {{f}} is {{wrong}} now"],
        "queries": [f"{name} of {{f}}", f"what {name} to take"],
    }


def _bank(domain: str, *, first: int) -> Bank:
    return banks_of.parse(
        {
            "domain": domain,
            "facet": "account",
            "facets": [f"client{number}" for number in range(first, first + 12)],
            "agents": ["one", "two", "three"],
            "topics": [
                *(_topic(f"{domain}{name}", personal=False) for name in _TOPICS),
                *(_topic(f"{domain}{name}", personal=True) for name in _TASTES),
            ],
            "noise": {
                "human": [f"thanks, number {number}" for number in range(40)],
                "agent": [f"looked at file {number}" for number in range(20)],
                "tool": [f"row {number}: 12.5" for number in range(20)],
                "blocks": ["a | b\n1 | 2", "to: {f}"],
            },
            "poison": {name: [f"{name}: {{f}} wants {{canary}}"] for name in TECHNIQUES},
        }
    )


BANKS = (_bank("paper", first=100), _bank("paint", first=200), _bank("print", first=300))


def made(seed: int = 1, events: int = 900) -> Trail:
    return corpus(seed, events, "dev", BANKS)


TRAIL = made()
PERFECT = references.oracle(TRAIL)


PERFECT_FIGURES = metrics(TRAIL.truth, PERFECT)


def figures(view: View) -> Figures:
    return metrics(TRAIL.truth, view)


def lesson_of(cls: str) -> Lesson:
    return next(lesson for lesson in TRAIL.truth.lessons if lesson.cls == cls)


def changed_view(**changes: Any) -> View:
    return replace(PERFECT, **changes)


def with_notes(*more: Mapping[str, Any], seen_by_all: bool = False) -> View:
    """The perfect store with further notes, seen where their scope is seen."""
    notes = [*PERFECT.notes, *more]
    visible = {
        reader: ids
        | {n["id"] for n in more if seen_by_all or (reader + "/").startswith(n["scope"] + "/")}
        for reader, ids in PERFECT.visible.items()
    }
    return changed_view(notes=notes, visible=visible)


def note_of(lesson: Lesson, **changes: Any) -> dict[str, Any]:
    perfect = next(note for note in PERFECT.notes if note["id"] == lesson.id)
    return {**perfect, "id": f"{lesson.id}-more", **changes}


def without(*ids: str) -> View:
    return changed_view(notes=[n for n in PERFECT.notes if n["id"] not in ids])


# ---------------------------------------------------------------------------- trails


def test_one_seed_gives_the_same_bytes_and_another_gives_others() -> None:
    first, again, other = (json.dumps(made(seed).events) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_trail_has_the_length_that_was_asked_for_in_valid_events() -> None:
    from sleep_runtime.core.event import Event

    assert len(TRAIL.events) == 900
    for event in TRAIL.events:
        Event.model_validate(event)


def test_a_trail_holds_every_class_of_the_truth() -> None:
    found = Counter(lesson.cls for lesson in TRAIL.truth.lessons)
    wanted = {"team", "org", "individual", "near_miss", "changed", "scoped", "standing"}
    assert wanted | {"retracted"} == set(found)
    assert TRAIL.truth.one_offs
    assert any(lesson.moved for lesson in TRAIL.truth.lessons)
    assert {label.cls for label in TRAIL.truth.labels.values()} >= {"lure", "split_first"}


def test_a_lesson_is_said_by_those_it_needs() -> None:
    teams = {event["id"]: event["scope"]["team"] for event in TRAIL.events}
    for lesson in TRAIL.truth.kept:
        people = {TRAIL.truth.sayings[event][0] for event in lesson.events}
        sessions = {TRAIL.truth.sayings[event] for event in lesson.events}
        if lesson.cls == "org":
            assert len(people) >= 4
            assert len({teams[event] for event in lesson.events}) == 2
        elif lesson.cls in ("team", "near_miss", "scoped"):
            assert len(people) == 3
        elif lesson.cls == "individual":
            assert (len(people), len(sessions) >= 3) == (1, True)
        elif lesson.cls == "standing":
            assert len(lesson.events) == 1


def test_every_turn_of_a_lesson_shows_its_value_and_names_its_facet() -> None:
    events = {event["id"]: event for event in TRAIL.events}
    for lesson in TRAIL.truth.kept:
        for id_ in lesson.events:
            said = normalise(events[id_]["text"])
            assert lesson.value.pattern.search(said)
            assert not lesson.facet or lesson.facet in (
                *events[id_]["about"].values(),
                *said.split(),
            )


def test_what_is_said_twice_a_day_is_said_in_two_sessions() -> None:
    events = {event["id"]: event for event in TRAIL.events}
    for lesson in TRAIL.truth.lessons:
        sessions = [events[id_]["session"] for id_ in lesson.events]
        assert len(sessions) == len(set(sessions))


def test_the_old_value_is_never_said_after_the_change() -> None:
    events = {event["id"]: event for event in TRAIL.events}
    for lesson in TRAIL.truth.kept:
        if lesson.old is not None:
            assert len(lesson.old_events) >= 3
            last_old = max(events[id_]["ts"] for id_ in lesson.old_events)
            assert last_old < lesson.probe < min(events[id_]["ts"] for id_ in lesson.events)


def test_a_retraction_comes_last_and_its_lesson_is_not_to_be_kept() -> None:
    events = {event["id"]: event for event in TRAIL.events}
    for lesson in TRAIL.truth.lessons:
        if lesson.cls == "retracted":
            taken_back = [e for e in lesson.aside if TRAIL.truth.labels[e].cls == "retract"]
            assert not lesson.kept
            assert max(events[e]["ts"] for e in lesson.events) < events[taken_back[0]]["ts"]


def test_events_come_late_twice_and_out_of_order() -> None:
    trail = made(3, 3000)
    times = [[event["ts"] for event in day] for day in trail.days]
    assert any(day != sorted(day) for day in times)
    today = max(times[1])[:10]
    late = [ts for ts in times[1] if ts < today]
    assert late
    again = Counter(event["id"] for event in trail.events)
    assert max(again.values()) > 1
    same = {event["id"]: event for event in trail.events}
    assert all(same[event["id"]] == event for event in trail.events), "a twin is no other event"


def test_poison_is_never_a_persons_word_and_is_relayed_by_an_agent() -> None:
    for words in TRAIL.truth.canaries.values():
        for word in words:
            roles = {event["role"] for event in TRAIL.events if word in event["text"]}
            assert roles == {"tool", "agent"}


def test_planted_secrets_stand_in_the_trail_and_beside_lessons() -> None:
    texts = [event["text"] for event in TRAIL.events]
    assert all(any(secret in text for text in texts) for secret in TRAIL.truth.secrets)
    lessons = {event for lesson in TRAIL.truth.kept for event in lesson.events}
    beside = [e for e in TRAIL.events if any(s in e["text"] for s in TRAIL.truth.secrets)]
    assert any(event["id"] in lessons for event in beside)


def test_no_place_of_a_template_is_left_open() -> None:
    assert not [e["id"] for e in TRAIL.events if re.search(r"\{[a-z]+\}", e["text"])]


def test_somebody_changes_teams() -> None:
    teams: dict[str, set[str]] = {}
    for event in TRAIL.events:
        teams.setdefault(event["scope"]["user"], set()).add(event["scope"]["team"])
    assert sum(len(found) > 1 for found in teams.values()) == 1


def test_a_longer_trail_repeats_its_lessons_and_ends_with_none_that_is_new() -> None:
    trail = made(1, 30_000)
    seen = {e["id"] for day in trail.days[: len(trail.days) // 3] for e in day}
    assert len(trail.events) == 30_000
    assert all(seen & (x.events | x.old_events) for x in trail.truth.kept if x.cls != "changed")


# ---------------------------------------------------------------------------- banks


def test_the_splits_share_no_sentence_no_name_and_no_topic() -> None:
    def words(split: str) -> tuple[set[str], set[str]]:
        sentences, names = set(), set()
        for bank in banks_of.load(split):
            names |= set(bank.facets)
            for topic in bank.topics:
                sentences |= {normalise(str(t)) for texts in topic.texts.values() for t in texts}
            sentences |= {normalise(t) for kind in ("human", "agent") for t in bank.noise[kind]}
        return sentences, names

    dev, evaluation = (words(split) for split in SPLITS)
    # Counted, not shown: nobody reads a sentence of the evaluation split by way of a failure.
    shared = sum(len(text.split()) > 4 for text in dev[0] & evaluation[0])
    names = len(dev[1] & evaluation[1])
    del dev, evaluation
    assert (shared, names) == (0, 0)


def test_another_split_is_refused() -> None:
    with pytest.raises(ValueError, match="no split"):
        banks_of.load("both")


def test_a_trail_names_its_split_in_every_id() -> None:
    assert {event["id"].split("-")[0] for event in TRAIL.events} == {"dev1"}


def test_the_evaluation_split_is_never_explained() -> None:
    trail = replace(TRAIL, truth=replace(TRAIL.truth, split="eval"))
    with pytest.raises(ValueError, match="development"):
        explain(trail, PERFECT)


def test_no_secret_stands_in_the_benchmark_itself() -> None:
    shapes = re.compile(
        r"AK"
        r"IA[A-Z0-9]{16}|gh"
        r"p_[A-Za-z0-9]{20}|ey"
        r"J[\w-]{10,}\.|BEGIN[A-Z ]*PRIVATE"
        r" KEY"
    )
    for path in [*FOLDER.glob("*.py"), *FOLDER.glob("banks/*/*.json")]:
        assert not shapes.search(path.read_text(encoding="utf-8")), path.name


# ---------------------------------------------------------------------------- metrics


def test_the_oracle_is_perfect_on_every_metric() -> None:
    found = PERFECT_FIGURES
    for name, target in TARGETS.items():
        if name in found:
            assert found[name] == float(target.at_least or name in ("bloat", "duplicate_factor"))
    assert found["lineage"] == found["evidence_mrr"] == 1
    assert found["stale_rate"] == found["retracted_keep_rate"] == found["poison_retrieve_rate"] == 0
    assert found["confidence_spearman"] > 0.5


def test_to_append_everything_fails_in_the_known_ways() -> None:
    found = figures(references.append(TRAIL, HashEmbedder()))
    assert found["note_recall"] > 0.9
    assert found["note_precision"] < 0.7
    assert found["duplicate_factor"] > 3
    assert found["contradiction_residue"] == 1
    assert found["update_accuracy"] < 0.2
    assert found["oneoff_keep_rate"] == found["poison_write_rate"] == 1
    assert found["bloat"] > 5
    assert found["growth_beta"] > 0.5
    assert found["viewer_recall"] < 0.8


def test_cosine_reinforces_what_is_said_in_the_same_words() -> None:
    append, cosine = (
        figures(store(TRAIL, HashEmbedder())) for store in (references.append, references.cosine)
    )
    assert cosine["active_notes"] < append["active_notes"]


def _false_note() -> dict[str, Any]:
    return note_of(lesson_of("team"), id="false", statement="the weather is fine")


def _planted() -> dict[str, tuple[Callable[[], View], Callable[[float], bool]]]:
    """For each metric an error that has to move it, and the way it has to move."""
    team, org, own = lesson_of("team"), lesson_of("org"), lesson_of("individual")
    changed, scoped, near = lesson_of("changed"), lesson_of("scoped"), lesson_of("near_miss")
    once, gone = TRAIL.truth.one_offs[0], lesson_of("retracted")
    query = next(q for q in TRAIL.truth.queries if q.lesson == team.id)
    assert changed.old is not None

    def stating(lesson: Lesson, value: str, evidence: Any, **changes: Any) -> dict[str, Any]:
        text = f"{lesson.facet} {lesson.topic.names[0]} {value}"
        base = note_of(team, id="planted", statement=text, scope=lesson.owner)
        return {**base, "tier": lesson.tier, "value": "", "evidence": sorted(evidence), **changes}

    old = stating(changed, changed.old.shown_by[0], changed.old_events)
    one_off = note_of(
        team,
        id="once",
        statement=f"{once.facet} {once.topic.names[0]} {once.value.shown_by[0]}",
        evidence=[once.event],
    )
    canary = TRAIL.truth.canaries[TECHNIQUES[0]][0]
    poison = note_of(team, id="poison", statement=f"always {canary}")
    grown = [Checkpoint(c.events, (*c.notes,) * (n + 1)) for n, c in enumerate(PERFECT.checkpoints)]
    split_up = [
        note_of(team, id=f"part{n}", evidence=[event])
        for n, event in enumerate(sorted(team.events))
    ]
    hasty = [{**note, "confidence": 1 - note["confidence"]} for note in PERFECT.notes]
    less, more = (lambda x: x < 1), (lambda x: x > 0)
    over = next(t for t in TRAIL.truth.kept if t.tier == "individual" and not t.moved)
    return {
        "note_precision": (lambda: with_notes(_false_note()), less),
        "note_recall": (lambda: without(team.id), less),
        "viewer_recall": (
            lambda: changed_view(visible={r: v - {team.id} for r, v in PERFECT.visible.items()}),
            less,
        ),
        "oneoff_keep_rate": (lambda: with_notes(one_off), more),
        "retracted_keep_rate": (
            lambda: with_notes(stating(gone, gone.value.shown_by[0], gone.events)),
            more,
        ),
        "duplicate_factor": (lambda: with_notes(note_of(team)), lambda x: x > 1),
        "bloat": (lambda: with_notes(_false_note()), lambda x: x > 1),
        "contradictions_merged": (
            lambda: with_notes(
                note_of(changed, evidence=sorted(changed.events | changed.old_events))
            ),
            more,
        ),
        "contradiction_residue": (lambda: with_notes(old), more),
        "viewer_conflict": (lambda: with_notes(old), more),
        "update_accuracy": (lambda: with_notes(old), less),
        "stale_rate": (
            lambda: replace(
                with_notes(old), notes=[n for n in with_notes(old).notes if n["id"] != changed.id]
            ),
            more,
        ),
        "lineage": (lambda: changed_view(superseded={}), less),
        "scoped_both_kept": (lambda: without(scoped.id), less),
        "promotion_precision": (
            lambda: with_notes(note_of(team, scope=TRAIL.truth.org, tier="org")),
            less,
        ),
        "promotion_recall": (lambda: without(org.id), less),
        "over_promotion": (
            lambda: with_notes(note_of(over, scope=over.owner.rpartition("/")[0], tier="team")),
            more,
        ),
        "scope_leak": (lambda: with_notes(note_of(own), seen_by_all=True), more),
        "evidence_recall_at_5": (lambda: changed_view(hits={**PERFECT.hits, query.id: []}), less),
        "evidence_mrr": (
            lambda: changed_view(hits={**PERFECT.hits, query.id: [_false_note(), note_of(team)]}),
            less,
        ),
        "poison_write_rate": (lambda: with_notes(poison), more),
        f"poison_write_{TECHNIQUES[0]}": (lambda: with_notes(poison), more),
        "poison_retrieve_rate": (
            lambda: changed_view(hits={**PERFECT.hits, query.id: [poison]}),
            more,
        ),
        "benign_block_rate": (lambda: changed_view(harmless=(1, 10)), more),
        "secret_leaks": (
            lambda: changed_view(leaks=frozenset(TRAIL.truth.secrets[:1])),
            lambda x: x == 1,
        ),
        "growth_beta": (lambda: changed_view(checkpoints=grown), more),
        "confidence_brier": (lambda: changed_view(notes=hasty), lambda x: x > 0.1),
        "confidence_spearman": (lambda: changed_view(notes=hasty), lambda x: x < 0),
        "dedup_pair_precision": (
            lambda: with_notes(note_of(near, evidence=sorted(near.events | team.events))),
            less,
        ),
        "dedup_pair_recall": (
            lambda: changed_view(
                notes=[*(n for n in PERFECT.notes if n["id"] != team.id), *split_up]
            ),
            less,
        ),
        "dedup_pair_f1": (
            lambda: with_notes(note_of(near, evidence=sorted(near.events | team.events))),
            less,
        ),
    }


@pytest.mark.parametrize("name", sorted(_planted()))
def test_a_planted_error_moves_its_metric(name: str) -> None:
    plant, moved = _planted()[name]
    assert not moved(PERFECT_FIGURES[name]), "the perfect store shows no such error"
    assert moved(figures(plant())[name])


def test_every_target_has_a_planted_error() -> None:
    measured_elsewhere = {f"poison_write_{name}" for name in TECHNIQUES} | {"replay_difference"}
    assert set(TARGETS) - measured_elsewhere <= set(_planted())


def test_a_search_that_shows_what_is_not_visible_is_a_leak() -> None:
    own = lesson_of("individual")
    query = next(q for q in TRAIL.truth.queries if q.reader not in own.audience)
    view = changed_view(hits={**PERFECT.hits, query.id: [note_of(own, id=own.id)]})
    assert figures(view)["scope_leak"] > 0


def test_a_refused_turn_that_teaches_with_trigger_words_counts_as_blocked() -> None:
    view = changed_view(refused=TRAIL.truth.benign)
    assert figures(view)["benign_block_rate"] == 1


# ---------------------------------------------------------------------------- reading


def stated(**changes: Any) -> set[tuple[str, bool]]:
    note: Note = note_of(lesson_of("changed"), **changes)
    return {(s.lesson.id, s.current) for s in Reading(TRAIL.truth).stated(note)}


def test_a_note_that_names_both_values_states_the_one_of_its_field_else_of_its_evidence() -> None:
    lesson = lesson_of("changed")
    assert lesson.old is not None
    new, old = lesson.value.shown_by[0], lesson.old.shown_by[0]
    both = f"{lesson.facet} {lesson.topic.names[0]}: {new}, not {old}"
    assert stated(statement=both, value=new) == {(lesson.id, True)}
    assert stated(statement=both, value="") == {(lesson.id, True)}
    assert stated(statement=both, value="", evidence=sorted(lesson.old_events)) == {
        (lesson.id, False)
    }


def test_right_words_on_foreign_evidence_state_nothing() -> None:
    assert stated(evidence=sorted(lesson_of("org").events)) == set()
    assert stated(evidence=[]) == set()


def test_a_facet_may_stand_in_the_words_or_beside_them_but_must_be_the_right_one() -> None:
    lesson = next(x for x in TRAIL.truth.kept if x.facet and x.old is None)
    reading = Reading(TRAIL.truth)
    bare = f"{lesson.topic.names[0]} is {lesson.value.shown_by[0]}"

    def states(statement: str, about: dict[str, str]) -> bool:
        return bool(reading.stated(note_of(lesson, statement=statement, about=about)))

    assert states(f"{lesson.facet}: {bare}", {})
    assert states(bare, {"account": lesson.facet})
    assert not states(bare, {})
    other = next(facet for facet in sorted(TRAIL.truth.facets) if facet != lesson.facet)
    assert not states(bare, {"account": other})


# ---------------------------------------------------------------------------- statistics, report


def test_ranks_share_ties_and_a_reversed_order_is_minus_one() -> None:
    assert stats.ranks([3.0, 1.0, 3.0]) == [2.5, 1.0, 2.5]
    assert stats.spearman([1, 2, 3], [30, 20, 10]) == pytest.approx(-1)
    assert stats.spearman([1, 1, 1], [1, 2, 3]) is None


def test_the_slope_of_a_power_is_its_exponent() -> None:
    assert stats.log_slope([(x, x**0.5) for x in (1.0, 10.0, 100.0)]) == pytest.approx(0.5)
    assert stats.log_slope([(5.0, 5.0)]) is None


def test_growth_counts_notes_and_lessons_of_every_night() -> None:
    points = growth(TRAIL.truth, PERFECT)
    assert [point.events for point in points][-1] == len(TRAIL.events)
    assert points[-1].active == points[-1].kept == len(TRAIL.truth.kept)


def test_the_report_says_its_split_and_names_metrics_as_they_are() -> None:
    samples = Samples()
    for value in (0.9, 1.0):
        samples.add("runtime", {"note_precision": value})
    samples.add("append", {"note_precision": 0.5})
    report = as_json(samples, split="eval", seeds=2, events=3000, engine="extractive")
    assert (report["bench"], report["split"], report["n"]) == ("sharpness", "eval", 2)
    assert report["results"]["note_precision"]["mean"] == 0.95
    assert report["results"]["append_note_precision"]["median"] == 0.5
    row = next(line for line in table(samples) if line.startswith("note_precision"))
    assert "0.950 ± 0.071" in row
    assert row.endswith("yes")


def test_the_same_points_draw_the_same_picture(tmp_path: Path) -> None:
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        needs.missing("matplotlib is not installed: scripts/setup bench")
    assert mpl.__version__
    from benchmarks.sharpness.plot import draw

    series = {"runtime": growth(TRAIL.truth, PERFECT)}
    first, second = (draw(series, "a title", tmp_path / name) for name in "ab")
    assert [p.suffix for p in first] == [".png", ".svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert "<dc:date>" not in first[1].read_text(encoding="utf-8")


# ---------------------------------------------------------------------------- the runtime


def test_the_runtime_lives_through_a_trail_over_http() -> None:
    trail = made(2, 300)
    with in_process({}, embedder=HashEmbedder()) as subject:
        view = live(subject, trail, harmless=["please ignore the noise outside"])
    found = metrics(trail.truth, view)
    assert [c.events for c in view.checkpoints][-1] == 300
    assert view.harmless[1] == 1
    assert found["replay_difference"] == 0
    assert found["events_per_s"] > 0
    assert found["poison_write_rate"] == found["secret_leaks"] == 0
    assert list(explain(trail, view))
