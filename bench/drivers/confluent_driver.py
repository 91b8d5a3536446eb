"""confluent-kafka's driver: defaults of librdkafka except what every client gets (linger, batch size, idempotence)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import confluent_kafka

from bench.drivers.shared import (
    BATCH_BYTES,
    LINGER_MS,
    WARM_UP,
    Job,
    Meter,
    after_start,
    beside_busy_python,
    cycled,
    main,
    paced,
    time_calls,
    values,
)

TIMEOUT_S = 120


def config(job: Job, linger_ms: float = LINGER_MS) -> dict[str, Any]:
    return {
        "bootstrap.servers": job.bootstrap,
        "linger.ms": linger_ms,
        "batch.size": BATCH_BYTES,
        "enable.idempotence": True,
        "compression.type": job.compression,
        "queue.buffering.max.messages": 500_000,
    }


def produce(job: Job) -> dict[str, Any]:
    producer = confluent_kafka.Producer(config(job))
    topic = job.topic
    offsets: list[int] = []
    failed = 0

    def outcome(error: Any, message: Any) -> None:
        nonlocal failed
        if error is not None:
            failed += 1
        else:
            offsets.append(message.offset())

    def send(value: bytes, on_delivery: Any) -> None:
        while True:
            try:
                producer.produce(topic, value, on_delivery=on_delivery)
                return
            except BufferError:
                producer.poll(0.01)

    for value in cycled(job, WARM_UP):
        send(value, None)
    producer.flush(TIMEOUT_S)
    on_delivery = outcome if job.keep else None
    work = cycled(job, job.messages)
    with Meter() as meter:
        for number, value in enumerate(work):
            send(value, on_delivery)
            if not number % 1000:
                producer.poll(0)
        producer.flush(TIMEOUT_S)
    if job.keep:
        failed += job.messages - len(offsets) - failed
    return meter.result(job.messages, written=job.messages + WARM_UP, failed=failed)


def produce_paced(job: Job) -> dict[str, Any]:
    producer = confluent_kafka.Producer(config(job))
    producer.produce(job.topic, values(job)[0])
    producer.flush(TIMEOUT_S)
    offsets: list[int] = []

    def outcome(error: Any, message: Any) -> None:
        if error is None:
            offsets.append(message.offset())

    def send(value: bytes) -> None:
        producer.produce(job.topic, value, on_delivery=outcome)
        producer.poll(0)

    with Meter() as meter:
        paced(job, send)
        producer.flush(TIMEOUT_S)
    failed = job.messages - len(offsets)
    return meter.result(job.messages, written=job.messages + 1, failed=failed)


def start(job: Job) -> dict[str, Any]:
    producer = confluent_kafka.Producer(config(job, 0))
    producer.produce(job.topic, values(job)[0])
    producer.flush(TIMEOUT_S)
    return after_start(job)


def consume(job: Job) -> dict[str, Any]:
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": job.bootstrap,
            "group.id": "bench",
            "enable.auto.commit": False,
            "check.crcs": True,
        }
    )
    consumer.assign(
        [confluent_kafka.TopicPartition(job.topic, number, 0) for number in range(job.partitions)]
    )
    seen, size = len(consumer.consume(1, TIMEOUT_S)), 0
    with Meter() as meter:
        while seen < job.messages:
            messages = consumer.consume(1000, TIMEOUT_S)
            if not messages:
                break
            for message in messages:
                size += len(message.value())
            seen += len(messages)
    consumer.close()
    return meter.result(seen - 1, seen=seen, bytes=size)


def call(job: Job) -> dict[str, Any]:
    nobody = config(job, 10_000) | {"bootstrap.servers": "127.0.0.1:1"}
    producer = confluent_kafka.Producer(nobody)
    produce, topic = producer.produce, job.topic

    def empty() -> None:
        producer.purge()
        producer.poll(0)

    def plain(batch: list[bytes]) -> None:
        for value in batch:
            produce(topic, value)

    def with_callback(batch: list[bytes]) -> None:
        for value in batch:
            produce(topic, value, on_delivery=ignored)

    return {
        "ns_per_call": time_calls(plain, job, empty),
        "ns_per_call_with_callback": time_calls(with_callback, job, empty),
        "messages": 0,
        "failed": 0,
    }


def ignored(error: Any, message: Any) -> None:
    """A callback that does nothing."""


def latency(job: Job) -> dict[str, Any]:
    producer = confluent_kafka.Producer(config(job, 0))
    taken = []
    with Meter() as meter:
        for value in cycled(job, job.messages):
            before = time.perf_counter()
            producer.produce(job.topic, value)
            producer.flush(TIMEOUT_S)
            taken.append((time.perf_counter() - before) * 1000)
    return meter.result(job.messages, latencies_ms=taken[job.messages // 10 :])


def busy(job: Job) -> dict[str, Any]:
    producer = confluent_kafka.Producer(config(job, 0))
    producer.produce(job.topic, values(job)[0])
    producer.flush(TIMEOUT_S)
    done: list[bool] = []

    def acknowledged() -> bool:
        producer.poll(0)
        return bool(done)

    def send(value: bytes) -> Any:
        done.clear()
        producer.produce(job.topic, value, on_delivery=lambda *_: done.append(True))
        return acknowledged

    with Meter() as meter:
        taken = beside_busy_python(job, send)
    return meter.result(job.messages, latencies_ms=taken)


def _asynchronous(
    job: Job, window: Callable[[Callable[[], Awaitable[Any]]], Awaitable[None]]
) -> dict[str, Any]:
    async def run() -> Meter:
        from confluent_kafka.aio import AIOProducer

        # Its defaults wait a second for 1000 messages; half a window a batch is what fits this work.
        tuned = {"batch_size": job.tasks // 2, "buffer_timeout": 0.01} if job.tuned else {}
        producer = AIOProducer(config(job), **tuned)
        one = values(job)[0]
        with Meter() as meter:
            for _ in range(job.messages // job.tasks):
                await window(lambda: producer.produce(job.topic, one))
        await producer.close()
        return meter

    meter = asyncio.run(run())
    sent = job.messages // job.tasks * job.tasks
    return meter.result(sent, written=sent)


def tasks(job: Job) -> dict[str, Any]:
    async def window(send: Callable[[], Awaitable[Any]]) -> None:
        async def one() -> None:
            await (await send())

        await asyncio.gather(*(one() for _ in range(job.tasks)))

    return _asynchronous(job, window)


def windows(job: Job) -> dict[str, Any]:
    async def window(send: Callable[[], Awaitable[Any]]) -> None:
        for outcome in [await send() for _ in range(job.tasks)]:
            await outcome

    return _asynchronous(job, window)


if __name__ == "__main__":
    kinds = {
        "produce": produce,
        "paced": produce_paced,
        "start": start,
        "consume": consume,
        "call": call,
        "latency": latency,
        "busy": busy,
        "tasks": tasks,
        "windows": windows,
    }
    main(kinds, f"confluent-kafka {confluent_kafka.__version__}")
