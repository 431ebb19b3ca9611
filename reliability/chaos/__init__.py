"""Chaos: a runtime is hurt on purpose, again and again, and checked after every wound."""
