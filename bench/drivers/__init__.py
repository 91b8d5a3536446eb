"""One program per client: one JSON job as its argument, one JSON result as its last line (shared.py)."""
