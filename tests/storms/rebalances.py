"""Rebalance storms: members join and leave all the time, and the checker compares their events with the committed offsets.

    python -m tests.storms.rebalances --members 8 --seconds 60 --apis poll
    python -m tests.storms.rebalances --apis poll iterator handler confluent --kills 0.5

The members are processes of a real Kafka, or of `--bootstrap`. Every half a second one joins or leaves (`--kills`: the share of those
that leave by SIGKILL), while records are written. At the end all members but two leave, the rest of the log is read, and the report
follows; the exit code is 1 where a promise was broken. `confluent` needs bench/requirements.txt.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

import ottla
from tests.storms.checker import Event, Findings, Sample, check
from tests.storms.members import APIS, Place, Stop, run

PATIENCE_S = 60.0
SAMPLE_S = 0.15
LEAST_RECORDS = 200
"""A storm on a starved machine goes on until these are written."""
OPTIONS: dict[str, Any] = {
    "auto_offset_reset": "earliest",
    "session_timeout_ms": 3000,
    "heartbeat_interval_ms": 300,
    "auto_commit_interval_ms": 500,
}


class Runner(Protocol):
    """One running member."""

    name: str

    def stop(self) -> None:
        """Ask it to end gracefully."""

    def kill(self) -> None:
        """End it without a word."""

    def join(self, timeout: float) -> None:
        """Wait for its end; an error if it does not come, or if the member failed."""


class Thread:
    """A member as a thread of this process."""

    def __init__(self, name: str, api: str, place: Place, events: list[Event]) -> None:
        self.name = name
        self._stop = Stop()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(api, place, events), daemon=True)
        self._thread.start()

    def _run(self, api: str, place: Place, events: list[Event]) -> None:
        try:
            run(api, place, self._stop, self.name, events.append)
        except BaseException as error:
            self._error = error

    def stop(self) -> None:
        self._stop.set()

    def kill(self) -> None:
        raise NotImplementedError("a thread cannot be killed")

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"{self.name} did not end within {timeout} s"
        if self._error is not None:
            raise self._error


def _member(api: str, place: Place, name: str, path: Path) -> None:
    """The main function of a process: notes each event in a line of a file."""
    stop = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    run(api, place, stop, name, lambda event: os.write(file, (json.dumps(event) + "\n").encode()))


class Process:
    """A member as a process."""

    def __init__(self, name: str, api: str, place: Place, folder: Path) -> None:
        self.name = name
        self.killed_at: float | None = None
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.storms.members"])
        self._process: BaseProcess = context.Process(
            target=_member,
            args=(api, place, name, folder / f"{name}.jsonl"),
            name=name,
            daemon=True,
        )
        self._process.start()

    def stop(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.killed_at = time.monotonic()

    def join(self, timeout: float) -> None:
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"{self.name} did not end within {timeout} s"
        # A signal before the first line of the member ends a process that has not joined.
        ends = (0, -signal.SIGTERM, *([-signal.SIGKILL] if self.killed_at else []))
        assert self._process.exitcode in ends, f"{self.name}: {self._process}"


class Storm:
    """One storm against one topic and group.

    Args:
        place: The group, which no other client uses; the topic exists.
        partitions: Number of partitions of the topic.
        apis: The ways to consume; members take them in turn.
        folder: For the events of processes; None: the members are threads.
        seed: Of the decisions.
    """

    def __init__(
        self,
        place: Place,
        partitions: int,
        apis: list[str],
        *,
        folder: Path | None = None,
        seed: int = 1,
    ) -> None:
        self.leaves = self.kills = 0
        self.owned_after_s = 0.0
        """Seconds until every partition had an owner, once everything was committed."""
        self._place = place
        self._partitions = partitions
        self._apis = apis
        self._folder = folder
        self._rng = random.Random(seed)
        self._running: list[Runner] = []
        self._leaving: list[Runner] = []
        self._events: list[Event] = []
        self._samples: list[Sample] = []
        self._ends: dict[int, int] = {}
        self._over = threading.Event()
        self._end = 0.0
        """Time at which everything was committed and owned."""
        self._started = 0

    @property
    def written(self) -> int:
        """Number of records of the topic."""
        return sum(self._ends.values())

    # ---- members -------------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        api = self._apis[self._started % len(self._apis)]
        self._started += 1
        name = f"{api}-{self._started}"
        self._running.append(
            Thread(name, api, self._place, self._events)
            if self._folder is None
            else Process(name, api, self._place, self._folder)
        )

    def _leave(self, kills: float) -> None:
        member = self._running.pop(self._rng.randrange(len(self._running)))
        if self._rng.random() < kills:
            member.kill()
            self.kills += 1
            self._events.append(Event(time.monotonic(), member.name, "killed"))
        else:
            member.stop()
            self.leaves += 1
        self._leaving.append(member)

    def _change(self, most: int, kills: float) -> None:
        count = len(self._running)
        if count < 2 or (count < most and self._rng.random() < 0.5):
            self._join()
        else:
            self._leave(kills)

    # ---- the storm -----------------------------------------------------------------------------------------------------

    def run(
        self, seconds: float, *, members: int, every_s: float, rate: float, kills: float
    ) -> Findings:
        """Run it, read the rest of the log, and check it.

        Args:
            seconds: Duration.
            members: Maximum number of members.
            every_s: Interval between two changes.
            rate: Records per second.
            kills: Share of those leaving by SIGKILL.
        """
        threads = [
            threading.Thread(target=self._produce, args=(rate,)),
            threading.Thread(target=self._sample),
        ]
        for thread in threads:
            thread.start()
        try:
            self._storm(seconds, members, every_s, kills)
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
        self._finish()
        return check(self._all_events(), self._samples, self._ends, owned_at=self._end)

    def _storm(self, seconds: float, members: int, every_s: float, kills: float) -> None:
        until = time.monotonic() + seconds
        for _ in range(members // 2):
            self._join()
        latest = until + PATIENCE_S
        while (now := time.monotonic()) < until or (self.written < LEAST_RECORDS and now < latest):
            time.sleep(every_s)
            self._change(members, kills)

    def _finish(self) -> None:
        """Two members read the rest; the owners at their last event are those at the end."""
        while len(self._running) > 2:
            self._leave(0)
        while len(self._running) < 2:
            self._join()
        deadline = time.monotonic() + PATIENCE_S
        with ottla.Consumer(self._place.bootstrap, group_id=self._place.group) as reader:
            while time.monotonic() < deadline:
                time.sleep(0.1)
                committed = self._committed(reader)
                if committed and all(at >= self._ends.get(tp, 0) for tp, at in committed):
                    break
        self._await_owners(deadline)
        for member in [*self._leaving, *self._running]:
            member.stop()
            member.join(PATIENCE_S)

    def _await_owners(self, deadline: float) -> None:
        """Every partition gets an owner after the last change."""
        began = time.monotonic()
        while (now := time.monotonic()) < deadline:
            self._end = now
            if not check(self._all_events(), [], dict.fromkeys(self._ends, 0)).unowned:
                break
            time.sleep(0.05)
        self.owned_after_s = round(time.monotonic() - began, 2)

    def _all_events(self) -> list[Event]:
        return [*self._events, *self._events_of_files()]

    def _events_of_files(self) -> Iterator[Event]:
        for path in [] if self._folder is None else self._folder.glob("*.jsonl"):
            for line in path.read_text().splitlines():
                at, member, kind, partitions, offset = json.loads(line)
                yield Event(at, member, kind, tuple(partitions), offset)

    def _produce(self, rate: float) -> None:
        with ottla.Producer(self._place.bootstrap, linger_ms=5) as producer:
            number, began = 0, time.monotonic()
            while not self._over.wait(0.02):
                while number < (time.monotonic() - began) * rate:
                    partition = number % self._partitions
                    producer.send(self._place.topic, b"%d" % number, partition=partition)
                    self._ends[partition] = self._ends.get(partition, 0) + 1
                    number += 1

    def _sample(self) -> None:
        with ottla.Consumer(self._place.bootstrap, group_id=self._place.group) as reader:
            while not self._over.wait(SAMPLE_S):
                asked = time.monotonic()
                committed = self._committed(reader)
                answered = time.monotonic()
                self._samples += [Sample(asked, answered, *each) for each in committed]

    def _committed(self, reader: ottla.Consumer) -> list[tuple[int, int]]:
        places = [(self._place.topic, number) for number in range(self._partitions)]
        with contextlib.suppress(ottla.Error):
            found = reader.committed(places, timeout=5)
            return [(tp.partition, at.offset if at else 0) for tp, at in found.items()]
        return []


def report(storm: Storm, found: Findings, *, graceful: bool) -> dict[str, Any]:
    """The numbers of a storm."""
    return {
        "leaves": storm.leaves,
        "kills": storm.kills,
        "written": storm.written,
        "processed": found.processed,
        "losses": found.losses,
        "owned_after_s": storm.owned_after_s,
        "twice": dict(found.twice),
        "broken": found.broken(graceful=graceful),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=8, help="maximum number at once")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two changes")
    parser.add_argument("--apis", nargs="+", default=["poll"], choices=sorted(APIS))
    parser.add_argument("--kills", type=float, default=0.0, help="share of leaves by SIGKILL")
    parser.add_argument("--rate", type=float, default=400.0, help="records per second")
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bootstrap", help="of a running Kafka; without it one is started")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        bootstrap = arguments.bootstrap
        if bootstrap is None:
            from tools.kafka.launch import KafkaCluster

            bootstrap = stack.enter_context(KafkaCluster(1)).bootstrap
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        from tools.kafka.raw_requests import create_topic

        topic = f"storm-{time.time_ns()}"
        create_topic(bootstrap, topic, arguments.partitions, {})
        place = Place(bootstrap, f"g-{topic}", topic, OPTIONS, 0.05)
        storm = Storm(
            place, arguments.partitions, arguments.apis, folder=folder, seed=arguments.seed
        )
        found = storm.run(
            arguments.seconds,
            members=arguments.members,
            every_s=arguments.every,
            rate=arguments.rate,
            kills=arguments.kills,
        )
    result = report(storm, found, graceful=arguments.kills == 0)
    print(json.dumps({"apis": arguments.apis, **result}), flush=True)
    for name in result["broken"]:
        print(name, list(getattr(found, name))[:10], flush=True)
    return 1 if result["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
