"""The command behind ``scripts/train-intent``."""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

import numpy as np

from benchmarks.intent import corpus, report, train
from benchmarks.intent.corpus import Example
from sleep_runtime.engines.intent import intent

HEAD = Path(intent.__file__).with_name("head.json")
BARS = {"lasting": 0.9, "retract": 0.63, "one_off": 1.3, "nothing": 0.2}
"""Least probability to act on; how many times likelier than one-off or nothing a lesson is."""
TEMPERATURE = 0.8
"""Both found on left-out domains with ``--lodo``."""


def main(argv: list[str] | None = None) -> int:
    """Train, check or measure."""
    parser = argparse.ArgumentParser(prog="scripts/train-intent")
    parser.add_argument("--seed", type=int, default=2026)
    for flag in ("--check", "--lodo", "--eval"):
        parser.add_argument(flag, action="store_true")
    asked = parser.parse_args(argv)
    if asked.lodo:
        return _lodo(asked.seed)
    if asked.eval:
        return _shipped("eval", asked.seed)
    return _write(asked.seed, check=asked.check)


def _write(seed: int, *, check: bool) -> int:
    banks = corpus.bank_examples("dev", Random(seed), times=2)
    text = train.head(train.train(train.training_set(banks, seed)), TEMPERATURE, BARS)
    if check:
        same = HEAD.read_text(encoding="utf-8") == text
        print("head.json is what training gives" if same else "head.json differs")
        return 0 if same else 1
    HEAD.write_text(text, encoding="utf-8")
    print(f"{HEAD.name}: {len(text.encode())} bytes")
    return 0


def _lodo(seed: int) -> int:
    examples, raw = train.left_out(seed)
    labels = train.targets(examples)
    fitted = train.temperature(labels, raw)
    print(f"temperature fitted {fitted}, used {TEMPERATURE}")
    report.show(examples, _answers(train.shares(raw, TEMPERATURE)))
    return 0


def _answers(found: train.Floats) -> list[intent.Intent]:
    return [
        intent.Intent(dict(zip(intent.KINDS, map(float, row), strict=True)))
        for row in np.asarray(found)
    ]


def _shipped(split: str, seed: int) -> int:
    asked = corpus.bank_examples(split, Random(seed), times=1)
    examples: list[Example] = [example for example in asked if example.weight > 0]
    report.show(examples, [intent.read(e.text, correction=e.correction) for e in examples])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
