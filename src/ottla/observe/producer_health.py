"""Health of a producer: whether its messages make progress, and the causes where they do not.

Pure: notes of troubles and the state of the budget in, one value out. Leaf; any thread.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ottla.observe.budget import cause_text, full_text, place_text
from ottla.observe.health_trouble import HealthTrouble
from ottla.seam.budget import Budget, Holder, InFlight, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ottla.observe.health import Trouble
    from ottla.observe.tls_health import TlsHealth

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
    """In words: in flight, or what its messages wait for."""
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
    tls: TlsHealth | None = None
    """When certificates expire; None: the connections are plain."""

    def __bool__(self) -> bool:
        return self.state == "ok"

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain dicts, lists, texts and numbers, for JSON."""
        plain = dataclasses.asdict(self)
        plain["troubles"] = list(plain["troubles"])
        plain["buffer"]["holders"] = list(plain["buffer"]["holders"])
        return plain


def producer_health(
    notes: Mapping[str, Trouble],
    budget: Budget,
    now: float,
    closed_for: float | None = None,
    tls: TlsHealth | None = None,
) -> ProducerHealth:
    """The health at this moment.

    Args:
        notes: Troubles that parts of the client have noted.
        budget: The producer's, with its largest holders.
        now: By the clock of the notes, seconds.
        closed_for: Seconds since it was closed; None: it is open.
        tls: When certificates expire.
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
        tls=tls,
    )


def _troubles(notes: Mapping[str, Trouble], budget: Budget, now: float) -> list[HealthTrouble]:
    troubles = [
        HealthTrouble(part, note.reason, max(0.0, now - note.since), _NEXT.get(part, ""))
        for part, note in notes.items()
    ]
    for holder in budget.holders:
        if isinstance(holder.cause, InFlight) or (holder.cause == "outcomes" and not budget.full):
            continue
        part = place_text(Place(holder.topic, holder.partition))
        of_place = _NEXT_OF_TOPIC if holder.partition is None else _NEXT_OF_PLACE
        following = _NEXT.get(part, of_place)
        troubles.append(HealthTrouble(part, _cause(holder, budget), holder.age_s, following))
    if budget.full:
        oldest = max((holder.age_s for holder in budget.holders), default=0.0)
        troubles.append(HealthTrouble("buffer", full_text(budget), oldest, _NEXT["buffer"]))
    return troubles


def _cause(holder: Holder, budget: Budget) -> str:
    return cause_text(holder.cause, callbacks_due=budget.callbacks_due)


def _buffer(budget: Budget) -> BufferHealth:
    return BufferHealth(
        used_bytes=budget.used_bytes,
        capacity_bytes=budget.capacity_bytes,
        waiting_senders=budget.waiting_senders,
        holders=tuple(
            BufferHolder(
                topic=holder.topic,
                partition=holder.partition,
                bytes=holder.size_bytes,
                node_id=holder.node_id,
                address=holder.address,
                cause=_cause(holder, budget),
                age_s=holder.age_s,
            )
            for holder in budget.holders
        ),
    )
