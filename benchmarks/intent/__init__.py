"""Training and measuring of the intent head: what a person's turn is."""
