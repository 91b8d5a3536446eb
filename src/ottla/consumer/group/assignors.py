"""Assignors: functions with which the leader of a classic group distributes the partitions. Pure.

Every implementation has the result of Java's class of the same name, since members of one group may run different
clients. References: Java RangeAssignor, RoundRobinAssignor; KIP-881 (racks) is not used here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ottla.message import TopicPartition


class Member(NamedTuple):
    """One member, as known to the group leader."""

    member_id: str
    instance_id: str | None
    """Static members sort by this instead of their member id (KIP-345)."""
    topics: Sequence[str]


Assignment = dict[str, list[TopicPartition]]
"""member id -> its partitions, sorted by topic and partition."""

Assignor = Callable[[Sequence[Member], Mapping[str, int]], Assignment]
"""(members, topic -> number of partitions) -> assignment. Topics without known partitions are left out of the mapping."""


def _ordered(members: Sequence[Member]) -> list[Member]:
    """Java's order of members: static ones first, each kind by its own id."""
    return sorted(members, key=lambda m: (m.instance_id is None, m.instance_id or m.member_id))


def assign_range(members: Sequence[Member], partitions: Mapping[str, int]) -> Assignment:
    """Topic by topic, a run of neighbouring partitions for each member; the first members get one more."""
    result: Assignment = {member.member_id: [] for member in members}
    for topic in sorted(partitions):
        subscribers = _ordered([m for m in members if topic in m.topics])
        if not subscribers:
            continue
        share, extra = divmod(partitions[topic], len(subscribers))
        start = 0
        for position, member in enumerate(subscribers):
            count = share + (1 if position < extra else 0)
            result[member.member_id] += [
                TopicPartition(topic, p) for p in range(start, start + count)
            ]
            start += count
    return result


def assign_roundrobin(members: Sequence[Member], partitions: Mapping[str, int]) -> Assignment:
    """All partitions in order, dealt to the members in turn; members without a subscription of the topic are skipped."""
    result: Assignment = {member.member_id: [] for member in members}
    ordered = _ordered(members)
    turn = 0
    for topic in sorted(partitions):
        if not any(topic in member.topics for member in ordered):
            continue
        for partition in range(partitions[topic]):
            while topic not in ordered[turn % len(ordered)].topics:
                turn += 1
            result[ordered[turn % len(ordered)].member_id].append(TopicPartition(topic, partition))
            turn += 1
    return result


ASSIGNORS: dict[str, Assignor] = {"range": assign_range, "roundrobin": assign_roundrobin}
"""By the protocol name in JoinGroup."""
