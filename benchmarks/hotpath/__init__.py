"""How fast the hot path is, beside what the same machine does without it in the same run."""
