"""The public interface for type checkers: mypy and pyright read this file, nothing runs it."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import asyncio
import threading
from typing import Any, assert_type

import ottla
from ottla import testing
from ottla.kafka_errors import KafkaError, MessageTooLarge, NotEnoughReplicas, for_code


def producing() -> None:
    with ottla.Producer("b", linger_ms=5) as producer:
        delivery = producer.send("t", b"v", key="k", headers=[("h", b"v")], metadata=object())
        assert_type(delivery, ottla.Delivery)
        assert_type(delivery.offset, int | None)
        assert_type(producer.send_and_wait("t", "v"), ottla.RecordMetadata)
        assert_type(producer.send("t", "v").result(1), ottla.RecordMetadata)
        assert_type(producer.send_many("t", [b"v", "w", None], keys=None)[0], ottla.Delivery)
        assert_type(producer.send_many([ottla.Message("t", b"v")]).offsets, list[int | None])
        assert_type(producer.close(), ottla.CloseReport)
        for outcome in producer.successes():
            assert_type(outcome, ottla.Delivery)


MEMBER: ottla.ConsumerOptions = {"group_id": "g", "max_poll_records": 10}
OWN: ottla.ProducerOptions = {"linger_ms": "7.5", "topics": {"t": {"compression": "zstd"}}}


def options(of_a_file: dict[str, Any], dotted: dict[str, Any]) -> None:
    ottla.Producer("b", acks=ottla.ACKS_ALL, client_id=None, compression_type="lz4", **of_a_file)
    ottla.Producer("b", acks="all", on_delivery=lambda delivery: print(delivery.offset))
    ottla.Producer("b", **OWN)
    ottla.Producer(**dotted)
    ottla.Producer({"bootstrap.servers": "b", "linger.ms": 5})
    ottla.AsyncProducer({"linger.ms": 5}, bootstrap_servers=["b:1", "c:1"], acks="all")
    ottla.Consumer({"bootstrap.servers": "b", "group.id": "g", "enable.auto.commit": False})
    ottla.ConsumerGroup({"bootstrap.servers": "b", "group.id": "g"})
    ottla.ConsumerGroup("b", group_id="g")
    ottla.AsyncConsumer("b", "g")
    ottla.Consumer("b", **MEMBER)
    ottla.ConsumerGroup("b", **MEMBER)
    ottla.ConsumerGroup("b", "g", enable_auto_commit=False, **of_a_file)
    ottla.Consumer("b", group_id="g", auto_offset_reset=ottla.OFFSET_OLDEST)


def options_that_there_are_not() -> None:
    ottla.Producer("b", lingerms=5)  # type: ignore[call-arg]
    ottla.Producer("b", acks="none")  # type: ignore[arg-type]
    ottla.Producer("b", linger_ms=[5])  # type: ignore[arg-type]
    ottla.Producer("b", on_delivery=lambda error, delivery: None)  # type: ignore[arg-type, misc]
    ottla.Producer("b", group_id="g")  # type: ignore[call-arg]
    ottla.Consumer(5)  # type: ignore[arg-type]
    ottla.AsyncConsumer("b", isolation_level="committed")  # type: ignore[arg-type]
    ottla.ProducerOptions(topics={"t": {"acks": 1}})  # type: ignore[typeddict-unknown-key]


def messages(pairs: list[tuple[str, bytes]], named: dict[str, bytes]) -> list[ottla.Message]:
    made = [ottla.Message("t", headers=pairs), ottla.Message("t", headers=named)]
    assert_type(made[0].headers, list[tuple[str, bytes | str | None]] | None)
    return made


def errors_by_their_module(error: Exception) -> bool:
    return isinstance(error, ottla.kafka_errors.NotEnoughReplicas | ottla.errors.Timeout)


async def producing_async() -> None:
    async with ottla.AsyncProducer("b") as producer:
        assert_type(await producer.send("t", b"v"), ottla.Delivery)
        assert_type(await producer.send_and_wait("t", b"v"), ottla.RecordMetadata)
        assert_type(await (await producer.send("t", b"v")), ottla.RecordMetadata)
        assert_type((await producer.send_many([ottla.Message("t")]))[0], ottla.Delivery)
        assert_type(await producer.close(), ottla.CloseReport)
        async for outcome in producer.errors():
            assert_type(outcome, ottla.Delivery)


class Traced(ottla.ProducerInterceptor):
    def on_send(self, message: ottla.Message) -> ottla.Message:
        assert_type(message.topic, str)
        return message

    def on_acknowledgement(self, delivery: ottla.Delivery) -> None:
        assert_type(delivery.error, ottla.Error | None)
        if delivery.error is not None:
            assert_type(delivery.error.accepted, ottla.Deliveries | None)


def errors_by_code() -> None:
    """Those that stand in the module and those that it passes on."""
    assert_type(MessageTooLarge("m").accepted, ottla.Deliveries | None)
    assert_type(ottla.kafka_errors.ProducerFenced.retriable, bool)
    assert_type(NotEnoughReplicas.code, int)
    assert_type(for_code(3), type[KafkaError])


def consuming() -> None:
    with ottla.Consumer("b", group_id="g") as consumer:
        consumer.subscribe(["t"])
        for record in consumer:
            assert_type(record, ottla.Record)
            assert_type(record.value, bytes | None)
        assert_type(consumer.poll(timeout=1.0), ottla.Records)
        assert_type(
            consumer.committed(), dict[ottla.TopicPartition, ottla.OffsetAndMetadata | None]
        )


def partitions(consumer: ottla.Consumer, session: ottla.GroupSession) -> None:
    """In: a TopicPartition or a pair, one, several, or an iterable; out: TopicPartition."""
    tp = ottla.TopicPartition("t", 0)
    consumer.assign([("t", 0)])
    consumer.assign(tp, ("t", 1))
    consumer.assign({tp})
    consumer.pause(tp)
    consumer.resume(consumer.paused())
    consumer.seek_to_beginning(each for each in consumer.assignment())
    consumer.seek(("t", 0), 5)
    consumer.commit({("t", 0): 3})
    consumer.commit({tp: ottla.OffsetAndMetadata(3)})
    consumer.commit({("t", 0): 3, tp: ottla.OffsetAndMetadata(3)})
    ends = consumer.end_offsets([tp])
    consumer.commit(ends)
    assert_type(ends, dict[ottla.TopicPartition, int])
    consumer.offsets_for_times({("t", 0): 5})
    assert_type(consumer.poll().by_partition()[tp], ottla.Records)
    for key, records in consumer.poll().by_partition().items():
        assert_type(key.topic, str)
        assert_type(records[0], ottla.Record)
        assert_type(records[1:] + records, ottla.Records)
        assert_type(records.timestamps(), list[int])
        assert_type(records.headers(), list[list[tuple[str, bytes | None]]])
        assert_type(ottla.Records(each for each in reversed(records)), ottla.Records)
        assert_type(records[0].topic_partition, ottla.TopicPartition)
        assert_type(records[0].value_view, memoryview | None)
    session.mark_offset(("t", 0), 5)
    session.mark_offset(tp, 5)
    ticket = consumer.commit_async({tp: 5})
    assert_type(ticket, ottla.Ticket[None])
    consumer.assign("t")  # type: ignore[arg-type]
    consumer.pause("t", 0)  # type: ignore[arg-type]
    consumer.commit({"t": 5})  # type: ignore[type-var]
    session.mark_offset("t", 0, 5)  # type: ignore[arg-type]


def stopping(group: ottla.ConsumerGroup, handler: ottla.ConsumerGroupHandler) -> None:
    group.consume(["t"], handler, stop=threading.Event())
    group.consume(["t"], handler, stop=asyncio.Event())  # type: ignore[arg-type]
    group.consume(["t"], handler, stop=True)  # type: ignore[arg-type]


def failed_commits(error: ottla.CommitFailed) -> dict[str, BaseException]:
    return {f"{tp.topic}/{tp.partition}": reason for tp, reason in error.partitions.items()}


def names_that_there_are_not(broker: testing.Broker) -> None:
    ottla.Prodcer("x")  # type: ignore[attr-defined]
    testing.Brokr()  # type: ignore[attr-defined]
    assert_type(broker.committed("g"), dict[ottla.TopicPartition, int])
    try:
        ottla.Producer("x")
    except ottla.DeliveryTimout:  # type: ignore[attr-defined]
        raise
    except ottla.StateError as error:
        assert_type(error.topic, str | None)


def views(consumer: ottla.Consumer, group: ottla.AsyncConsumerGroup) -> None:
    for client in (consumer, group):
        statistics, health = client.statistics(), client.health()
        assert_type(statistics, ottla.ConsumerStatistics)
        assert_type(statistics.lag, int | None)
        assert_type(statistics.partitions, tuple[ottla.PartitionStatistics, ...])
        assert_type(statistics.brokers, tuple[ottla.FetchBrokerStatistics, ...])
        assert_type(statistics.group, ottla.GroupStatistics | None)
        assert_type(health, ottla.ConsumerHealth)
        assert_type(health.waits, tuple[ottla.HealthWait, ...])
        assert_type(health.troubles, tuple[ottla.HealthTrouble, ...])
        assert_type(health.member, ottla.MemberHealth | None)
        client.listen(print)
        client.unlisten(print)


async def consuming_async() -> None:
    async with ottla.AsyncConsumer("b", group_id="g") as consumer:
        await consumer.subscribe(["t"])
        async for record in consumer:
            assert_type(record, ottla.Record)
        assert_type(await consumer.poll(timeout=1.0), ottla.Records)


class Handler(ottla.ConsumerGroupHandler):
    def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
        for record in claim:
            assert_type(record, ottla.Record)
            session.mark(record)
        assert_type(session.claims, list[ottla.TopicPartition])


class Order:
    def __init__(self, data: bytes) -> None:
        self.data = data


def deserialized(raw: ottla.Record) -> None:
    with ottla.Consumer("host", "g", value_deserializer=Order) as consumer:
        assert_type(consumer, ottla.Consumer[bytes, Order])
        for record in consumer:
            assert_type(record.value, Order | None)
            assert_type(record.key, bytes | None)
            assert_type(record.error, ottla.DeserializationError | None)
        records = consumer.poll()
        assert_type(records, ottla.Records[bytes, Order])
        assert_type(records.values(), list[Order | None])
        assert_type(
            records[1:].by_partition(), dict[ottla.TopicPartition, ottla.Records[bytes, Order]]
        )
    text = ottla.Consumer("host", key_deserializer=bytes.decode, value_deserializer=Order)
    assert_type(next(text).key, str | None)
    assert_type(raw.value, bytes | None)
    assert_type(ottla.Consumer("host").poll().values(), list[bytes | None])
    ottla.Consumer("host", value_deserializer="json")  # type: ignore[arg-type]


async def deserialized_async() -> None:
    async with ottla.AsyncConsumer("host", value_deserializer=Order) as consumer:
        async for record in consumer:
            assert_type(record.value, Order | None)
        assert_type(await consumer.poll(), ottla.Records[bytes, Order])


def bounded(consumer: ottla.Consumer[str, Order], tp: ottla.TopicPartition) -> None:
    read = consumer.read_until()
    assert_type(read, ottla.BoundedRead[str, Order])
    for record in read:
        assert_type(record, ottla.Record[str, Order])
    for records in consumer.read_until({("t", 0): 5}).chunks():
        assert_type(records, ottla.Records[str, Order])
    assert_type(read.ends, dict[ottla.TopicPartition, int])
    consumer.read_until({tp: 5}, timeout=None)
    consumer.read_until(timestamp_ms=5)
    consumer.read_until(5)  # type: ignore[arg-type]


async def bounded_async(consumer: ottla.AsyncConsumer) -> None:
    async for record in consumer.read_until():
        assert_type(record.value, bytes | None)
    async for records in consumer.read_until().chunks(max_records=10):
        assert_type(records, ottla.Records)


class OrderHandler(ottla.ConsumerGroupHandler):
    def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim[bytes, Order]) -> None:
        for record in claim:
            assert_type(record.value, Order | None)
            session.mark(record)


class Watcher(ottla.ConsumerInterceptor):
    def on_consume(self, records: ottla.Records[Any, Any]) -> ottla.Records[Any, Any]:
        return ottla.Records(record for record in records if record.key)

    def on_commit(self, offsets: dict[ottla.TopicPartition, ottla.OffsetAndMetadata]) -> None: ...


def intercepted() -> None:
    ottla.Consumer("host", interceptors=[Watcher()])
    ottla.ConsumerGroup("host", "g", interceptors=[Watcher()], value_deserializer=Order)
