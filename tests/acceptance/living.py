"""A real runtime, started as a user starts it: what tests of it share with the proofs."""

from pathlib import Path

from reliability.living import NotUp, Runtime, event, start, stop, surroundings

ROOT = Path(__file__).resolve().parents[2]

__all__ = ["ROOT", "NotUp", "Runtime", "event", "start", "stop", "surroundings"]
