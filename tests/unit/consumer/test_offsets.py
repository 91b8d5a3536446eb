"""Committed offsets against a coordinator in memory: retries, and the fence between generations."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from ottla import errors
from ottla.config.consumer import consumer_config
from ottla.consumer.commits.fence import CommitFence, CommitIdentity
from ottla.consumer.commits.offsets import GroupOffsets
from ottla.consumer.commits.words import commit_failed
from ottla.consumer.group.report import GroupReport
from ottla.engine.clock import ManualClock
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.observe.events import Event, Events
from ottla.observe.health import Health
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from ottla.protocol.primitives import ZERO_UUID
from tests.unit.doubles import LoopTime

FIRST, SECOND = TopicPartition("t", 0), TopicPartition("t", 1)


class Coordinator:
    """Answers commits with the codes that a test gives, and then with none."""

    group_id = "g"

    def __init__(self) -> None:
        self.health = Health()
        self.emitted: list[Event] = []
        events = Events()
        events.listen(self.emitted.append)
        self.report = GroupReport("g", events, self.health, ManualClock())
        self.codes: list[dict[TopicPartition, int] | errors.Error] = []
        self.seen: list[OffsetCommitRequest] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.version = 9
        self.ids = {"t": b"1" * 16}
        self.known = {FIRST, SECOND}
        self.refreshes = 0
        self.left_out: set[TopicPartition] = set()

    def topic_id(self, topic: str) -> bytes:
        return self.ids.get(topic, ZERO_UUID)

    def knows(self, tp: TopicPartition) -> bool:
        return tp in self.known

    def refresh_metadata(self, _reason: str) -> None:
        self.refreshes += 1

    async def connection(self) -> Coordinator:
        return self

    def forget_coordinator(self) -> None:
        pass

    def version_for(self, _request: object) -> int:
        return self.version

    async def request(self, request: OffsetCommitRequest, version: int) -> OffsetCommitResponse:
        assert version == self.version
        self.seen.append(request)
        await self.gate.wait()
        codes = self.codes.pop(0) if self.codes else {}
        if isinstance(codes, errors.Error):
            raise codes
        return OffsetCommitResponse(
            topics=[
                OffsetCommitResponseTopic(
                    name=topic.name,
                    topic_id=topic.topic_id,
                    partitions=[
                        OffsetCommitResponsePartition(
                            partition_index=part.partition_index,
                            error_code=codes.get(
                                TopicPartition(topic.name or "t", part.partition_index), 0
                            ),
                        )
                        for part in topic.partitions
                        if TopicPartition("t", part.partition_index) not in self.left_out
                    ],
                )
                for topic in request.topics
            ]
        )


class Bench:
    def __init__(self, timeout_ms: int = 60_000) -> None:
        self.coordinator = Coordinator()
        self.membership = CommitIdentity("m", 1)
        self.owner = {FIRST: 1, SECOND: 1}
        self.position_id = ZERO_UUID
        self.tasks: list[asyncio.Task[None]] = []
        self.clock = LoopTime()
        self.refused: list[tuple[CommitIdentity, int]] = []
        config = consumer_config(
            "localhost:9092",
            {"group_id": "g", "retry_backoff_ms": 1, "default_api_timeout_ms": timeout_ms},
        )
        self.offsets = GroupOffsets(
            cast("Any", self.coordinator),
            config,
            CommitFence(
                lambda: self.membership,
                lambda tp: self.owner.get(tp, 1),
                lambda _: self.position_id,
            ),
            cast("Any", self),
        )
        self.offsets.on_refused(lambda identity, code: self.refused.append((identity, code)))

    def spawn(self, work: Coroutine[Any, Any, None], _name: str) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))


def at(offset: int) -> OffsetAndMetadata:
    return OffsetAndMetadata(offset)


async def test_failures_are_reported_by_partition() -> None:
    bench = Bench()
    bench.coordinator.codes = [
        errors.ConnectionLost("gone"),
        {SECOND: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS},
        {SECOND: ErrorCode.TOPIC_AUTHORIZATION_FAILED},
    ]
    with pytest.raises(errors.CommitFailed) as failed:
        await bench.offsets.commit({FIRST: at(1), SECOND: at(2)})
    assert list(failed.value.partitions) == [SECOND]
    assert [len(request.topics[0].partitions) for request in bench.coordinator.seen] == [2, 2, 1]


async def test_an_offset_of_an_older_generation_is_not_sent_under_the_new_one() -> None:
    bench = Bench()
    bench.coordinator.codes = [{FIRST: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS}]
    bench.coordinator.gate.clear()
    under_way = bench.offsets.commit({FIRST: at(10)})
    waiting = bench.offsets.commit({SECOND: at(5)})
    await asyncio.sleep(0)
    bench.membership = CommitIdentity("m", 2)
    bench.owner = dict.fromkeys(bench.owner, 2)
    after = bench.offsets.commit({FIRST: at(30)})
    bench.coordinator.gate.set()
    for old, place in ((under_way, FIRST), (waiting, SECOND)):
        with pytest.raises(errors.CommitFailed) as failed:
            await old
        error = failed.value.partitions[place]
        assert isinstance(error, errors.KafkaError)
        assert error.code == ErrorCode.ILLEGAL_GENERATION
    await after
    sent = [
        (request.generation_id_or_member_epoch, part.partition_index, part.committed_offset)
        for request in bench.coordinator.seen
        for part in request.topics[0].partitions
    ]
    assert sent == [(1, 0, 10), (2, 0, 30)]


async def test_drain_waits_for_every_requested_commit() -> None:
    bench = Bench()
    await bench.offsets.drain()
    bench.coordinator.gate.clear()
    first = bench.offsets.commit({FIRST: at(1)})
    second = bench.offsets.commit({FIRST: at(2)})
    drained = asyncio.ensure_future(bench.offsets.drain())
    await asyncio.sleep(0)
    assert not drained.done()
    bench.coordinator.gate.set()
    await asyncio.wait_for(drained, 5)
    assert first.done()
    assert second.done()
    await first
    await second


async def test_a_reason_that_partitions_share_stands_once_and_in_words() -> None:
    bench = Bench()
    places = [TopicPartition("t", number) for number in range(6)]
    refused = dict.fromkeys(places, int(ErrorCode.TOPIC_AUTHORIZATION_FAILED))
    bench.coordinator.codes = [refused | {places[5]: int(ErrorCode.OFFSET_METADATA_TOO_LARGE)}]
    with pytest.raises(errors.CommitFailed) as failed:
        await bench.offsets.commit(dict.fromkeys(places, at(1)))
    text = str(failed.value)
    assert text == (
        "offsets were not committed for t-0, t-1, t-2, t-3, t-4: TOPIC_AUTHORIZATION_FAILED (29): this client may not read "
        "the topic; t-5: OFFSET_METADATA_TOO_LARGE (12): the metadata of the offset is longer than the broker allows "
        "(offset.metadata.max.bytes)"
    )
    assert set(failed.value.partitions) == set(places)


def test_a_commit_of_many_partitions_names_some_and_counts_the_rest() -> None:
    failures: dict[TopicPartition, BaseException] = {
        TopicPartition("t", number): errors.Timeout("too late") for number in range(100)
    }
    text = str(commit_failed(failures))
    assert text.count("too late") == 1
    assert "t-9 and 90 more: too late" in text


def code_of(failed: errors.CommitFailed, tp: TopicPartition) -> int:
    error = failed.partitions[tp]
    assert isinstance(error, errors.KafkaError)
    return error.code


async def test_a_deleted_topic_holds_up_neither_other_commits_nor_a_drain() -> None:
    bench = Bench()
    bench.coordinator.codes = [{FIRST: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}] * 100
    deleted = bench.offsets.commit({FIRST: at(1)})
    await asyncio.sleep(0)
    await asyncio.wait_for(bench.offsets.commit({SECOND: at(2)}), 1)
    assert not deleted.done(), "metadata knows the topic, so the explicit commit is retried"
    assert bench.coordinator.refreshes > 0
    await asyncio.wait_for(bench.offsets.drain(), 1)
    with pytest.raises(errors.CommitFailed) as failed:
        await deleted
    assert code_of(failed.value, FIRST) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_an_unknown_partition_is_not_retried_once_the_metadata_does_not_have_it() -> None:
    bench = Bench()
    bench.coordinator.codes = [{FIRST: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}] * 3
    deleted = bench.offsets.commit({FIRST: at(1)})
    bench.coordinator.known.discard(FIRST)
    with pytest.raises(errors.CommitFailed):
        await asyncio.wait_for(deleted, 1)
    assert len(bench.coordinator.seen) == 1


async def test_an_automatic_commit_does_not_wait_for_an_unknown_partition() -> None:
    bench = Bench()
    bench.coordinator.codes = [{FIRST: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}] * 3
    with pytest.raises(errors.CommitFailed):
        await asyncio.wait_for(
            bench.offsets.commit({FIRST: at(1), SECOND: at(1)}, is_explicit=False), 1
        )
    assert len(bench.coordinator.seen) == 1


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.ILLEGAL_GENERATION,
        ErrorCode.FENCED_INSTANCE_ID,
    ],
)
async def test_an_answer_that_ends_the_membership_is_reported_with_its_identity(
    code: ErrorCode,
) -> None:
    bench = Bench()
    bench.coordinator.codes = [{FIRST: code, SECOND: code}]
    with pytest.raises(errors.CommitFailed):
        await bench.offsets.commit({FIRST: at(1), SECOND: at(1)})
    assert bench.refused == [(CommitIdentity("m", 1), code)]


async def test_an_unanswered_commit_has_the_outcome_unknown_and_its_cause() -> None:
    bench = Bench(timeout_ms=50)
    lost = errors.ConnectionLost("the broker closed it", outcome="unknown")
    bench.coordinator.codes = [lost] * 100
    with pytest.raises(errors.CommitFailed) as failed:
        await asyncio.wait_for(bench.offsets.commit({FIRST: at(1)}), 1)
    assert failed.value.outcome == "unknown"
    assert "the broker closed it" in str(failed.value)


async def test_a_commit_ends_at_its_deadline_while_its_request_is_in_flight() -> None:
    bench = Bench(timeout_ms=50)
    bench.coordinator.gate.clear()
    with pytest.raises(errors.CommitFailed) as failed:
        await asyncio.wait_for(bench.offsets.commit({FIRST: at(1)}), 1)
    assert failed.value.outcome == "unknown"
    bench.coordinator.gate.set()
    await asyncio.gather(*bench.tasks)
    await bench.offsets.drain()


async def test_a_coordinator_that_was_never_reached_committed_nothing() -> None:
    bench = Bench(timeout_ms=50)
    bench.coordinator.codes = [errors.NoBrokersAvailable("no broker")] * 100
    with pytest.raises(errors.CommitFailed) as failed:
        await asyncio.wait_for(bench.offsets.commit({FIRST: at(1)}), 1)
    assert failed.value.outcome is None


async def test_a_partition_that_the_answer_leaves_out_is_not_committed() -> None:
    bench = Bench()
    bench.coordinator.left_out = {SECOND}
    with pytest.raises(errors.CommitFailed) as failed:
        await bench.offsets.commit({FIRST: at(1), SECOND: at(1)})
    assert list(failed.value.partitions) == [SECOND]
    assert failed.value.outcome == "unknown"


async def test_topics_are_named_by_id_where_the_broker_can() -> None:
    bench = Bench()
    bench.coordinator.version = 10
    await bench.offsets.commit({FIRST: at(1)})
    (request,) = bench.coordinator.seen
    assert (request.topics[0].name, request.topics[0].topic_id) == ("", b"1" * 16)


async def test_an_offset_is_committed_under_the_topic_id_of_its_position() -> None:
    bench = Bench()
    bench.coordinator.version = 10
    bench.position_id = b"0" * 16
    await bench.offsets.commit({FIRST: at(1)})
    assert bench.coordinator.seen[0].topics[0].topic_id == b"0" * 16


async def test_a_failure_makes_the_book_forget_the_partition() -> None:
    bench = Bench()
    await bench.offsets.commit({FIRST: at(1)})
    assert not bench.offsets.book.differs(FIRST, at(1), is_last=False)
    bench.coordinator.codes = [{FIRST: ErrorCode.TOPIC_AUTHORIZATION_FAILED}]
    with pytest.raises(errors.CommitFailed):
        await bench.offsets.commit({FIRST: at(2)})
    assert bench.offsets.book.differs(FIRST, at(1), is_last=False)


async def test_an_offset_of_a_retained_partition_is_sent_under_the_new_generation() -> None:
    bench = Bench()
    bench.coordinator.codes = [{FIRST: ErrorCode.REBALANCE_IN_PROGRESS}]
    retained = bench.offsets.commit({FIRST: at(10)})
    await asyncio.sleep(0)
    bench.membership = CommitIdentity("m", 2)
    await asyncio.wait_for(retained, 5)
    assert [seen.generation_id_or_member_epoch for seen in bench.coordinator.seen] == [1, 2]
