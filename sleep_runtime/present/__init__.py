"""Notes to prompt text. Reads only."""
