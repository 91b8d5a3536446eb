"""Mixed faults in virtual time on the embedded broker: hours of a bad network in seconds.

    python -m tests.faults.storm --seed 1 --trials 20 --minutes 60

A trial has a cluster of three nodes and one idempotent producer. Phases of up to three faults at once and of calm follow each
other as the seed says, while messages are sent all the time; in the end the whole topic is read and compared with
the reported outcomes (`tests/chaos/checker.py`). Outcomes are due by `delivery_timeout_ms` + 1 s of the same time.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ottla
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.init_producer_id import InitProducerIdResponse
from ottla.testing import Broker, advance_time
from tests.chaos.checker import Deadline, Findings, Seen, Sent, check
from tests.faults.support import LIFE_S, producer

NODES = (1, 2, 3)
TOPIC = "storm"
PARTITIONS = 4
STEP_S = 0.25
HEALED_S = 40.0
"""Seconds after the end of a fault: 30 s of a request on a silent connection, and a few seconds to write again."""
MOST_AT_ONCE = 12
BEFORE_THE_APPEND = (
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.LEADER_NOT_AVAILABLE,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_TOPIC_ID,
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
    ErrorCode.THROTTLING_QUOTA_EXCEEDED,
    ErrorCode.TOPIC_AUTHORIZATION_FAILED,
    ErrorCode.POLICY_VIOLATION,
    ErrorCode.INVALID_TIMESTAMP,
    ErrorCode.MESSAGE_TOO_LARGE,
    ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.KAFKA_STORAGE_ERROR,
    ErrorCode.REQUEST_TIMED_OUT,
)
"""Codes that a broker may answer instead of the append."""
BEHIND_THE_APPEND = (
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ErrorCode.REQUEST_TIMED_OUT,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.KAFKA_STORAGE_ERROR,
    ErrorCode.NETWORK_EXCEPTION,
)
"""Codes that a broker may answer after the append, because waiting for the replicas failed."""
OTHERS = ("Metadata", "InitProducerId", "ApiVersions")
"""The other requests that a producer sends."""

Fault = Callable[[Broker, random.Random], None]


def _times(rng: random.Random) -> int | None:
    return rng.choice((1, 2, 5, 20, None, None))


def _refuse(broker: Broker, rng: random.Random) -> None:
    code = rng.choice(BEFORE_THE_APPEND)
    # Some of the leaders, mostly: what befalls all of them is an outage.
    match: dict[str, Any] = {"node": rng.choice(NODES)} if rng.random() < 0.7 else {}
    broker.fail("Produce", code, _times(rng), **match)


def _refuse_late(broker: Broker, rng: random.Random) -> None:
    broker.fail_late("Produce", rng.choice(BEHIND_THE_APPEND), _times(rng))


def _cut(broker: Broker, rng: random.Random) -> None:
    rng.choice((broker.disconnect, broker.lose_answer))("Produce", _times(rng))


def _garble(broker: Broker, rng: random.Random) -> None:
    spoils: list[Callable[[bytes], bytes]] = [
        lambda frame: frame[: len(frame) // 2],
        lambda frame: frame[:4] + b"\x7f" * 12,
        lambda frame: frame[:8] + b"\xff" * (len(frame) - 8),
        lambda frame: b"HTTP/1.1 400 Bad Request\r\n\r\n",
        lambda frame: b"",
    ]
    broker.spoil("Produce", rng.choice(spoils), _times(rng), close=rng.random() < 0.5)


def _slow(broker: Broker, rng: random.Random) -> None:
    broker.delay("Produce", rng.choice((0.1, 0.5, 2, 10, 29, 31, 90)), _times(rng))


def _kill(broker: Broker, rng: random.Random) -> None:
    for node in rng.sample(NODES, rng.choice((1, 1, 1, 2, 3))):
        broker.kill(node)


def _move(broker: Broker, rng: random.Random) -> None:
    for partition in range(PARTITIONS):
        with contextlib.suppress(ValueError):  # a node that is down leads no partition
            broker.move_leader(TOPIC, partition, rng.choice(NODES))


def _move_and_cut(broker: Broker, rng: random.Random) -> None:
    broker.lose_answer("Produce", rng.choice((1, 2, 5)))
    _move(broker, rng)


def _doubt(broker: Broker, rng: random.Random) -> None:
    """The broker writes some batches, loses their answers, and refuses the next ones."""
    for _ in range(rng.choice((1, 3))):
        silent = rng.choice((1, 2, 5))
        if rng.random() < 0.5:
            broker.spoil("Produce", lambda frame: b"", silent)
        else:
            broker.lose_answer("Produce", silent)
        broker.fail("Produce", rng.choice(BEFORE_THE_APPEND), rng.choice((1, 1, 3)))


def _others_fail(broker: Broker, rng: random.Random) -> None:
    api = rng.choice(OTHERS)
    match rng.randrange(4):
        case 0:
            broker.delay(api, rng.choice((1, 10, 40)), _times(rng))
        case 1:
            broker.disconnect(api, _times(rng))
        case 2:
            broker.lose_answer(api, _times(rng))
        case _ if api == "InitProducerId":
            broker.fail(api, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, _times(rng))
        case _:
            broker.spoil(api, lambda frame: frame[: len(frame) // 2], _times(rng), close=True)


FAULTS: dict[str, Fault] = {
    "refuse": _refuse,
    "refuse late": _refuse_late,
    "cut": _cut,
    "garble": _garble,
    "slow": _slow,
    "kill": _kill,
    "move": _move,
    "move and cut": _move_and_cut,
    "doubt": _doubt,
    "others fail": _others_fail,
}

WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"batch_size": 1},
    {"batch_size": 300, "linger_ms": 600},
    {"gapless": True, "batch_size": 1},
    {"gapless": True},
    {"compression": "lz4", "linger_ms": 300},
    {"max_in_flight_requests_per_connection": 1},
    {"metadata_max_age_ms": 2_000, "batch_size": 200},
)
"""Options of the producers; a trial has one of them."""
SHORT_LIFE = {"delivery_timeout_ms": 20_000, "request_timeout_ms": 8_000}
"""Options of half of the producers: many more messages end before a fault does."""


class Verdict(NamedTuple):
    """Findings of a trial."""

    seed: int
    way: dict[str, Any]
    outcomes: dict[str, int]
    findings: Findings
    gaps: list[int]
    """Messages written after a message of their partition that failed before they were sent: only `gapless` forbids it."""
    stalled: bool
    """Whether a message that was sent after the end of every fault was not written in time."""

    @property
    def is_clean(self) -> bool:
        """Whether the producer kept every promise."""
        return not (self.findings or self.gaps or self.stalled)


@dataclass
class Storm:
    """One trial."""

    broker: Broker
    sending: ottla.Producer
    rng: random.Random
    life_s: float
    now: float = 0.0
    _sent: list[tuple[ottla.Delivery, float]] = field(default_factory=list)
    _resolved: dict[int, float] = field(default_factory=dict)
    _waiting: set[int] = field(default_factory=set)

    def run(self, seconds: float) -> bool:
        """Send under faults for `seconds`, then wait for the end of every message; return whether the last ones were written in time."""
        while self.now < seconds:
            for name in self.rng.sample(sorted(FAULTS), self.rng.choice((1, 1, 2, 3))):
                FAULTS[name](self.broker, self.rng)
            self._go_on(self.rng.choice((0.5, 2, 10, self.life_s, self.life_s + 10)))
            self.heal()
            self._go_on(self.rng.choice((0, 0, 1, 5, HEALED_S)))
        self._go_on(HEALED_S)
        first = len(self._sent)
        for partition in range(PARTITIONS):
            self._send(partition)
        self._pass(self.life_s + 2)
        last = self._sent[first:]
        return all(delivery.outcome == "written" for delivery, _ in last)

    def heal(self) -> None:
        """End every fault of the network and the nodes."""
        self.broker.clear_rules()
        for node in NODES:
            self.broker.restart(node)

    def reports(self) -> list[Sent]:
        """Return the outcomes that the deliveries report."""
        return [
            Sent(
                number,
                delivery.outcome,
                delivery.partition,
                delivery.offset if delivery.outcome == "written" else None,
                accepted,
                self._resolved.get(number, float("inf")),
            )
            for number, (delivery, accepted) in enumerate(self._sent)
        ]

    def _go_on(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            # Mostly one partition, so that several of its batches are in flight.
            first = self.rng.randrange(PARTITIONS)
            for _ in range(self.rng.choice((0, 0, 1, 3, MOST_AT_ONCE))):
                self._send(first if self.rng.random() < 0.8 else self.rng.randrange(PARTITIONS))
            self._pass(STEP_S)

    def _send(self, partition: int) -> None:
        number = len(self._sent)
        self._sent.append((self.sending.send(TOPIC, b"%d" % number, partition=partition), self.now))
        self._waiting.add(number)

    def _pass(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            advance_time(STEP_S)
            self.now += STEP_S
            done = [number for number in self._waiting if self._sent[number][0].done()]
            for number in done:
                self._resolved[number] = self.now
            self._waiting.difference_update(done)


def run_trial(seed: int, minutes: float, way: dict[str, Any] | None = None) -> Verdict:
    """Run one trial of `minutes` of virtual time, repeatable as far as threads are; without a way the seed chooses one."""
    rng = random.Random(seed)
    way = rng.choice(WAYS) | rng.choice(({}, SHORT_LIFE)) if way is None else way
    life_s = way.get("delivery_timeout_ms", LIFE_S * 1000) / 1000
    with Broker(len(NODES)) as broker:
        broker.create_topic(TOPIC, PARTITIONS)
        if rng.random() < 0.3:
            # Epochs end at 32767, and then the producer takes a new id.
            old = InitProducerIdResponse(producer_id=77, producer_epoch=32_765)
            broker.answer("InitProducerId", lambda request, call: old)
        with producer(broker, **way) as sending:
            storm = Storm(broker, sending, rng, life_s)
            in_time = storm.run(minutes * 60)
            reported = storm.reports()
            sending.close(timeout=0)
        # A step may end just before an outcome that is due in it; the next step sees that outcome.
        deadline = Deadline(life_s + 1 + STEP_S)
        return verdict(seed, way, reported, read(broker), deadline, in_time=in_time)


def read(broker: Broker) -> list[Seen]:
    """Every record of the topic."""
    return [
        Seen(int(record.value or b""), partition, record.offset)
        for partition in range(PARTITIONS)
        for record in broker.records(TOPIC, partition)
    ]


def verdict(
    seed: int,
    way: dict[str, Any],
    reported: list[Sent],
    seen: list[Seen],
    deadline: Deadline,
    *,
    in_time: bool,
) -> Verdict:
    """Compare the reported outcomes with the records of the topic."""
    outcomes: dict[str, int] = {}
    for message in reported:
        outcomes[message.outcome or "none"] = outcomes.get(message.outcome or "none", 0) + 1
    gaps = _gaps(reported) if way.get("gapless") else []
    return Verdict(seed, way, outcomes, check(reported, seen, deadline), gaps, stalled=not in_time)


def _gaps(reported: list[Sent]) -> list[int]:
    """Numbers of the messages that were sent while an earlier one of their partition waited, and written though it failed."""
    failed: dict[int | None, float] = {}
    gaps = []
    for message in reported:
        if message.outcome == "written":
            if failed.get(message.partition, -1.0) > message.accepted_s + STEP_S:
                gaps.append(message.number)
        else:
            latest = max(failed.get(message.partition, -1.0), message.resolved_s)
            failed[message.partition] = latest
    return gaps


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the first trial")
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0, help="of virtual time, each trial")
    arguments = parser.parse_args()
    clean = True
    for seed in range(arguments.seed, arguments.seed + arguments.trials):
        found = run_trial(seed, arguments.minutes)
        clean &= found.is_clean
        stalled = ", stalled" if found.stalled else ""
        gaps = f", gaps {found.gaps[:5]}" if found.gaps else ""
        print(f"{seed} {found.way}: {found.outcomes} {found.findings}{gaps}{stalled}", flush=True)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
