"""Health of a producer: whether its messages make progress, and the causes where they do not.

Pure: notes of troubles and the state of the budget in, one value out. Leaf; any thread.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ottla.observe.health_trouble import HealthTrouble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ottla.observe.health import Trouble

HOLDERS = 10
"""Maximum number of parts of the budget that are named, the largest first."""

_NEXT = {
    "cluster": "the client connects to the brokers and bootstrap_servers again after reconnect_backoff_ms to reconnect_backoff_max_ms",
    "identity": "a producer id is requested again after retry_backoff_ms to retry_backoff_max_ms, with the next message where it was refused",
    "buffer": "send() waits until outcomes free space, at most max_block_ms, then raises BufferFull; send_nowait() raises it at once",
    "outcomes": "their memory is freed once they are read (successes(), errors(), outcomes()) and their callbacks have returned",
}
_NEXT_OF_TOPIC = "its metadata is requested again after retry_backoff_ms to retry_backoff_max_ms; after delivery_timeout_ms its messages fail"
_NEXT_OF_PLACE = "its messages keep their order and are sent once its leader answers; after delivery_timeout_ms they fail"


@dataclass(frozen=True, slots=True)
class BufferHolder:
    """A part of `buffer_memory` and the cause that it is in use."""

    topic: str | None
    """None: unread outcomes, or outcomes whose callbacks have not returned."""
    partition: int | None
    """None where it is not chosen yet."""
    bytes: int
    node_id: int | None
    """Its leader, or the last one; None: none was reached yet."""
    address: str | None
    cause: str
    """In words: in flight, or the trouble."""
    age_s: float
    """Age of the oldest message of it."""


@dataclass(frozen=True, slots=True)
class BufferHealth:
    """The budget of a producer now."""

    used_bytes: int
    capacity_bytes: int
    waiting_senders: int
    holders: tuple[BufferHolder, ...]
    """Its largest parts, at most ten."""


@dataclass(frozen=True, slots=True)
class ProducerHealth:
    """How a producer does now; see `Producer.health`."""

    state: Literal["ok", "degraded", "closed"]
    """closed: everything has its outcome, and nothing is accepted."""
    for_s: float
    """Degraded: since its first trouble; closed: since then; ok: 0."""
    troubles: tuple[HealthTrouble, ...]
    buffer: BufferHealth

    def __bool__(self) -> bool:
        return self.state == "ok"

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain dicts, lists, texts and numbers, for JSON."""
        plain = dataclasses.asdict(self)
        plain["troubles"] = list(plain["troubles"])
        plain["buffer"]["holders"] = list(plain["buffer"]["holders"])
        return plain


def _place(holder: Mapping[str, Any]) -> str:
    if holder["topic"] is None:
        return "outcomes"
    return (
        holder["topic"]
        if holder["partition"] is None
        else f"{holder['topic']}-{holder['partition']}"
    )


def producer_health(
    notes: Mapping[str, Trouble],
    budget: Mapping[str, Any],
    now: float,
    closed_for: float | None = None,
) -> ProducerHealth:
    """The health at this moment.

    Args:
        notes: Troubles that parts of the client have noted.
        budget: As `ProduceFlow.budget` returns it.
        now: By the clock of the notes, seconds.
        closed_for: Seconds since it was closed; None: it is open.
    """
    buffer = _buffer(budget)
    if closed_for is not None:
        return ProducerHealth(state="closed", for_s=closed_for, troubles=(), buffer=buffer)
    troubles = _troubles(notes, budget, now)
    return ProducerHealth(
        state="degraded" if troubles else "ok",
        for_s=max((trouble.for_s for trouble in troubles), default=0.0),
        troubles=tuple(troubles),
        buffer=buffer,
    )


def _troubles(
    notes: Mapping[str, Trouble], budget: Mapping[str, Any], now: float
) -> list[HealthTrouble]:
    troubles = [
        HealthTrouble(part, note.reason, max(0.0, now - note.since), _NEXT.get(part, ""))
        for part, note in notes.items()
    ]
    holders: Sequence[Mapping[str, Any]] = budget["holders"]
    full: bool = budget["full"]
    for holder in holders:
        place = _place(holder)
        if holder["moving"] or (place == "outcomes" and not full):
            continue
        of_place = _NEXT_OF_TOPIC if holder["partition"] is None else _NEXT_OF_PLACE
        following = _NEXT.get(place, of_place)
        troubles.append(HealthTrouble(place, holder["cause"], holder["age_s"], following))
    if full:
        oldest = max((holder["age_s"] for holder in holders), default=0.0)
        troubles.append(HealthTrouble("buffer", budget["told"], oldest, _NEXT["buffer"]))
    return troubles


def _buffer(budget: Mapping[str, Any]) -> BufferHealth:
    return BufferHealth(
        used_bytes=budget["used_bytes"],
        capacity_bytes=budget["capacity_bytes"],
        waiting_senders=budget["waiting_senders"],
        holders=tuple(
            BufferHolder(**{k: v for k, v in holder.items() if k != "moving"})
            for holder in budget["holders"]
        ),
    )
