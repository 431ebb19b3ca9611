"""Erasures at random with crashes at random, and what is left of them: nothing, it is to be shown."""
