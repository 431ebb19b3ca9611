"""Redaction: what is masked of secrets and personal data, what harmless text loses, how fast.

    scripts/bench redaction [--data SPANS] [--benign EVENTS] [--json] [-n N]

SPANS is a JSON list of ``{"full_text", "spans": [{"entity_type", "start_position",
"end_position"}]}``; EVENTS are recorded events (native format, one a line) of real work.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import Results
from benchmarks.planted import harmless, planted
from sleep_runtime.capture.redact import redact

SEED = 2026
_LEFT_OVER = 8
_PLACEHOLDER = re.compile(r"\[(secret|email|iban|card|ssn|phone)\]")
# What each placeholder promises, in the words of the labelled spans. The rest is out of reach of
# forms: it would take a model that knows names.
PROMISED = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "US_SSN": "ssn",
}
Span = tuple[int, int]


def masked(text: str, redacted: str) -> list[tuple[str, Span]]:
    """Which parts of ``text`` became which placeholder, found by what stands between them."""
    kinds = _PLACEHOLDER.findall(redacted)
    between = _PLACEHOLDER.split(redacted)[::2]
    found = re.fullmatch("(.+?)".join(map(re.escape, between)), text, re.DOTALL)
    if found is None:
        raise ValueError("the redacted text is not the text with parts replaced")
    return [(kind, found.span(at + 1)) for at, kind in enumerate(kinds)]


def spans(results: Results, rows: Iterable[dict[str, Any]]) -> None:
    """Precision by placeholder, recall by labelled type: a span counts when all of it is gone."""
    labelled: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    made: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for row in rows:
        gone = masked(row["full_text"], redact(row["full_text"]))
        for span in row["spans"]:
            labelled[span["entity_type"]] += 1
            hit[span["entity_type"]] += any(_covers(where, span) for _, where in gone)
        for kind, where in gone:
            made[kind] += 1
            right[kind] += any(_touches(where, span) for span in row["spans"])
    for entity in sorted(labelled):
        results.add(f"{entity.lower()}_recall", hit[entity] / labelled[entity], "share")
    for kind in sorted(made):
        results.add(f"{kind}_precision", right[kind] / made[kind], "share")


def _covers(where: Span, span: dict[str, Any]) -> bool:
    return bool(where[0] <= span["start_position"] and span["end_position"] <= where[1])


def _touches(where: Span, span: dict[str, Any]) -> bool:
    return bool(where[0] < span["end_position"] and span["start_position"] < where[1])


def secrets(results: Results) -> Iterator[str]:
    """Recall on planted secrets, by shape and over all; yields the texts that leak."""
    total: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for item in planted(SEED):
        total[item.shape] += 1
        if _survives(item.secret, redact(item.text)):
            kept[item.shape] += 1
            yield item.text
    for shape in total:
        results.add(f"secret_{shape}_recall", 1 - kept[shape] / total[shape], "share")
    results.add("secret_recall", 1 - kept.total() / total.total(), "share")


def _survives(secret: str, text: str) -> bool:
    """True while a piece of the secret is left that is too long to be chance."""
    starts = range(max(1, len(secret) - _LEFT_OVER + 1))
    return any(secret[at : at + _LEFT_OVER] in text for at in starts)


def cost(results: Results, texts: list[str], n: int) -> None:
    """Megabytes of text a second of processor time."""
    size = sum(map(len, texts)) / 1e6
    for _ in range(n):
        start = time.process_time()
        for text in texts:
            redact(text)
        results.add("speed", size / (time.process_time() - start), "MB/s")


def _changed(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if redact(text) != text]


def main(say: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench redaction", description=__doc__)
    parser.add_argument("--data", type=Path, help="sentences with labelled personal data")
    parser.add_argument("--benign", type=Path, help="recorded events of real work")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--explain", action="store_true", help="what leaked, what was masked")
    parser.add_argument("-n", type=int, default=5, help="repetitions of the timing")
    options = parser.parse_args()
    results = Results("redaction")
    leaks = list(secrets(results))
    texts = list(harmless(SEED))
    lost = _changed(texts)
    results.add("harmless_masked", len(lost) / len(texts), "share")
    if options.benign:
        lines = options.benign.read_text(encoding="utf-8").splitlines()
        texts = [json.loads(line)["text"] for line in lines]
        lost += (real := _changed(texts))
        results.add("real_texts_masked", len(real) / len(texts), "share")
    if options.data:
        spans(results, json.loads(options.data.read_text(encoding="utf-8")))
    cost(results, texts, options.n)
    report = results.report()
    say(json.dumps(report, indent=2) if options.json else _table(report))
    if options.explain:
        say("\n".join([*(f"LEAKED {text!r}" for text in leaks), *map(_around, lost)]))
    return 0


def _table(report: dict[str, Any]) -> str:
    rows = (
        f"  {name:32} {row['median']:>8} {row['unit']}" for name, row in report["results"].items()
    )
    return "\n".join([f"redaction on {report['machine']}, load {report['load']}", *rows])


def _around(text: str) -> str:
    redacted = redact(text)
    shown = (
        redacted[max(0, m.start() - 60) : m.end() + 20] for m in _PLACEHOLDER.finditer(redacted)
    )
    return "MASKED " + " … ".join(map(repr, shown))


if __name__ == "__main__":
    raise SystemExit(main())
