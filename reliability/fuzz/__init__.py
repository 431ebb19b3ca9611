"""Fuzzing: inputs nobody would send, at everything that reads what others wrote.

``scripts/fuzz`` runs all of it with figures; tests run a fixed share of it.
"""
