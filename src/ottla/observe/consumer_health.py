"""Health of a consumer or a group: the troubles that keep it from reading or committing, and its present waits.

Pure: notes of troubles and the waits of the parts in, one value out. Leaf; any thread.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ottla.observe.health_trouble import HealthTrouble

if TYPE_CHECKING:
    from ottla.observe.health import Trouble
    from ottla.observe.tls_health import TlsHealth

_NEXT = {
    "cluster": "the brokers and bootstrap_servers are asked again, after reconnect_backoff_ms to reconnect_backoff_max_ms",
    "group": "the member joins again after retry_backoff_ms to retry_backoff_max_ms; partitions are read as soon as it has some",
    "membership": "every poll raises this error; close the consumer, or unsubscribe and subscribe again",
    "application": "poll again: the member joins the group with the next poll",
    "commit": "the next commit includes the same offsets; until one succeeds they are read again after a restart",
}
_NEXT_OF_PARTITION = "its leader is asked again after retry_backoff_ms to retry_backoff_max_ms; other partitions are read meanwhile"


@dataclass(frozen=True, slots=True)
class HealthWait:
    """A present wait: its owner, its object and its reason. A wait is no trouble by itself."""

    who: str
    """`poll`, `claim orders-0`, `group`, `commit`, or a partition: `orders-0`."""
    waits_for: str
    """`records`, `the application`, `the other members`, `the coordinator`, `its leader`, `its start position`."""
    reason: str
    for_s: float


@dataclass(frozen=True, slots=True)
class MemberHealth:
    """The membership of a consumer now."""

    group_id: str
    state: str
    """The state, with its name in the log: unjoined, joining, planning, syncing, stable, revoking, stale, left, failed."""
    member_id: str
    """Empty before it joined."""
    generation: int
    """-1 before it joined."""
    assigned: int
    """Number of partitions that it has."""


@dataclass(frozen=True, slots=True)
class ConsumerHealth:
    """Health of a consumer or a group; see `Consumer.health`."""

    state: Literal["ok", "degraded", "closed"]
    """degraded: something is not read or not committed; closed: `close` has ended."""
    for_s: float
    """Degraded: since the first trouble; closed: since then; ok: 0."""
    troubles: tuple[HealthTrouble, ...]
    waits: tuple[HealthWait, ...]
    """The longest first."""
    member: MemberHealth | None
    """None without a subscription."""
    tls: TlsHealth | None = None
    """When certificates expire; None: the connections are plain."""

    def __bool__(self) -> bool:
        return self.state == "ok"

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain dicts, lists, texts and numbers, for JSON."""
        values = dataclasses.asdict(self)
        values["troubles"] = list(values["troubles"])
        values["waits"] = list(values["waits"])
        return values


def consumer_health(
    notes: Mapping[str, Trouble],
    waits: Iterable[HealthWait],
    member: MemberHealth | None,
    now: float,
    closed_for: float | None = None,
    tls: TlsHealth | None = None,
) -> ConsumerHealth:
    """Judge.

    Args:
        notes: Troubles by part.
        waits: The waits of all parts.
        member: The membership, where there is one.
        now: By the clock of the notes, seconds.
        closed_for: Seconds since it was closed; None: it is open.
        tls: When certificates expire.
    """
    if closed_for is not None:
        return ConsumerHealth("closed", closed_for, (), (), None)
    troubles = tuple(_trouble(part, note, now) for part, note in notes.items())
    return ConsumerHealth(
        state="degraded" if troubles else "ok",
        for_s=max((trouble.for_s for trouble in troubles), default=0.0),
        troubles=troubles,
        waits=tuple(sorted(waits, key=lambda wait: -wait.for_s)),
        member=member,
        tls=tls,
    )


def _trouble(part: str, note: Trouble, now: float) -> HealthTrouble:
    following = note.next_step or _NEXT.get(part, _NEXT_OF_PARTITION)
    return HealthTrouble(part, note.reason, max(0.0, now - note.since), following)
