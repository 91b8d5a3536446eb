"""Integration tests that both worlds have; `_sync` is generated from `_async`."""
