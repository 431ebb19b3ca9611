"""``scripts/bench peers [--json] [-n N] [--sizes N …] [--mem0-venv DIR]``.

The same notes, queries and vectors for everybody, on one machine in one run, from a single caller:
ours in process and over HTTP, bare Chroma with a metadata filter, and mem0 over its Chroma store.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.cluster_rig import Rig, rig
from benchmarks.harness import Results, say, show
from benchmarks.peers import ours
from benchmarks.peers.bare_chroma import BareChroma
from benchmarks.peers.mem0_peer import Mem0, PeerUnavailable, prepare
from benchmarks.peers.rounds import Answers, add_round, not_faster, search_round
from benchmarks.peers.side import Adds, Searches
from benchmarks.peers.texts import USERS, Remembered, additions, questions, remembered
from benchmarks.waiting import wait_until
from sleep_runtime.engines.embedder import MiniLmEmbedder
from sleep_runtime.present.search import Searcher
from sleep_runtime.telemetry.log import configure

SIZES = (1_000, 10_000)
WARM_UP = 2
"""Untimed questions of each user: everybody has read what they keep in memory."""
WARM_ADDS = 10


@dataclass
class Findings:
    """What does not fit a row of figures."""

    agreement: dict[str, object] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    refused: int = 0


@dataclass(frozen=True)
class Corpus:
    """Notes with their vectors, and the embedder that made them and remembers nothing."""

    notes: Sequence[Remembered]
    vectors: Sequence[bytes]
    embedder: MiniLmEmbedder

    def first(self, size: int) -> Corpus:
        return Corpus(self.notes[:size], self.vectors[:size], self.embedder)


def make_corpus(size: int) -> Corpus:
    notes = remembered(size)
    embedder = MiniLmEmbedder(cache_size=0)
    return Corpus(notes, embedder.embed([note.text for note in notes]), embedder)


def measure(
    options: argparse.Namespace, results: Results, findings: Findings, python: Path | None
) -> None:
    """Every size with stores of its own, all of them open at once."""
    say(f"embedding {max(options.sizes)} notes")
    corpus = make_corpus(max(options.sizes))
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as closing:
            home, part = Path(place), corpus.first(size)
            say(f"filling the stores with {size} notes")
            ours.write_ledger(home / "ours", part.notes, part.vectors, model=part.embedder.model)
            peers = _peers(home, part, python, findings, closing)
            with rig(data_dir=str(home / "ours"), **ours.SETTINGS) as up:
                wait_until(up.quiet, "the index to have the notes")
                _measure_at(options, results, findings, up, part, peers)
            findings.refused += sum(peer.refused for peer in peers if isinstance(peer, Mem0))


def _peers(
    home: Path,
    corpus: Corpus,
    python: Path | None,
    findings: Findings,
    closing: contextlib.ExitStack,
) -> list[BareChroma | Mem0]:
    chroma = BareChroma(home / "chroma", corpus.embedder)
    closing.callback(chroma.close)
    chroma.fill(corpus.notes, corpus.vectors)
    if python is None:
        return [chroma]
    try:
        mem0 = Mem0(python, home / "mem0")
        closing.callback(mem0.close)
        mem0.fill(corpus.notes, corpus.vectors)
    except PeerUnavailable as missing:
        findings.skipped["mem0"] = str(missing)
        say(f"without mem0: {missing}")
        return [chroma]
    findings.versions.update(mem0.versions)
    findings.skipped.update(mem0.limits)
    return [chroma, mem0]


def _measure_at(
    options: argparse.Namespace,
    results: Results,
    findings: Findings,
    up: Rig,
    corpus: Corpus,
    peers: Sequence[BareChroma | Mem0],
) -> None:
    size = len(corpus.notes)
    http = ours.OverHttp(up.http)
    mine = ours.InProcess(Searcher(up.ledger, None, corpus.embedder))
    searching: list[Searches] = [mine, http, *peers, ours.Embedding(corpus.embedder)]
    adding: list[Adds] = [http, *peers]
    warm = WARM_UP * USERS
    asked = questions(corpus.notes, warm + options.n * options.queries)
    http.add(additions(1, seed=-2))  # an organisation is known by its events
    for side in searching:
        side.search([(question.user, question.text) for question in asked[:warm]])
    answers = Answers()
    for turn in range(options.n):
        say(f"search among {size}, {turn + 1} of {options.n}")
        start = warm + turn * options.queries
        part = asked[start : start + options.queries]
        answers.add(part, search_round(results, f"search_{size}", searching, part, turn))
    findings.agreement[f"search_{size}"] = answers.report()
    for adder in adding:
        adder.add(additions(WARM_ADDS, seed=-1))
    for turn in range(options.n):
        say(f"add to {size}, {turn + 1} of {options.n}")
        add_round(results, f"add_{size}", adding, additions(options.adds, seed=turn), turn)


def main() -> int:
    options = _options()
    configure("warning", "console")
    results, findings = Results("peers"), Findings(versions={"chromadb": version("chromadb")})
    python = None
    try:
        python = prepare(options.mem0_venv)
    except PeerUnavailable as missing:
        findings.skipped["mem0"] = str(missing)
        say(f"without mem0: {missing}")
    measure(options, results, findings, python)
    more: dict[str, Any] = {
        "queries_a_round": options.queries,
        "adds_a_round": options.adds,
        "versions": findings.versions,
        "agreement": findings.agreement,
        "not_faster": not_faster(results.report()["results"]),
        "skipped": findings.skipped,
        "connections_refused": findings.refused,
    }
    show(results, as_json=options.json, more=more)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench peers")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("-n", type=int, default=7, help="rounds")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="notes")
    parser.add_argument("--queries", type=int, default=200, help="searches a round")
    parser.add_argument("--adds", type=int, default=50, help="additions a round")
    parser.add_argument(
        "--mem0-venv",
        type=Path,
        default=Path(tempfile.gettempdir()) / "sleep-runtime-bench-mem0",
        help="where mem0 is, or is installed",
    )
    options = parser.parse_args()
    options.mem0_venv = options.mem0_venv.absolute()
    return options


if __name__ == "__main__":
    sys.exit(main())
