"""The topics that metadata requests name. Pure; engine thread only."""

from __future__ import annotations

from collections.abc import Iterable


class WantedTopics:
    """The topics that the parts of one client want metadata of."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self.everything = False
        """Whether every topic of the cluster is wanted: a pattern subscription."""

    def add(self, names: Iterable[str]) -> set[str]:
        """Want these topics; returns those that were not wanted before."""
        new = set(names) - self._names
        self._names |= new
        return new

    def remove(self, names: Iterable[str]) -> set[str]:
        """Want these topics no longer; returns those that were wanted."""
        gone = set(names) & self._names
        self._names -= gone
        return gone

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def names(self) -> list[str] | None:
        """The topics to ask for; None: all topics of the cluster."""
        return None if self.everything else sorted(self._names)
