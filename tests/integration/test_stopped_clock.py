"""Programs under a stopped `time.monotonic`, as freezegun makes it: waits end by the clock of the system."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

import ottla
from tests.integration._sync.members import Counting

A_LONG_WAIT_S = 20


@pytest.fixture
def ends_in_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Runs a function in a thread while `time.monotonic` stands still."""

    def run(function: Callable[[], object]) -> None:
        now = time.monotonic()
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: now)
            thread = threading.Thread(target=function)
            thread.start()
            thread.join(A_LONG_WAIT_S)
            ended = not thread.is_alive()
        thread.join(A_LONG_WAIT_S)
        assert ended

    return run


def test_a_poll_ends(
    bootstrap: str, topic: str, ends_in_time: Callable[[Callable[[], object]], None]
) -> None:
    with ottla.Consumer(bootstrap) as consumer:
        consumer.assign([ottla.TopicPartition(topic, 0)])
        ends_in_time(lambda: consumer.poll(timeout=0.3))
        ends_in_time(lambda: consumer.poll(timeout=0))


def test_a_flush_and_a_close_end(
    bootstrap: str, topic: str, ends_in_time: Callable[[Callable[[], object]], None]
) -> None:
    producer = ottla.Producer(bootstrap)
    producer.send(topic, b"1")
    ends_in_time(lambda: producer.flush(5))
    ends_in_time(lambda: producer.close(5))


def test_a_group_ends(
    bootstrap: str,
    topic: str,
    unique_name: str,
    ends_in_time: Callable[[Callable[[], object]], None],
) -> None:
    handler = Counting()
    group = ottla.ConsumerGroup(bootstrap, unique_name, auto_offset_reset="earliest")

    def consume() -> None:
        threading.Timer(1.0, group.stop).start()
        group.consume([topic], handler, timeout=5)
        group.close()

    ends_in_time(consume)
