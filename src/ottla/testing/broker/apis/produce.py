"""Produce: append one batch per partition, answered with base offsets.

acks 0 gets no answer at all, and where it would be an error the connection is closed, so that the client learns that
something is wrong and asks for metadata; with -1 `min.insync.replicas` of the living replicas are needed
(NOT_ENOUGH_REPLICAS, nothing is appended), otherwise it is the same as 1; anything else is INVALID_REQUIRED_ACKS. A repeated idempotent batch is answered with its old offset, a gap in the sequences with
OUT_OF_ORDER_SEQUENCE_NUMBER (45). A
compacted topic takes no record without a key, and names those records (KIP-467). Topics keep the producer's time, which makes the answer's timestamp -1, or with `message.timestamp.type=LogAppendTime`
have the broker's. Versions: 10+ name the
leader when the node is not it (KIP-951), 13+ topics by id. Transactional batches are refused: there is no transaction
coordinator, so nothing could ever end them.
"""

from __future__ import annotations

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.produce import (
    BatchIndexAndErrorMessage,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)
from ottla.testing.broker.call import Call, Disconnect

LEADER_HINT_FROM = 10
TOPIC_IDS_FROM = 13
_ACKS = (-1, 0, 1)


async def handle(request: ProduceRequest, call: Call) -> ProduceResponse | None:
    if request.transactional_id is not None:
        response = _refuse_all(request, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    elif request.acks not in _ACKS:
        response = _refuse_all(request, ErrorCode.INVALID_REQUIRED_ACKS)
    else:
        response = ProduceResponse(
            responses=[
                _answer(
                    topic,
                    [_append(topic, part, call, request.acks) for part in topic.partition_data],
                )
                for topic in request.topic_data
            ]
        )
        _hint(response, call)
    if request.acks != 0:
        return response
    if any(part.error_code for topic in response.responses for part in topic.partition_responses):
        raise Disconnect
    return None


def refuse(request: ProduceRequest, call: Call, error: ErrorCode) -> ProduceResponse:
    if request.acks == 0:
        raise Disconnect
    return _refuse_all(request, error)


def _refuse_all(request: ProduceRequest, error: ErrorCode) -> ProduceResponse:
    responses = [
        _answer(topic, [_refused(part, error) for part in topic.partition_data])
        for topic in request.topic_data
    ]
    return ProduceResponse(responses=responses)


def _answer(
    topic: TopicProduceData, partitions: list[PartitionProduceResponse]
) -> TopicProduceResponse:
    return TopicProduceResponse(
        name=topic.name, topic_id=topic.topic_id, partition_responses=partitions
    )


def _refused(
    part: PartitionProduceData, error: ErrorCode, message: str | None = None
) -> PartitionProduceResponse:
    return PartitionProduceResponse(
        index=part.index, error_code=error, base_offset=-1, error_message=message
    )


def _append(
    topic: TopicProduceData, part: PartitionProduceData, call: Call, acks: int
) -> PartitionProduceResponse:
    name = topic.name
    if call.version >= TOPIC_IDS_FROM:
        known = call.cluster.topics.by_id.get(topic.topic_id)
        if known is None:
            return _refused(part, ErrorCode.UNKNOWN_TOPIC_ID)
        name = known.name
    partition = call.cluster.led_partition(call.node, name, part.index)
    if isinstance(partition, ErrorCode):
        answer = _refused(part, partition)
        hinted = call.cluster.topics.partition(name, part.index)
        if partition == ErrorCode.NOT_LEADER_OR_FOLLOWER and hinted is not None:
            answer.current_leader = LeaderIdAndEpoch(
                leader_id=hinted.leader, leader_epoch=hinted.leader_epoch
            )
        return answer
    appended = call.cluster.append(partition, part.records or b"", acks=acks)
    if appended.error:
        refused = _refused(part, appended.error, appended.message)
        refused.record_errors = [
            BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=text)
            for index, text in appended.record_errors
        ]
        return refused
    return PartitionProduceResponse(
        index=part.index,
        base_offset=appended.base_offset,
        log_append_time_ms=appended.append_time_ms,
        log_start_offset=partition.log.start_offset,
    )


def _hint(response: ProduceResponse, call: Call) -> None:
    """Add the addresses of the leaders named in the answer; drop the names where the version has none."""
    hinted: set[int] = set()
    for topic in response.responses:
        for part in topic.partition_responses:
            if call.version < LEADER_HINT_FROM:
                part.current_leader = LeaderIdAndEpoch()
            elif part.current_leader.leader_id >= 0:
                hinted.add(part.current_leader.leader_id)
    nodes = [call.cluster.nodes[id_] for id_ in sorted(hinted)]
    response.node_endpoints = [
        NodeEndpoint(node_id=node.id, host=node.host, port=node.port) for node in nodes
    ]
