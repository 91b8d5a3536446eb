"""OffsetForLeaderEpoch: where a leader epoch ends, so that a client notices records that were lost with a leader.

The answer holds the largest epoch up to the asked one and the offset behind its last record; the current epoch ends at
the end of the log, an epoch from before the first known one at the start of that one, and an epoch after the current one is answered
with -1 for both (KIP-101, KIP-320). Versions: 2+ the client's own epoch is checked.
"""

from __future__ import annotations

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
)
from ottla.testing.broker.call import Call


async def handle(request: OffsetForLeaderEpochRequest, call: Call) -> OffsetForLeaderEpochResponse:
    topics = [
        OffsetForLeaderTopicResult(
            topic=topic.topic,
            partitions=[_end(topic.topic, part, call) for part in topic.partitions],
        )
        for topic in request.topics
    ]
    return OffsetForLeaderEpochResponse(topics=topics)


def refuse(
    request: OffsetForLeaderEpochRequest, call: Call, error: ErrorCode
) -> OffsetForLeaderEpochResponse:
    topics = [
        OffsetForLeaderTopicResult(
            topic=topic.topic,
            partitions=[
                EpochEndOffset(partition=part.partition, error_code=error)
                for part in topic.partitions
            ],
        )
        for topic in request.topics
    ]
    return OffsetForLeaderEpochResponse(topics=topics)


def _end(topic: str, part: OffsetForLeaderPartition, call: Call) -> EpochEndOffset:
    answer = EpochEndOffset(partition=part.partition)
    partition = call.cluster.led_partition(
        call.node, topic, part.partition, part.current_leader_epoch
    )
    if isinstance(partition, ErrorCode):
        answer.error_code = partition
        return answer
    end = partition.log.end_of_epoch(part.leader_epoch)
    if end is not None:
        answer.leader_epoch, answer.end_offset = end
    return answer
