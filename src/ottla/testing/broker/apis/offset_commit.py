"""OffsetCommit: by a member of the current generation, or from outside while the group has none.

Versions: 6+ leader epochs, 7+ static members, 10+ topics by id.
"""

from __future__ import annotations

import asyncio

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from ottla.testing.broker.call import Call
from ottla.testing.broker.state.groups import Group
from ottla.testing.broker.state.members import Who
from ottla.testing.broker.state.offsets import MAX_METADATA, Committed

TOPIC_IDS_FROM = 10


async def handle(request: OffsetCommitRequest, call: Call) -> OffsetCommitResponse:
    error = call.cluster.group_error(call.node, request.group_id)
    if error:
        return refuse(request, call, error)
    generation = request.generation_id_or_member_epoch
    known = call.cluster.groups.by_name.get(request.group_id)
    if known is None and generation >= 0:
        return refuse(request, call, ErrorCode.ILLEGAL_GENERATION)
    group = known or call.cluster.groups.get_or_create(request.group_id)
    who = Who(request.member_id, request.group_instance_id, generation)
    error = group.may_commit(who, asyncio.get_running_loop().time())
    if error:
        return refuse(request, call, error)
    topics = [
        OffsetCommitResponseTopic(
            name=topic.name,
            topic_id=topic.topic_id,
            partitions=[
                OffsetCommitResponsePartition(
                    partition_index=part.partition_index,
                    error_code=_commit(group, topic, part, call),
                )
                for part in topic.partitions
            ],
        )
        for topic in request.topics
    ]
    return OffsetCommitResponse(topics=topics)


def refuse(request: OffsetCommitRequest, call: Call, error: ErrorCode) -> OffsetCommitResponse:
    topics = [
        OffsetCommitResponseTopic(
            name=topic.name,
            topic_id=topic.topic_id,
            partitions=[
                OffsetCommitResponsePartition(
                    partition_index=part.partition_index, error_code=error
                )
                for part in topic.partitions
            ],
        )
        for topic in request.topics
    ]
    return OffsetCommitResponse(topics=topics)


def _commit(
    group: Group, topic: OffsetCommitRequestTopic, part: OffsetCommitRequestPartition, call: Call
) -> ErrorCode:
    name = topic.name
    if call.version >= TOPIC_IDS_FROM:
        known = call.cluster.topics.by_id.get(topic.topic_id)
        if known is None:
            return ErrorCode.UNKNOWN_TOPIC_ID
        name = known.name
    if call.cluster.topics.partition(name, part.partition_index) is None:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    metadata = part.committed_metadata or ""
    if len(metadata.encode()) > MAX_METADATA:
        return ErrorCode.OFFSET_METADATA_TOO_LARGE
    epoch = part.committed_leader_epoch if call.version >= 6 else -1
    group.offsets.commit(
        name, part.partition_index, Committed(part.committed_offset, epoch, metadata)
    )
    return ErrorCode.NONE
