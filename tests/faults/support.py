"""A producer whose clock the test advances, and the real content of the embedded broker.

No test waits for a time-out or shortens one: `advance_time` lets the two minutes of a delivery pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import ottla
from ottla import errors
from ottla.protocol.error_codes import ErrorCode
from ottla.testing import Broker, advance_time
from ottla.testing.plain_records import decode_batch, read_header

WAIT_S = 15.0
"""Maximum wait of a thread, in seconds of real time, for an event that needs no virtual time."""
LIFE_S = 120.0
"""The default of `delivery_timeout_ms` in seconds."""


class Stored(NamedTuple):
    """One batch of a log."""

    producer_id: int
    epoch: int
    sequence: int
    values: list[bytes]


def producer(broker: Broker, **config: Any) -> ottla.Producer:
    """Return a producer with the default configuration, except that no batch lingers unless the test sets `linger_ms`."""
    return ottla.Producer(broker.bootstrap, **({"linger_ms": 0} | config))


def pass_time(until: Callable[[], object], seconds: float = LIFE_S + 1) -> float:
    """Let time pass until the condition holds, and return the seconds; an error where it does not hold in time."""
    passed = advance_time(seconds, until)
    assert until(), f"not within {passed} s"
    return passed


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
    """Return the outcome of a delivery, which is due a second after its time is up."""
    pass_time(delivery.done)
    assert delivery.outcome is not None
    return delivery.outcome


def outcomes(deliveries: Iterable[ottla.Delivery]) -> list[str]:
    return [outcome(delivery) for delivery in deliveries]


def code_of(delivery: ottla.Delivery) -> ErrorCode:
    """The broker's code that the message failed with."""
    pass_time(delivery.done)
    error = delivery.exception(0)
    assert isinstance(error, errors.KafkaError), error
    return ErrorCode(error.code)
