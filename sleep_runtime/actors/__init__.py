"""Ray shells around the cold path."""
