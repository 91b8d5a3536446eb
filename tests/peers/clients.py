"""The other clients in one shape: write records, or be a reader, alone or as a member of a group."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from contextlib import closing
from typing import Any, NamedTuple, Protocol

import aiokafka
import confluent_kafka
import kafka

WAIT_S = 20
POLL_S = 0.1
Headers = list[tuple[str, bytes | None]]


class Rec(NamedTuple):
    """One record as any client sees it."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Reader(Protocol):
    """A consumer; group None: it is assigned every partition and starts at the beginning."""

    def poll(self) -> list[Rec]: ...
    def assignment(self) -> set[int]: ...
    def commit(self) -> None: ...
    def committed(self, partition: int) -> int | None: ...
    def close(self) -> None: ...


class Peer(Protocol):
    """One client library."""

    def write(
        self, bootstrap: str, topic: str, records: Iterable[Rec], codec: str = "none"
    ) -> list[int]:
        """Write the records with acks=all; return their offsets in the order given."""

    def reader(self, bootstrap: str, topic: str, partitions: int, group: str | None) -> Reader: ...


# ---- confluent-kafka ------------------------------------------------------------------------------------------------


class ConfluentReader:
    def __init__(self, bootstrap: str, topic: str, partitions: int, group: str | None) -> None:
        self._topic = topic
        config = {
            "bootstrap.servers": bootstrap,
            "group.id": group or "unused",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 200,
        }
        self._consumer = confluent_kafka.Consumer(config)
        if group is None:
            places = [confluent_kafka.TopicPartition(topic, n, 0) for n in range(partitions)]
            self._consumer.assign(places)
        else:
            self._consumer.subscribe([topic])

    def poll(self) -> list[Rec]:
        found = []
        for message in self._consumer.consume(500, POLL_S):
            if message.error() is not None:
                raise confluent_kafka.KafkaException(message.error())
            headers = message.headers() or []
            found.append(Rec(message.partition(), message.key(), message.value(), headers))
        return found

    def assignment(self) -> set[int]:
        return {place.partition for place in self._consumer.assignment()}

    def commit(self) -> None:
        self._consumer.commit(asynchronous=False)

    def committed(self, partition: int) -> int | None:
        place = confluent_kafka.TopicPartition(self._topic, partition)
        offset: int = self._consumer.committed([place], WAIT_S)[0].offset
        return offset if offset >= 0 else None

    def close(self) -> None:
        self._consumer.close()


class Confluent:
    def write(
        self, bootstrap: str, topic: str, records: Iterable[Rec], codec: str = "none"
    ) -> list[int]:
        offsets: dict[int, int] = {}
        config = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": codec,
            "message.timeout.ms": WAIT_S * 1000,
        }
        producer = confluent_kafka.Producer(config)
        for index, record in enumerate(records):

            def outcome(error: Any, message: Any, index: int = index) -> None:
                if error is None:
                    offsets[index] = message.offset()

            producer.produce(
                topic,
                record.value,
                record.key,
                record.partition,
                on_delivery=outcome,
                headers=record.headers,
            )
        producer.flush(WAIT_S)
        return [offsets[index] for index in range(len(offsets))]

    def reader(self, bootstrap: str, topic: str, partitions: int, group: str | None) -> Reader:
        return ConfluentReader(bootstrap, topic, partitions, group)


# ---- kafka-python ---------------------------------------------------------------------------------------------------


