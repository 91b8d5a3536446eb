"""The members of a storm, one function for each way to consume; each notes its events."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import ottla
from tests.storms.checker import Event

Note = Callable[[Event], object]


class Stop:
    """Ends a member gracefully: an event, and a call that ends the wait of its consumer."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.wake: Callable[[], None] = lambda: None

    def set(self) -> None:
        """End the member. Threads: any, and signal handlers."""
        self.event.set()
        self.wake()


class Place(NamedTuple):
    """The group that a member joins, and its options."""

    bootstrap: str
    group: str
    topic: str
    options: dict[str, Any]
    most_work_s: float
    """Maximum time that a member works on one poll, or one record of eight."""


class Notes:
    """Notes the events of one member."""

    def __init__(self, member: str, note: Note) -> None:
        self._member = member
        self._note = note

    def add(self, kind: str, partitions: Any = (), offset: int = -1) -> None:
        """Note an event that happens now."""
        numbers = tuple(tp if isinstance(tp, int) else tp[1] for tp in partitions)
        self._note(Event(time.monotonic(), self._member, kind, numbers, offset))

    def processed(self, record: Any) -> None:
        """Note that a record is processed."""
        self.add("processed", (record.partition,), record.offset)

    def listeners(self) -> dict[str, Any]:
        """For `subscribe`."""

        def revoked(partitions: Any) -> None:
            self.add("revoking", partitions)
            self.add("revoked", partitions)

        return {
            "on_assigned": lambda partitions: self.add("assigned", partitions),
            "on_revoked": revoked,
            "on_lost": lambda partitions: self.add("lost", partitions),
        }


def _work(place: Place) -> None:
    time.sleep(random.random() * place.most_work_s)


def poll(place: Place, stop: Stop, notes: Notes, *, manual: bool = False) -> None:
    """Polls; automatic commits, or one after each poll."""
    with ottla.Consumer(
        place.bootstrap, group_id=place.group, enable_auto_commit=not manual, **place.options
    ) as consumer:
        consumer.subscribe([place.topic], **notes.listeners())
        while not stop.event.is_set():
            records = consumer.poll(timeout=0.1)
            for record in records:
                notes.processed(record)
            if records:
                _work(place)
            if manual and records:
                try:
                    consumer.commit()
                except ottla.CommitFailed:
                    notes.add("commit_failed")


def manual(place: Place, stop: Stop, notes: Notes) -> None:
    """Polls, and commits after each poll."""
    poll(place, stop, notes, manual=True)


def iterator(place: Place, stop: Stop, notes: Notes) -> None:
    """Iterates, with automatic commits."""
    with ottla.Consumer(place.bootstrap, group_id=place.group, **place.options) as consumer:
        consumer.subscribe([place.topic], **notes.listeners())
        stop.wake = consumer.wakeup
        while not stop.event.is_set():
            for record in consumer:
                notes.processed(record)
                if record.offset % 8 == 0:
                    _work(place)
                if stop.event.is_set():
                    break


def handler(place: Place, stop: Stop, notes: Notes) -> None:
    """A handler with marks."""

    class Handler(ottla.ConsumerGroupHandler):
        def setup(self, session: ottla.GroupSession) -> None:
            notes.add("assigned", session.claims)

        def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
            for record in claim:
                notes.processed(record)
                session.mark(record)
                if record.offset % 8 == 0:
                    _work(place)

        def cleanup(self, session: ottla.GroupSession) -> None:
            notes.add("revoking", session.claims)
            notes.add("revoked", session.claims)

    with ottla.ConsumerGroup(place.bootstrap, place.group, **place.options) as group:
        group.consume([place.topic], Handler(), stop.event, timeout=20)


def confluent(place: Place, stop: Stop, notes: Notes) -> None:
    """confluent-kafka, which stores each processed offset and commits in its listener."""
    import confluent_kafka

    listeners = notes.listeners()

    def revoked(consumer: Any, partitions: Any) -> None:
        try:
            consumer.commit(asynchronous=False)
        except confluent_kafka.KafkaException:
            notes.add("commit_failed")
        listeners["on_revoked"]([(one.topic, one.partition) for one in partitions])

    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": place.bootstrap,
            "group.id": place.group,
            "auto.offset.reset": "earliest",
            "enable.auto.offset.store": False,
            "partition.assignment.strategy": "range",
            "session.timeout.ms": place.options["session_timeout_ms"],
            "heartbeat.interval.ms": place.options["heartbeat_interval_ms"],
        }
    )
    consumer.subscribe(
        [place.topic],
        on_assign=lambda _, partitions: listeners["on_assigned"](
            [(one.topic, one.partition) for one in partitions]
        ),
        on_revoke=revoked,
        on_lost=lambda _, partitions: listeners["on_lost"](
            [(one.topic, one.partition) for one in partitions]
        ),
    )
    while not stop.event.is_set():
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            notes.add("processed", (message.partition(),), message.offset())
            consumer.store_offsets(message)
            if message.offset() % 8 == 0:
                _work(place)
    consumer.close()


APIS: dict[str, Callable[[Place, Stop, Notes], None]] = {
    "poll": poll,
    "manual": manual,
    "iterator": iterator,
    "handler": handler,
    "confluent": confluent,
}
"""The ways to consume, by name."""


def run(api: str, place: Place, stop: Stop, member: str, note: Note) -> None:
    """Run a member until it is stopped."""
    notes = Notes(member, note)
    try:
        APIS[api](place, stop, notes)
    finally:
        notes.add("ended")
