"""Benchmarks: ``scripts/bench NAME --json`` prints one object of one shape for all of them."""
