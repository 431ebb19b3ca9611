"""Guards: what no likeness of words may overrule, whatever the trained head says."""

from __future__ import annotations

import re

from sleep_runtime.core.observation import Claim
from sleep_runtime.engines.text.align import facet_gate, opposed, quoted, read, reordered
from sleep_runtime.engines.text.words import content, is_number

_FREE_FROM = 5
"""Unshared words, both sides together, from which on two claims have no common frame."""
_BEGINNING = 4
"""Letters by which two words begin alike."""
_ADDED_FROM = 2
"""Words that one has more, from which on it does not fill one place of the other's frame."""
_DENIAL = re.compile(
    r"\b(?:not|never|no|without|avoid|stop|cannot|neither|nor|instead of|rather than)\b"
    r"|n['\u2019]t\b",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[.,;:!?()\u2013\u2014]|\s-+\s|\bbut\b", re.IGNORECASE)
_DENIED_WORDS = 6


def barred(left: Claim, right: Claim) -> bool:
    """True where no likeness of words counts: other facets, or conditions with nothing in common.

    A condition on one side alone bars nothing here: in free words it is often but the occasion.
    """
    if facet_gate(left, right):
        return True
    ours, theirs = read(left).when, read(right).when
    return bool(ours and theirs and not ours & theirs)


def one_facet(left: Claim, right: Claim) -> bool:
    """True when what one is about the other is about too, or names in its statement."""
    return _names_facets(left, right) and _names_facets(right, left)


def _names_facets(claim: Claim, other: Claim) -> bool:
    said = frozenset(content(other.statement))
    return all(
        key in other.about or said.issuperset(content(value)) for key, value in claim.about.items()
    )


def freely_worded(left: Claim, right: Claim) -> bool:
    """True when the two have much that the other has not: no frame in which places compare.

    Or when one only adds to the other: then no place is filled twice.
    """
    ours, theirs = read(left), read(right)
    a, b = ours.tokens, theirs.tokens
    adds = (a < b or b < a) and ours.when == theirs.when
    return len(a ^ b) >= _FREE_FROM or (adds and len(a ^ b) >= _ADDED_FROM)


def touch(left: Claim, right: Claim) -> bool:
    """False when no word of the one begins like any of the other.

    The head knows no synonyms: of 3,126 such pairs of a trail it called none the same.
    """
    ours, theirs = ({token[:_BEGINNING] for token in read(each).tokens} for each in (left, right))
    return not ours.isdisjoint(theirs)


def at_odds(left: Claim, right: Claim) -> str:
    """Why two claims cannot be one, however alike they sound; "" when nothing speaks against it."""
    a, b = read(left), read(right)
    figures = figures_differ(left, right)
    if figures:
        return figures
    denied = _denied(left.statement), _denied(right.statement)
    turned = (denied[0] ^ denied[1]) & a.tokens & b.tokens
    if turned:
        return f"one denies {quoted(turned)}, the other does not"
    if reordered(a, b):
        return "the same words the other way round"
    chosen = (a.rejected & b.value) | (b.rejected & a.value)
    if chosen - (a.rejected & b.rejected) - (a.value & b.value):
        return "one says what the other rejects"
    if opposed(a.tokens - b.tokens, b.tokens - a.tokens):
        return f"opposites: {quoted(a.tokens ^ b.tokens)}"
    return ""


def _denied(statement: str) -> frozenset[str]:
    """The words that follow a negation in its clause, a few of them."""
    found: set[str] = set()
    for match in _DENIAL.finditer(statement):
        rest = statement[match.end() :]
        end = _CLAUSE_END.search(rest)
        clause = rest[: end.start()] if end else rest
        found.update(content(" ".join(clause.split()[:_DENIED_WORDS])))
    return frozenset(found)


def figures_differ(left: Claim, right: Claim) -> str:
    """Says so where each statement, its conditions included, has a figure the other has not."""
    a, b = (frozenset(filter(is_number, content(each.statement))) for each in (left, right))
    return "" if a <= b or b <= a else f"figures differ: {quoted(a ^ b)}"
