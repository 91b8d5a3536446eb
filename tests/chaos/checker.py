"""What a producer said about its messages, against what the topic holds: pure, so that it can be tested itself.

Messages are numbered in the order of the calls; per key, that is the order in which they have to lie in the log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Sent(NamedTuple):
    """One message as its delivery tells it. `offset` is -1 where the broker did not say."""

    number: int
    key: bytes
    outcome: str | None
    partition: int | None = None
    offset: int | None = None


class Seen(NamedTuple):
    """One record of the topic, read in the order of its partition."""

    number: int
    key: bytes
    partition: int
    offset: int


@dataclass
class Findings:
    """Numbers of the messages that break a promise, by promise. Falsy when every one was kept."""

    lost: list[int] = field(default_factory=list)
    """Said to be written, and not in the topic."""
    doubled: list[int] = field(default_factory=list)
    """In the topic more than once."""
    reordered: list[int] = field(default_factory=list)
    """In the topic behind a later message of their key."""
    written_after_all: list[int] = field(default_factory=list)
    """Said to be not written, and in the topic."""
    misplaced: list[int] = field(default_factory=list)
    """In the topic at another partition or offset than the delivery says."""
    unresolved: list[int] = field(default_factory=list)
    """Without an outcome."""
    strange: list[int] = field(default_factory=list)
    """In the topic, but never sent."""

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def __str__(self) -> str:
        kept = [f"{len(found)} {what} {found[:5]}" for what, found in vars(self).items() if found]
        return ", ".join(kept) or "every promise kept"


def check(sent: Iterable[Sent], seen: Iterable[Seen]) -> Findings:
    """Compare; with idempotence every finding is a defect, and `unknown` allows a message to be there or not."""
    places: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    latest: dict[bytes, int] = {}
    findings = Findings()
    for record in seen:
        places[record.number].append((record.partition, record.offset))
        if latest.get(record.key, -1) > record.number:
            findings.reordered.append(record.number)
        else:
            latest[record.key] = record.number
    for message in sent:
        _check_one(message, places.pop(message.number, []), findings)
    findings.strange.extend(places)
    return findings


def _check_one(message: Sent, places: list[tuple[int, int]], findings: Findings) -> None:
    if len(places) > 1:
        findings.doubled.append(message.number)
    if message.outcome is None:
        findings.unresolved.append(message.number)
    elif message.outcome == "written" and not places:
        findings.lost.append(message.number)
    elif message.outcome == "not_written" and places:
        findings.written_after_all.append(message.number)
    elif message.outcome == "written" and not _told_rightly(message, places):
        findings.misplaced.append(message.number)


def _told_rightly(message: Sent, places: list[tuple[int, int]]) -> bool:
    """Whether the delivery's place is one of the record's; a broker that knows the batch already tells no offset."""
    if message.offset == -1:
        return any(partition == message.partition for partition, _ in places)
    return (message.partition, message.offset) in places
