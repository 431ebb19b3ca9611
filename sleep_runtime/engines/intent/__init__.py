"""Intent: what a person's turn is, by a small linear head over masked words."""
