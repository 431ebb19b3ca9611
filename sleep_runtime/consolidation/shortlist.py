"""Shortlist: which claims an engine has to compare.

Cosine only short-lists. A contradiction is often nearer than a paraphrase, so nothing is decided on
a distance: it only bounds how many questions are asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sleep_runtime.consolidation.compare import (
    Slot,
    comparable,
    identical,
    name_of,
    pair_of,
    slot,
)
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import Dossier, Note, NoteStatus
from sleep_runtime.core.observation import Claim, Durability, Observation
from sleep_runtime.core.policy import ReflectPolicy
from sleep_runtime.core.proposal import ClaimPair

_ROWS_AT_ONCE = 256
_OWN = (NoteStatus.ACTIVE, NoteStatus.CANDIDATE)

Vectors = npt.NDArray[np.float32]


def shortlist(
    observations: Sequence[Observation],
    dossiers: Sequence[Dossier],
    vectors: Mapping[str, bytes],
    policy: ReflectPolicy,
) -> list[ClaimPair]:
    """Pairs of tonight's claims with each other and with the scope's notes, by key.

    ``vectors`` holds unit float32 vectors by statement; a claim without one is paired by its slot
    only. One-offs, untrusted words and feedback are compared with nothing: they become no note.
    """
    fresh = _unique(item.claim for item in observations if _matters(item))
    known = _unique(dossier.note.claim for dossier in dossiers)
    pairs = [*_nearest(fresh, fresh, vectors, policy), *_nearest(fresh, known, vectors, policy)]
    return _ordered(pairs)


def fold_pairs(
    dossiers: Sequence[Dossier],
    above: Sequence[Note],
    vectors: Mapping[str, bytes],
    policy: ReflectPolicy,
) -> list[ClaimPair]:
    """Pairs of a scope's own notes with those of the scopes above into which they may fold."""
    own = _unique(d.note.claim for d in dossiers if d.note.status in _OWN)
    upper = _unique(note.claim for note in above if note.status is NoteStatus.ACTIVE)
    return _ordered(_nearest(own, upper, vectors, policy))


def _matters(item: Observation) -> bool:
    return not (
        item.feedback_on or item.durability is Durability.ONE_OFF or item.trust is Trust.UNTRUSTED
    )


def _unique(claims: Iterable[Claim]) -> list[Claim]:
    by_name = {name_of(claim): claim for claim in claims}
    return [by_name[name] for name in sorted(by_name)]


def _ordered(pairs: Iterable[ClaimPair]) -> list[ClaimPair]:
    by_key = {pair.key: pair for pair in pairs}
    return [by_key[key] for key in sorted(by_key)]


def _nearest(
    left: Sequence[Claim],
    right: Sequence[Claim],
    vectors: Mapping[str, bytes],
    policy: ReflectPolicy,
) -> Iterator[ClaimPair]:
    """For each left claim: its nearest right ones and those that fill the same slot."""
    by_slot: dict[Slot | None, list[Claim]] = defaultdict(list)
    for claim in right:
        by_slot[slot(claim)].append(claim)
    for claim, neighbours in _by_cosine(left, right, vectors, policy.min_cosine):
        yield from _questions(claim, neighbours, policy.shortlist)
        if (question := slot(claim)) is not None:
            yield from _questions(claim, by_slot[question], policy.shortlist)


def _questions(claim: Claim, others: Iterable[Claim], most: int) -> Iterator[ClaimPair]:
    """At most ``most`` pairs that only an engine can answer."""
    asked = 0
    for other in others:
        if asked == most:
            return
        if other is claim or not comparable(claim, other) or identical(claim, other):
            continue
        asked += 1
        yield pair_of(claim, other)


def _by_cosine(
    left: Sequence[Claim],
    right: Sequence[Claim],
    vectors: Mapping[str, bytes],
    least: float,
) -> Iterator[tuple[Claim, Iterator[Claim]]]:
    """Each left claim with the right ones of cosine >= ``least``, nearest first."""
    placed = [claim for claim in right if claim.statement in vectors]
    columns = _matrix(placed, vectors)
    for start in range(0, len(left), _ROWS_AT_ONCE):
        block = left[start : start + _ROWS_AT_ONCE]
        rows = [claim for claim in block if claim.statement in vectors]
        cosines = dict(zip(map(name_of, rows), _matrix(rows, vectors) @ columns.T, strict=True))
        for claim in block:
            yield claim, _above(placed, cosines.get(name_of(claim)), least)


def _matrix(claims: Sequence[Claim], vectors: Mapping[str, bytes]) -> Vectors:
    """Vectors as rows; without claims a matrix that fits none and multiplies with none."""
    if not claims:
        dim = len(next(iter(vectors.values()), b"")) // 4
        return np.zeros((0, dim), dtype=np.float32)
    return np.stack([np.frombuffer(vectors[claim.statement], dtype="<f4") for claim in claims])


def _above(claims: Sequence[Claim], cosines: Vectors | None, least: float) -> Iterator[Claim]:
    if cosines is None:
        return
    for index in np.argsort(-cosines, kind="stable"):
        if cosines[index] < least:
            return
        yield claims[index]
