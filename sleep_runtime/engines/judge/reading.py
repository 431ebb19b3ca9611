"""Reading: the words of one statement, and what each is likely to be in it.

A statement teaches an answer about a topic, among words that only surround them. Which is which is
estimated for every word from the word's state in the embedding model and from its neighbours; a
rare word weighs more than an everyday one. Readings are cached: they depend on the statement alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from sleep_runtime.core.observation import Claim
from sleep_runtime.engines.judge.weights import Tagger
from sleep_runtime.engines.text.lexicon import FUNCTION_WORDS, NUMBER_WORDS, PREPOSITIONS, word_set
from sleep_runtime.engines.text.words import WORD, canonical, words

Floats = npt.NDArray[np.float64]
_TOKEN = re.compile(WORD.pattern + r"|[^\w\s]")
_NEGATIONS = word_set(
    """not never no don't dont without nothing nor isn't doesn't can't cannot shouldn't won't"""
)
_EVERYDAY_RANK = 1000
_LAST_RANK = 30_522
_LEAST_RARITY = 0.25
_IDLE = FUNCTION_WORDS | PREPOSITIONS


class TokenStates(Protocol):
    """The tokens of a text: where they stand, their ids, and their states (n, dim)."""

    @property
    def spans(self) -> tuple[tuple[int, int], ...]: ...

    @property
    def ids(self) -> tuple[int, ...]: ...

    @property
    def states(self) -> npt.NDArray[np.float16]: ...


@runtime_checkable
class TokenEmbedder(Protocol):
    """An embedder that also shows what its model made of each token."""

    def keep_states(self, tokens: int) -> None: ...

    def token_states(self, text: str) -> TokenStates: ...


@dataclass(frozen=True, slots=True)
class Word:
    """One content word. ``place`` counts words and signs, ``at`` the statement's characters."""

    token: str
    rarity: float
    place: int
    name: bool
    number: bool
    at: int


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The content words of a statement. Rows of ``states`` and ``roles`` belong to ``words``.

    ``roles`` holds the chances of a word to be (surrounding, answer, topic).
    """

    words: tuple[Word, ...]
    rarity: Floats
    states: Floats
    roles: Floats
    negations: int
    vector: Floats


@dataclass(frozen=True, slots=True)
class Found:
    """A content word before it has its role: what the tagger sees of it."""

    word: Word
    state: Floats
    context: dict[str, float]


def read(claim: Claim, tokens: TokenEmbedder, tagger: Tagger) -> Reading:
    """The reading of a claim's statement. Its facets' own words are left out."""
    seen = tokens.token_states(claim.statement)
    states = seen.states.astype(np.float64)
    found = found_in(claim, seen, states)
    roles = tagger.roles([each.context for each in found], [each.state for each in found])
    return reading(claim, found, roles, states)


def reading(claim: Claim, found: Sequence[Found], roles: Floats, states: Floats) -> Reading:
    """The reading of words whose ``roles`` are known. ``states``: of all tokens, (n, dim)."""
    own = [each.word for each in found]
    return Reading(
        words=tuple(own),
        rarity=np.array([word.rarity for word in own]),
        states=np.stack([each.state for each in found])
        if found
        else np.zeros((0, states.shape[1])),
        roles=roles,
        negations=sum(
            w.lower().replace("\u2019", "'") in _NEGATIONS for w in words(claim.statement)
        ),
        vector=_unit(states.mean(axis=0)),
    )


def _unit(vector: Floats) -> Floats:
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


def _lead(claim: Claim) -> int:
    """Where the statement begins behind a facet that leads it ("northwind: …")."""
    for value in claim.about.values():
        if value and claim.statement.lower().startswith(f"{value.lower()}: "):
            return len(value) + 2
    return 0


def found_in(claim: Claim, seen: TokenStates, states: Floats) -> list[Found]:
    """The content words of a claim's statement, its facets' own words left out."""
    start = _lead(claim)
    text = claim.statement[start:]
    facets = {t for value in claim.about.values() for w in words(value) for t in canonical(w)}
    marks = [(m[0], m.start()) for m in _TOKEN.finditer(text)]
    plain = [mark.lower() for mark, _ in marks]
    found: list[Found] = []
    for index, (mark, at) in enumerate(marks):
        tokens = _tokens(mark, plain, index)
        if not tokens or facets.issuperset(tokens):
            continue
        rows = _rows(seen.spans, at + start, at + start + len(mark))
        rank = _rank([seen.ids[row] for row in rows])
        state = states[rows].mean(axis=0) if rows else np.zeros(states.shape[1])
        number = mark.lower() in NUMBER_WORDS or any(sign.isdigit() for sign in mark)
        first = index == 0 or plain[index - 1] in {".", "!", "?", ":", ";"}
        name = number or _named(mark, first=first)
        context = _context(plain, index, at / max(1, len(text)), rank)
        context |= {"name": float(name), "number": float(number)}
        for token in tokens:
            rarity = _LEAST_RARITY + (1 - _LEAST_RARITY) * rank
            found.append(
                Found(Word(token, rarity, index, name, number, at + start), state, context)
            )
    return found


def _tokens(mark: str, plain: list[str], index: int) -> tuple[str, ...]:
    """The canonical tokens of a content word; none for other words and signs."""
    if plain[index] == "one" and index + 1 < len(plain):
        follower = plain[index + 1]
        if follower not in _IDLE and WORD.fullmatch(follower):
            return ("1",)
    if plain[index] in _IDLE or not WORD.fullmatch(mark):
        return ()
    return canonical(mark)


def _rows(spans: tuple[tuple[int, int], ...], start: int, stop: int) -> list[int]:
    return [row for row, (a, z) in enumerate(spans) if z > a and a < stop and z > start]


def _rank(ids: list[int]) -> float:
    """0 for an everyday word, 1 for a rare one: vocabularies are ordered by frequency."""
    if len(ids) != 1:
        return 1.0
    low, high = math.log(_EVERYDAY_RANK), math.log(_LAST_RANK)
    return min(1.0, max(0.0, (math.log(ids[0] + 1) - low) / (high - low)))


def _named(mark: str, *, first: bool) -> bool:
    inner = mark[1:] if first else mark
    return any(sign in "/_.@#" for sign in mark) or any(sign.isupper() for sign in inner)


def _context(plain: list[str], index: int, position: float, rank: float) -> dict[str, float]:
    def near(offset: int) -> str:
        at = index + offset
        return plain[at] if 0 <= at < len(plain) else "|"

    return {
        f"l1={near(-1)}": 1.0,
        f"l2={near(-2)}": 1.0,
        f"r1={near(1)}": 1.0,
        f"r2={near(2)}": 1.0,
        f"ends={plain[index][-3:]}": 1.0,
        "position": position,
        "last": float(index + 1 == len(plain)),
        "rank": rank,
    }
