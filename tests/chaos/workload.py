"""Producers of every sort that send while faults happen, each with a ledger of what its messages were told."""

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
"""How long the callbacks may take to come once a producer is closed."""

COMMON: dict[str, Any] = {
    # Below the delivery timeouts, so that a connection that nobody answers on is given up and another one tried.
    "request_timeout_ms": 3_000,
    "max_block_ms": 2_000,
}


@dataclass(frozen=True)
class Load:
    """One producer: how it sends, and with which options."""

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
    # A buffer of a second or two: `send` waits for room in every fault, and gives up in the long ones.
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
    """`name:number:` and filling, most of it small."""
    most = LARGE_BYTES if rng.randrange(LARGE_ONE_IN) == 0 else SMALL_BYTES
    head = b"%s:%d:" % (load.name.encode(), number)
    return head + rng.randbytes(16) * (rng.randrange(most) // 16)


def key_of(load: Load, number: int) -> bytes | None:
    return b"%d" % (number % KEYS) if load.keyed else None


class Worker:
    """One producer in a thread of its own, until `stop`."""

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
        """Send no more; `join` waits until everything has its outcome."""
        self._end.set()

    def join(self) -> None:
        """Wait for the end; raises what the thread died of.

        A thread that hangs is a broken promise of the client, and is said so instead of waited for.
        """
        self._thread.join(self.load.delivery_timeout_ms / 1000 + 30.0)
        if self._thread.is_alive():
            raise AssertionError(f"producer {self.load.name} does not come to an end")
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
        """How many messages to send now: the load's rate, in steps of about 10 ms."""
        before = time.monotonic()
        owed = 0.0
        while not self._end.is_set():
            now = time.monotonic()
            # After a `send` that waited long there is no catching up: that would be a burst of seconds.
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
                    delivery.add_done_callback(partial(ledger.told, number))
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
        """Lists at once; outcomes are looked for, by another thread since `send_many` may wait for room."""
        unread: deque[tuple[int, ottla.Delivery]] = deque()
        closed = threading.Event()
        look = threading.Thread(
            target=_look_for_outcomes,
            args=[self.ledger, unread, closed],
            name=f"look-{self.load.name}",
        )
        producer = ottla.Producer(self._bootstrap, **self.load.config)
        look.start()
        try:
            for burst in self._bursts():
                if burst:
                    unread.extend(self._send_list(producer, burst))
                self._end.wait(0.05)
        finally:
            self.report = producer.close(self._close_s)
            closed.set()
            look.join()

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
    ledger.told(number, delivery)


def _look_for_outcomes(
    ledger: Ledger, unread: deque[tuple[int, ottla.Delivery]], closed: threading.Event
) -> None:
    """Tell the ledger what is resolved, every so often, until the producer is closed."""
    while True:
        last = closed.wait(POLL_S)
        for _ in range(len(unread)):
            number, delivery = unread.popleft()
            if delivery.done():
                ledger.told(number, delivery)
            else:
                unread.append((number, delivery))
        if last:
            return


class Workload:
    """`with Workload(...) as workload`: every load as a worker; leaving ends them all."""

    def __init__(self, loads: Sequence[Load], bootstrap: str, topic: str, seed: int) -> None:
        self.workers = [Worker(load, bootstrap, topic, seed) for load in loads]

    def __enter__(self) -> Workload:
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Stop, and wait until every message has its outcome and every producer is closed."""
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            worker.join()
