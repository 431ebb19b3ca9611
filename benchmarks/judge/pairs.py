"""Labelled pairs, and the way from a text to the claim the runtime would hold of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sleep_runtime.core.observation import Claim, NoteKind
from sleep_runtime.core.proposal import ClaimPair, Verdict
from sleep_runtime.engines.text.drafts import lessons

LABELS = (Verdict.SAME, Verdict.EXCLUDES, Verdict.UNRELATED)
_MAX_CHARS = 400


@dataclass(frozen=True, slots=True)
class Pair:
    """Two claims and what a person would say of them. ``part`` is a domain of its data set."""

    left: Claim
    right: Claim
    label: Verdict
    part: str

    def asked(self, key: str) -> ClaimPair:
        return ClaimPair(key=key, left=self.left, right=self.right)


@dataclass(frozen=True, slots=True)
class DataSet:
    """A named set of pairs. ``note`` says what it cannot show, or why it was skipped."""

    name: str
    pairs: Sequence[Pair]
    note: str = ""


def claim(text: str, about: Mapping[str, str] | None = None, *, holding: str = "") -> Claim:
    """The claim the runtime distils from a correction that says ``text``.

    Where it distils none, or none that holds the words ``holding``, the bare text: the pair is
    about the judge, not about what was heard.
    """
    facets = dict(about or {})
    wanted = holding.lower()
    for lesson in lessons(text, correction=True, about=facets):
        if wanted in lesson.claim.statement.lower():
            return lesson.claim
    return bare(text, facets)


def bare(text: str, about: Mapping[str, str] | None = None) -> Claim:
    """The text as a claim of its own, without slots."""
    statement = " ".join(text.split())[:_MAX_CHARS]
    return Claim(statement=statement, kind=NoteKind.CONVENTION, about=dict(about or {}))
