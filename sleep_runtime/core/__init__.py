"""The nouns of the runtime. Pydantic and the standard library only; no I/O, no clock."""
