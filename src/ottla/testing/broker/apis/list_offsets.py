"""ListOffsets: the first, the last, or the offset at a time.

Timestamp -1 is the end of the log, -2 its start, -3 the first record with the highest timestamp (7+), -4 the start of
the local log (8+, the same here), -5 the end of the tiered part (9+, always empty). Any other asks for the first record
that is not older; none is answered with offset -1 and no error. Versions: 4+ leader epochs.
"""

from __future__ import annotations

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from ottla.testing.broker.call import Call


async def handle(request: ListOffsetsRequest, call: Call) -> ListOffsetsResponse:
    topics = [
        ListOffsetsTopicResponse(
            name=topic.name,
            partitions=[_offset(topic.name, part, call) for part in topic.partitions],
        )
        for topic in request.topics
    ]
    return ListOffsetsResponse(topics=topics)


def refuse(request: ListOffsetsRequest, call: Call, error: ErrorCode) -> ListOffsetsResponse:
    topics = [
        ListOffsetsTopicResponse(
            name=topic.name,
            partitions=[
                ListOffsetsPartitionResponse(partition_index=part.partition_index, error_code=error)
                for part in topic.partitions
            ],
        )
        for topic in request.topics
    ]
    return ListOffsetsResponse(topics=topics)


def _offset(topic: str, part: ListOffsetsPartition, call: Call) -> ListOffsetsPartitionResponse:
    answer = ListOffsetsPartitionResponse(partition_index=part.partition_index)
    partition = call.cluster.led_partition(
        call.node, topic, part.partition_index, part.current_leader_epoch
    )
    if isinstance(partition, ErrorCode):
        answer.error_code = partition
        return answer
    log = partition.log
    epoch = partition.leader_epoch
    found: tuple[int, int, int] | None
    match part.timestamp:
        case -1:
            found = log.end_offset, -1, epoch
        case -2 | -4:
            found = log.start_offset, -1, log.batches[0].leader_epoch if log.batches else epoch
        case -3:
            found = log.offset_of_max_timestamp()
        case -5:
            found = None
        case timestamp if timestamp >= 0:
            found = log.offset_at(timestamp)
        case _:
            answer.error_code = ErrorCode.UNSUPPORTED_VERSION
            return answer
    if found is not None:
        answer.offset, answer.timestamp, answer.leader_epoch = found
    if call.version < 4:
        answer.leader_epoch = -1
    return answer
