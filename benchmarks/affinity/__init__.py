"""Training of the affinity head: worlds of claims with known lessons, and the fit."""
