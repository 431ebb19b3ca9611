"""Proofs that are run from one command: chaos, fuzzing, isolation, erasure. Not installed."""
