"""The hot path: HTTP in front of the journal and the notes."""
