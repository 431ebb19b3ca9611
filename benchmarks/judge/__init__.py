"""The pairwise decision *same / excludes / unrelated*, measured on labelled pairs."""
