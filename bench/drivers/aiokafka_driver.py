"""aiokafka's driver."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import aiokafka

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
    run_async,
    values,
)

TIMEOUT_S = 120


def make_producer(job: Job, linger_ms: float = LINGER_MS) -> aiokafka.AIOKafkaProducer:
    return aiokafka.AIOKafkaProducer(
        bootstrap_servers=job.bootstrap,
        linger_ms=linger_ms,
        max_batch_size=BATCH_BYTES,
        enable_idempotence=True,
        compression_type=None if job.compression == "none" else job.compression,
    )


async def _start(job: Job) -> dict[str, Any]:
    producer = make_producer(job, 0)
    await producer.start()
    await producer.send_and_wait(job.topic, values(job)[0])
    result = after_start(job)
    await producer.stop()
    return result


async def _produce(job: Job) -> dict[str, Any]:
    producer = make_producer(job)
    await producer.start()
    work = cycled(job, job.messages)
    for future in [await producer.send(job.topic, value) for value in cycled(job, WARM_UP)]:
        await future
    failed = 0
    with Meter() as meter:
        if job.keep:
            outcomes = [await producer.send(job.topic, value) for value in work]
            await producer.flush()
            failed = sum(outcome.exception() is not None for outcome in outcomes)
        else:
            for value in work:
                await producer.send(job.topic, value)
            await producer.flush()
    await producer.stop()
    return meter.result(job.messages, written=job.messages + WARM_UP, failed=failed)


async def _consume(job: Job) -> dict[str, Any]:
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=job.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    consumer.assign(
        [aiokafka.TopicPartition(job.topic, number) for number in range(job.partitions)]
    )
    first = await consumer.getmany(timeout_ms=TIMEOUT_S * 1000, max_records=1)
    seen, size = sum(map(len, first.values())), 0
    with Meter() as meter:
        while seen < job.messages:
            batches = await consumer.getmany(timeout_ms=TIMEOUT_S * 1000, max_records=10_000)
            if not batches:
                break
            for records in batches.values():
                for record in records:
                    size += len(record.value)
                seen += len(records)
    await consumer.stop()
    return meter.result(seen - 1, seen=seen, bytes=size)


async def _latency(job: Job) -> dict[str, Any]:
    producer = make_producer(job, 0)
    await producer.start()
    taken = []
    with Meter() as meter:
        for value in cycled(job, job.messages):
            before = time.perf_counter()
            await producer.send_and_wait(job.topic, value)
            taken.append((time.perf_counter() - before) * 1000)
    await producer.stop()
    return meter.result(job.messages, latencies_ms=taken[job.messages // 10 :])


async def _tasks(job: Job) -> dict[str, Any]:
    producer = make_producer(job)
    await producer.start()
    one = values(job)[0]
    await producer.send_and_wait(job.topic, one)
    with Meter() as meter:
        for _ in range(job.messages // job.tasks):
            waits = (producer.send_and_wait(job.topic, one) for _ in range(job.tasks))
            await asyncio.gather(*waits)
    await producer.stop()
    sent = job.messages // job.tasks * job.tasks
    return meter.result(sent, written=sent + 1)


async def _windows(job: Job) -> dict[str, Any]:
    producer = make_producer(job)
    await producer.start()
    one = values(job)[0]
    await producer.send_and_wait(job.topic, one)
    with Meter() as meter:
        for _ in range(job.messages // job.tasks):
            for outcome in [await producer.send(job.topic, one) for _ in range(job.tasks)]:
                await outcome
    await producer.stop()
    sent = job.messages // job.tasks * job.tasks
    return meter.result(sent, written=sent + 1)


def busy(job: Job) -> dict[str, Any]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> aiokafka.AIOKafkaProducer:
        producer = make_producer(job, 0)
        await producer.start()
        await producer.send_and_wait(job.topic, values(job)[0])
        return producer

    producer = asyncio.run_coroutine_threadsafe(start(), loop).result(TIMEOUT_S)

    def send(value: bytes) -> Callable[[], bool]:
        waiting = producer.send_and_wait(job.topic, value)
        return asyncio.run_coroutine_threadsafe(waiting, loop).done

    with Meter() as meter:
        taken = beside_busy_python(job, send)
    asyncio.run_coroutine_threadsafe(producer.stop(), loop).result(TIMEOUT_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(TIMEOUT_S)
    return meter.result(job.messages, latencies_ms=taken)


if __name__ == "__main__":
    kinds = {
        "produce": lambda job: run_async(job, _produce(job)),
        "start": lambda job: run_async(job, _start(job)),
        "windows": lambda job: run_async(job, _windows(job)),
        "consume": lambda job: run_async(job, _consume(job)),
        "latency_async": lambda job: run_async(job, _latency(job)),
        "tasks": lambda job: run_async(job, _tasks(job)),
        "busy": busy,
    }
    main(kinds, f"aiokafka {aiokafka.__version__}")
