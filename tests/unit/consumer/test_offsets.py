"""Committed offsets against a coordinator in memory: retries, and the fence between generations."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from ottla import errors
from ottla.config.consumer import consumer_config
from ottla.consumer.commits.fence import CommitIdentity
from ottla.consumer.commits.offsets import GroupOffsets, commit_failed
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

    async def connection(self) -> Coordinator:
        return self

    def forget_coordinator(self) -> None:
        pass

    def version_for(self, _request: object) -> int:
        return 9

    async def request(self, request: OffsetCommitRequest, version: int) -> OffsetCommitResponse:
        assert version == 9
        self.seen.append(request)
        await self.gate.wait()
        codes = self.codes.pop(0) if self.codes else {}
        if isinstance(codes, errors.Error):
            raise codes
        return OffsetCommitResponse(
            topics=[
                OffsetCommitResponseTopic(
                    name=topic.name,
                    partitions=[
                        OffsetCommitResponsePartition(
                            partition_index=part.partition_index,
                            error_code=codes.get(
                                TopicPartition(topic.name, part.partition_index), 0
                            ),
                        )
                        for part in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )


class Bench:
    def __init__(self) -> None:
        self.coordinator = Coordinator()
        self.membership = CommitIdentity("m", 1)
        self.tasks: list[asyncio.Task[None]] = []
        self.clock = LoopTime()
        config = consumer_config("localhost:9092", {"group_id": "g", "retry_backoff_ms": 1})
        self.offsets = GroupOffsets(
            cast("Any", self.coordinator), config, lambda: self.membership, cast("Any", self)
        )

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