class KafkaPythonReader:
    def __init__(self, bootstrap: str, topic: str, partitions: int, group: str | None) -> None:
        self._topic = topic
        self._consumer = kafka.KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=6000,
            heartbeat_interval_ms=200,
        )
        if group is None:
            self._consumer.assign([kafka.TopicPartition(topic, n) for n in range(partitions)])
        else:
            # A member that joins before it knows the partitions joins again at once, and then now and then (3.0.12)
            # its heartbeats stay off until its session ends, on a real Kafka as well.
            assert self._consumer.partitions_for_topic(topic)
            self._consumer.subscribe([topic])

    def poll(self) -> list[Rec]:
        batches = self._consumer.poll(timeout_ms=int(POLL_S * 1000))
        return [
            Rec(record.partition, record.key, record.value, list(record.headers))
            for records in batches.values()
            for record in records
        ]

    def assignment(self) -> set[int]:
        return {place.partition for place in self._consumer.assignment()}

    def commit(self) -> None:
        self._consumer.commit()

    def committed(self, partition: int) -> int | None:
        offset: int | None = self._consumer.committed(kafka.TopicPartition(self._topic, partition))
        return offset

    def close(self) -> None:
        self._consumer.close()


class KafkaPython:
    def write(
        self, bootstrap: str, topic: str, records: Iterable[Rec], codec: str = "none"
    ) -> list[int]:
        producer = kafka.KafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            compression_type=None if codec == "none" else codec,
        )
        with closing(producer):
            outcomes = [
                producer.send(
                    topic,
                    record.value,
                    record.key,
                    headers=record.headers,
                    partition=record.partition,
                )
                for record in records
            ]
            return [outcome.get(WAIT_S).offset for outcome in outcomes]

    def reader(self, bootstrap: str, topic: str, partitions: int, group: str | None) -> Reader:
        return KafkaPythonReader(bootstrap, topic, partitions, group)


# ---- aiokafka -------------------------------------------------------------------------------------------------------


class LoopThread:
    """An event loop in a thread of its own, so that aiokafka's tasks go on between two calls."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="aiokafka-loop")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_S)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(WAIT_S)
        self.loop.close()


class AiokafkaReader:
    def __init__(self, bootstrap: str, topic: str, partitions: int, group: str | None) -> None:
        self._topic = topic
        self._thread = LoopThread()

        async def start() -> aiokafka.AIOKafkaConsumer:
            consumer = aiokafka.AIOKafkaConsumer(
                bootstrap_servers=bootstrap,
                group_id=group,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                session_timeout_ms=6000,
                heartbeat_interval_ms=200,
            )
            if group is not None:
                consumer.subscribe([topic])
            await consumer.start()
            if group is None:
                consumer.assign([aiokafka.TopicPartition(topic, n) for n in range(partitions)])
            return consumer

        self._consumer = self._thread.run(start())

    def poll(self) -> list[Rec]:
        batches = self._thread.run(self._consumer.getmany(timeout_ms=int(POLL_S * 1000)))
        return [
            Rec(record.partition, record.key, record.value, list(record.headers))
            for records in batches.values()
            for record in records
        ]

    def assignment(self) -> set[int]:
        return {place.partition for place in self._consumer.assignment()}

    def commit(self) -> None:
        self._thread.run(self._consumer.commit())

    def committed(self, partition: int) -> int | None:
        place = aiokafka.TopicPartition(self._topic, partition)
        offset: int | None = self._thread.run(self._consumer.committed(place))
        return offset

    def close(self) -> None:
        self._thread.run(self._consumer.stop())
        self._thread.close()


class Aiokafka:
    def write(
        self, bootstrap: str, topic: str, records: Iterable[Rec], codec: str = "none"
    ) -> list[int]:
        async def write() -> list[int]:
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=bootstrap,
                enable_idempotence=True,
                compression_type=None if codec == "none" else codec,
            )
            async with producer:
                outcomes = [
                    await producer.send(
                        topic,
                        record.value,
                        record.key,
                        record.partition,
                        headers=record.headers,
                    )
                    for record in records
                ]
                return [(await outcome).offset for outcome in outcomes]

        return asyncio.run(write())

    def reader(self, bootstrap: str, topic: str, partitions: int, group: str | None) -> Reader:
        return AiokafkaReader(bootstrap, topic, partitions, group)


PEERS: dict[str, Peer] = {
    "confluent-kafka": Confluent(),
    "aiokafka": Aiokafka(),
    "kafka-python": KafkaPython(),
}
