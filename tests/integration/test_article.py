"""The article's four programs, run unchanged; their outcomes and committed offsets are counted."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import ottla

ARTICLE = Path(__file__).resolve().parents[2] / "examples" / "article"
MESSAGES = 1000
PARTITIONS = 3


def program(name: str, topic: str, group: str = "") -> ModuleType:
    """The program as a module of its own, on a topic and group of the test."""
    spec = importlib.util.spec_from_file_location(f"article_{name}", ARTICLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.__dict__["TOPIC"] = topic
    if group:
        module.__dict__["GROUP"] = group
    return module


def read_all(bootstrap: str, topic: str, partitions: int) -> list[bytes | None]:
    """Every value of the topic, until the end that it has now."""
    places = [ottla.TopicPartition(topic, number) for number in range(partitions)]
    values: list[bytes | None] = []
    with ottla.Consumer(bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign(places)
        total = sum(consumer.end_offsets(*places).values())
        while len(values) < total:
            records = consumer.poll(timeout=10)
            assert records, f"only {len(values)} of {total} records came"
            values += records.values()
    return values


@pytest.mark.parametrize("name", ["simple_producer", "simple_producer_async"])
def test_every_outcome_is_read_without_a_sleep(
    bootstrap: str, make_topic: Callable[..., str], name: str
) -> None:
    topic = make_topic(PARTITIONS)
    main = program(name, topic).main
    read = asyncio.run(main(bootstrap)) if name.endswith("_async") else main(bootstrap)
    assert read == MESSAGES
    values = read_all(bootstrap, topic, PARTITIONS)
    assert Counter(values) == Counter(b"ottla-%d" % number for number in range(MESSAGES))


@pytest.mark.parametrize("name", ["counted_producer", "counted_producer_async"])
def test_close_right_after_the_last_send_loses_no_outcome(
    bootstrap: str, make_topic: Callable[..., str], name: str
) -> None:
    topic = make_topic(PARTITIONS)
    main = program(name, topic).main
    written, failed = asyncio.run(main(bootstrap)) if name.endswith("_async") else main(bootstrap)
    assert sorted(written) == list(range(MESSAGES))
    assert failed == []
    values = read_all(bootstrap, topic, PARTITIONS)
    assert Counter(values) == Counter(b"ottla-%d" % number for number in range(MESSAGES))


CONSUMERS = [
    "consumer_sync_commit",
    "consumer_sync_commit_async",
    "consumer_async_commit",
    "consumer_async_commit_async",
]


@pytest.mark.parametrize("name", CONSUMERS)
def test_after_sigterm_exactly_the_processed_records_are_committed(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str, name: str
) -> None:
    topic, group = make_topic(PARTITIONS), f"group-{unique_name}"
    with ottla.Producer(bootstrap) as producer:
        producer.send_many(topic, [b"%d" % number for number in range(MESSAGES)]).result(30)
    lines = run_until_idle(bootstrap, name, topic, group)
    processed = int(next(line for line in lines if line.startswith("processed:")).split()[1])
    assert processed == MESSAGES
    with ottla.Consumer(bootstrap, group_id=group, enable_auto_commit=False) as consumer:
        places = [ottla.TopicPartition(topic, number) for number in range(PARTITIONS)]
        committed = consumer.committed(*places, timeout=20)
        ends = consumer.end_offsets(*places)
    assert {tp: at.offset for tp, at in committed.items() if at is not None} == {
        tp: end for tp, end in ends.items() if end > 0
    }


def run_until_idle(bootstrap: str, name: str, topic: str, group: str) -> list[str]:
    """Run the program as a process, send SIGTERM when its group has read everything, and return its output."""
    code = (
        "import sys, runpy, asyncio\n"
        f"program = runpy.run_path({str(ARTICLE / f'{name}.py')!r})\n"
        "main = program['main']\n"
        f"main.__globals__.update(TOPIC={topic!r}, GROUP={group!r})\n"
        "result = main(sys.argv[1])\n"
        "if asyncio.iscoroutine(result): asyncio.run(result)\n"
    )
    # Into a file: nobody reads while the program runs, and a pipe holds less than it prints.
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(
            [sys.executable, "-c", code, bootstrap],
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            wait_until_committed(bootstrap, topic, group)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=10)
        printed.seek(0)
        output = printed.read()
    assert process.returncode == 0, output
    return output.splitlines()


def wait_until_committed(bootstrap: str, topic: str, group: str) -> None:
    """Wait until the group has committed the whole topic."""
    places = [ottla.TopicPartition(topic, number) for number in range(PARTITIONS)]
    deadline = time.monotonic() + 60
    with ottla.Consumer(bootstrap, group_id=group, enable_auto_commit=False) as consumer:
        while time.monotonic() < deadline:
            committed = consumer.committed(*places, timeout=20)
            if sum(at.offset for at in committed.values() if at is not None) == MESSAGES:
                return
            time.sleep(0.1)
    raise AssertionError(f"after 60 s the group had committed {committed}")
