"""Faults on purpose, on a real cluster; they need bench/requirements.txt (`make test-chaos`)."""
