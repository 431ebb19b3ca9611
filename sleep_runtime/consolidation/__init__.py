"""The decisions of a night: pure functions over data."""
