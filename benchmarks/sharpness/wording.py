"""Wording: how a mention becomes the text of a turn."""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import Random

from benchmarks.sharpness.bank import Bank, Value, normalise
from benchmarks.sharpness.slots import Mention, Plan

TYPO_SHARE = 0.08
BLOCK_SHARE = 0.08
_MIN_TYPO_LETTERS = 5
_WORD = re.compile(r"[A-Za-z]+")
_DIGIT = re.compile(r"\d")


class Wording:
    """Chooses templates and fills them; the same seed, the same words."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def turns(self, mention: Mention, *, facet_in_about: bool) -> list[str]:
        """What the person types, in one turn or two."""
        plan = mention.plan
        template = self._template(plan, mention.form, facet_in_text=not facet_in_about)
        parts = template if isinstance(template, tuple) else (template,)
        surface = self._random.choice(mention.value.say)
        old = self._random.choice((plan.old or self._wrong(plan)).say)
        texts = [fill(str(part), v=surface, f=plan.facet, old=old) for part in parts]
        guarded = [surface, old, plan.facet, *plan.topic.names]
        texts = [self._typo(text, guarded) for text in texts]
        texts[-1] = self._with_block(texts[-1], plan.bank, plan.facet)
        return texts

    def can_name(self, plan: Plan, form: str) -> bool:
        """Whether some template of this form names the facet."""
        return any("{f}" in str(template) for template in plan.topic.texts[form])

    def action(self, plan: Plan) -> str:
        """What the agent says it did, wrongly."""
        options = [t for t in plan.topic.texts["actions"] if plan.facet or "{f}" not in t]
        if not options:
            return "Done, the draft is ready for you to look at."
        wrong = self._random.choice(self._wrong(plan).say)
        return fill(self._random.choice(options), wrong=wrong, f=plan.facet)

    def query(self, plan: Plan) -> str:
        """What an agent would search before such work; it knows what the work is about."""
        options = [t for t in plan.topic.texts["queries"] if ("{f}" in t) == bool(plan.facet)]
        if options:
            return fill(self._random.choice(options), f=plan.facet)
        text = self._random.choice(plan.topic.texts["queries"])
        if plan.facet:
            return f"{plan.facet} {text}"
        return " ".join(fill(text, f="").split())

    def noise(self, bank: Bank, kind: str, facet: str) -> str:
        """Nothing to keep. Numbers differ each time, as they do in life."""
        text = fill(self._random.choice(bank.noise[kind]), f=facet)
        if kind == "human":
            return text
        return _DIGIT.sub(lambda _: str(self._random.randrange(10)), text)

    def human_noise(self, bank: Bank, facet: str, left: list[str]) -> str:
        """As ``noise``; each sentence once before any comes again. ``left`` is the caller's."""
        if not left:
            left.extend(self._random.sample(bank.noise["human"], len(bank.noise["human"])))
        return self._with_block(fill(left.pop(), f=facet), bank, facet)

    def _template(self, plan: Plan, form: str, *, facet_in_text: bool) -> object:
        def fits(template: object) -> bool:
            names = "{f}" in str(template)
            return names if facet_in_text else bool(plan.facet) or not names

        left = plan.ways.setdefault(form, [])
        usable = [template for template in left if fits(template)]
        if not usable:
            left[:] = plan.topic.texts[form]
            self._random.shuffle(left)
            usable = [template for template in left if fits(template)] or left
        chosen = self._random.choice(usable)
        left.remove(chosen)
        return chosen

    def _wrong(self, plan: Plan) -> Value:
        return self._random.choice([v for v in plan.topic.values if v is not plan.value])

    def _with_block(self, text: str, bank: Bank, facet: str) -> str:
        """With something pasted before or behind; it names the facet or none."""
        if self._random.random() >= BLOCK_SHARE:
            return text
        blocks = [block for block in bank.noise["blocks"] if facet or "{f}" not in block]
        if not blocks:
            return text
        block = fill(self._random.choice(blocks), f=facet)
        return f"{text}\n\n{block}" if self._random.random() < 0.6 else f"{block}\n\n{text}"

    def _typo(self, text: str, guarded: Iterable[str]) -> str:
        """Two letters swapped or one dropped in a word that carries nothing."""
        if self._random.random() >= TYPO_SHARE:
            return text
        kept = {word for phrase in guarded for word in normalise(phrase).split()}
        words = [
            found
            for found in _WORD.finditer(text)
            if len(found[0]) >= _MIN_TYPO_LETTERS
            and not any(w in found[0].lower() or found[0].lower() in w for w in kept)
        ]
        if not words:
            return text
        word = self._random.choice(words)
        at = word.start() + self._random.randrange(1, len(word[0]) - 2)
        two = text[at : at + 2]
        instead = two[::-1] if self._random.random() < 0.6 else two[0]
        return text[:at] + instead + text[at + 2 :]


def fill(template: str, **values: str) -> str:
    """The template with its places filled; what is not given stays as it is."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template
