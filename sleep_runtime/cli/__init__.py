"""The sleep-runtime command."""
