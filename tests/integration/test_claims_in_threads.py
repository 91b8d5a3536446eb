"""Claims in threads: `SystemExit` in one does not end its thread unseen. (In a task it ends the event loop.)"""

from __future__ import annotations

import threading

import pytest

import ottla
from ottla.testing import Broker
from tests.integration._sync.members import QUICK, fill, wait_for
from tests.integration.twins import RunningThread


def test_an_exit_in_a_claim_is_raised(bootstrap: str, topic: str, unique_name: str) -> None:
    fill(bootstrap, topic, 1, partitions=1)

    class Exiting(ottla.ConsumerGroupHandler):
        def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
            raise SystemExit(3)

    with (
        ottla.ConsumerGroup(
            bootstrap,
            f"g-{unique_name}",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            **QUICK,
        ) as group,
        pytest.raises(SystemExit),
    ):
        group.consume([topic], Exiting(), timeout=5)


@pytest.mark.embedded_only
def test_an_abandoned_claim_takes_no_record_of_the_next_session(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    """It is stuck beyond `max_poll_interval_ms`, and goes on when its partition belongs to the next session."""
    freed, gone_on = threading.Event(), threading.Event()
    seen: list[int] = []
    late: list[int] = []
    for _ in range(3):
        cluster.append(topic, b"x", partition=0)

    class Stuck(ottla.ConsumerGroupHandler):
        def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
            is_first = not seen
            for record in claim:
                (seen if is_first else late).append(record.offset)
                if is_first:
                    freed.wait(60)
            if is_first:
                gone_on.set()

    stop = threading.Event()
    with ottla.ConsumerGroup(
        cluster.bootstrap,
        f"g-{unique_name}",
        auto_offset_reset="earliest",
        max_poll_interval_ms=400,
        heartbeat_interval_ms=50,
    ) as group:
        running = RunningThread(group.consume, [topic], Stuck(), stop, 5.0)
        try:
            wait_for(lambda: len(late) == 3, "the next session reads the records")
            freed.set()
            assert gone_on.wait(20), "the abandoned claim ends"
            cluster.append(topic, b"x", partition=0)
            wait_for(lambda: len(late) == 4, "the next session reads on")
            assert seen == [0]
        finally:
            freed.set()
            stop.set()
            running.join(30)
