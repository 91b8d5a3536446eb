"""Metadata: the living nodes, the controller, and the leaders of partitions.

All topics are asked for with an empty list in version 0 and with null from version 1 on, where an empty list means
none. Topics are created on demand if the broker's options and, from version 4 on, the request allow it. Versions: 10+
topic ids, 12+ a topic may be asked for by its id alone, 13+ an error for the whole response.
"""

from __future__ import annotations

from collections.abc import Iterator

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from ottla.protocol.primitives import ZERO_UUID
from ottla.testing.broker.call import Call
from ottla.testing.broker.state.topics import NO_LEADER, Topic


async def handle(request: MetadataRequest, call: Call) -> MetadataResponse:
    return _response(call, list(_topics(request, call)))


def refuse(request: MetadataRequest, call: Call, error: ErrorCode) -> MetadataResponse:
    asked = request.topics or []
    topics = [
        MetadataResponseTopic(error_code=error, name=topic.name, topic_id=topic.topic_id)
        for topic in asked
    ]
    response = _response(call, topics)
    response.error_code = error
    return response


def _response(call: Call, topics: list[MetadataResponseTopic]) -> MetadataResponse:
    nodes = [node for node in call.cluster.nodes.values() if node.alive]
    brokers = [
        MetadataResponseBroker(node_id=node.id, host=node.host, port=node.port, rack=node.rack)
        for node in nodes
    ]
    return MetadataResponse(
        brokers=brokers,
        cluster_id=call.cluster.id,
        controller_id=call.cluster.controller,
        topics=topics,
    )


def _topics(request: MetadataRequest, call: Call) -> Iterator[MetadataResponseTopic]:
    known = call.cluster.topics
    if request.topics is None or (call.version == 0 and not request.topics):
        for name in sorted(known.by_name):
            yield _described(known.by_name[name], call)
        return
    for asked in request.topics:
        yield _asked(asked, request, call)


def _asked(
    asked: MetadataRequestTopic, request: MetadataRequest, call: Call
) -> MetadataResponseTopic:
    topics = call.cluster.topics
    if asked.name is None:
        topic = topics.by_id.get(asked.topic_id)
        if topic is not None:
            return _described(topic, call)
        error = (
            ErrorCode.INVALID_REQUEST if asked.topic_id == ZERO_UUID else ErrorCode.UNKNOWN_TOPIC_ID
        )
        # Before version 12 the name of the answer is not nullable.
        name = None if call.version >= 12 else ""
        return MetadataResponseTopic(error_code=error, name=name, topic_id=asked.topic_id)
    known = topics.by_name.get(asked.name)
    if known is not None:
        return _described(known, call)
    allowed = call.version < 4 or request.allow_auto_topic_creation
    created: Topic | ErrorCode = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if allowed and call.cluster.options.auto_create_topics:
        created = call.cluster.auto_create(asked.name)
    if isinstance(created, ErrorCode):
        return MetadataResponseTopic(error_code=created, name=asked.name)
    return _described(created, call)


def _described(topic: Topic, call: Call) -> MetadataResponseTopic:
    alive = call.cluster.alive
    partitions = [
        MetadataResponsePartition(
            error_code=ErrorCode.LEADER_NOT_AVAILABLE
            if partition.leader == NO_LEADER
            else ErrorCode.NONE,
            partition_index=partition.index,
            leader_id=partition.leader,
            leader_epoch=partition.leader_epoch,
            replica_nodes=list(partition.replicas),
            isr_nodes=[node for node in partition.replicas if node in alive],
            offline_replicas=[node for node in partition.replicas if node not in alive],
        )
        for partition in topic.partitions
    ]
    return MetadataResponseTopic(name=topic.name, topic_id=topic.id, partitions=partitions)
