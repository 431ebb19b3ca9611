"""Whether consolidation slows capture and search down, and by how much."""
