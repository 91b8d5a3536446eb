"""Storms: many runs, each judged by the committed offsets and by the events of the members."""
