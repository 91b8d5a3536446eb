"""A recorded run of a producer gives the same decisions when it is replayed.

    python -m tests.faults.test_replay    # records recorded_runs.txt again

The stored runs are a picture of the decisions: a change of `verdict` shows as a difference of the file.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.init_producer_id import InitProducerIdResponse
from ottla.testing import Broker
from tests.faults.replay import calls_of, recorded, replay
from tests.faults.support import outcomes, producer

STORED = Path(__file__).with_name("recorded_runs.txt")
FAULTS = (
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.MESSAGE_TOO_LARGE,
    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    ErrorCode.POLICY_VIOLATION,
    ErrorCode.INVALID_RECORD,
)
NAMES = ("idempotent", "gapless", "not idempotent", "epochs used up")


def record(name: str) -> list[str]:
    """A run with each of the faults, one after the other, on the embedded broker in virtual time."""
    options = {"gapless": name == "gapless", "enable_idempotence": name != "not idempotent"}
    with Broker() as broker, recorded() as lines:
        broker.create_topic("t")
        if name == "epochs used up":
            last = InitProducerIdResponse(producer_id=77, producer_epoch=32767)
            broker.answer("InitProducerId", lambda request, call: last)
        with producer(broker, linger_ms=5, **options) as sending:
            outcomes([sending.send("t", b"first")])
            for fault in FAULTS:
                broker.fail("Produce", fault)
                outcomes([sending.send("t", b"%d" % number) for number in range(3)])
            broker.lose_answer("Produce")
            outcomes([sending.send("t", b"resent")])
    return lines


def stored() -> dict[str, list[str]]:
    """The stored runs by name."""
    runs: dict[str, list[str]] = {}
    for line in STORED.read_text().splitlines():
        if line.startswith("# "):
            lines = runs.setdefault(line[2:], [])
        else:
            lines.append(line)
    return runs


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_run_gives_the_same_decisions(name: str) -> None:
    recording = stored()[name]
    assert len(calls_of(recording)) > len(FAULTS)
    assert replay(recording) == calls_of(recording)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_now_gives_the_same_decisions(name: str) -> None:
    recording = record(name)
    assert len(calls_of(recording)) > len(FAULTS)
    assert replay(recording) == calls_of(recording)


if __name__ == "__main__":
    STORED.write_text("".join(f"# {name}\n" + "\n".join(record(name)) + "\n" for name in NAMES))
