"""Start positions under faults: each partition starts on its own, and no answer that is missing counts as "nothing there"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ottla import errors
from ottla.message import TopicPartition
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.list_offsets import ListOffsetsResponse
from ottla.protocol.messages.offset_fetch import OffsetFetchResponse
from ottla.testing import Broker
from ottla.testing.broker.apis import list_offsets, offset_fetch
from tests.faults.reading import Reading, fill, numbered, partitions
from tests.fixtures.logged import Logged

ALL = partitions("t", range(8))
STRUCK = TopicPartition("t", 5)
OTHERS = [tp for tp in ALL if tp != STRUCK]
AT_ONCE_S = 1.5
"""Seconds within which partitions without a fault are read, the join of the group included."""


def filled(broker: Broker, count: int = 2) -> None:
    broker.create_topic("t", partitions=len(ALL))
    for tp in ALL:
        fill(broker, "t", count, partition=tp.partition)


def begin(reading: Reading, *, group: bool) -> None:
    if group:
        reading.consumer.subscribe(["t"])
    else:
        reading.assign(*ALL)


@pytest.mark.parametrize("group", [True, False])
def test_a_partition_without_a_leader_delays_no_other_one(group: bool, logged: Logged) -> None:
    with Broker(2) as broker, Reading(broker, group_id="g" if group else None) as reading:
        filled(broker)
        broker.move_leader("t", STRUCK.partition, None)
        begin(reading, group=group)
        reading.read(2, *OTHERS, seconds=AT_ONCE_S)
        reading.let_pass(20)
        assert not reading.offsets[STRUCK]
        assert logged("position.unknown", topic="t", partition=STRUCK.partition)
        broker.move_leader("t", STRUCK.partition, 1)
        reading.read(2, STRUCK)
        assert not reading.errors
        assert all(reading.values[tp] == numbered(2) for tp in ALL)


@pytest.mark.parametrize("group", [True, False])
def test_a_leader_that_is_silent_delays_no_other_one(group: bool) -> None:
    with Broker(2) as broker, Reading(broker, group_id="g" if group else None) as reading:
        filled(broker)
        for tp in ALL:
            broker.move_leader("t", tp.partition, 2 if tp == STRUCK else 1)
        broker.delay("ListOffsets", 3600, times=None, node=2)
        begin(reading, group=group)
        reading.read(2, *OTHERS, seconds=AT_ONCE_S)
        reading.let_pass(10)
        assert not reading.offsets[STRUCK]
        broker.move_leader("t", STRUCK.partition, 1)
        reading.read(2, STRUCK)
        assert not reading.errors


@pytest.mark.parametrize("group", [True, False])
def test_a_topic_that_is_refused_delays_no_other_one_and_is_raised_once(group: bool) -> None:
    with Broker() as broker, Reading(broker, group_id="g" if group else None) as reading:
        filled(broker)
        broker.create_topic("secret", partitions=8)
        code = ErrorCode.TOPIC_AUTHORIZATION_FAILED

        def refuse(request: Any, call: Any) -> Any:
            names = {topic.name for topic in request.topics}
            if "secret" not in names:
                return None
            response = list_offsets.refuse(request, call, code)
            request.topics = [topic for topic in request.topics if topic.name != "secret"]
            mine = {topic.name: topic for topic in _now(list_offsets.handle(request, call)).topics}
            response.topics = [mine.get(topic.name, topic) for topic in response.topics]
            return response

        broker.answer("ListOffsets", refuse, times=None)
        if group:
            reading.consumer.subscribe(["t", "secret"])
        else:
            reading.assign(*ALL, *partitions("secret", range(8)))
        reading.read(2, *ALL, seconds=AT_ONCE_S)
        reading.let_pass(20)
        (error,) = reading.errors
        assert isinstance(error, errors.KafkaError)
        assert (error.code, error.topic) == (code, "secret")
        refused = reading.named("partition.refused")
        assert sorted(event["partition"] for event in refused) == list(range(8))


def _now(handling: Any) -> Any:
    """The result of a handler that does not wait."""
    try:
        handling.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the handler waits")


def _without(api: str, partition: int) -> Callable[[Any, Any], Any]:
    """An answer that leaves a partition out."""

    def answer(request: Any, call: Any) -> ListOffsetsResponse | OffsetFetchResponse:
        handler: Any = list_offsets if api == "ListOffsets" else offset_fetch
        response = _now(handler.handle(request, call))
        topics = response.topics if api == "ListOffsets" else response.groups[0].topics
        for topic in topics:
            topic.partitions = [
                part for part in topic.partitions if part.partition_index != partition
            ]
        return response  # type: ignore[no-any-return]

    return answer


@pytest.mark.parametrize("api", ["ListOffsets", "OffsetFetch"])
def test_an_answer_that_leaves_a_partition_out_is_no_answer_about_it(
    api: str, logged: Logged
) -> None:
    with Broker() as broker, Reading(broker, group_id="g") as reading:
        filled(broker, 20)
        if api == "OffsetFetch":
            committed_at_10(broker)
        first = 10 if api == "OffsetFetch" else 0
        broker.answer(api, _without(api, STRUCK.partition), times=None)
        reading.consumer.subscribe(["t"])
        reading.read(20 - first, *OTHERS, seconds=AT_ONCE_S)
        reading.let_pass(10)
        assert not reading.offsets[STRUCK], "no start that is not known"
        (line, *_) = logged("position.unknown", partition=STRUCK.partition)
        assert "left it out" in line.getMessage()
        broker.clear_rules()
        reading.read(20 - first, *ALL)
        assert all(reading.offsets[tp] == list(range(first, 20)) for tp in ALL)
        assert not logged("position.reset")


def committed_at_10(broker: Broker) -> None:
    with Reading(broker, group_id="g", enable_auto_commit=False) as before:
        before.consumer.subscribe(["t"])
        before.read(20, *ALL)
        before.consumer.commit(dict.fromkeys(ALL, 10))


@pytest.mark.parametrize(
    "code", [ErrorCode.UNSTABLE_OFFSET_COMMIT, ErrorCode.TOPIC_AUTHORIZATION_FAILED]
)
def test_a_committed_offset_that_is_refused_delays_no_other_one(code: ErrorCode) -> None:
    def refuse(request: Any, call: Any) -> Any:
        response = _now(offset_fetch.handle(request, call))
        for topic in response.groups[0].topics:
            for part in topic.partitions:
                if part.partition_index == STRUCK.partition:
                    part.error_code, part.committed_offset = code, -1
        return response

    with Broker() as broker, Reading(broker, group_id="g") as reading:
        filled(broker, 20)
        committed_at_10(broker)
        broker.answer("OffsetFetch", refuse, times=None)
        reading.consumer.subscribe(["t"])
        reading.read(10, *OTHERS, seconds=AT_ONCE_S)
        reading.let_pass(10)
        assert not reading.offsets[STRUCK]
        broker.clear_rules()
        if code == ErrorCode.UNSTABLE_OFFSET_COMMIT:
            assert not reading.errors
            reading.read(10, STRUCK)
            assert reading.offsets[STRUCK] == list(range(10, 20))
        else:
            (error,) = reading.errors
            assert isinstance(error, errors.KafkaError)
            assert error.code == code
            reading.consumer.seek(STRUCK, 15)
            reading.read(5, STRUCK)


def _cut(frame: bytes) -> bytes:
    return frame[:20]


def _garbled(frame: bytes) -> bytes:
    return frame[:8] + b"\xff" * (len(frame) - 8)


@pytest.mark.parametrize("spoil", [_cut, _garbled, lambda _: b""])
@pytest.mark.parametrize("api", ["ListOffsets", "OffsetFetch", "Metadata", "FindCoordinator"])
def test_spoilt_answers_to_look_ups_move_no_position(
    api: str, spoil: Callable[[bytes], bytes], logged: Logged
) -> None:
    with Broker() as broker, Reading(broker, group_id="g") as reading:
        filled(broker, 20)
        committed_at_10(broker)
        broker.spoil(api, spoil, times=3, close=True)
        reading.consumer.subscribe(["t"])
        reading.read(10, *ALL)
        assert all(reading.offsets[tp] == list(range(10, 20)) for tp in ALL)
        assert not logged("position.reset")
        assert not reading.errors


def test_a_seek_is_the_answer_to_an_error_that_waits() -> None:
    with Broker() as broker, Reading(broker, auto_offset_reset="none") as reading:
        filled(broker)
        reading.assign(*ALL)
        reading.until(lambda: len(reading.named("partition.refused")) == len(ALL) or False)
        waiting = [tp for tp in ALL if not _raised(reading, tp)]
        for tp in waiting:
            reading.consumer.seek(tp, 0)
        before = len(reading.errors)
        reading.read(2, *waiting)
        assert len(reading.errors) == before


def _raised(reading: Reading, tp: TopicPartition) -> bool:
    return any(
        isinstance(error, errors.Error) and (error.topic, error.partition) == tp
        for error in reading.errors
    )
