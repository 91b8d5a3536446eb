"""The outcomes of one producer's messages and their times, in columns: a soak sends millions."""

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
NO_OFFSET = -2


class Ledger:
    """Numbers messages in call order and stores the outcome of each. Threads: any."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reasons: Counter[str] = Counter()
        """Number of failed messages by class of error."""
        self.first_written: dict[int, float] = {}
        """Partition -> time at which the first message sent after the last `mark` was written."""
        self._marked = 0
        self._accepted = array("d")
        self._resolved = array("d")
        self._outcome = bytearray()
        self._reports = bytearray()
        self._partition = array("i")
        self._offset = array("q")
        self._pending = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._outcome)

    @property
    def pending(self) -> int:
        """Number of messages without an outcome."""
        return self._pending

    def open(self) -> int:
        """The number of the message that is about to be sent."""
        with self._lock:
            self._accepted.append(0.0)
            self._resolved.append(0.0)
            self._outcome.append(PENDING)
            self._reports.append(0)
            self._partition.append(-1)
            self._offset.append(NO_OFFSET)
            self._pending += 1
            return len(self._outcome) - 1

    def accepted(self, number: int) -> None:
        """Store that `send` has returned."""
        self._accepted[number] = time.monotonic()

    def refused(self, number: int, error: BaseException) -> None:
        """Store that `send` has raised: the message was not accepted."""
        with self._lock:
            self._outcome[number] = REFUSED
            self._reports[number] += 1
            self._pending -= 1
            self.reasons[f"refused: {type(error).__name__}"] += 1

    def record(self, number: int, delivery: ottla.Delivery) -> None:
        """Store the outcome of a delivery."""
        now = time.monotonic()
        with self._lock:
            self._reports[number] = min(self._reports[number] + 1, 255)
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
        """Restart `first_written` from here."""
        with self._lock:
            self._marked = len(self._outcome)
            self.first_written.clear()

    def counts(self) -> Counter[str]:
        """Messages by outcome."""
        return Counter(str(OUTCOMES[code]) for code in self._outcome)

    def slowest(self) -> float:
        """Maximum number of seconds from the acceptance of a message to its outcome."""
        pairs = zip(self._outcome, self._accepted, self._resolved, strict=True)
        return max(
            (to - start for code, start, to in pairs if code not in (PENDING, REFUSED)), default=0.0
        )

    def sent(self) -> Iterator[Sent]:
        """Every message, for the checker."""
        columns = zip(
            self._outcome,
            self._partition,
            self._offset,
            self._accepted,
            self._resolved,
            self._reports,
            strict=True,
        )
        for number, (code, partition, offset, accepted, resolved, reports) in enumerate(columns):
            yield Sent(number, OUTCOMES[code], partition, offset, accepted, resolved, reports)


class StarvationWatch:
    """How late this process runs: a thread sleeps a moment again and again, and measures how long that took.

    An outcome that is observed late while this thread was late too is no finding about the client. The checker allows
    `margin`: the longest oversleeping in the time in question, and a constant for scheduling that the thread does not see.
    """

    TICK_S = 0.02
    RECORDED_S = 0.1
    """Shortest oversleeping that is recorded, seconds."""
    FIXED_S = 0.25

    def __init__(self) -> None:
        self._at = array("d")
        self._late = array("d")
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
            late_s = now - before - self.TICK_S
            if late_s > self.RECORDED_S:
                self._at.append(now)
                self._late.append(late_s)
            before = now

    def margin(self, start_s: float, end_s: float) -> float:
        """Seconds by which an event in this time may be observed late."""
        first = bisect.bisect_left(self._at, start_s)
        last = bisect.bisect_right(self._at, end_s + self.RECORDED_S)
        return self.FIXED_S + max(self._late[first:last], default=0.0)

    @property
    def worst(self) -> float:
        """The longest oversleeping, seconds."""
        return max(self._late, default=0.0)
