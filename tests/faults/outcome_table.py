"""Writes `docs/reference/producer-outcomes.md`: the outcomes of messages, tried on the embedded broker.

    python -m tests.faults.outcome_table [--check]

Every code that a broker can answer, and every way in which a connection can end. Each outcome is compared with the log
of the broker before it is written down: the log has no `not_written` message and every `written` one, and an idempotent
producer's message at most once.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import ottla
from ottla import errors
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.produce import (
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from ottla.testing import Broker
from ottla.testing.broker.call import Call
from ottla.testing.plain_records import read_header
from tests.faults.support import WAIT_S, outcome, producer, values

PAGE = Path(__file__).parents[2] / "docs/reference/producer-outcomes.md"
UNKNOWN_CODE = 9999
LIFE: dict[str, Any] = {"request_timeout_ms": 8_000, "delivery_timeout_ms": 30_000}
"""Three attempts and a fourth that is cut short; a longer life shows no more, in more steps."""
APART = LIFE | {"retry_backoff_ms": 21_000, "retry_backoff_max_ms": 21_000}
"""Two attempts, neither in flight when the time is up: an attempt in flight makes the outcome unknown, with any code."""
MODES: dict[str, dict[str, Any]] = {
    "idempotent": {},
    "acks=all": {"enable_idempotence": False},
    "acks=1": {"acks": 1},
    "acks=0": {"acks": 0},
}
"""The kinds of producers, the default first."""


class WrongOutcomeError(AssertionError):
    """The reported outcome contradicts the log."""


def judge(reported: str, copies: int, *, mode: str, what: str) -> None:
    """Compare the reported outcome with the number of copies in the log."""
    lies = (reported == "not_written" and copies > 0) or (reported == "written" and copies == 0)
    if mode != "acks=0" and lies:
        raise WrongOutcomeError(f"{what}, {mode}: {reported}, and {copies} times in the log")
    if mode == "idempotent" and copies > 1:
        raise WrongOutcomeError(f"{what}: {copies} times in the log")


# ---- codes -----------------------------------------------------------------------------------------------------------


class Codes:
    """A broker that answers each topic with the code in its name: refused, or appended first."""

    def __init__(self, broker: Broker, *, append: bool) -> None:
        self._broker = broker
        self._append = append
        self.attempts: dict[str, list[tuple[int, int, int]]] = {}
        """topic -> epoch, sequence and records of each attempt."""

    def answer(self, request: ProduceRequest, call: Call) -> ProduceResponse:
        """Answer one request; `Broker.answer` takes this method."""
        answers = []
        for topic in request.topic_data:
            known = call.cluster.topics.by_id.get(topic.topic_id)
            name = topic.name if known is None else known.name
            parts = []
            for part in topic.partition_data:
                data = part.records or b""
                header = read_header(data)
                tried = (header.producer_epoch, header.base_sequence, header.record_count)
                self.attempts.setdefault(name, []).append(tried)
                place = call.cluster.topics.partition(name, part.index)
                code = int(name.rpartition("_")[2])
                # A broker answers DUPLICATE_SEQUENCE_NUMBER for a batch that it has.
                append = self._append or code == ErrorCode.DUPLICATE_SEQUENCE_NUMBER
                if append and place is not None:
                    call.cluster.append(place, data)
                parts.append(
                    PartitionProduceResponse(index=part.index, error_code=code, base_offset=-1)
                )
            answers.append(
                TopicProduceResponse(
                    name=topic.name, topic_id=topic.topic_id, partition_responses=parts
                )
            )
        return ProduceResponse(responses=answers)


class CodeRow(NamedTuple):
    """The effect of one code on a batch of two messages."""

    reported: str
    step: str
    copies: int


def try_codes(codes: Iterable[int], mode: str, *, append: bool) -> dict[int, CodeRow]:
    """Let a broker answer each code until `delivery_timeout_ms`, with or without the append."""
    with Broker() as broker:
        topics = {code: f"code_{code}" for code in codes}
        for topic in topics.values():
            broker.create_topic(topic)
        answering = Codes(broker, append=append)
        with producer(broker, linger_ms=100, **APART, **MODES[mode]) as sending:
            for topic in topics.values():
                sending.send(topic, b"before")
            sending.flush(WAIT_S)
            broker.answer("Produce", answering.answer, times=None)
            sent = {
                code: [sending.send(topic, b"a"), sending.send(topic, b"b")]
                for code, topic in topics.items()
            }
            reported = {code: [outcome(one) for one in pair] for code, pair in sent.items()}
        return {
            code: _code_row(broker, topic, reported[code], answering.attempts[topic], mode)
            for code, topic in topics.items()
        }


def _code_row(
    broker: Broker, topic: str, reported: list[str], attempts: list[tuple[int, int, int]], mode: str
) -> CodeRow:
    there = values(broker, topic)
    for value, one in zip((b"a", b"b"), reported, strict=True):
        judge(one, there.count(value), mode=mode, what=topic)
    if reported[0] != reported[1]:
        raise WrongOutcomeError(f"{topic}: {reported}")
    return CodeRow(reported[0], _step(reported[0], attempts), there.count(b"a"))


def _step(reported: str, attempts: list[tuple[int, int, int]]) -> str:
    if len({count for _, _, count in attempts}) > 1:
        return "split down to one record, which fails"
    if len({epoch for epoch, _, _ in attempts}) > 1:
        return "sent again under a new epoch"
    if len(attempts) > 1:
        return "sent again"
    return "success, no offset" if reported == "written" else "fails"


def _try_in_both(codes: Sequence[int], *, append: bool) -> dict[str, dict[int, CodeRow]]:
    with ThreadPoolExecutor(2) as pool:
        rows = {
            mode: pool.submit(try_codes, codes, mode, append=append)
            for mode in ("idempotent", "acks=1")
        }
    return {mode: row.result() for mode, row in rows.items()}


EVERY_CODE = (*(int(code) for code in ErrorCode if code != 0), UNKNOWN_CODE)


def code_lines(codes: Sequence[int] = EVERY_CODE) -> list[str]:
    """The table of codes, or those lines of it."""
    refused = _try_in_both(codes, append=False)
    late = [code for code in codes if refused["acks=1"][code].reported != "not_written"]
    appended = _try_in_both(late, append=True)
    lines = [
        "| code | may follow the append | idempotent: next | outcome | without idempotence: next | outcome |",
        "|---|---|---|---|---|---|",
    ]
    for code in codes:
        first, second = refused["idempotent"][code], refused["acks=1"][code]
        if code in appended["idempotent"]:
            for mode, row in (("idempotent", first), ("acks=1", second)):
                if appended[mode][code][:2] != row[:2]:
                    raise WrongOutcomeError(f"{code}, {mode}: {row} or {appended[mode][code]}")
        name = errors.for_code(code).name if code != UNKNOWN_CODE else "any other code"
        number = code if code != UNKNOWN_CODE else "-"
        lines.append(
            f"| {name} ({number}) | {'yes' if code in late else 'no'} | {first.step} | {first.reported} "
            f"| {second.step} | {second.reported} |"
        )
    return lines


# ---- connections -----------------------------------------------------------------------------------------------------


class Way(NamedTuple):
    """One way in which a connection can end."""

    what: str
    do: Callable[[Broker, int | None], None]
    """Gets the broker, and how often it is to happen."""


def spoiled(spoil: Callable[[bytes], bytes], *, close: bool = False) -> Any:
    return lambda broker, times: broker.spoil("Produce", spoil, times, close=close)


def _nothing(frame: bytes) -> bytes:
    return b""


WAYS = (
    Way("the node is down: connection refused", lambda broker, times: broker.kill(1)),
    Way("reset before the request is carried out", lambda b, times: b.disconnect("Produce", times)),
    Way("reset after the append, the answer is lost", lambda b, n: b.lose_answer("Produce", n)),
    Way("closed amid the response", spoiled(lambda frame: frame[:11], close=True)),
    Way("closed behind the size of the response", spoiled(lambda frame: frame[:4], close=True)),
    Way("an answer that nobody asked for", spoiled(lambda frame: frame[:4] + b"\x7f" * 12)),
    Way("garbage behind the header", spoiled(lambda f: f[:8] + b"\xff" * (len(f) - 8))),
    Way("an answer that is cut short", spoiled(lambda frame: b"\0\0\0\x06" + frame[4:10])),
    Way(
        "a response without the partition",
        lambda b, n: b.answer("Produce", lambda request, call: ProduceResponse(), n),
    ),
    Way("HTTP", spoiled(lambda frame: b"HTTP/1.1 400 Bad Request\r\n\r\n")),
    Way("a TLS alert", spoiled(lambda frame: b"\x15\x03\x03\x00\x02\x02\x46")),
    Way("a frame over the cap", spoiled(lambda frame: b"\x7f\xff\xff\xff" + frame[4:])),
    Way("silent before the append", lambda b, times: b.delay("Produce", 3600, times)),
    Way("silent after the append", spoiled(_nothing)),
    Way("slow: each answer takes 50 ms", lambda b, n: b.delay("Produce", 0.05, n)),
)


class WayRow(NamedTuple):
    """The effect of a way on one kind of producer, until the messages expire, and once."""

    reported: str
    copies: int
    once: str


def try_way(way: Way, mode: str) -> WayRow:
    """Let it happen until `delivery_timeout_ms`, and once."""
    reported, copies = _happen(way, mode, None)
    once, _ = _happen(way, mode, 1)
    return WayRow(reported, copies, once)


def _happen(way: Way, mode: str, times: int | None) -> tuple[str, int]:
    with Broker() as broker:
        broker.create_topic("t")
        with producer(broker, **LIFE, **MODES[mode]) as sending:
            tries = 20
            while outcome(sending.send("t", b"before")) != "written":
                tries -= 1
                if not tries:
                    raise WrongOutcomeError(f"{way.what}, {mode}: nothing is sent in peace")
            if mode == "acks=0":
                while not broker.end_offset("t"):
                    broker.wait_for("Produce")
            way.do(broker, times)
            delivery = sending.send("t", b"message")
            if times is not None:
                broker.restart(1)
            reported = outcome(delivery)
        copies = values(broker).count(b"message")
        judge(reported, copies, mode=mode, what=way.what)
        return reported, copies


def never_there(mode: str) -> str:
    """Nobody listens where the producer is sent. The port stays bound, so that no other process can listen on it meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        with ottla.Producer(address, linger_ms=0, **LIFE, **MODES[mode]) as sending:
            return outcome(sending.send("t", b"message"))


