"""Positions, ends, times and lag: right directly after an assignment, one call for many, and no answer counts that is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest

import ottla
from ottla import errors
from ottla.kafka_errors import UnknownTopicOrPartition
from ottla.message import TopicPartition
from ottla.testing import Broker, advance_time
from tests.faults.reading import Reading, fill, partitions
from tests.faults.support import WAIT_S
from tests.faults.test_starts import _cut, _garbled, _without

ALL = partitions("t", range(6))
STRUCK = ALL[3]


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(2) as running:
        running.create_topic("t", partitions=len(ALL))
        for tp in ALL:
            fill(running, "t", 4, partition=tp.partition)
            running.move_leader("t", tp.partition, 2 if tp == STRUCK else 1)
        yield running


Call = Callable[..., "Future[Any]"]


@pytest.fixture
def call() -> Iterator[Call]:
    """Begins a call in a thread and returns once its request has arrived; the test lets time pass then."""
    with ThreadPoolExecutor() as threads:

        def begin(broker: Broker, api: str, function: Any, *given: Any, **named: Any) -> Any:
            before = broker.count(api)
            asked = threads.submit(function, *given, **named)
            broker.wait_for(api, before + 1)
            return asked

        yield begin


def seconds_until_done(asked: Future[Any], limit: float = 10.0) -> float:
    """Let time pass until the call has returned in its thread, which takes a moment of real time after its answer."""
    passed = advance_time(limit, lambda: wait([asked], 0.03).done)
    assert wait([asked], WAIT_S).done
    return passed


def test_lag_and_positions_are_right_directly_after_assign(broker: Broker) -> None:
    with ottla.Consumer(broker.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign(*ALL)
        assert consumer.lag() == dict.fromkeys(ALL, 4)
        assert consumer.positions() == dict.fromkeys(ALL, 0)
        consumer.seek(STRUCK, 3)
        assert consumer.lag(STRUCK) == {STRUCK: 1}
        assert consumer.positions(STRUCK, ALL[0]) == {STRUCK: 3, ALL[0]: 0}
        assert consumer.end_offsets() == dict.fromkeys(ALL, 4)
        assert consumer.beginning_offsets() == dict.fromkeys(ALL, 0)
        read = 0
        while any(consumer.lag().values()):
            read += len(consumer.poll(timeout=1))
        assert read == 4 * len(ALL) - 3


def test_a_missing_partition_is_named_at_once_and_no_topic_is_created(broker: Broker) -> None:
    missing = TopicPartition("t", 99)
    with ottla.Consumer(broker.bootstrap, auto_offset_reset="earliest") as consumer:
        asks: list[Callable[[TopicPartition], Any]] = [
            lambda tp: consumer.end_offsets(ALL, tp),
            lambda tp: consumer.beginning_offsets(tp),
            lambda tp: consumer.offsets_for_times({ALL[0]: 0, tp: 0}),
        ]
        for ask in asks:
            for tp in (missing, TopicPartition("other", 0)):
                with pytest.raises(UnknownTopicOrPartition) as raised:
                    ask(tp)
                assert raised.value.topic == tp.topic
        consumer.assign(ALL, missing)
        for late in (consumer.lag, consumer.positions, lambda: consumer.position(missing)):
            with pytest.raises(UnknownTopicOrPartition) as raised:
                late()
            assert (raised.value.topic, raised.value.partition) == missing
    with pytest.raises(KeyError):
        broker.end_offset("other")


def test_the_position_in_a_topic_that_is_not_created_is_refused_soon(
    call: Call,
) -> None:
    with Broker(auto_create_topics=False) as broker, Reading(broker) as reading:
        reading.assign(TopicPartition("later", 0))
        asked = call(broker, "Metadata", reading.consumer.lag)
        assert seconds_until_done(asked) < 6
        assert isinstance(asked.exception(), UnknownTopicOrPartition)


@pytest.mark.parametrize("spoil", [_cut, _garbled, lambda _: b""])
def test_spoilt_answers_are_requested_again(
    broker: Broker, spoil: Callable[[bytes], bytes], call: Call
) -> None:
    with Reading(broker) as reading:
        broker.spoil("ListOffsets", spoil, times=3, close=True)
        asked = call(broker, "ListOffsets", reading.consumer.end_offsets, ALL)
        seconds_until_done(asked)
        assert asked.result() == dict.fromkeys(ALL, 4)


def test_an_answer_that_leaves_a_partition_out_is_requested_again(
    broker: Broker, call: Call
) -> None:
    with Reading(broker) as reading:
        broker.answer("ListOffsets", _without("ListOffsets", STRUCK.partition), times=None)
        asked = call(
            broker,
            "ListOffsets",
            reading.consumer.offsets_for_times,
            dict.fromkeys(ALL, 0),
            timeout=8,
        )
        seconds_until_done(asked, 12)
        error = asked.exception()
        assert isinstance(error, errors.Timeout)
        assert "t-3" in str(error)
        assert "left it out" in str(error)
        broker.clear_rules()
        found = reading.consumer.offsets_for_times(dict.fromkeys(ALL, 0))
        assert all(answer is not None and answer.offset == 0 for answer in found.values())


def test_a_silent_leader_is_left_when_another_one_leads(broker: Broker, call: Call) -> None:
    with Reading(broker) as reading:
        broker.delay("ListOffsets", 3600, times=None, node=2)
        asked = call(broker, "ListOffsets", reading.consumer.end_offsets, ALL)
        reading.let_pass(12)
        assert not asked.done()
        broker.move_leader("t", STRUCK.partition, 1)
        assert seconds_until_done(asked) < 5
        assert asked.result() == dict.fromkeys(ALL, 4)
