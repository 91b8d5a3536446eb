"""The topics that metadata requests name, by the part of the client that wants them. Pure; engine thread only.

A topic leaves the requests with the last part that wants it: a client that goes on asking for a topic that was deleted
would have the broker create it again. Only requests for topics that an application asked for by name, and that were never
seen, may create them (`allow_auto_topic_creation`).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable


class WantedTopics:
    """The topics that the parts of one client want metadata of."""

    def __init__(self) -> None:
        self._by_owner: dict[Hashable, frozenset[str]] = {}
        self._creatable: set[str] = set()
        """Topics that the next request may create."""
        self.everything = False
        """Whether every topic of the cluster is wanted: a pattern subscription."""

    def replace(self, owner: Hashable, names: Iterable[str]) -> tuple[set[str], set[str]]:
        """Let an owner want exactly these topics.

        Returns:
            The topics that no owner wanted before, and those that no owner wants any more.
        """
        before = self._names()
        self._by_owner[owner] = frozenset(names)
        if not self._by_owner[owner]:
            del self._by_owner[owner]
        after = self._names()
        self._creatable &= after
        return after - before, before - after

    def may_create(self, names: Iterable[str]) -> None:
        """Allow requests to create these topics, until they were seen or are not wanted any more."""
        self._creatable.update(names)

    def seen(self, names: Collection[str]) -> None:
        """The cluster has these topics: should they vanish, no request creates them again."""
        self._creatable.difference_update(names)

    def _names(self) -> set[str]:
        return set().union(*self._by_owner.values())

    def __contains__(self, name: str) -> bool:
        return any(name in names for names in self._by_owner.values())

    def creatable(self) -> list[str]:
        """Topics to request with permission to create them."""
        return sorted(self._creatable)

    def others(self) -> list[str] | None:
        """Topics to request without permission to create them; None: all topics of the cluster."""
        return None if self.everything else sorted(self._names() - self._creatable)
