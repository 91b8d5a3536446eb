"""Benchmarks: every client in a process of its own, on the same work, in turn (run.py)."""
