"""The current metadata snapshot of one client, and the listeners of its changes. Engine thread only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ottla.cluster.metadata import Changes, MetadataSnapshot, compare

if TYPE_CHECKING:
    from ottla.observe.log import ClientLog

MetadataListener = Callable[[MetadataSnapshot, MetadataSnapshot, Changes], None]
"""Called with the snapshot before, the one after, and the difference."""


class MetadataStore:
    """Holds the snapshot; each change replaces it and calls the listeners."""

    def __init__(self, log: ClientLog) -> None:
        self.snapshot = MetadataSnapshot()
        """The metadata known now. Never changes itself: each change is another snapshot."""
        self._log = log
        self._listeners: list[MetadataListener] = []

    def listen(self, callback: MetadataListener) -> None:
        """Call it after every change, and after every refresh that changed nothing."""
        if callback not in self._listeners:
            self._listeners.append(callback)

    def unlisten(self, callback: MetadataListener) -> None:
        """No longer call it."""
        if callback in self._listeners:
            self._listeners.remove(callback)

    def replace(self, new: MetadataSnapshot, changes: Changes | None = None) -> None:
        """Take another snapshot. changes: None: computed here."""
        old = self.snapshot
        if new is old:
            return
        self.snapshot = new
        changes = compare(old, new) if changes is None else changes
        for listener in tuple(self._listeners):
            try:
                listener(old, new, changes)
            except Exception as error:
                self._log.error("internal_error.metadata_listener", exc_info=error, reason=error)
