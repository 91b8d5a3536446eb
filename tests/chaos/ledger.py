"""What one producer's messages were told and when, in columns: a soak sends millions."""

from __future__ import annotations

import bisect
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterator

import ottla
from tests.chaos.checker import Sent

OUTCOMES = (None, "written", "not_written", "unknown", "refused")
CODES = {outcome: code for code, outcome in enumerate(OUTCOMES)}
PENDING, WRITTEN, REFUSED = CODES[None], CODES["written"], CODES["refused"]
UNTOLD = -2


class Ledger:
    """Numbers messages in call order and keeps the outcome of each. Any thread may tell one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reasons: Counter[str] = Counter()
        """What failed messages were told, by class of error."""
        self.first_written: dict[int, float] = {}
        """Partition -> when the first message called for after the last `mark` was written."""
        self._marked = 0
        self._accepted = array("d")
        self._resolved = array("d")
        self._outcome = bytearray()
        self._told = bytearray()
        self._partition = array("i")
        self._offset = array("q")
        self._pending = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._outcome)

    @property
    def pending(self) -> int:
        """Messages that were called for and have no outcome yet."""
        return self._pending

    def open(self) -> int:
        """The number of the message that is about to be sent."""
        with self._lock:
            self._accepted.append(0.0)
            self._resolved.append(0.0)
            self._outcome.append(PENDING)
            self._told.append(0)
            self._partition.append(-1)
            self._offset.append(UNTOLD)
            self._pending += 1
            return len(self._outcome) - 1

    def accepted(self, number: int) -> None:
        """`send` returned."""
        self._accepted[number] = time.monotonic()

    def refused(self, number: int, error: BaseException) -> None:
        """`send` raised: the message was not accepted."""
        with self._lock:
            self._outcome[number] = REFUSED
            self._told[number] += 1
            self._pending -= 1
            self.reasons[f"refused: {type(error).__name__}"] += 1

    def told(self, number: int, delivery: ottla.Delivery) -> None:
        """The delivery has its outcome."""
        now = time.monotonic()
        with self._lock:
            self._told[number] = min(self._told[number] + 1, 255)
            if self._outcome[number] != PENDING:
                return
            self._pending -= 1
            self._resolved[number] = now
            self._outcome[number] = CODES[delivery.outcome]
            if delivery.partition is not None:
                self._partition[number] = delivery.partition
            if delivery.error is not None:
                self.reasons[f"{delivery.outcome}: {type(delivery.error).__name__}"] += 1
            else:
                assert delivery.offset is not None
                self._offset[number] = delivery.offset
                if number >= self._marked:
                    self.first_written.setdefault(self._partition[number], now)

    def mark(self) -> None:
        """From here `first_written` counts anew."""
        with self._lock:
            self._marked = len(self._outcome)
            self.first_written.clear()

    def counts(self) -> Counter[str]:
        """Messages by outcome."""
        return Counter(str(OUTCOMES[code]) for code in self._outcome)

    def slowest(self) -> float:
        """Seconds from the acceptance of a message to its outcome, the longest there was."""
        pairs = zip(self._outcome, self._accepted, self._resolved, strict=True)
        return max(
            (to - start for code, start, to in pairs if code not in (PENDING, REFUSED)), default=0.0
        )

    def sent(self) -> Iterator[Sent]:
        """Every message as the checker wants it."""
        columns = zip(
            self._outcome,
            self._partition,
            self._offset,
            self._accepted,
            self._resolved,
            self._told,
            strict=True,
        )
        for number, (code, partition, offset, accepted, resolved, told) in enumerate(columns):
            yield Sent(number, OUTCOMES[code], partition, offset, accepted, resolved, told)


class StarvationWatch:
    """How late this process runs: a thread that sleeps a moment over and over, and looks how long that took.

    An outcome that is seen late while this thread was late too says nothing of the client. `margin` is what the checker
    allows for it: the longest oversleeping in the time in question, and a fixed bit for scheduling below its sight.
    """

    TICK_S = 0.02
    WORTH_KEEPING_S = 0.1
    FIXED_S = 0.25

    def __init__(self) -> None:
        self._at = array("d")
        self._over = array("d")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos-watch")

    def __enter__(self) -> StarvationWatch:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        before = time.monotonic()
        while not self._end.wait(self.TICK_S):
            now = time.monotonic()
            over = now - before - self.TICK_S
            if over > self.WORTH_KEEPING_S:
                self._at.append(now)
                self._over.append(over)
            before = now

    def margin(self, start_s: float, end_s: float) -> float:
        """Seconds by which what happened in this time may look late."""
        first = bisect.bisect_left(self._at, start_s)
        last = bisect.bisect_right(self._at, end_s + self.WORTH_KEEPING_S)
        return self.FIXED_S + max(self._over[first:last], default=0.0)

    @property
    def worst(self) -> float:
        """The longest oversleeping there was, seconds."""
        return max(self._over, default=0.0)
