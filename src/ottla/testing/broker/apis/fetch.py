"""Fetch: batches as they are stored, from each offset on; waits for `min_bytes` up to `max_wait_ms`.

The first batch of the answer comes whole even if it is larger than every limit (KIP-74). A partition in error ends the
wait. Any change of a partition (append, leader, deletion) wakes the fetches that wait for it; the wait holds up its own
connection only, as in Kafka. The last stable offset is the end: there are no transactions. Versions: 7+ sessions
(KIP-227), 9+ leader epochs are checked, 12+ name the leader when the node is not it, and where the log differs from the records
of the epoch that the client fetched last (KIP-595), 13+ topics by id, 16+ with the leader's address (KIP-951).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.fetch import (
    EpochEndOffset,
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionData,
)
from ottla.testing.broker.call import Call
from ottla.testing.broker.state.fetch_sessions import NO_SESSION, Key, Session, Wanted
from ottla.testing.broker.state.topics import Partition

SESSIONS_FROM = 7
LEADER_HINT_FROM = 12
TOPIC_IDS_FROM = 13
ADDRESSES_FROM = 16
READ_COMMITTED = 1
_HINTED = (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH)


async def handle(request: FetchRequest, call: Call) -> FetchResponse:
    session = call.cluster.fetch_sessions[call.node].enter(request)
    if isinstance(session, ErrorCode):
        return FetchResponse(error_code=session)
    wanted = list(session.wanted.values())
    await _wait(request, wanted, call)
    answers = _read(request, wanted, call)
    return _response(session, answers, call)


def refuse(request: FetchRequest, call: Call, error: ErrorCode) -> FetchResponse:
    """Refuse the partitions that the request names; an incremental one that names none, as a whole."""
    if call.version >= SESSIONS_FROM and not request.topics:
        return FetchResponse(error_code=error)
    topics = [
        FetchableTopicResponse(
            topic=topic.topic,
            topic_id=topic.topic_id,
            partitions=[_refused(part.partition, error) for part in topic.partitions],
        )
        for topic in request.topics
    ]
    return FetchResponse(responses=topics, session_id=NO_SESSION)


def _refused(index: int, error: ErrorCode) -> PartitionData:
    return PartitionData(
        partition_index=index,
        error_code=error,
        high_watermark=-1,
        aborted_transactions=None,
        records=b"",
    )


def _name(key: Key, call: Call) -> str | None:
    topic, topic_id, _ = key
    if call.version < TOPIC_IDS_FROM:
        return topic
    known = call.cluster.topics.by_id.get(topic_id)
    return None if known is None else known.name


def _find(wanted: Wanted, call: Call) -> Partition | ErrorCode | EpochEndOffset:
    """Return the partition if this node can read it at the wanted offset, or the point where its log differs from the fetched records."""
    name, part = _name(wanted.key, call), wanted.part
    if name is None:
        return ErrorCode.UNKNOWN_TOPIC_ID
    partition = call.cluster.led_partition(
        call.node, name, part.partition, part.current_leader_epoch
    )
    if isinstance(partition, ErrorCode):
        return partition
    log, epoch = partition.log, part.last_fetched_epoch
    if epoch >= 0:
        end = log.end_of_epoch(epoch)
        if end is None:
            return ErrorCode.OFFSET_OUT_OF_RANGE
        if end[0] < epoch or end[1] < part.fetch_offset:
            return EpochEndOffset(epoch=end[0], end_offset=end[1])
    if not log.start_offset <= part.fetch_offset <= log.end_offset:
        return ErrorCode.OFFSET_OUT_OF_RANGE
    return partition


async def _wait(request: FetchRequest, wanted: Sequence[Wanted], call: Call) -> None:
    """Return when there is enough data, an error, or the time has passed."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + request.max_wait_ms / 1000
    while loop.time() < deadline:
        missing = min(request.min_bytes, request.max_bytes)
        places: list[Partition] = []
        for one in wanted:
            partition = _find(one, call)
            if not isinstance(partition, Partition):
                return
            missing -= partition.log.available(one.part.fetch_offset, missing)
            if missing <= 0:
                return
            places.append(partition)
        if request.min_bytes <= 0:
            return
        await _change(places, deadline)


