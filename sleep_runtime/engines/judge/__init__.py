"""The pairwise judge: what two statements share, weighed word by word, read by a trained head."""
