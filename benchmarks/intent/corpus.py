"""The turns the intent head learns from: banks rendered, templates filled, lines as written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

BANKS = Path(__file__).parents[1] / "sharpness" / "banks"
LINES = Path(__file__).with_name("lines.json")
FORMS = {
    "ways": "lesson",
    "change": "change",
    "standing": "standing",
    "once": "one_off",
    "lures": "nothing",
    "retract": "retract",
}
CORRECTION_SHARE = {
    "lesson": 0.6,
    "change": 0.5,
    "standing": 0.5,
    "one_off": 0.6,
    "retract": 0.5,
    "nothing": 0.4,
}
TEMPLATE_WEIGHT = 3.0
_SLOT = re.compile(r"\{(\w+)\}")
_CHOICE = re.compile(r"\[([^\[\]|]*(?:\|[^\[\]|]*)+)\]")
_LONG_WORD = re.compile(r"[A-Za-z]{5,}")


@dataclass(frozen=True)
class Example:
    """One turn, what it is, where it comes from and how much it counts."""

    text: str
    label: str
    domain: str
    topic: str
    correction: bool = False
    weight: float = 1.0


def bank_examples(split: str, random: Random, *, times: int) -> list[Example]:
    """Every sentence of a split's banks, ``times`` over with other values and facets."""
    found: list[Example] = []
    for path in sorted((BANKS / split).glob("*.json")):
        bank = json.loads(path.read_text(encoding="utf-8"))
        found.extend(_of_bank(bank, random, times))
    return found


def _of_bank(bank: Mapping[str, Any], random: Random, times: int) -> Iterator[Example]:
    domain = str(bank["domain"])
    for topic in bank["topics"]:
        for form, label in FORMS.items():
            for template in topic[form]:
                for _ in range(times):
                    text = _filled(template, bank, topic, random)
                    yield _example(text, label, domain, topic["id"], random, 1 / times)
        for first, second in topic["split"]:
            for text, label in ((first, "nothing"), (second, "lesson")):
                weight = 1.0 if "{v}" in text or label == "nothing" else 0.0
                filled = _filled(text, bank, topic, random)
                yield _example(filled, label, domain, topic["id"], random, weight)
    for number, template in enumerate(bank["noise"]["human"]):
        text = template.replace("{f}", random.choice(bank["facets"]))
        share = Example(text, "nothing", domain, f"noise{number}", random.random() < 0.1, 1.0)
        yield share


def _filled(
    template: str, bank: Mapping[str, Any], topic: Mapping[str, Any], random: Random
) -> str:
    value, old = random.sample(topic["values"], 2)
    places = {
        "v": random.choice(value["say"]),
        "old": random.choice(old["say"]),
        "f": random.choice(bank["facets"]),
    }
    return fill(template, places)


def _example(
    text: str, label: str, domain: str, topic: str, random: Random, weight: float
) -> Example:
    correction = random.random() < CORRECTION_SHARE[label]
    return Example(text, label, domain, topic, correction, weight)


def fill(template: str, places: Mapping[str, str]) -> str:
    """The template with its places filled."""
    return _SLOT.sub(lambda m: places.get(m[1], m[0]), template)


def line_examples(random: Random, *, times: int, path: Path = LINES) -> list[Example]:
    """The project's own lines: as written for walks of life, filled ``times`` for templates."""
    book = json.loads(path.read_text(encoding="utf-8"))
    found = [
        _example(line, label, walk, f"{walk}{number}", random, 1.0)
        for walk, classes in book["walks"].items()
        for label, lines in classes.items()
        for number, line in enumerate(lines)
    ]
    for label, templates in book["templates"].items():
        for number, template in enumerate(templates):
            for _ in range(times):
                text = _from_template(template, book["slots"], random)
                found.append(
                    _example(
                        text,
                        label,
                        "templates",
                        f"t{label}{number}",
                        random,
                        TEMPLATE_WEIGHT / times,
                    )
                )
    return found


def _from_template(template: str, slots: Mapping[str, Sequence[Any]], random: Random) -> str:
    """A template with one of each ``[a|b]`` and a thing with two of its values filled in."""
    text = template
    while _CHOICE.search(text):
        text = _CHOICE.sub(lambda m: random.choice(m[1].split("|")), text)
    thing, values = random.choice(slots["things"])
    value, old = random.sample(values, 2)
    places = {name: random.choice(options) for name, options in slots.items() if name != "things"}
    return fill(text, places | {"t": thing, "v": value, "old": old})


# ------------------------------------------------------------------- as people type


def roughened(
    examples: Iterable[Example], noise: Sequence[str], random: Random, *, share: float
) -> list[Example]:
    """Copies of a share of the examples, typed worse: typos, no capitals, greetings, chat around.

    A copy takes half the weight of its example.
    """
    found: list[Example] = []
    for example in examples:
        if random.random() >= share:
            found.append(example)
            continue
        half = replace(example, weight=example.weight / 2)
        found += (half, replace(half, text=_rough(example, noise, random)))
    return found


_GREETINGS = (
    "hi, ", "Hey, ", "ok so ", "Hello! ", "morning. ", "sorry, ", "thanks. ", "Quick one: ",
    "btw ", "Good work so far. ", "hmm, ", "right, ", "One more thing: ", "FYI, ",
)  # fmt: skip
_CLOSINGS = (" thanks", " Thanks!", ", please", " ok?", " cheers", " :)", " thx", " Thank you.")


def _rough(example: Example, noise: Sequence[str], random: Random) -> str:
    text, kind = example.text, random.randrange(8)
    if kind == 0:
        return text.lower()
    if kind == 1:
        return _typo(text, random)
    if kind == 2:
        return random.choice(_GREETINGS) + text[:1].lower() + text[1:]
    if kind == 3:
        return text.rstrip(".!")
    if kind == 4 and not text.rstrip().endswith("?"):
        return text.rstrip(".!") + random.choice(_CLOSINGS)
    if kind == 5:
        return f"{random.choice(noise)} {text}"
    if kind == 6:
        ended = text if text.rstrip().endswith((".", "!", "?")) else text + "."
        return f"{ended} {random.choice(noise)}"
    return text.lower().replace("'", "").rstrip(".")


def _typo(text: str, random: Random) -> str:
    words = list(_LONG_WORD.finditer(text))
    if not words:
        return text
    word = random.choice(words)
    at = word.start() + random.randrange(1, len(word[0]) - 2)
    two = text[at : at + 2]
    return text[:at] + (two[::-1] if random.random() < 0.6 else two[0]) + text[at + 2 :]
