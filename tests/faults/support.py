"""A producer that gives up soon, and what the embedded broker really has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import ottla
from ottla import errors
from ottla.protocol.error_codes import ErrorCode
from ottla.testing import Broker
from ottla.testing.plain_records import decode_batch, read_header

WAIT_S = 15.0


class Stored(NamedTuple):
    """One batch of a log."""

    producer_id: int
    epoch: int
    sequence: int
    values: list[bytes]


def producer(broker: Broker, **config: Any) -> ottla.Producer:
    """Pauses are short, so that a test is; deliveries expire late unless the test says otherwise."""
    quick = {"retry_backoff_ms": 5, "retry_backoff_max_ms": 20, "linger_ms": 0}
    return ottla.Producer(broker.bootstrap, **(quick | config))


def stored(broker: Broker, topic: str = "t", partition: int = 0) -> list[Stored]:
    """The batches of a partition."""
    log = broker._on_thread(lambda: broker._partition(topic, partition).log)
    found = []
    for batch in log.batches:
        header = read_header(batch.data)
        values = [record.value or b"" for record in decode_batch(batch.data)]
        found.append(
            Stored(header.producer_id, header.producer_epoch, header.base_sequence, values)
        )
    return found


def values(broker: Broker, topic: str = "t", partition: int = 0) -> list[bytes]:
    """The values of a partition."""
    return [value for batch in stored(broker, topic, partition) for value in batch.values]


def outcome(delivery: ottla.Delivery) -> str:
    """What the delivery says in the end."""
    delivery.exception(WAIT_S)
    assert delivery.outcome is not None
    return delivery.outcome


def outcomes(deliveries: Iterable[ottla.Delivery]) -> list[str]:
    return [outcome(delivery) for delivery in deliveries]


def code_of(delivery: ottla.Delivery) -> ErrorCode:
    """The broker's code that the message failed with."""
    error = delivery.exception(WAIT_S)
    assert isinstance(error, errors.KafkaError), error
    return ErrorCode(error.code)
