"""The producer's policy: what Python decides about messages whose bytes Rust moves."""
