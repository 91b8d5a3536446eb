"""The fence of a commit: the ownership of its partition, and the member that commits. Plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ottla.errors import KafkaError
from ottla.message import TopicPartition
from ottla.protocol.error_codes import ErrorCode

NOT_A_MEMBER = frozenset(
    {
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.ILLEGAL_GENERATION,
        ErrorCode.FENCED_INSTANCE_ID,
    }
)
"""Answers that end the membership under which the commit was sent."""


class Ownership(NamedTuple):
    """One assignment of one partition to this consumer. Progress, marks and commits of it are void under any other one."""

    epoch: int
    """Generation of the group in which the partition was assigned; -1 without a group."""
    serial: int
    """Number of the assignment in this process: a partition that is assigned again gets a larger one."""


Owned = Mapping[TopicPartition, Ownership]
"""The assigned partitions, each with its ownership. It never changes: an assignment or a revocation replaces it."""


class CommitIdentity(NamedTuple):
    """Member and generation of a commit; the coordinator refuses commits of an older generation."""

    member_id: str = ""
    generation: int = -1
    instance_id: str | None = None


class CommitFence(NamedTuple):
    """The bounds of a commit: an offset is sent only under the ownership of its call, and with the newest identity."""

    identity: Callable[[], CommitIdentity]
    """The member and generation of the next request."""
    ownership: Callable[[TopicPartition], object]
    """The ownership of a partition now: equal to that of the call, or the offset is refused."""
    topic_id: Callable[[TopicPartition], bytes]
    """Id of the topic that the position of a partition belongs to; zero: it is not known. After the topic was recreated, the coordinator
    refuses offsets with its former id."""


def ends_membership(reason: BaseException) -> bool:
    """Whether a commit failed for this reason because its membership has ended."""
    return isinstance(reason, KafkaError) and reason.code in NOT_A_MEMBER
