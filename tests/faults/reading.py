"""A consumer whose clock the test advances: its records, and the time within which it reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import ottla
from ottla.message import TopicPartition
from ottla.observe.events import Event
from ottla.testing import Broker, advance_time


class Reading:
    """A consumer, its records by partition in their order, its errors and its events.

    Args:
        broker: The broker to read from.
        config: Options; with a `group_id` it subscribes, otherwise it assigns.
    """

    def __init__(self, broker: Broker, **config: Any) -> None:
        options = {"auto_offset_reset": "earliest", "client_id": "reader", **config}
        self.consumer = ottla.Consumer(broker.bootstrap, **options)
        self.values: dict[TopicPartition, list[str]] = defaultdict(list)
        self.offsets: dict[TopicPartition, list[int]] = defaultdict(list)
        self.errors: list[BaseException] = []
        self.events: list[Event] = []
        self.consumer.listen(self.events.append)

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_error: object) -> None:
        self.consumer.close(timeout=1)

    def assign(self, *partitions: TopicPartition) -> None:
        self.consumer.assign(*partitions)

    def poll(self) -> None:
        """Take what there is now; an error is noted."""
        try:
            records = self.consumer.poll(timeout=0)
        except ottla.Error as error:
            self.errors.append(error)
            return
        for record in records:
            place = TopicPartition(record.topic, record.partition)
            self.values[place].append((record.value or b"").decode())
            self.offsets[place].append(record.offset)

    def until(self, condition: Callable[[], object], seconds: float = 5.0) -> float:
        """Poll until the condition holds; returns the seconds of virtual time that passed."""

        def holds() -> object:
            self.poll()
            return condition()

        passed = advance_time(seconds, holds)
        assert condition(), f"not within {passed:.1f} s: {dict(self.offsets)}, {self.errors}"
        return passed

    def read(self, count: int, *partitions: TopicPartition, seconds: float = 5.0) -> float:
        """Poll until each of these partitions has this number of records in total."""
        return self.until(
            lambda: all(len(self.offsets[place]) >= count for place in partitions), seconds
        )

    def let_pass(self, seconds: float) -> None:
        """Poll for this time."""
        advance_time(seconds, lambda: self.poll())

    def named(self, event: str) -> list[dict[str, Any]]:
        """The fields of the events of this name."""
        return [dict(seen.fields) for seen in self.events if seen.name == event]


def fill(broker: Broker, topic: str, count: int, *, partition: int = 0, text: str = "v") -> None:
    """Append records with the values `v0`, `v1` and so on, by their number here."""
    for number in range(count):
        broker.append(topic, f"{text}{number}", partition=partition)


def numbered(count: int, text: str = "v") -> list[str]:
    return [f"{text}{number}" for number in range(count)]


def partitions(topic: str, numbers: Iterable[int]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in numbers]
