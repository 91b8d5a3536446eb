"""OffsetFetch: committed offsets of groups; a partition without an offset is answered with -1 and no error.

An unknown group has no offsets, which is no error either. Versions: 2+ null asks for all partitions with an
offset, 5+ leader epochs, 8+ several groups at once, 9+ may name the member, which is checked for groups of the new
protocol alone, so not here, 10+ topics by id.
"""

from __future__ import annotations

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)
from ottla.protocol.primitives import ZERO_UUID
from ottla.testing.broker.call import Call
from ottla.testing.broker.state.offsets import Offsets

SEVERAL_FROM = 8
TOPIC_IDS_FROM = 10


async def handle(request: OffsetFetchRequest, call: Call) -> OffsetFetchResponse:
    groups = [_group(group, call) for group in _asked(request, call)]
    return _response(groups, call)


def refuse(request: OffsetFetchRequest, call: Call, error: ErrorCode) -> OffsetFetchResponse:
    groups = [
        OffsetFetchResponseGroup(group_id=group.group_id, error_code=error)
        for group in _asked(request, call)
    ]
    return _response(groups, call)


def _asked(request: OffsetFetchRequest, call: Call) -> list[OffsetFetchRequestGroup]:
    """Return the request in the shape of version 8."""
    if call.version >= SEVERAL_FROM:
        return request.groups
    topics = None
    if request.topics is not None:
        topics = [
            OffsetFetchRequestTopics(name=topic.name, partition_indexes=topic.partition_indexes)
            for topic in request.topics
        ]
    return [OffsetFetchRequestGroup(group_id=request.group_id, topics=topics)]


def _response(groups: list[OffsetFetchResponseGroup], call: Call) -> OffsetFetchResponse:
    """Return the response in the shape of the version; before 2 an error stands at each partition."""
    if call.version >= SEVERAL_FROM:
        return OffsetFetchResponse(groups=groups)
    (only,) = groups
    topics = [
        OffsetFetchResponseTopic(
            name=topic.name,
            partitions=[
                OffsetFetchResponsePartition(
                    partition_index=part.partition_index,
                    committed_offset=part.committed_offset,
                    committed_leader_epoch=part.committed_leader_epoch,
                    metadata=part.metadata,
                    error_code=part.error_code,
                )
                for part in topic.partitions
            ],
        )
        for topic in only.topics
    ]
    return OffsetFetchResponse(topics=topics, error_code=only.error_code)


def _group(asked: OffsetFetchRequestGroup, call: Call) -> OffsetFetchResponseGroup:
    error = call.cluster.group_error(call.node, asked.group_id)
    if error:
        return OffsetFetchResponseGroup(group_id=asked.group_id, error_code=error)
    known = call.cluster.groups.by_name.get(asked.group_id)
    offsets = known.offsets if known is not None else Offsets()
    topics = asked.topics
    if topics is None:
        topics = [_topic(name, parts, call) for name, parts in offsets.topics().items()]
    answers = [_offsets(topic, offsets, call) for topic in topics]
    return OffsetFetchResponseGroup(group_id=asked.group_id, topics=answers)


def _topic(name: str, partitions: list[int], call: Call) -> OffsetFetchRequestTopics:
    known = call.cluster.topics.by_name.get(name)
    topic_id = known.id if known is not None else ZERO_UUID
    return OffsetFetchRequestTopics(name=name, topic_id=topic_id, partition_indexes=partitions)


def _offsets(
    topic: OffsetFetchRequestTopics, offsets: Offsets, call: Call
) -> OffsetFetchResponseTopics:
    name: str | None = topic.name
    if call.version >= TOPIC_IDS_FROM:
        known = call.cluster.topics.by_id.get(topic.topic_id)
        name = None if known is None else known.name
    partitions = [_offset(name, index, offsets) for index in topic.partition_indexes]
    return OffsetFetchResponseTopics(
        name=topic.name, topic_id=topic.topic_id, partitions=partitions
    )


def _offset(name: str | None, index: int, offsets: Offsets) -> OffsetFetchResponsePartitions:
    answer = OffsetFetchResponsePartitions(
        partition_index=index, committed_offset=-1, committed_leader_epoch=-1, metadata=""
    )
    if name is None:
        answer.error_code = ErrorCode.UNKNOWN_TOPIC_ID
        return answer
    committed = offsets.get(name, index)
    if committed is not None:
        answer.committed_offset = committed.offset
        answer.committed_leader_epoch = committed.leader_epoch
        answer.metadata = committed.metadata
    return answer
