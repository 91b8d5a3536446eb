"""Descriptions of the holders of `buffer_memory`, for errors, health and the log. Leaf; any thread."""

from __future__ import annotations

from ottla.observe.running import running
from ottla.observe.troubles import trouble_text
from ottla.seam.budget import Budget, HolderCause, InFlight, Place, Share

_KIB = 1024
_MIB = 1024 * 1024


def full_text(budget: Budget) -> str:
    """That it is full, and which cause holds most of it."""
    text = f"buffer_memory ({budget.capacity_bytes} bytes) is full"
    if budget.largest is None:
        return text
    size = _size_text(budget.largest.size_bytes)
    share = share_text(budget.largest, callbacks_due=budget.callbacks_due)
    return f"{text}; {size} queued for {share}"


def share_text(share: Share, *, callbacks_due: bool) -> str:
    """The places that wait for one cause, and the cause."""
    places = [place_text(place) for place in share.places]
    if share.more:
        places.append(f"{share.more} more")
    return f"{', '.join(places)} ({cause_text(share.cause, callbacks_due=callbacks_due)})"


def place_text(place: Place) -> str:
    """`orders-3`, `orders` while its partition is not chosen, or `outcomes`."""
    if place.topic is None:
        return "outcomes"
    return place.topic if place.partition is None else f"{place.topic}-{place.partition}"


def cause_text(cause: HolderCause, *, callbacks_due: bool) -> str:
    """The cause for which a part of the budget waits. callbacks_due: Outcomes wait for callbacks."""
    match cause:
        case InFlight(None, _):
            return "not in flight yet"
        case InFlight(node_id, address):
            return f"in flight to node {node_id} at {address}"
        case "metadata":
            return "the topic's metadata has not come"
        case "outcomes" if callbacks_due:
            return running.blocker()
        case "outcomes":
            return "resolved deliveries not read (successes(), errors(), outcomes())"
        case _:
            return trouble_text(cause)


def _size_text(size_bytes: int) -> str:
    if size_bytes < _KIB:
        return f"{size_bytes} bytes"
    if size_bytes < _MIB:
        return f"{size_bytes / _KIB:.1f} KiB"
    return f"{size_bytes / _MIB:.1f} MiB"
