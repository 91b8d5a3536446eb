"""The public classes, one docstring and one call into the client per method."""
