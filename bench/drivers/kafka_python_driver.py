"""kafka-python's driver."""

from __future__ import annotations

import time
from typing import Any

import kafka

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
    values,
)

TIMEOUT_S = 120


def make_producer(job: Job, linger_ms: int = LINGER_MS) -> kafka.KafkaProducer:
    return kafka.KafkaProducer(
        bootstrap_servers=job.bootstrap,
        linger_ms=linger_ms,
        batch_size=BATCH_BYTES,
        acks="all",
        enable_idempotence=True,
        compression_type=None if job.compression == "none" else job.compression,
    )


def produce(job: Job) -> dict[str, Any]:
    producer = make_producer(job)
    for value in cycled(job, WARM_UP):
        producer.send(job.topic, value)
    producer.flush(TIMEOUT_S)
    work = cycled(job, job.messages)
    failed = 0
    with Meter() as meter:
        if job.keep:
            outcomes = [producer.send(job.topic, value) for value in work]
            producer.flush(TIMEOUT_S)
            failed = sum(not outcome.succeeded() for outcome in outcomes)
        else:
            for value in work:
                producer.send(job.topic, value)
            producer.flush(TIMEOUT_S)
    producer.close(TIMEOUT_S)
    return meter.result(job.messages, written=job.messages + WARM_UP, failed=failed)


def start(job: Job) -> dict[str, Any]:
    producer = make_producer(job, 0)
    producer.send(job.topic, values(job)[0]).get(TIMEOUT_S)
    result = after_start(job)
    producer.close(TIMEOUT_S)
    return result


def consume(job: Job) -> dict[str, Any]:
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=job.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    consumer.assign([kafka.TopicPartition(job.topic, number) for number in range(job.partitions)])
    first = consumer.poll(timeout_ms=TIMEOUT_S * 1000, max_records=1)
    seen, size = sum(map(len, first.values())), 0
    with Meter() as meter:
        while seen < job.messages:
            batches = consumer.poll(timeout_ms=TIMEOUT_S * 1000, max_records=10_000)
            if not batches:
                break
            for records in batches.values():
                for record in records:
                    size += len(record.value)
                seen += len(records)
    consumer.close()
    return meter.result(seen - 1, seen=seen, bytes=size)


def latency(job: Job) -> dict[str, Any]:
    producer = make_producer(job, 0)
    taken = []
    with Meter() as meter:
        for value in cycled(job, job.messages):
            before = time.perf_counter()
            producer.send(job.topic, value).get(TIMEOUT_S)
            taken.append((time.perf_counter() - before) * 1000)
    producer.close(TIMEOUT_S)
    return meter.result(job.messages, latencies_ms=taken[job.messages // 10 :])


def busy(job: Job) -> dict[str, Any]:
    producer = make_producer(job, 0)
    producer.send(job.topic, values(job)[0]).get(TIMEOUT_S)

    def send(value: bytes) -> Any:
        outcome = producer.send(job.topic, value)
        return lambda: outcome.is_done

    with Meter() as meter:
        taken = beside_busy_python(job, send)
    producer.close(TIMEOUT_S)
    return meter.result(job.messages, latencies_ms=taken)


if __name__ == "__main__":
    kinds = {
        "produce": produce,
        "start": start,
        "consume": consume,
        "latency": latency,
        "busy": busy,
    }
    main(kinds, f"kafka-python {kafka.__version__}")
