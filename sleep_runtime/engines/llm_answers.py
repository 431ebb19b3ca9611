"""The answers a writing model may give, and what is kept of them.

The models below make the JSON schemas of the questions; reasoning stands first, so that it is
written before the verdict. ``drafts_of`` is the first of two gates: an item must quote words that
stand in the lines it cites. Whether its statement follows from them is decided by consolidation.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.core.fence import CLOSE, OPEN
from sleep_runtime.core.observation import Claim, Draft, Durability, NoteKind
from sleep_runtime.core.proposal import Verdict
from sleep_runtime.engines.llm_lines import Line, unshow

MIN_QUOTE_CHARS = 3
_QUOTES = str.maketrans("‘’‚“”„«»`–—", '\'\'\'"""""\'--')  # noqa: RUF001 - models straighten them
_EDGES = " .,;:!?…\"'"


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Item(_Answer):
    """One lesson the model found, and the lines it found it in."""

    lines: list[Annotated[str, Field(min_length=1, max_length=6)]] = Field(
        min_length=1, max_length=4
    )
    quote: Annotated[str, Field(max_length=200)]
    statement: Annotated[str, Field(max_length=240)]
    kind: NoteKind
    subject: Annotated[str, Field(max_length=80)]
    aspect: Annotated[str, Field(max_length=80)]
    value: Annotated[str, Field(max_length=120)]
    applies_when: Annotated[str, Field(max_length=120)]
    durability: Literal[
        Durability.STANDING, Durability.ONE_OFF, Durability.WITHDRAWN, Durability.UNCLEAR
    ]


class DistilAnswer(_Answer):
    """What the lines of one question state."""

    reasoning: Annotated[str, Field(max_length=400)]
    items: list[Item] = Field(max_length=8)


class CompareAnswer(_Answer):
    """How two claims relate."""

    reasoning: Annotated[str, Field(max_length=400)]
    verdict: Verdict


def drafts_of(items: Sequence[Item], lines: Sequence[Line]) -> tuple[list[Draft], Counter[str]]:
    """Drafts in the order of the items, and how many items were dropped, by code.

    Codes: ``unknown_line``, ``not_quoted``, ``fence_mark``, ``no_statement``, ``repeated``.
    """
    by_label = {line.label: line for line in lines}
    drafts: dict[str, Draft] = {}
    dropped: Counter[str] = Counter()
    for item in items:
        made = _draft(item, by_label)
        if isinstance(made, str):
            dropped[made] += 1
        elif made.claim.statement in drafts:
            dropped["repeated"] += 1
        else:
            drafts[made.claim.statement] = made
    return list(drafts.values()), dropped


def _draft(item: Item, by_label: dict[str, Line]) -> Draft | str:
    cited = [by_label[label] for label in dict.fromkeys(item.lines) if label in by_label]
    if len(cited) < len(set(item.lines)):
        return "unknown_line"
    holding = [line for line in cited if quoted(item.quote, line.shown)]
    if not holding:
        return "not_quoted"
    said = {
        name: unshow(getattr(item, name))
        for name in ("statement", "subject", "aspect", "value", "applies_when")
    }
    if any(mark in text for text in (*said.values(), unshow(item.quote)) for mark in (OPEN, CLOSE)):
        return "fence_mark"
    if not said["statement"]:
        return "no_statement"
    ordered = [*holding, *(line for line in cited if line not in holding)]
    return Draft(
        claim=Claim(kind=item.kind, about=dict(holding[0].turn.about), **said),
        durability=item.durability,
        evidence=tuple(dict.fromkeys(line.turn.event_id for line in ordered)),
        why=f'said: "{unshow(item.quote)}"',
    )


def quoted(quote: str, text: str) -> bool:
    """Whether these words stand in the text; case, spaces and kinds of quotes and dashes aside."""
    words = _plain(quote).strip(_EDGES)
    return len(words) >= MIN_QUOTE_CHARS and words in _plain(text)


def _plain(text: str) -> str:
    flat = unicodedata.normalize("NFKC", unshow(text)).translate(_QUOTES).casefold()
    return " ".join(flat.split())
