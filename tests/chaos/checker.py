"""What a producer said about its messages, against what the topic holds: pure, so that it can be tested itself.

The messages of one producer are numbered in the order of the calls; that is the order in which they have to lie in
each partition, whatever became of those in between.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

PROGRESS_S = 5.0
"""Within which a producer writes again once the cluster is whole (semantics: I5)."""


class Sent(NamedTuple):
    """One message as its delivery tells it."""

    number: int
    outcome: str | None
    """written, not_written, unknown; refused where `send` itself raised; None where nothing was told."""
    partition: int | None = None
    offset: int | None = None
    """-1 where the broker did not say."""
    accepted_s: float = 0.0
    """When `send` had returned."""
    resolved_s: float = 0.0
    """When the outcome was seen."""
    told: int = 1
    """How many outcomes it was given."""


class Seen(NamedTuple):
    """One record of the topic, read in the order of its partition."""

    number: int
    partition: int
    offset: int


class Deadline(NamedTuple):
    """By when an outcome is due after the message was accepted, and by how much a starved machine may be late."""

    due_s: float
    margin_s: Callable[[float, float], float] = lambda _from, _to: 0.0
    """How late whatever happened between two times may look, for the machine's sake."""


@dataclass
class Findings:
    """Numbers of the messages that break a promise, by promise. Falsy when every one was kept."""

    lost: list[int] = field(default_factory=list)
    """Said to be written, and not in the topic."""
    doubled: list[int] = field(default_factory=list)
    """In the topic more than once."""
    reordered: list[int] = field(default_factory=list)
    """In the topic behind a later message of their producer in the same partition."""
    written_after_all: list[int] = field(default_factory=list)
    """Said to be not written, or never accepted, and in the topic."""
    misplaced: list[int] = field(default_factory=list)
    """In the topic at another partition or offset than the delivery says."""
    unresolved: list[int] = field(default_factory=list)
    """Without an outcome."""
    retold: list[int] = field(default_factory=list)
    """With more than one outcome."""
    late: list[int] = field(default_factory=list)
    """With an outcome after it was due."""
    strange: list[int] = field(default_factory=list)
    """In the topic, but never sent."""

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def __str__(self) -> str:
        broken = [f"{len(found)} {what} {found[:5]}" for what, found in vars(self).items() if found]
        return ", ".join(broken) or "every promise kept"

    def kinds(self) -> dict[str, int]:
        """How often each promise was broken."""
        return {what: len(found) for what, found in vars(self).items()}


def check(sent: Iterable[Sent], seen: Iterable[Seen], deadline: Deadline | None = None) -> Findings:
    """Compare; with idempotence every finding is a defect, and `unknown` allows a message to be there or not.

    Args:
        sent: every message of one producer.
        seen: every record of that producer, in the order of its partition.
        deadline: None: outcomes may come at any time.
    """
    places: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    latest: dict[int, int] = {}
    findings = Findings()
    for record in seen:
        places[record.number].append((record.partition, record.offset))
        if latest.get(record.partition, -1) > record.number:
            findings.reordered.append(record.number)
        else:
            latest[record.partition] = record.number
    for message in sent:
        _check_place(message, places.pop(message.number, []), findings)
        _check_outcome(message, deadline, findings)
    findings.strange.extend(places)
    return findings


def _check_place(message: Sent, places: list[tuple[int, int]], findings: Findings) -> None:
    if len(places) > 1:
        findings.doubled.append(message.number)
    if message.outcome == "written" and not places:
        findings.lost.append(message.number)
    elif message.outcome in ("not_written", "refused") and places:
        findings.written_after_all.append(message.number)
    elif message.outcome == "written" and not _told_rightly(message, places):
        findings.misplaced.append(message.number)


def _check_outcome(message: Sent, deadline: Deadline | None, findings: Findings) -> None:
    if message.outcome is None or message.told == 0:
        findings.unresolved.append(message.number)
        return
    if message.told > 1:
        findings.retold.append(message.number)
    if deadline is not None and message.outcome != "refused":
        over = message.resolved_s - message.accepted_s - deadline.due_s
        if over > 0 and over > deadline.margin_s(message.accepted_s, message.resolved_s):
            findings.late.append(message.number)


def _told_rightly(message: Sent, places: list[tuple[int, int]]) -> bool:
    """Whether the delivery's place is one of the record's; a broker that knows the batch already tells no offset."""
    if message.offset == -1:
        return any(partition == message.partition for partition, _ in places)
    return (message.partition, message.offset) in places


def stalled(
    healed_s: float,
    first_written_s: Mapping[int, float],
    expected: Iterable[int],
    margin_s: float = 0.0,
) -> list[int]:
    """The partitions where nothing that was accepted after the fault healed was written in time.

    Args:
        healed_s: when the cluster was whole again, with leaders everywhere.
        first_written_s: partition -> when the first message accepted after that was told to be written.
        expected: partitions that were sent to.
        margin_s: by how much a starved machine may be late.
    """
    limit = healed_s + PROGRESS_S + margin_s
    return [n for n in expected if first_written_s.get(n, float("inf")) > limit]
