"""The budget: the parts of `buffer_memory` that wait, with the causes. The words are in `ottla.observe.budget`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ottla.seam.failures import Trouble


class InFlight(NamedTuple):
    """Nothing is known to be wrong: the messages are in flight, or will be."""

    node_id: int | None
    """The leader; None: the partition has no route yet."""
    address: str | None


HolderCause = InFlight | Trouble | Literal["metadata", "outcomes"]
"""Cause for which a part of the budget waits. metadata: its topic has none yet; outcomes: its messages have one, which was not read yet."""


class Holder(NamedTuple):
    """A part of the budget: the messages of a partition, of a topic without metadata, or all outcomes."""

    topic: str | None
    """None: outcomes."""
    partition: int | None
    """None: not chosen yet."""
    size_bytes: int
    node_id: int | None
    """The leader that it was routed to last; None: it had no route yet."""
    address: str | None
    cause: HolderCause
    age_s: float
    """Age of its oldest message."""


class Place(NamedTuple):
    """Topic and partition of a holder."""

    topic: str | None
    partition: int | None


class Share(NamedTuple):
    """All holders with the same cause."""

    cause: HolderCause
    size_bytes: int
    places: Sequence[Place]
    """The largest of them."""
    more: int
    """How many there are besides those."""


class Budget(NamedTuple):
    """The budget at one moment."""

    used_bytes: int
    capacity_bytes: int
    waiting_senders: int
    full: bool
    """Senders wait for free buffer space, or one was refused since there was some."""
    callbacks_due: bool
    """Outcomes wait for callbacks of the application."""
    holders: Sequence[Holder]
    """The largest first, as many as were requested."""
    largest: Share | None
    """The cause that holds most of it; None: it is empty."""
    largest_unresolved: Share | None
    """The same among messages without an outcome; None: there are none."""
