"""Commits of one group: the lane, the committed offsets, the fence of an ownership, automatic commits."""
