"""Sleep-time compute: capture by day, consolidate by night, read one sentence in the morning."""

__version__ = "0.1.0"
