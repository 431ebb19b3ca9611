"""Sheets: several pairs of notes share a question, so that its text is paid once.

A sheet lists each note once, by its statement and what it applies to, and names the pairs to
judge. Pairs that have notes in common come to one sheet. The pairs of one ``compare`` are seen by
one scope, so no sheet holds what another may not see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sleep_runtime.consolidation.reflect import judgement_key
from sleep_runtime.core.ids import digest
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.proposal import ClaimPair, Verdict
from sleep_runtime.engines.llm_lines import show

MAX_NOTES = 16


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Found(_Answer):
    """A pair that is not unrelated, such as ``2-5``."""

    pair: Annotated[str, Field(min_length=3, max_length=7)]
    verdict: Literal[Verdict.SAME, Verdict.EXCLUDES]


class SheetAnswer(_Answer):
    """How the pairs of a sheet relate; those it does not name are unrelated."""

    reasoning: Annotated[str, Field(max_length=400)]
    related: list[Found] = Field(max_length=24)


@dataclass(frozen=True)
class Sheet:
    """Some of the pairs of a ``compare``. ``places`` are theirs among all of them."""

    places: tuple[int, ...]
    pairs: tuple[ClaimPair, ...]

    def key(self, engine: str) -> str:
        """Names the question "how does this engine see these pairs"."""
        return digest(*(judgement_key(pair, engine) for pair in self.pairs))

    def render(self) -> str:
        """The user message: the notes, numbered, and the pairs of numbers."""
        numbers = {note: number for number, note in enumerate(_notes(self.pairs), start=1)}
        listed = [f"{number}: {note}" for note, number in numbers.items()]
        asked = ", ".join(self.names())
        return "\n".join(["<notes>", *listed, "</notes>", f"<pairs>{asked}</pairs>"])

    def names(self) -> list[str]:
        """What each pair is called in the question, in order: ``1-2``."""
        numbers = {note: number for number, note in enumerate(_notes(self.pairs), start=1)}
        return [
            "-".join(str(n) for n in sorted(numbers[note_line(c)] for c in pair.claims))
            for pair in self.pairs
        ]

    def verdicts(self, answer: SheetAnswer) -> list[Verdict | None]:
        """A verdict for each pair; None where the answer gives it two. Other pairs are ignored."""
        said: dict[str, set[Verdict]] = {}
        for found in answer.related:
            said.setdefault(_name(found.pair), set()).add(found.verdict)
        return [_one(said.get(name, {Verdict.UNRELATED})) for name in self.names()]


def sheets_of(pairs: Sequence[ClaimPair], *, max_pairs: int) -> list[Sheet]:
    """Every pair on one sheet: next comes the one that adds the fewest notes, the earlier first."""
    left = {place: frozenset(map(note_line, pair.claims)) for place, pair in enumerate(pairs)}
    sheets: list[Sheet] = []
    while left:
        places: list[int] = []
        notes: set[str] = set()
        while left and len(places) < max_pairs:
            place = min(left, key=lambda at: (len(left[at] - notes), at))
            if places and len(notes | left[place]) > MAX_NOTES:
                break
            places.append(place)
            notes |= left.pop(place)
        sheets.append(Sheet(tuple(places), tuple(pairs[at] for at in places)))
    return sheets


def note_line(claim: Claim) -> str:
    """A note on one line, as in the worked example: what it says, when, and of what."""
    return _line(claim, _holds(claim))


def claim_line(claim: Claim) -> str:
    """A claim with all its slots on one line. Empty slots are left out."""
    slots = {"subject": claim.subject, "aspect": claim.aspect, "value": claim.value}
    return _line(claim, {**slots, **_holds(claim)})


def _holds(claim: Claim) -> dict[str, str]:
    about = ", ".join(f"{key}={value}" for key, value in sorted(claim.about.items()))
    return {"applies when": claim.applies_when, "about": about}


def _line(claim: Claim, slots: Mapping[str, str]) -> str:
    said = [claim.statement, *(f"{name}: {text}" for name, text in slots.items() if text)]
    return " | ".join(show(text) for text in said)


def _notes(pairs: Sequence[ClaimPair]) -> list[str]:
    return list(dict.fromkeys(note_line(claim) for pair in pairs for claim in pair.claims))


def _name(said: str) -> str:
    """A pair as the model wrote it, the lower number first."""
    return "-".join(sorted((part.strip() for part in said.split("-")), key=lambda x: (len(x), x)))


def _one(verdicts: set[Verdict]) -> Verdict | None:
    return next(iter(verdicts)) if len(verdicts) == 1 else None
