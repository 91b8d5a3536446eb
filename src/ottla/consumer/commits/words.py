"""The errors of commits, in words. Pure."""

from __future__ import annotations

from ottla import errors
from ottla.consumer.commits.fence import CommitIdentity
from ottla.consumer.commits.lane import Failures
from ottla.message import TopicPartition
from ottla.observe.log import named
from ottla.protocol.error_codes import ErrorCode

_IN_WORDS: dict[int, str] = {
    ErrorCode.OFFSET_METADATA_TOO_LARGE: "the metadata of the offset is longer than the broker allows (offset.metadata.max.bytes)",
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS: "the coordinator is still loading the offsets of the group",
    ErrorCode.COORDINATOR_NOT_AVAILABLE: "the coordinator could not be reached",
    ErrorCode.NOT_COORDINATOR: "the coordinator has moved to another broker",
    ErrorCode.ILLEGAL_GENERATION: "the group has rebalanced since, so the partition may belong to another member",
    ErrorCode.UNKNOWN_MEMBER_ID: "this consumer is not a member of the group any more: its session expired, or it left",
    ErrorCode.REBALANCE_IN_PROGRESS: "the group is rebalancing",
    ErrorCode.FENCED_INSTANCE_ID: "another member joined with the same group_instance_id",
    ErrorCode.GROUP_AUTHORIZATION_FAILED: "this client may not use the group",
    ErrorCode.TOPIC_AUTHORIZATION_FAILED: "this client may not read the topic",
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "the partition does not exist, or this client may not describe it",
    ErrorCode.UNKNOWN_TOPIC_ID: "the topic was deleted, and perhaps recreated under another id",
    ErrorCode.REQUEST_TIMED_OUT: "the coordinator did not replicate the commit in time",
}
"""Meaning of the error codes of a commit."""
_HAS_MEMBERS = "the group has members, and only they may commit to it: this consumer has partitions by assign()"
_NAMED = 10
"""Maximum number of partitions named per reason of a failed commit; the rest are counted."""


def refusal(tp: TopicPartition, code: int, identity: CommitIdentity) -> errors.KafkaError:
    """The error of one partition of a commit, for the code of the answer. identity: That of the request."""
    words = _IN_WORDS.get(code, "the coordinator refused the commit")
    if code == ErrorCode.UNKNOWN_MEMBER_ID and not identity.member_id:
        words = _HAS_MEMBERS
    outcome: errors.Outcome | None = "unknown" if code == ErrorCode.REQUEST_TIMED_OUT else None
    return errors.for_code(code, words, topic=tp.topic, partition=tp.partition, outcome=outcome)


def superseded(tp: TopicPartition) -> errors.KafkaError:
    """The error of an offset of an earlier ownership of the partition; it is not sent."""
    return refusal(tp, ErrorCode.ILLEGAL_GENERATION, CommitIdentity("?"))


def left_out(tp: TopicPartition) -> errors.Error:
    """The error of a partition that the answer does not have."""
    return errors.Error(
        "the coordinator's answer leaves the partition out",
        topic=tp.topic,
        partition=tp.partition,
        outcome="unknown",
    )


def commit_failed(failures: Failures) -> errors.CommitFailed:
    """The error of a commit of which these partitions failed. A reason that several partitions share stands once."""
    places: dict[str, list[str]] = {}
    for tp, error in sorted(failures.items()):
        places.setdefault(errors.line_of(error), []).append(str(tp))
    reasons = "; ".join(f"{named(names, _NAMED)}: {reason}" for reason, names in places.items())
    outcomes = {getattr(error, "outcome", None) for error in failures.values()}
    return errors.CommitFailed(
        f"offsets were not committed for {reasons}",
        partitions=dict(failures),
        outcome="unknown" if "unknown" in outcomes else None,
    )
