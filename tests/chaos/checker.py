"""Compares the outcomes of a producer's messages with the records of the topic. A pure function, so it has tests itself.

The messages of one producer are numbered in the order of the calls; each partition must have them in
this order, regardless of the outcomes of the messages between two records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

PROGRESS_S = 5.0
"""Maximum number of seconds until a producer writes again once every fault has ended (semantics: I5)."""


class Sent(NamedTuple):
    """One message and the outcome of its delivery."""

    number: int
    outcome: str | None
    """written, not_written, unknown; refused where `send` itself raised; None without an outcome."""
    partition: int | None = None
    offset: int | None = None
    """-1 where the broker answered without one."""
    accepted_s: float = 0.0
    """Time at which `send` returned."""
    resolved_s: float = 0.0
    """Time at which the outcome was observed."""
    reports: int = 1
    """Number of outcomes that it was given."""


class Seen(NamedTuple):
    """One record of the topic, read in the order of its partition."""

    number: int
    partition: int
    offset: int


class Deadline(NamedTuple):
    """Time limit of an outcome after the message was accepted, and the allowance for a starved machine."""

    due_s: float
    margin_s: Callable[[float, float], float] = lambda _from, _to: 0.0
    """Seconds by which an event between two times may be late because of the machine."""


@dataclass
class Findings:
    """Numbers of the messages that break a promise, by promise. Falsy if every promise was kept."""

    lost: list[int] = field(default_factory=list)
    """Reported as written, and not in the topic."""
    doubled: list[int] = field(default_factory=list)
    """In the topic more than once."""
    reordered: list[int] = field(default_factory=list)
    """In the topic behind a later message of their producer in the same partition."""
    written_after_all: list[int] = field(default_factory=list)
    """Reported as not written, or never accepted, and in the topic."""
    misplaced: list[int] = field(default_factory=list)
    """In the topic at another partition or offset than the delivery's."""
    unresolved: list[int] = field(default_factory=list)
    """Without an outcome."""
    repeated: list[int] = field(default_factory=list)
    """With more than one outcome."""
    late: list[int] = field(default_factory=list)
    """With an outcome after it was due."""
    strange: list[int] = field(default_factory=list)
    """In the topic, but never sent."""

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def __str__(self) -> str:
        broken = [f"{len(found)} {kind} {found[:5]}" for kind, found in vars(self).items() if found]
        return ", ".join(broken) or "every promise kept"

    def kinds(self) -> dict[str, int]:
        """Number of findings of each kind."""
        return {kind: len(found) for kind, found in vars(self).items()}


def check(sent: Iterable[Sent], seen: Iterable[Seen], deadline: Deadline | None = None) -> Findings:
    """Compare; with idempotence every finding is a defect, and `unknown` allows a message to be there or not.

    Args:
        sent: Every message of one producer.
        seen: Every record of that producer, in the order of its partition.
        deadline: None: Outcomes may come at any time.
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
    elif message.outcome == "written" and not _is_well_placed(message, places):
        findings.misplaced.append(message.number)


def _check_outcome(message: Sent, deadline: Deadline | None, findings: Findings) -> None:
    if message.outcome is None or message.reports == 0:
        findings.unresolved.append(message.number)
        return
    if message.reports > 1:
        findings.repeated.append(message.number)
    if deadline is not None and message.outcome != "refused":
        late_s = message.resolved_s - message.accepted_s - deadline.due_s
        if late_s > 0 and late_s > deadline.margin_s(message.accepted_s, message.resolved_s):
            findings.late.append(message.number)


def _is_well_placed(message: Sent, places: list[tuple[int, int]]) -> bool:
    """Whether a record is at the delivery's place; a broker that knows the batch already answers without an offset."""
    if message.offset == -1:
        return any(partition == message.partition for partition, _ in places)
    return (message.partition, message.offset) in places


def stalled(
    healed_s: float,
    first_written_s: Mapping[int, float],
    expected: Iterable[int],
    margin_s: float = 0.0,
) -> list[int]:
    """The partitions without a message that was accepted after the fault ended and written in time.

    Args:
        healed_s: Time at which every fault had ended and every partition had a leader.
        first_written_s: partition -> time at which the first message accepted after that was reported as written.
        expected: The partitions of the sent messages.
        margin_s: Allowance for a starved machine.
    """
    limit = healed_s + PROGRESS_S + margin_s
    return [n for n in expected if first_written_s.get(n, float("inf")) > limit]
