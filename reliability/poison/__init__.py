"""Can untrusted text become a rule? Attacks at write, at search and in the compiled prompt."""
