"""Producers of every kind that send while faults happen, each with a ledger of its messages' outcomes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ottla
from ottla.errors import Error
from tests.chaos.ledger import Ledger

KEYS = 100
LARGE_ONE_IN = 100
LARGE_BYTES = 20_000
SMALL_BYTES = 1_000
POLL_S = 0.1
CALLBACKS_S = 10.0
"""Maximum number of seconds until the callbacks have run once a producer is closed."""

COMMON: dict[str, Any] = {
    # Below the delivery timeouts, so that a connection without answers is closed and another one is tried.
    "request_timeout_ms": 3_000,
    "max_block_ms": 2_000,
}


@dataclass(frozen=True)
class Load:
    """One producer: its way to send, and its options."""

    name: str
    how: str
    """send, async, many"""
    options: dict[str, Any] = field(default_factory=dict)
    keyed: bool = True
    per_s: int = 300
    delivery_timeout_ms: int = 12_000

    @property
    def config(self) -> dict[str, Any]:
        return {**COMMON, "delivery_timeout_ms": self.delivery_timeout_ms, **self.options}


LOADS = (
    # A buffer of a second or two: `send` waits for free space in every fault, and gives up in the long ones.
    Load("plain", "send", {"linger_ms": 0, "buffer_memory": 300_000}, delivery_timeout_ms=8_000),
    Load("zstd", "send", {"linger_ms": 5, "compression": "zstd"}, keyed=False),
    Load(
        "lz4",
        "async",
        {"linger_ms": 5, "compression": "lz4"},
        keyed=False,
        delivery_timeout_ms=10_000,
    ),
    Load("tasks", "async", {"linger_ms": 0}, delivery_timeout_ms=15_000),
    Load(
        "many",
        "many",
        {"linger_ms": 5, "compression": "zstd", "buffer_memory": 2_000_000},
        delivery_timeout_ms=9_000,
    ),
)


def value_of(load: Load, number: int, rng: random.Random) -> bytes:
    """`name:number:` and padding, mostly short."""
    most = LARGE_BYTES if rng.randrange(LARGE_ONE_IN) == 0 else SMALL_BYTES
    head = b"%s:%d:" % (load.name.encode(), number)
    return head + rng.randbytes(16) * (rng.randrange(most) // 16)


def key_of(load: Load, number: int) -> bytes | None:
    return b"%d" % (number % KEYS) if load.keyed else None


class Worker:
    """One producer that sends in its own thread until `stop`."""

    def __init__(self, load: Load, bootstrap: str, topic: str, seed: int) -> None:
        self.load = load
        self.ledger = Ledger(load.name)
        self.report: ottla.CloseReport | None = None
        self.failure: BaseException | None = None
        self._bootstrap = bootstrap
        self._topic = topic
        self._rng = random.Random(f"{seed}/{load.name}")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"load-{load.name}")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop sending; `join` waits until every message has its outcome."""
        self._end.set()

    def join(self) -> None:
        """Wait for the end, and raise the error that ended the thread.

        A thread that hangs is a broken promise of the client: it is an error, and not waited for.
        """
        self._thread.join(self.load.delivery_timeout_ms / 1000 + 30.0)
        if self._thread.is_alive():
            raise AssertionError(f"producer {self.load.name} does not end")
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        how: dict[str, Callable[[], None]] = {
            "send": self._send,
            "async": lambda: asyncio.run(self._send_async()),
            "many": self._send_many,
        }
        try:
            how[self.load.how]()
            until = time.monotonic() + CALLBACKS_S
            while self.ledger.pending and time.monotonic() < until:
                time.sleep(0.02)
        except BaseException as error:
            self.failure = error

    @property
    def _close_s(self) -> float:
        return self.load.delivery_timeout_ms / 1000 + 5.0

    def _bursts(self) -> Iterator[int]:
        """Number of messages to send now: the load's rate, in steps of about 10 ms."""
        before = time.monotonic()
        owed = 0.0
        while not self._end.is_set():
            now = time.monotonic()
            # A long wait of `send` is not made up for: that would be a burst of seconds.
            owed = min(owed + (now - before) * self.load.per_s, self.load.per_s / 4)
            before = now
            yield int(owed)
            owed -= int(owed)

    # ---- the ways to send ------------------------------------------------------------------------------------------

    def _send(self) -> None:
        load, ledger = self.load, self.ledger
        producer = ottla.Producer(self._bootstrap, **load.config)
        try:
            for burst in self._bursts():
                for _ in range(burst):
                    number = ledger.open()
                    value = value_of(load, number, self._rng)
                    try:
                        delivery = producer.send(self._topic, value, key_of(load, number))
                    except Error as error:
                        ledger.refused(number, error)
                        break
                    ledger.accepted(number)
                    delivery.add_done_callback(partial(ledger.record, number))
                self._end.wait(0.01)
        finally:
            self.report = producer.close(self._close_s)

    async def _send_async(self) -> None:
        """One task sends in order; another awaits each outcome."""
        load, ledger = self.load, self.ledger
        waiting: set[asyncio.Task[None]] = set()
        producer = ottla.AsyncProducer(self._bootstrap, **load.config)
        try:
            for burst in self._bursts():
                for _ in range(burst):
                    number = ledger.open()
                    value = value_of(load, number, self._rng)
                    try:
                        delivery = await producer.send(self._topic, value, key_of(load, number))
                    except Error as error:
                        ledger.refused(number, error)
                        break
                    ledger.accepted(number)
                    task = asyncio.create_task(_outcome(ledger, number, delivery))
                    waiting.add(task)
                    task.add_done_callback(waiting.discard)
                await asyncio.sleep(0.01)
        finally:
            self.report = await producer.close(self._close_s)
        if waiting:
            await asyncio.wait(waiting, timeout=CALLBACKS_S)

    def _send_many(self) -> None:
        """Send lists; another thread polls the outcomes, since `send_many` may wait for free space."""
        unread: deque[tuple[int, ottla.Delivery]] = deque()
        closed = threading.Event()
        poll = threading.Thread(
            target=_poll_outcomes,
            args=[self.ledger, unread, closed],
            name=f"poll-{self.load.name}",
        )
        producer = ottla.Producer(self._bootstrap, **self.load.config)
        poll.start()
        try:
            for burst in self._bursts():
                if burst:
                    unread.extend(self._send_list(producer, burst))
                self._end.wait(0.05)
        finally:
            self.report = producer.close(self._close_s)
            closed.set()
            poll.join()

    def _send_list(self, producer: ottla.Producer, burst: int) -> list[tuple[int, ottla.Delivery]]:
        load, ledger = self.load, self.ledger
        numbers = [ledger.open() for _ in range(burst)]
        values = [value_of(load, number, self._rng) for number in numbers]
        keys = [key_of(load, number) for number in numbers]
        deliveries: ottla.Deliveries | tuple[()]
        try:
            deliveries = producer.send_many(self._topic, values, keys)
        except Error as error:
            deliveries = error.accepted or ()
            for number in numbers[len(deliveries) :]:
                ledger.refused(number, error)
        sent = list(zip(numbers, deliveries, strict=False))
        for number, _ in sent:
            ledger.accepted(number)
        return sent


async def _outcome(ledger: Ledger, number: int, delivery: ottla.Delivery) -> None:
    with contextlib.suppress(Error):
        await delivery
    ledger.record(number, delivery)


def _poll_outcomes(
    ledger: Ledger, unread: deque[tuple[int, ottla.Delivery]], closed: threading.Event
) -> None:
    """Store the outcomes of resolved deliveries at intervals, until the producer is closed."""
    while True:
        last = closed.wait(POLL_S)
        for _ in range(len(unread)):
            number, delivery = unread.popleft()
            if delivery.done():
                ledger.record(number, delivery)
            else:
                unread.append((number, delivery))
        if last:
            return


class Workload:
    """`with Workload(...) as workload`: a worker for each load; leaving the block ends all."""

    def __init__(self, loads: Sequence[Load], bootstrap: str, topic: str, seed: int) -> None:
        self.workers = [Worker(load, bootstrap, topic, seed) for load in loads]

    def __enter__(self) -> Workload:
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Stop sending, and wait until every message has its outcome and every producer is closed."""
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            worker.join()
