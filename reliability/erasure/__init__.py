"""Erasures at random with crashes at random, and a look for what is left of them."""
