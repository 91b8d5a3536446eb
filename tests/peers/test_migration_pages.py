"""The pages for users of other clients are right: the programs run, the options and defaults of those clients exist."""

from __future__ import annotations

import ctypes
import inspect
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import aiokafka
import confluent_kafka
import kafka
import pytest

import ottla
from ottla.config.foreign_options import PAGES, Name
from ottla.testing import Broker
from tests.peers.clients import PEERS, WAIT_S

ROOT = Path(__file__).resolve().parents[2]

PYTHON_PAGES = ("aiokafka", "confluent-kafka", "kafka-python")
LONG_S = 60


@pytest.mark.parametrize("client", PYTHON_PAGES)
def test_their_programs_run(client: str) -> None:
    page = (ROOT / "docs" / "migrating" / f"from-{client}.md").read_text()
    programs = re.findall(r"^```py\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(programs) >= 2
    with Broker() as broker:
        for program in programs:
            code = program.replace("localhost:9092", broker.bootstrap)
            ran = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG_S
            )
            assert ran.returncode == 0, ran.stderr
            assert ran.stdout
            assert "failed:" not in ran.stdout or "failed: []" in ran.stdout
        assert broker.committed("shipping") == {("orders", 0): 100}


# ---- options ---------------------------------------------------------------------------------------------------------


def librdkafka() -> dict[str, str]:
    """Every option that librdkafka shows, with its default."""
    with open("/proc/self/maps") as maps:
        path = next(line.split()[-1] for line in maps if "librdkafka" in line)
    library = ctypes.CDLL(path)
    found: dict[str, str] = {}
    for kind in ("conf", "topic_conf"):
        new, dump = (getattr(library, f"rd_kafka_{kind}_{name}") for name in ("new", "dump"))
        new.restype = ctypes.c_void_p
        dump.restype = ctypes.POINTER(ctypes.c_char_p)
        count = ctypes.c_size_t()
        pairs = dump(ctypes.c_void_p(new()), ctypes.byref(count))
        texts = [pairs[index].decode() for index in range(count.value)]
        for name, default in zip(texts[::2], texts[1::2], strict=True):
            found.setdefault(name, default)
    return found


def defaults(kind: Any) -> dict[str, str]:
    """Of a class of aiokafka, by its signature."""
    parameters = inspect.signature(kind.__init__).parameters.items()
    return {name: str(given.default) for name, given in parameters}


KNOWN: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "confluent-kafka": (librdkafka(), librdkafka()),
    "kafka-python": (
        {name: str(value) for name, value in kafka.KafkaProducer.DEFAULT_CONFIG.items()},
        {name: str(value) for name, value in kafka.KafkaConsumer.DEFAULT_CONFIG.items()},
    ),
    "aiokafka": (defaults(aiokafka.AIOKafkaProducer), defaults(aiokafka.AIOKafkaConsumer)),
}


OBJECTS: dict[str, Any] = {
    "logger": logging.getLogger("librdkafka"),
    **dict.fromkeys(("on_delivery", "error_cb", "stats_cb", "on_commit", "oauth_cb"), print),
}
"""Options of librdkafka whose values are objects."""


def options_of(client: str) -> Iterator[tuple[str, Mapping[str, str], str, Name]]:
    for role, known, names in zip(
        ("producer", "consumer"), KNOWN[client], PAGES[client], strict=True
    ):
        for name in names:
            for spelling in name.theirs.split(", "):
                if not spelling.endswith("…"):
                    yield role, known, spelling, name


@pytest.mark.parametrize("client", PYTHON_PAGES)
def test_there_are_such_options(client: str) -> None:
    for role, known, spelling, name in options_of(client):
        if spelling in known:
            continue
        assert client == "confluent-kafka", (client, spelling)
        # Aliases and callbacks are not shown, but taken.
        kind = confluent_kafka.Producer if role == "producer" else confluent_kafka.Consumer
        given = OBJECTS.get(spelling, name.default)
        try:
            kind(
                {
                    "bootstrap.servers": "127.0.0.1:1",
                    "group.id": "g",
                    "log_level": 0,
                    spelling: given,
                }
            )
        except confluent_kafka.KafkaException as error:
            # A known option may need another one, such as a file its password.
            if "No such configuration property" in str(error):
                raise


@pytest.mark.parametrize("client", PYTHON_PAGES)
def test_their_defaults_are_those(client: str) -> None:
    compared = 0
    for _, known, spelling, name in options_of(client):
        if not re.fullmatch(r"-?\d+( KiB)?|(?i:true|false)|[a-z_]+", name.default):
            continue
        if name.default in ("none", "localhost", "roundrobin") or spelling not in known:
            continue
        assert known[spelling] == name.default.removesuffix(" KiB"), spelling
        compared += 1
    assert compared > 15


# ---- one group -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", PYTHON_PAGES)
def test_members_of_both_share_a_group(client: str) -> None:
    strategy = "roundrobin" if client == "aiokafka" else "range"
    with Broker(num_partitions=4) as broker:
        broker.create_topic("orders", partitions=4)
        for partition in range(4):
            broker.append("orders", b"before", partition=partition)
        theirs = PEERS[client].reader(broker.bootstrap, "orders", 4, "g")
        with (
            closing(theirs),
            ottla.Consumer(
                broker.bootstrap,
                group_id="g",
                auto_offset_reset="earliest",
                partition_assignment_strategy=strategy,
            ) as ours,
        ):
            ours.subscribe(["orders"])
            deadline = time.monotonic() + WAIT_S
            while True:
                theirs.poll()
                ours.poll(timeout=0.1)
                mine = {place.partition for place in ours.assignment()}
                if len(mine) == len(theirs.assignment()) == 2:
                    break
                assert time.monotonic() < deadline, (mine, theirs.assignment())
            assert mine | theirs.assignment() == set(range(4))
