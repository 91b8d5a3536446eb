"""Shared parts of the drivers: the job, its values, and how time and CPU are measured.

A driver in any language has this shape: it gets one JSON object (the fields of Job) as its only argument, and the last
line it prints is one JSON object: `seconds` and `cpu_seconds` of the measured part alone, without start-up and
warm-up; `messages` in it; `written`, all that it wrote; `failed`; `latencies_ms`, `ns_per_call` where the kind of work
has them; `start_seconds` and `idle_rss_mb` for start; `client`, its name and version.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

LINGER_MS = 5
BATCH_BYTES = 1_000_000
WARM_UP = 10_000
CALL_SLICES = 9
CALL_SLICE = 20_000
PACE_S = 0.002
TICK_S = 0.001
IDLE_S = 0.5


@dataclass(frozen=True)
class Job:
    """One piece of work for one client.

    kind: produce, paced, send_many, consume, call, start, latency, latency_async, busy, tasks or windows. messages: in
    the measured part. keep: every outcome is stored and checked; otherwise only the flush reports the end. tasks: how
    many tasks, or sends of a window, at a time. rate: messages a second of paced. tuned: with what its users know to make
    it faster. started: `time.time()` just before the process.
    """

    kind: str
    bootstrap: str
    topic: str
    partitions: int
    messages: int
    value_bytes: int
    compression: str
    keep: bool
    tasks: int
    rate: float = 0.0
    tuned: bool = False
    started: float = 0.0


def values(job: Job) -> list[bytes]:
    """A thousand values, half random text and half not, the same for every client."""
    source = random.Random(7)
    half = job.value_bytes // 2
    plain = b"the quick brown fox jumps over the lazy dog " * (half // 44 + 1)
    made = []
    for _ in range(1000):
        text = source.randbytes(half // 2 + 1).hex().encode()[:half] + plain
        made.append(text[: job.value_bytes])
    return made


def cycled(job: Job, count: int) -> list[bytes]:
    """`count` values: references to the thousand, made before the clock runs."""
    made = values(job)
    return (made * (count // len(made) + 1))[:count]


class Meter:
    """Wall and CPU seconds of this process, all its threads, inside the `with`."""

    seconds = 0.0
    cpu_seconds = 0.0

    @staticmethod
    def _cpu() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    def __enter__(self) -> Meter:
        self._cpu_before = self._cpu()
        self._before = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._before
        self.cpu_seconds = self._cpu() - self._cpu_before

    def result(self, messages: int, **more: Any) -> dict[str, Any]:
        """The result object of a job that was measured with this."""
        measured = {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}
        return {**measured, "messages": messages, "failed": 0, **more}


def paced(job: Job, send: Callable[[bytes], object]) -> None:
    """Call `send` for each message at the rate of the job, in ticks of a millisecond."""
    work = cycled(job, job.messages)
    begun, sent = time.perf_counter(), 0
    while sent < len(work):
        time.sleep(TICK_S)
        due = min(len(work), int((time.perf_counter() - begun) * job.rate))
        for number in range(sent, due):
            send(work[number])
        sent = due


def after_start(job: Job) -> dict[str, Any]:
    """The result of a start, called when the first message is delivered: the time since, and memory when idle."""
    taken = time.time() - job.started
    time.sleep(IDLE_S)
    status = Path("/proc/self/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    idle_rss_mb = int(resident.split()[1]) * 1024 / 1e6
    return {"start_seconds": taken, "idle_rss_mb": idle_rss_mb, "messages": 0, "failed": 0}


def run_async(job: Job, work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, on uvloop when the job is tuned."""
    if not job.tuned:
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


def time_calls(
    loop: Callable[[list[bytes]], object], job: Job, empty: Callable[[], object]
) -> float:
    """The smallest nanoseconds per value over some slices, the `for` of the loop included.

    `loop` makes one call per value of a slice itself, so that nothing stands between the loop and the call; `empty`
    throws away what the client has queued after each.
    """
    batch = cycled(job, CALL_SLICE)
    best = float("inf")
    for _ in range(CALL_SLICES):
        before = time.perf_counter_ns()
        loop(batch)
        best = min(best, (time.perf_counter_ns() - before) / CALL_SLICE)
        empty()
    return best


def beside_busy_python(
    job: Job, send: Callable[[bytes], Callable[[], bool]], spin: int = 300
) -> list[float]:
    """Milliseconds from send to acknowledgement, with this thread computing in pure Python all the while.

    `send` starts one message and returns a function that says whether it is acknowledged; between two checks the
    thread does some tens of microseconds of Python work and never sleeps, so a client that needs the GIL competes for it.
    """
    taken: list[float] = []
    for value in cycled(job, job.messages):
        begun = time.perf_counter()
        acknowledged = send(value)
        ended = None
        while ended is None or time.perf_counter() - begun < PACE_S:
            total = 0
            for number in range(spin):
                total += number
            if ended is None and acknowledged():
                ended = time.perf_counter()
        taken.append((ended - begun) * 1000)
    return taken


def main(kinds: dict[str, Callable[[Job], dict[str, Any]]], client: str) -> None:
    """Run the job of the command line and print its result."""
    job = Job(**json.loads(sys.argv[1]))
    print(json.dumps({**kinds[job.kind](job), "client": client}))
