"""A ledger full of notes, written past the nights: a million of them in minutes.

Notes are of topics. The vectors of a topic lie around its centre as those of real sentences of one
subject do (cosines of .6 to .9), so that an approximate index has neighbours to confuse. The rows
are those a night would have written; only their evidence is not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sleep_runtime.core.ids import canonical_json
from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.stores.ledger import SqliteLedger

DIM = 384
TOPICS = 400
MODEL = "planted-384"
SINCE_US = 1_790_000_000_000_000
_BATCH = 5000
_SPREAD = 0.8
_VOCABULARY = """
figures slides waterfall forecast margin invoice ticket deploy branch review summary table chart
quarter account region supplier contract clause draft appendix owner deadline budget headline
footnote currency rounding label legend axis colour font template agenda minutes rollback migration
schema index retry timeout alert runbook incident handover shift vendor
"""
_WORDS = _VOCABULARY.split()
_ACTS = ("use", "show", "name", "check", "keep", "send", "write", "put", "sort", "group")


@dataclass(frozen=True)
class Made:
    """A ledger file, its scopes and how many notes each has."""

    path: Path
    scopes: tuple[str, ...]
    each: int

    @property
    def notes(self) -> int:
        return len(self.scopes) * self.each


def centres(seed: int = 0) -> npt.NDArray[np.float32]:
    """The topics' centres, unit vectors."""
    return _unit(np.random.default_rng(seed).standard_normal((TOPICS, DIM), dtype=np.float32))


@dataclass
class PlantedEmbedder:
    """Gives queries the vectors they were planted with: an embedder that costs nothing."""

    vectors: dict[str, bytes] = field(default_factory=dict)
    model: str = MODEL
    dim: int = DIM

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        return [self.vectors[text] for text in texts]


def queries(count: int, *, seed: int) -> tuple[list[str], PlantedEmbedder]:
    """Distinct questions about topics, and the embedder that knows their vectors."""
    rng = np.random.default_rng(seed)
    about = rng.integers(0, TOPICS, count)
    vectors = _around(about, rng)
    texts = [f"how should I {_sentence(topic, rng)} in case {n}" for n, topic in enumerate(about)]
    made = {text: vector.tobytes() for text, vector in zip(texts, vectors, strict=True)}
    return texts, PlantedEmbedder(made)


def spread(scopes: int, *, users: int = 190, teams: int = 9) -> list[str]:
    """So many scopes: organisations of ``teams`` teams that share ``users`` people."""
    made: list[str] = []
    org = 0
    while len(made) < scopes:
        names = [f"org{org}"]
        names += [f"org{org}/team{team}" for team in range(teams)]
        names += [f"org{org}/team{user % teams}/user{user}" for user in range(users)]
        made += names[: scopes - len(made)]
        org += 1
    return made


def write(path: Path, scopes: Sequence[str], each: int, *, seed: int, model: str = MODEL) -> Made:
    """A ledger with ``each`` active notes in every scope, with their vectors (of ``model``)."""
    SqliteLedger(path, triggers=TriggerPolicy()).close()
    rng = np.random.default_rng(seed)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=OFF")
        for page in _pages([scope for scope in scopes for _ in range(each)]):
            connection.execute("BEGIN")
            _insert(connection, page, rng, model)
            connection.execute("COMMIT")
        connection.executemany("INSERT INTO scope_versions VALUES (?, 1)", [(s,) for s in scopes])
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    return Made(path, tuple(scopes), each)


def _pages(items: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    for start in range(0, len(items), _BATCH):
        yield start, items[start : start + _BATCH]


def _insert(
    connection: sqlite3.Connection,
    page: tuple[int, Sequence[str]],
    rng: np.random.Generator,
    model: str,
) -> None:
    start, scopes = page
    topics = rng.integers(0, TOPICS, len(scopes))
    vectors = _around(topics, rng)
    ids = [f"note_{start + number:09}" for number in range(len(scopes))]
    notes = [_note(*row, rng) for row in zip(ids, scopes, topics.tolist(), strict=True)]
    connection.executemany(f"INSERT INTO notes VALUES ({','.join('?' * 16)})", notes)
    newest = [(note_id, 1, scope, "active") for note_id, scope in zip(ids, scopes, strict=True)]
    connection.executemany("INSERT INTO newest VALUES (?, ?, ?, ?)", newest)
    rows = [(note_id, 1, model, v.tobytes()) for note_id, v in zip(ids, vectors, strict=True)]
    connection.executemany("INSERT INTO note_vectors VALUES (?, ?, ?, ?)", rows)


def _note(note_id: str, scope: str, topic: int, rng: np.random.Generator) -> tuple[object, ...]:
    claim = {
        "statement": f"{_sentence(topic, rng).capitalize()}, as agreed under {note_id[-7:]}.",
        "kind": "convention",
        "subject": f"topic {topic}",
        "aspect": f"rule {note_id[-7:]}",
        "value": "",
        "applies_when": "",
        "about": {"account": f"Account {topic % 97}"} if topic % 3 == 0 else {},
        "corrects": "",
    }
    support = {"events": 3, "sessions": 3, "people": 2, "days": 2}
    return (
        *(note_id, 1, scope, "active", canonical_json(claim)),
        *(round(0.5 + 0.5 * float(rng.random()), 4), canonical_json(support), "human", 0, 0),
        *(SINCE_US + topic, None, SINCE_US + topic, "", "[]", "said by two people"),
    )


def _sentence(topic: int, rng: np.random.Generator) -> str:
    act, *rest = rng.integers(0, 1 << 30, 4).tolist()
    own = (_WORDS[topic % len(_WORDS)], _WORDS[(topic * 7 + 3) % len(_WORDS)])
    other = " ".join(_WORDS[word % len(_WORDS)] for word in rest)
    return f"{_ACTS[act % len(_ACTS)]} the {own[0]} before the {own[1]} with {other}"


def _around(topics: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    noise = rng.standard_normal((len(topics), DIM), dtype=np.float32) / np.sqrt(DIM)
    return _unit(centres()[topics] + _SPREAD * noise.astype(np.float32))


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    unit: npt.NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32)
