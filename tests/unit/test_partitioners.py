"""Which partition a message gets: against what the Java client and sarama choose, and by the rules of the others."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import threading
import weakref
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ottla import errors
from ottla._native import AsyncProducerBase, ProduceFlow, ProducerBase
from ottla.config.producer import producer_config
from ottla.errors import ConfigError
from ottla.producer.accumulator import make_flow
from ottla.seam.failures import ErrorData
from ottla.seam.producing import TopicWanted

VECTORS = json.loads(Path(__file__).with_name("partition_vectors.json").read_text())
CASES = [(bytes.fromhex(key), count, java, sarama) for key, count, java, sarama in VECTORS["cases"]]
COUNTS = sorted({count for _, count, _, _ in CASES})
COPIES = 2000


def flow_of(**config: Any) -> ProduceFlow:
    return make_flow(None, producer_config("localhost:9", config))


def know(flow: ProduceFlow, count: int, available: list[int] | None = None) -> None:
    flow.set_topic("t", bytes(16), count, range(count) if available is None else available)


def sender(count: int, available: list[int] | None = None, **config: Any) -> ProducerBase:
    """A producer that nothing drives, with a topic `t`."""
    flow = flow_of(**config)
    know(flow, count, available)
    return bound(flow, config)


def bound(flow: ProduceFlow, config: dict[str, Any]) -> ProducerBase:
    made = ProducerBase()
    function = config.get("partitioner")
    made._bind(flow, function if callable(function) else None)
    return made


def chosen(producer: ProducerBase, key: bytes | None = None, value: bytes = b"v") -> int:
    partition = producer.send("t", value, key).partition
    assert partition is not None
    return partition


# ---- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", ["default", "murmur2", "murmur2_random"])
def test_murmur2_is_javas(name: str, count: int) -> None:
    producer = sender(count, partitioner=name)
    for key, partitions, java, _ in CASES:
        if partitions == count:
            assert chosen(producer, key) == java, key


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", ["sarama_hash", "fnv1a", "fnv1a_random"])
def test_fnv1a_is_saramas(name: str, count: int) -> None:
    producer = sender(count, partitioner=name)
    for key, partitions, _, sarama in CASES:
        if partitions == count:
            assert chosen(producer, key) == sarama, key


@pytest.mark.parametrize("name", ["consistent", "consistent_random"])
def test_consistent_is_crc32(name: str) -> None:
    producer = sender(12, partitioner=name)
    for key, _, _, _ in CASES:
        if key:
            assert chosen(producer, key) == zlib.crc32(key) % 12, key


@pytest.mark.parametrize("name", ["consistent", "murmur2", "fnv1a"])
def test_without_randomness_no_key_is_an_empty_one(name: str) -> None:
    producer = sender(12, partitioner=name, batch_size=200)
    assert len({chosen(producer, key) for key in [None, b""] * 100}) == 1


@pytest.mark.parametrize("name", ["murmur2_random", "fnv1a_random", "sarama_hash"])
def test_an_empty_key_is_a_key(name: str) -> None:
    uniform: dict[str, Any] = {"partitioner_adaptive_partitioning_enable": False}
    producer = sender(7, partitioner=name, batch_size=200, **uniform)
    assert len({chosen(producer, b"") for _ in range(200)}) == 1
    assert {chosen(producer) for _ in range(1000)} == set(range(7))


def test_an_empty_key_is_none_for_consistent_random() -> None:
    producer = sender(7, partitioner="consistent_random", batch_size=200)
    assert {chosen(producer, b"") for _ in range(1000)} == set(range(7))


def test_keys_stay_where_they_are_when_a_leader_is_away() -> None:
    producer = sender(7, available=[1, 2])
    for key, count, java, _ in CASES:
        if count == 7:
            assert chosen(producer, key) == java


# ---- without a key --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{}, {"partitioner_ignore_keys": True}])
def test_without_a_key_messages_stay_until_a_batch_is_full(config: dict[str, Any]) -> None:
    producer = sender(6, batch_size=16_384, **config)
    key = b"same" if config else None
    visits = [chosen(producer, key, bytes(1000)) for _ in range(COPIES)]
    changes = sum(a != b for a, b in itertools.pairwise(visits))
    # 16 messages fill a batch; a visit may be followed by one to the same partition.
    assert COPIES / 16 * 0.6 < changes <= COPIES / 16 + 1
    assert set(visits) == set(range(6))


@pytest.mark.parametrize("adaptive", [True, False])
def test_no_message_is_sent_to_a_partition_without_leader(adaptive: bool) -> None:
    producer = sender(
        6, available=[1, 4], batch_size=500, partitioner_adaptive_partitioning_enable=adaptive
    )
    assert {chosen(producer) for _ in range(1000)} == {1, 4}


@pytest.mark.parametrize(("adaptive", "low", "high"), [(True, 0, 60), (False, 130, 270)])
def test_the_longest_queue_gets_least(adaptive: bool, low: int, high: int) -> None:
    producer = sender(
        3,
        batch_size=100,
        partitioner_adaptive_partitioning_enable=adaptive,
    )
    for _ in range(300):
        producer.send("t", bytes(80), partition=0)
    got = Counter(chosen(producer, None, bytes(80)) for _ in range(600))
    assert low <= got[0] < high
    assert got[1] > 130
    assert got[2] > 130


def test_round_robin_takes_turns_over_those_with_a_leader() -> None:
    whole = sender(7, partitioner="round_robin")
    turns = [chosen(whole, b"key") for _ in VECTORS["round_robin"]]
    # The recorded run began somewhere in its round; each goes on by one.
    shift = VECTORS["round_robin"][0]
    assert [(turn + shift) % 7 for turn in turns] == VECTORS["round_robin"]
    some = sender(7, available=[1, 4, 6], partitioner="round_robin")
    assert [chosen(some) for _ in range(6)] == [1, 4, 6, 1, 4, 6]


@pytest.mark.parametrize("name", ["round_robin", "random"])
def test_other_partitioners_know_no_rack(name: str) -> None:
    flow = flow_of(partitioner=name)
    flow.set_topic("t", bytes(16), 3, [0, 1, 2], [1])
    producer = bound(flow, {})
    assert {chosen(producer) for _ in range(200)} == {0, 1, 2}


def test_random_is_even_and_independent_for_each_message() -> None:
    producer = sender(4, partitioner="random")
    got = [chosen(producer, b"key") for _ in range(4000)]
    assert all(850 < count < 1150 for count in Counter(got).values())
    assert sum(a != b for a, b in itertools.pairwise(got)) > 2700


def test_a_given_partition_is_taken_with_every_partitioner() -> None:
    for name in ("default", "round_robin", "random", "consistent", lambda *_: 0):
        producer = sender(4, partitioner=name)
        assert producer.send("t", b"v", b"key", partition=3).partition == 3


# ---- a function -----------------------------------------------------------------------------------------------------


def test_a_function_is_asked_in_the_callers_thread() -> None:
    calls: list[tuple[Any, ...]] = []

    def partitioner(*given: Any) -> int:
        calls.append((*given, threading.current_thread()))
        return 2

    producer = sender(5, partitioner=partitioner)
    delivery = producer.send("t", "wért", bytearray(b"key"))
    assert delivery.partition == 2
    me = threading.current_thread()
    assert calls == [("t", b"key", "wért".encode(), 5, me)]
    producer.send_nowait("t")
    assert calls[1] == ("t", None, None, 5, me)
    assert producer.send("t", b"v", partition=4).partition == 4
    many = producer.send_many("t", [b"a", b"b"], [b"k", None])
    assert [delivery.partition for delivery in many] == [2, 2]
    assert [call[1:3] for call in calls[2:]] == [(b"k", b"a"), (None, b"b")]


@pytest.mark.parametrize(
    ("result", "kind", "text"),
    [
        (5, ValueError, "the partitioner returned 5, and the topic has partitions 0 to 4"),
        (-1, ValueError, "returned -1"),
        (1 << 70, ValueError, "the topic has partitions 0 to 4"),
        ("1", TypeError, "must return an int, not str"),
        (True, TypeError, "must return an int, not bool"),
        (None, TypeError, "must return an int, not NoneType"),
    ],
)
def test_a_wrong_result_is_an_error_and_nothing_is_accepted(
    result: Any, kind: type[Exception], text: str
) -> None:
    flow = flow_of(partitioner=lambda *_: result)
    know(flow, 5)
    producer = bound(flow, {"partitioner": lambda *_: result})
    for send in (producer.send, producer.send_nowait):
        with pytest.raises(kind, match=text):
            send("t", b"v")
    with pytest.raises(kind, match=text) as raised:
        producer.send_many("t", [b"v"])
    assert len(raised.value.accepted) == 0  # type: ignore[attr-defined]
    assert flow.undelivered() == 0


def test_an_exception_of_the_function_is_raised_and_nothing_is_accepted() -> None:
    def refuse(*_: Any) -> int:
        raise LookupError("no such customer")

    flow = flow_of(partitioner=refuse)
    know(flow, 5)
    producer = bound(flow, {"partitioner": refuse})
    with pytest.raises(LookupError, match="no such customer"):
        producer.send("t", b"v")
    assert flow.undelivered() == 0


def last(_topic: str, _key: bytes | None, _value: bytes | None, partitions: int) -> int:
    return partitions - 1


def test_send_waits_for_the_topic() -> None:
    flow = flow_of(partitioner=last)
    producer = bound(flow, {"partitioner": last})
    teller = threading.Timer(0.05, know, (flow, 9))
    teller.start()
    try:
        assert chosen(producer) == 8
    finally:
        teller.join()
    assert [event for event in flow.drain() if isinstance(event, TopicWanted)] == [TopicWanted("t")]


def test_send_waits_at_most_max_block_ms() -> None:
    flow = flow_of(partitioner=last, max_block_ms=20)
    producer = bound(flow, {"partitioner": last})
    for send in (producer.send, producer.send_nowait):
        with pytest.raises(errors.Timeout, match='topic "t" are not known') as raised:
            send("t", b"v")
        assert raised.value.outcome == "not_written"
    assert flow.undelivered() == 0
    assert flow.drain() == [TopicWanted("t")]


def test_a_topic_that_cannot_be_is_an_error_at_once() -> None:
    flow = flow_of(partitioner=last)
    producer = bound(flow, {"partitioner": last})
    teller = threading.Timer(0.05, flow.fail_topic, ("t", ErrorData("broker", 29, "topic 't'")))
    teller.start()
    try:
        with pytest.raises(errors.KafkaError) as raised:
            producer.send("t", b"v")
    finally:
        teller.join()
    assert (raised.value.code, raised.value.outcome) == (29, "not_written")


def test_closing_ends_the_wait_for_a_topic() -> None:
    flow = flow_of(partitioner=last)
    producer = bound(flow, {"partitioner": last})
    closer = threading.Timer(0.05, producer._stop_accepting)
    closer.start()
    try:
        with pytest.raises(errors.Closed):
            producer.send("t", b"v")
    finally:
        closer.join()


def test_an_event_loop_awaits_the_topic() -> None:
    flow = flow_of(partitioner=last)
    producer = AsyncProducerBase()
    producer._bind(flow, last)

    async def main() -> None:
        sends = [asyncio.create_task(producer.send("t", b"%d" % n)) for n in range(3)]
        many = asyncio.create_task(producer.send_many("t", [b"a", b"b"]))
        given = await producer.send("u", b"v", partition=1)
        assert given.partition is None
        cancelled = asyncio.create_task(producer.send("t", b"never"))
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in sends)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        know(flow, 4)
        assert [(await task).partition for task in sends] == [3, 3, 3]
        assert [delivery.partition for delivery in await many] == [3, 3]
        assert (await producer.send("t", b"known")).partition == 3

    asyncio.run(main())
    assert flow.undelivered() == 7


def test_an_event_loop_awaits_at_most_max_block_ms() -> None:
    flow = flow_of(partitioner=last, max_block_ms=20)
    producer = AsyncProducerBase()
    producer._bind(flow, last)

    async def main() -> None:
        with pytest.raises(errors.Timeout):
            await producer.send("t", b"v")
        with pytest.raises(errors.Timeout) as raised:
            await producer.send_many("t", [b"v"])
        assert raised.value.accepted is not None
        assert len(raised.value.accepted) == 0

    asyncio.run(main())
    assert flow.undelivered() == 0


def test_a_function_that_holds_its_producer_is_collected() -> None:
    class Holder:
        producer: ProducerBase

        def choose(self, *_: Any) -> int:
            return 0

    holder = Holder()
    holder.producer = sender(2, partitioner=holder.choose)
    gone = weakref.ref(holder)
    del holder
    gc.collect()
    assert gone() is None


# ---- configuration --------------------------------------------------------------------------------------------------


def test_names_of_other_clients_are_taken() -> None:
    java = "org.apache.kafka.clients.producer.RoundRobinPartitioner"
    config = producer_config("h", {"partitioner.class": java})
    assert config.partitioner == "round_robin"
    dotted = {
        "partitioner.ignore.keys": "true",
        "partitioner.adaptive.partitioning.enable": "false",
        "partitioner.availability.timeout.ms": "100",
        "partitioner.rack.aware": "true",
        "client.rack": "eu-1a",
    }
    config = producer_config("h", dotted)
    assert config.partitioner_ignore_keys is True
    assert config.partitioner_adaptive_partitioning_enable is False
    assert config.partitioner_availability_timeout_ms == 100
    assert config.partitioner_rack_aware is True
    assert config.client_rack == "eu-1a"


def test_invalid_partitioners_are_named() -> None:
    with pytest.raises(ConfigError, match=r"expected one of default, .* or a function"):
        producer_config("h", {"partitioner": "sticky"})
    with pytest.raises(ConfigError, match="only the default partitioner can ignore keys"):
        producer_config("h", {"partitioner": "random", "partitioner_ignore_keys": True})
    aware = {"partitioner_rack_aware": True}
    with pytest.raises(ConfigError, match="partitioner_rack_aware: needs client_rack"):
        producer_config("h", aware)
    with pytest.raises(ConfigError, match="only the default partitioner prefers a rack"):
        producer_config("h", {**aware, "client_rack": "a", "partitioner": "random"})
