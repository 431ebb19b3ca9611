"""Names of claims and keys of pairs: looked up by object, and never another claim's."""

from __future__ import annotations

from sleep_runtime.consolidation.compare import key_of, name_of, pair_of
from sleep_runtime.core.observation import Claim, NoteKind


def said(statement: str) -> Claim:
    return Claim(statement=statement, kind=NoteKind.CONVENTION)


def test_a_claim_made_from_another_has_a_name_of_its_own() -> None:
    first = said("use tabs")
    name = name_of(first)
    other = first.model_copy(update={"statement": "use spaces"})
    assert name_of(other) == name_of(said("use spaces")) != name == name_of(said("use tabs"))


def test_a_name_does_not_outlive_its_claim_in_another_at_the_same_place() -> None:
    names = {name_of(said(f"use {index} spaces")) for index in range(20_000)}
    assert len(names) == 20_000


def test_the_key_of_a_pair_is_that_of_the_pair_whichever_side_comes_first() -> None:
    one, other = said("use tabs"), said("use spaces")
    assert key_of(one, other) == key_of(other, one) == pair_of(one, other).key
    assert pair_of(other, one) == pair_of(one, other)