def way_lines(ways: Sequence[Way] = WAYS) -> list[str]:
    """The table of connections, or those lines of it."""
    with ThreadPoolExecutor(12) as pool:
        rows = {(way.what, mode): pool.submit(try_way, way, mode) for way in ways for mode in MODES}
        nobody = {mode: pool.submit(never_there, mode) for mode in MODES}
    lines = [
        "| fault | once, idempotent | always, idempotent: outcome | in the log | acks=all: outcome | in the log "
        "| acks=1: outcome | in the log | acks=0: outcome |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    never = [nobody[mode].result() for mode in MODES]
    lines.append(
        f"| no node ever existed | - | {never[0]} | no | {never[1]} | no | {never[2]} | no | {never[3]} |"
    )
    for way in ways:
        cells = [rows[way.what, mode].result() for mode in MODES]
        reported = " | ".join(
            f"{row.reported} | {_copies(row.copies, mode)}"
            for row, mode in zip(cells[:3], MODES, strict=False)
        )
        lines.append(f"| {way.what} | {cells[0].once} | {reported} | {cells[3].reported} |")
    return lines


def _copies(copies: int, mode: str) -> str:
    # How often, without idempotence, is a matter of chance.
    there = "once" if mode == "idempotent" else "at least once"
    return "no" if copies == 0 else there


# ---- the page --------------------------------------------------------------------------------------------------------

HEAD = """<!-- Generated by tests/faults/outcome_table.py: do not edit. -->
# Outcomes by error code

Every failure carries an `outcome`: `not_written`, `unknown` or `written`. These tables were made by letting the embedded
broker do each of these things to a producer, and each outcome was compared with the broker's log. The rules for them:
`docs/adr/0015-outcome-by-attempts.md`.

## Answers of the broker

The broker gives the answer to every attempt, and "next" is the next step of the producer: *sent again* means the same bytes
under the same sequence until `delivery_timeout_ms`, then the messages fail with `DeliveryTimeout`; *fails* means at once, with
the exception of the code. The outcome of a failed message depends on **all** attempts: `not_written` only if each of them was
answered by a code that no broker gives after the append. One attempt without an answer, or with another code, makes it
`unknown`. A leader hint in an answer (KIP-951) is followed at once. An answer that names records (KIP-467) fails those, and the
rest is sent again.
"""

MIDDLE = """
With `acks=0` a broker sends no answer, and closes the connection in place of an error. The message counts as `written`, with
offset -1, once the socket has taken its request: the client learns no more about it.

## Ends of connections

"Once" means at the first attempt only, "always" at each until `delivery_timeout_ms`. "In the log" is the number of copies at
the end; more than one copy happens only without idempotence. `written` with `acks=0` proves nothing.
"""

TAIL = """
## A topic that is deleted and recreated

| state of the message | idempotent | without idempotence |
|---|---|---|
| never sent, or each attempt was refused before the append | sent to the new topic, under a new epoch | sent to the new topic |
| an attempt may have written it to the old topic | fails at once, `unknown` | sent to the new topic |
| its partition does not exist any more | `delivery_timeout_ms` | `delivery_timeout_ms` |
"""


def page() -> str:
    """The whole page."""
    with ThreadPoolExecutor(2) as pool:
        codes, ways = pool.submit(code_lines), pool.submit(way_lines)
        lines = [HEAD, *codes.result(), MIDDLE, *ways.result(), TAIL]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the page of outcomes, or check it.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it differs")
    check = parser.parse_args().check
    text = page()
    if check:
        if PAGE.read_text() != text:
            print(f"{PAGE} is not what the producer does: python -m tests.faults.outcome_table")
            return 1
        return 0
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
