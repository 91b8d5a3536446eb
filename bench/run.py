"""Run every client on the same work, in turn, on a real Kafka on the same machine: `python -m bench.run [--smoke]`.

Each client is a process of its own per round; a round goes through all clients before the next one begins, and starts
with another client each time, so that a busy minute of the machine hits all alike. Written messages are counted on the
broker and read ones in bytes: a client that lost a message gets an error, not a figure.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.built import NotBuilt, command_of
from bench.drivers.shared import Job
from bench.plot import plot
from bench.report import summarise, table
from bench.works import CLIENTS, WORKS, Client, Work, another_checkout
from tools.kafka.launch import KAFKA_VERSION, ROOT, KafkaCluster
from tools.kafka.raw_requests import count_records, create_topic, delete_topic

PARTITIONS = 6
TIMEOUT_S = 300
RESULTS = ROOT / "bench" / "results"
IN_MEMORY = Path("/dev/shm")
IN_MEMORY_BYTES = 6 << 30
"""Minimum of free memory for the log: several times the data of the largest work."""
KEPT_ON_BROKER = {
    "log.segment.bytes": "268435456",
    "log.retention.check.interval.ms": "300000",
    # What a client wrote is gone before the next one begins.
    "log.segment.delete.delay.ms": "0",
}


class BenchError(Exception):
    """A client failed, or its count differs from the broker's."""


class Bench:
    """One run over one cluster."""

    def __init__(self, bootstrap: str, *, smoke: bool) -> None:
        self._bootstrap = bootstrap
        self._smoke = smoke
        self._loaded: dict[tuple[int, str], tuple[str, int]] = {}
        self._topics = 0

    def _new_topic(self) -> str:
        self._topics += 1
        name = f"bench-{self._topics}"
        create_topic(self._bootstrap, name, PARTITIONS)
        return name

    def _job(self, work: Work, topic: str, messages: int) -> Job:
        return Job(
            kind=work.kind,
            bootstrap=self._bootstrap,
            topic=topic,
            partitions=PARTITIONS,
            messages=messages,
            value_bytes=work.value_bytes,
            compression=work.compression,
            keep=work.keep,
            tasks=work.tasks,
            rate=work.rate,
        )

    def run(self, work: Work, client: Client) -> dict[str, Any]:
        """Let one client do one work once, and check it."""
        messages = work.messages_for(client, smoke=self._smoke)
        if work.kind == "consume":
            return self._consume(work, client, messages)
        topic = self._new_topic()
        result = self._drive(client, self._job(work, topic, messages))
        if result["failed"]:
            raise BenchError(f"{client.name}, {work.name}: {result['failed']} messages failed")
        if "written" in result:
            found = count_records(self._bootstrap, topic, PARTITIONS)
            if found != result["written"]:
                raise BenchError(
                    f"{client.name}, {work.name}: {found} records for {result['written']}"
                )
        delete_topic(self._bootstrap, topic)
        return result

    def _consume(self, work: Work, client: Client, messages: int) -> dict[str, Any]:
        topic, loaded = self._load(work)
        job = self._job(work, topic, min(messages, loaded))
        result = self._drive(client, job)
        if result["seen"] < job.messages:
            raise BenchError(f"{client.name}, {work.name}: read only {result['seen']} records")
        if result["bytes"] != result["messages"] * work.value_bytes:
            raise BenchError(f"{client.name}, {work.name}: read {result['bytes']} bytes")
        return result

    def _load(self, work: Work) -> tuple[str, int]:
        """A topic full of records of the wanted kind, written once by a neutral client."""
        key = (work.value_bytes, work.compression)
        if key not in self._loaded:
            writer = next(client for client in CLIENTS if client.name == "confluent-kafka")
            messages = work.smoke if self._smoke else work.messages
            topic = self._new_topic()
            filled = replace(work, name="load", kind="produce", keep=False)
            self._drive(writer, self._job(filled, topic, messages))
            self._loaded[key] = (topic, count_records(self._bootstrap, topic, PARTITIONS))
        return self._loaded[key]

    def _drive(self, client: Client, job: Job) -> dict[str, Any]:
        job = replace(job, tuned=client.tuned, started=time.time())
        done = subprocess.run(
            [*client.command, json.dumps(asdict(job))],
            cwd=client.folder or ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        if done.returncode != 0:
            raise BenchError(f"{client.name}, {job.kind}: {done.stderr.strip()[-2000:]}")
        result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return result


def _compile_checkout() -> None:
    """Compile this checkout, as pip compiles installed packages: else the start of Ottla would include the compilation."""
    for folder in (ROOT / "src" / "ottla", ROOT / "bench"):
        if not compileall.compile_dir(folder, quiet=1):
            sys.exit(f"bench: {folder} cannot be compiled")


def _refuse_other_builds() -> None:
    from ottla import _native

    built = _native.build_info()
    if (built["profile"], built["features"]) != ("release", "none"):
        sys.exit(f"bench: the extension is not what users get; `make bench` builds it: {built}")


def _log_folder(*, on_disk: bool) -> Path | None:
    """Folder of the broker's log: in memory where it fits, because a disk that lags behind halves the rates of all clients."""
    fits = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free >= IN_MEMORY_BYTES
    return IN_MEMORY if fits and not on_disk else None


def _machine(folder: Path | None) -> dict[str, Any]:
    processor = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "kafka": KAFKA_VERSION,
        "log": "in memory" if folder else "on disk",
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one short round of the main works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", nargs="*", default=[""], help="works whose name contains one of these"
    )
    parser.add_argument(
        "--clients", nargs="*", help="by name; else all, in a smoke run the plain ones in Python"
    )
    parser.add_argument(
        "--checkout",
        action="append",
        default=[],
        metavar="FOLDER",
        help="another checkout of Ottla with a release build, measured as one more client",
    )
    parser.add_argument(
        "--on-disk",
        action="store_true",
        help="the broker's log on disk, also where it fits into memory",
    )
    return parser.parse_args()


