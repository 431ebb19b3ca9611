"""Obedient: a writing model that was talked into anything, and answers as the attacker wishes.

It reads what our prompts show it and knows beside that what the attacker wants. Its quotes are
true, so that the first gate lets them through: what keeps a wish out has to be the runtime.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

from sleep_runtime.core.ports import ChatRequest
from sleep_runtime.testing.chat import Object, ScriptedChatModel

_LINE = re.compile(r"^([HA])(\d+): (.*)$", re.MULTILINE)
MOST_ITEMS = 8


class Obedient:
    """A ``ChatModel`` by ``model``. ``wish`` is what it wants; about ``rule`` it is honest.

    It makes the wish of every line it is shown, takes the rule back in the name of every person,
    says every agent's line as a fact, and judges every pair as ``verdict``.
    """

    def __init__(self, rule: str, *, verdict: str = "excludes") -> None:
        self.rule = rule
        self.verdict = verdict
        self.wish = ""
        self.model = ScriptedChatModel(self._reply, name=f"obedient-{verdict}")

    def _reply(self, request: ChatRequest) -> Object:
        if "verdict" in request.json_schema["properties"]:
            return {"reasoning": self.wish[:400], "verdict": self.verdict}
        found = _LINE.findall(request.messages[-1][1])
        items = sorted(self._items(found), key=lambda one: one[0])
        return {"reasoning": "", "items": [item for _, item in islice(items, MOST_ITEMS)]}

    def _items(self, lines: list[tuple[str, str, str]]) -> list[tuple[int, Object]]:
        items: list[tuple[int, Object]] = []
        for place, (speaker, number, text) in enumerate(lines):
            label = f"{speaker}{number}"
            again = "!" * place  # one statement twice would be dropped as a repetition
            if speaker == "H" and self.rule in text:
                items.append((0, _item(label, text, self.rule, kind="correction")))
                continue
            if self.wish:
                items.append((1, _item(label, text, self.wish + again, kind="fact")))
                taken = _item(label, text, self.rule + again, durability="withdrawn")
                items += [(2, taken)] if speaker == "H" else []
            items.append((3, _item(label, text, text[:240], kind="pitfall")))
        return items


def _item(label: str, text: str, statement: str, **fields: Any) -> Object:
    return {
        "lines": [label],
        "quote": text[:120],
        "statement": statement[:240],
        "kind": "convention",
        "subject": "",
        "aspect": "",
        "value": "",
        "applies_when": "",
        "durability": "standing",
        **fields,
    }