async def _change(partitions: Sequence[Partition], deadline: float) -> None:
    """Wait until one of the partitions changes, or the deadline."""
    loop = asyncio.get_running_loop()
    changed = loop.create_future()

    def wake() -> None:
        if not changed.done():
            changed.set_result(None)

    timer = loop.call_at(deadline, wake)
    for partition in partitions:
        partition.waiters.add(wake)
    try:
        await changed
    finally:
        timer.cancel()
        for partition in partitions:
            partition.waiters.discard(wake)


def _read(
    request: FetchRequest, wanted: Sequence[Wanted], call: Call
) -> list[tuple[Wanted, PartitionData]]:
    left = request.max_bytes
    answers = []
    for one in wanted:
        partition = _find(one, call)
        if isinstance(partition, ErrorCode):
            answer = _refused(one.part.partition, partition)
            _hint(answer, one, call)
        elif isinstance(partition, EpochEndOffset):
            answer = _diverging(one, partition, call)
        else:
            answer = _data(partition, one.part, left, left == request.max_bytes)
            left -= len(answer.records or b"")
            if request.isolation_level == READ_COMMITTED:
                answer.aborted_transactions = []
        answers.append((one, answer))
    return answers


def _data(
    partition: Partition, part: FetchPartition, left: int, at_least_one: bool
) -> PartitionData:
    log = partition.log
    return PartitionData(
        partition_index=part.partition,
        high_watermark=log.end_offset,
        last_stable_offset=log.end_offset,
        log_start_offset=log.start_offset,
        aborted_transactions=None,
        records=log.read(part.fetch_offset, min(part.partition_max_bytes, left), at_least_one),
    )


def _diverging(wanted: Wanted, at: EpochEndOffset, call: Call) -> PartitionData:
    known = call.cluster.topics.partition(_name(wanted.key, call) or "", wanted.part.partition)
    assert known is not None
    answer = _data(known, wanted.part, 0, False)
    answer.records, answer.diverging_epoch = b"", at
    return answer


def _hint(answer: PartitionData, wanted: Wanted, call: Call) -> None:
    """Name the leader where the version can."""
    name = _name(wanted.key, call)
    if call.version < LEADER_HINT_FROM or answer.error_code not in _HINTED or name is None:
        return
    known = call.cluster.topics.partition(name, wanted.part.partition)
    if known is not None:
        answer.current_leader = LeaderIdAndEpoch(
            leader_id=known.leader, leader_epoch=known.leader_epoch
        )


def _response(
    session: Session, answers: list[tuple[Wanted, PartitionData]], call: Call
) -> FetchResponse:
    topics: dict[tuple[str, bytes], FetchableTopicResponse] = {}
    leaders: set[int] = set()
    for wanted, answer in answers:
        is_news = wanted.is_news(answer)
        if session.is_incremental and not is_news:
            continue
        name, topic_id, _ = wanted.key
        topic = topics.setdefault(
            (name, topic_id), FetchableTopicResponse(topic=name, topic_id=topic_id)
        )
        topic.partitions.append(answer)
        if answer.current_leader.leader_id >= 0:
            leaders.add(answer.current_leader.leader_id)
    session.rotate(wanted.key for wanted, answer in answers if answer.records)
    nodes = [call.cluster.nodes[id_] for id_ in sorted(leaders)]
    endpoints = [NodeEndpoint(node_id=node.id, host=node.host, port=node.port) for node in nodes]
    return FetchResponse(
        session_id=session.id if call.version >= SESSIONS_FROM else NO_SESSION,
        responses=list(topics.values()),
        node_endpoints=endpoints if call.version >= ADDRESSES_FROM else (),
    )