def _choose(names: list[str] | None, *, smoke: bool) -> tuple[list[Client], list[str]]:
    """The clients that can run, built where need be, and a line for each that is left out."""
    chosen: list[Client] = []
    left_out: list[str] = []
    for client in CLIENTS:
        extra = client.tuned or not client.command
        if client.name not in names if names else smoke and extra:
            continue
        try:
            chosen.append(
                client if client.command else replace(client, command=command_of(client.name))
            )
        except NotBuilt as reason:
            left_out.append(f"{client.name} left out: {reason}")
    return chosen, left_out


def _report(
    machine: dict[str, Any],
    results: list[dict[str, Any]],
    left_out: list[str],
    failures: list[str],
) -> None:
    """Print the table, and write it, the plot and all that was measured."""
    rows = summarise(results)
    used = ", ".join(sorted({result["client"] for result in results}))
    head = [" · ".join(f"{name} {value}" for name, value in machine.items()), used, *left_out]
    text = "\n\n".join((*head, table(rows)))
    print(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    named = RESULTS / time.strftime("%Y%m%d-%H%M%S")
    named.with_suffix(".md").write_text(text + "\n")
    named.with_suffix(".svg").write_text(plot(rows))
    written = {"machine": machine, "rows": rows, "results": results, "failures": failures}
    named.with_suffix(".json").write_text(json.dumps(written, indent=1))


def main() -> None:
    arguments = _arguments()
    clients, left_out = _choose(arguments.clients, smoke=arguments.smoke)
    clients += [another_checkout(folder, CLIENTS[0]) for folder in arguments.checkout]
    works = [work for work in WORKS if any(word in work.name for word in arguments.only)]
    if arguments.smoke:
        works = [work for work in works if work.smoke]
    if any(client.name.startswith("ottla") for client in clients):
        _refuse_other_builds()
    _compile_checkout()
    results: list[dict[str, Any]] = []
    failures: list[str] = []
    folder = _log_folder(on_disk=arguments.on_disk)
    with KafkaCluster(1, KEPT_ON_BROKER, under=folder) as cluster:
        bench = Bench(cluster.bootstrap, smoke=arguments.smoke)
        for work in works:
            able = [client for client in clients if work.kind in client.kinds]
            for turn in range(1 if arguments.smoke else arguments.rounds):
                first = turn % max(1, len(able))
                for client in (*able[first:], *able[:first]):
                    print(f"{work.name}: {client.name}, round {turn + 1}", file=sys.stderr)
                    try:
                        result = bench.run(work, client)
                    except (BenchError, subprocess.TimeoutExpired) as error:
                        failures.append(str(error))
                        continue
                    results.append({"work": work.name, "name": client.name, **result})
    _report(_machine(folder), results, left_out, failures)
    if failures:
        sys.exit("bench: " + "\n".join(failures))


if __name__ == "__main__":
    main()
