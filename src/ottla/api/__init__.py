"""The public classes. `_async` is the source, `_sync` is generated from it (`make gen`)."""
