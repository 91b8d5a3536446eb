"""Compares the events of all members of a storm with the committed offsets and the ends of the log. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Event(NamedTuple):
    """One event of a member. All times are of one clock."""

    at: float
    member: str
    kind: str
    """assigned, revoking (`on_revoked` is called), revoked (it has returned), lost, processed, ended, killed."""
    partitions: tuple[int, ...] = ()
    offset: int = -1
    """Of the processed record."""


class Sample(NamedTuple):
    """The committed offset of a partition at a time."""

    asked: float
    """Time of the request."""
    answered: float
    partition: int
    offset: int


@dataclass
class Findings:
    """The broken promises of a storm, each as lines, and counts."""

    two_owners: list[str] = field(default_factory=list)
    """A partition was assigned to a member before another one had released it."""
    ahead: list[str] = field(default_factory=list)
    """A committed offset covered a record that no member had processed."""
    back: list[str] = field(default_factory=list)
    """A committed offset went back."""
    missing: list[str] = field(default_factory=list)
    """A record was processed by no member."""
    after_revoked: list[str] = field(default_factory=list)
    """A record was processed by a member to which its partition was not assigned."""
    unowned: list[str] = field(default_factory=list)
    """A partition had no owner at the end."""
    twice: Counter[str] = field(default_factory=Counter)
    """Records that were processed more than once, by the member that was not the first."""
    processed: int = 0
    losses: int = 0

    def broken(self, *, graceful: bool) -> dict[str, int]:
        """The number of broken promises by name. graceful: No member was killed, so no record may be processed twice."""
        names = ("two_owners", "ahead", "back", "missing", "after_revoked", "unowned")
        result = {name: len(getattr(self, name)) for name in names}
        if graceful:
            result["twice"] = sum(self.twice.values())
        return {name: count for name, count in result.items() if count}


def check(
    events: Iterable[Event],
    samples: Iterable[Sample],
    ends: Mapping[int, int],
    *,
    owned_at: float | None = None,
) -> Findings:
    """Check a storm.

    Args:
        events: Of all members, in any order.
        samples: Of the committed offsets, in any order.
        ends: The end of each partition; every record before it should be processed.
        owned_at: Time at which each partition should have an owner; None: after the last event.
    """
    found = Findings()
    processed: dict[tuple[int, int], float] = {}
    owners: dict[int, set[str]] = defaultdict(set)
    revoking: dict[str, set[int]] = defaultdict(set)
    unowned: list[str] | None = None
    for event in sorted(events, key=lambda one: one.at):
        if owned_at is not None and unowned is None and event.at > owned_at:
            unowned = _without_owner(ends, owners)
        if event.kind == "assigned":
            _assign(event, owners, revoking, found)
        elif event.kind == "revoking":
            revoking[event.member].update(event.partitions)
        elif event.kind == "processed":
            _process(event, owners, revoking, processed, found)
        elif event.kind in ("revoked", "lost", "ended", "killed"):
            found.losses += event.kind == "lost"
            for partition in (
                event.partitions if event.kind in ("revoked", "lost") else list(owners)
            ):
                owners[partition].discard(event.member)
    found.missing = [
        f"{partition}: {offset}"
        for partition, end in ends.items()
        for offset in range(end)
        if (partition, offset) not in processed
    ]
    found.unowned = _without_owner(ends, owners) if unowned is None else unowned
    _check_samples(samples, processed, found)
    return found


def _without_owner(ends: Mapping[int, int], owners: Mapping[int, set[str]]) -> list[str]:
    return [str(partition) for partition in ends if not owners.get(partition)]


def _assign(
    event: Event, owners: dict[int, set[str]], revoking: dict[str, set[int]], found: Findings
) -> None:
    revoking[event.member].difference_update(event.partitions)
    for partition in event.partitions:
        others = owners[partition] - {event.member}
        if others:
            found.two_owners.append(f"{partition} at {event.at:.3f}: {event.member}, {others}")
        owners[partition].add(event.member)


def _process(
    event: Event,
    owners: dict[int, set[str]],
    revoking: dict[str, set[int]],
    processed: dict[tuple[int, int], float],
    found: Findings,
) -> None:
    found.processed += 1
    (partition,) = event.partitions
    place = (partition, event.offset)
    if place in processed:
        found.twice[event.member] += 1
    processed.setdefault(place, event.at)
    if event.member not in owners[partition] or partition in revoking[event.member]:
        found.after_revoked.append(f"{place} by {event.member} at {event.at:.3f}")


def _check_samples(
    samples: Iterable[Sample], processed: Mapping[tuple[int, int], float], found: Findings
) -> None:
    before: dict[int, Sample] = {}
    for sample in sorted(samples, key=lambda one: one.asked):
        last = before.get(sample.partition)
        if last is not None and sample.offset < last.offset:
            found.back.append(
                f"{sample.partition} at {sample.answered:.3f}: {last.offset} to {sample.offset}"
            )
        start = 0 if last is None else max(0, last.offset)
        for offset in range(start, sample.offset):
            at = processed.get((sample.partition, offset))
            if at is None or at > sample.answered:
                found.ahead.append(f"{sample.partition}: {offset} at {sample.answered:.3f}")
        if last is None or sample.offset > last.offset:
            before[sample.partition] = sample
