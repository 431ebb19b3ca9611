"""Contract suites: one per port, run over every adapter and every fake."""
