"""Sharpness: is what was learned right, and only that? ``scripts/bench sharpness``."""
