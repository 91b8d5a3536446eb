"""The article's consumers under SIGTERM at random moments: afterwards exactly the processed records are committed.

    python -m tests.storms.sigterm --runs 20 --seed 1            # a real Kafka is started; --bootstrap HOST:PORT uses yours

Each run starts a program as a process of its own with a new topic and group, sends SIGTERM between its start and the end of its work,
and compares the number of processed records of each partition, which the program returns, with the committed offsets.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import ottla

ARTICLE = Path(__file__).resolve().parents[2] / "examples" / "article"
PROGRAMS = (
    "consumer_sync_commit",
    "consumer_sync_commit_async",
    "consumer_async_commit",
    "consumer_async_commit_async",
)
PARTITIONS = 3
MESSAGES = 15_000
LONGEST_S = 1.5
"""Latest moment of SIGTERM, in seconds from the start of the process."""
END_S = 30.0
"""Seconds that the process may take to end."""
_CODE = """
import asyncio, json, runpy, sys
program = runpy.run_path(sys.argv[1])
main = program["main"]
main.__globals__.update(TOPIC=sys.argv[3], GROUP=sys.argv[4])
result = main(sys.argv[2])
if asyncio.iscoroutine(result):
    result = asyncio.run(result)
print("result:", json.dumps(result), flush=True)
"""


class Run(NamedTuple):
    """One run: its end, and both counts of each partition."""

    program: str
    after_s: float
    ended_s: float
    code: int
    processed: dict[int, int]
    committed: dict[int, int]
    output: str

    @property
    def is_right(self) -> bool:
        """Whether the process ended by itself, and exactly the processed records are committed."""
        begun = self.code == 0 or (self.code == -signal.SIGTERM and not self.processed)
        return begun and self.processed == self.committed and self.ended_s < END_S

    def __str__(self) -> str:
        verdict = "ok" if self.is_right else "WRONG"
        return (
            f"{verdict} {self.program} SIGTERM after {self.after_s:.2f} s, ended in {self.ended_s:.2f} s with {self.code}, "
            f"processed {self.processed}, committed {self.committed}"
        )


def run_once(bootstrap: str, program: str, topic: str, group: str, after_s: float) -> Run:
    """Run the program, and send SIGTERM `after_s` seconds after its start."""
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE, str(ARTICLE / f"{program}.py"), bootstrap, topic, group],
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            time.sleep(after_s)
            sent = time.monotonic()
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=END_S)
            ended = time.monotonic() - sent
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=10)
        printed.seek(0)
        output = printed.read()
    results = [line[8:] for line in output.splitlines() if line.startswith("result: ")]
    processed = {int(number): count for number, count in json.loads((results or ["{}"])[0]).items()}
    committed = committed_of(bootstrap, topic, group)
    return Run(program, after_s, ended, process.returncode, processed, committed, output)


def committed_of(bootstrap: str, topic: str, group: str) -> dict[int, int]:
    """The committed offset of each partition that has one above 0."""
    places = [ottla.TopicPartition(topic, number) for number in range(PARTITIONS)]
    with ottla.Consumer(bootstrap, group_id=group, enable_auto_commit=False) as consumer:
        found = consumer.committed(*places, timeout=20)
    return {tp.partition: at.offset for tp, at in found.items() if at is not None and at.offset}


def fill(bootstrap: str, topic: str) -> None:
    """Create the topic, with its records spread over the partitions."""
    from tools.kafka.raw_requests import create_topic

    create_topic(bootstrap, topic, PARTITIONS, {})
    with ottla.Producer(bootstrap) as producer:
        for number in range(MESSAGES):
            producer.send(topic, b"%d" % number, partition=number % PARTITIONS)


@contextlib.contextmanager
def broker(bootstrap: str | None) -> Iterator[str]:
    """The given broker, or a real Kafka of this run."""
    if bootstrap is not None:
        yield bootstrap
        return
    from tools.kafka.launch import KafkaCluster

    with KafkaCluster(1) as cluster:
        yield cluster.bootstrap


def main() -> int:
    """Run the storm; returns the number of wrong runs, at most 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="runs of each program")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bootstrap", help="a broker that runs; none: a real Kafka is started")
    parser.add_argument("--program", choices=PROGRAMS, action="append")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    runs: list[Run] = []
    with broker(options.bootstrap) as bootstrap:
        for number, program in itertools.product(range(options.runs), options.program or PROGRAMS):
            name = f"sigterm-{os.getpid()}-{number}-{program}".replace("_", "-")
            fill(bootstrap, name)
            after_s = rng.uniform(0.2, LONGEST_S)
            runs.append(run_once(bootstrap, program, name, f"g-{name}", after_s))
            print(runs[-1], flush=True)
            if not runs[-1].is_right:
                print(runs[-1].output[-5000:], flush=True)
    wrong = [run for run in runs if not run.is_right]
    midst = sum(0 < sum(run.processed.values()) < MESSAGES for run in runs)
    slowest = max(run.ended_s for run in runs)
    print(
        f"{len(runs)} runs, {midst} in the midst of the topic, slowest end {slowest:.2f} s, {len(wrong)} wrong"
    )
    return min(1, len(wrong))


if __name__ == "__main__":
    sys.exit(main())
