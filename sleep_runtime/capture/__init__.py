"""Bytes to events, and what must not leave them."""
