"""Fakes and contract suites for those who write adapters."""
