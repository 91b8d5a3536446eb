"""Ottla's driver."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import ottla
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
    run_async,
    time_calls,
    values,
)
from ottla import _native
from ottla.config.producer import producer_config as read_config
from ottla.producer.accumulator import make_flow
from ottla.seam.failures import ErrorData

TIMEOUT_S = 120


def producer_config(job: Job, linger_ms: float = LINGER_MS) -> dict[str, Any]:
    return {"linger_ms": linger_ms, "batch_size": BATCH_BYTES, "compression": job.compression}


def produce(job: Job) -> dict[str, Any]:
    work = cycled(job, job.messages)
    topic = job.topic
    with ottla.Producer(job.bootstrap, **producer_config(job)) as producer:
        for value in cycled(job, WARM_UP):
            producer.send(topic, value)
        producer.flush(TIMEOUT_S)
        failed = 0
        with Meter() as meter:
            if job.keep:
                deliveries = [producer.send(topic, value) for value in work]
                producer.flush(TIMEOUT_S)
                failed = sum(delivery.offset is None for delivery in deliveries)
            else:
                for value in work:
                    producer.send(topic, value)
                producer.flush(TIMEOUT_S)
    return meter.result(job.messages, written=job.messages + WARM_UP, failed=failed)


def produce_paced(job: Job) -> dict[str, Any]:
    deliveries: list[ottla.Delivery] = []
    with ottla.Producer(job.bootstrap, **producer_config(job)) as producer:
        producer.send_and_wait(job.topic, values(job)[0])
        with Meter() as meter:
            paced(job, lambda value: deliveries.append(producer.send(job.topic, value)))
            producer.flush(TIMEOUT_S)
            failed = sum(delivery.offset is None for delivery in deliveries)
    return meter.result(job.messages, written=job.messages + 1, failed=failed)


def start(job: Job) -> dict[str, Any]:
    with ottla.Producer(job.bootstrap, **producer_config(job, 0)) as producer:
        producer.send_and_wait(job.topic, values(job)[0])
        return after_start(job)


def send_many(job: Job) -> dict[str, Any]:
    work = cycled(job, job.messages)
    with ottla.Producer(job.bootstrap, **producer_config(job)) as producer:
        producer.send_many(job.topic, cycled(job, WARM_UP)).result(TIMEOUT_S)
        with Meter() as meter:
            outcomes = [
                producer.send_many(job.topic, work[start : start + 1000])
                for start in range(0, len(work), 1000)
            ]
            producer.flush(TIMEOUT_S)
            failed = sum(len(many.failed) for many in outcomes)
    return meter.result(job.messages, written=job.messages + WARM_UP, failed=failed)


def consume(job: Job) -> dict[str, Any]:
    partitions = [ottla.TopicPartition(job.topic, number) for number in range(job.partitions)]
    with ottla.Consumer(job.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign(partitions)
        first = consumer.poll(max_records=1, timeout=TIMEOUT_S)
        seen, size = (0 if first is None else len(first)), 0
        with Meter() as meter:
            while seen < job.messages:
                records = consumer.poll(max_records=10_000, timeout=TIMEOUT_S)
                if not records:
                    break
                for record in records:
                    size += len(record.value)
                seen += len(records)
    return meter.result(seen - 1, seen=seen, bytes=size)


def unconnected(topic: str, partitions: int) -> tuple[_native.ProduceFlow, _native.ProducerBase]:
    """The hot path alone: a producer that knows a topic, with no broker behind it and no thread."""
    config = read_config(
        "bench:1",
        {
            "client_id": "bench",
            "linger_ms": 600_000,
            "batch_size": BATCH_BYTES,
            "max_request_size": BATCH_BYTES,
            "max_message_bytes": BATCH_BYTES,
            "buffer_memory": 64_000_000,
        },
    )
    flow = make_flow(None, config)
    flow.set_topic(topic, bytes(16), partitions, range(partitions))
    producer = _native.ProducerBase()
    producer._bind(flow)
    return flow, producer


def call(job: Job) -> dict[str, Any]:
    flow, producer = unconnected(job.topic, job.partitions)
    send, topic = producer.send, job.topic

    def empty() -> None:
        flow.abort_all(ErrorData("closed", 0, "end of a slice"))

    def plain(batch: list[bytes]) -> None:
        for value in batch:
            send(topic, value)

    def keyed(batch: list[bytes]) -> None:
        for value in batch:
            send(topic, value, b"some-key")

    return {
        "ns_per_call": time_calls(plain, job, empty),
        "ns_per_call_with_key": time_calls(keyed, job, empty),
        "ns_per_value_send_many": time_calls(
            lambda batch: producer.send_many(topic, batch), job, empty
        ),
        "messages": 0,
        "failed": 0,
    }


def latency(job: Job) -> dict[str, Any]:
    taken = []
    with ottla.Producer(job.bootstrap, **producer_config(job, 0)) as producer, Meter() as meter:
        for value in cycled(job, job.messages):
            before = time.perf_counter()
            producer.send(job.topic, value).result(TIMEOUT_S)
            taken.append((time.perf_counter() - before) * 1000)
    return meter.result(job.messages, latencies_ms=taken[job.messages // 10 :])


def latency_async(job: Job) -> dict[str, Any]:
    taken = []

    async def run() -> Meter:
        async with ottla.AsyncProducer(job.bootstrap, **producer_config(job, 0)) as producer:
            with Meter() as meter:
                for value in cycled(job, job.messages):
                    before = time.perf_counter()
                    await producer.send_and_wait(job.topic, value)
                    taken.append((time.perf_counter() - before) * 1000)
        return meter

    meter = run_async(job, run())
    return meter.result(job.messages, latencies_ms=taken[job.messages // 10 :])


def busy(job: Job) -> dict[str, Any]:
    with ottla.Producer(job.bootstrap, **producer_config(job, 0)) as producer:
        producer.send_and_wait(job.topic, values(job)[0])
        with Meter() as meter:
            taken = beside_busy_python(job, lambda value: producer.send(job.topic, value).done)
    return meter.result(job.messages, latencies_ms=taken)


def tasks(job: Job) -> dict[str, Any]:
    async def run() -> Meter:
        async with ottla.AsyncProducer(job.bootstrap, **producer_config(job)) as producer:
            one = values(job)[0]
            await producer.send_and_wait(job.topic, one)
            with Meter() as meter:
                for _ in range(job.messages // job.tasks):
                    waits = (producer.send_and_wait(job.topic, one) for _ in range(job.tasks))
                    await asyncio.gather(*waits)
        return meter

    meter = run_async(job, run())
    sent = job.messages // job.tasks * job.tasks
    return meter.result(sent, written=sent + 1)


def windows(job: Job) -> dict[str, Any]:
    async def run() -> Meter:
        async with ottla.AsyncProducer(job.bootstrap, **producer_config(job)) as producer:
            one = values(job)[0]
            await producer.send_and_wait(job.topic, one)
            with Meter() as meter:
                for _ in range(job.messages // job.tasks):
                    window = [await producer.send(job.topic, one) for _ in range(job.tasks)]
                    for delivery in window:
                        await delivery
        return meter

    meter = run_async(job, run())
    sent = job.messages // job.tasks * job.tasks
    return meter.result(sent, written=sent + 1)


if __name__ == "__main__":
    kinds = {
        "produce": produce,
        "paced": produce_paced,
        "start": start,
        "send_many": send_many,
        "consume": consume,
        "call": call,
        "latency": latency,
        "latency_async": latency_async,
        "busy": busy,
        "tasks": tasks,
        "windows": windows,
    }
    if (profile := _native.build_info()["profile"]) != "release":
        raise SystemExit(f"the extension is a {profile} build; figures need a release build")
    main(kinds, f"ottla {ottla.__version__}")
