"""The works and the clients that do them: tables for run.py."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Client:
    """A program that speaks the shape of drivers/shared.py.

    command: empty for one that built.py builds. share: the part of a work's messages it gets, so that slow clients
    take no longer than fast ones; rates and CPU are per message anyway. tuned: see Job. folder: where it runs, empty for
    this checkout.
    """

    name: str
    command: tuple[str, ...]
    kinds: frozenset[str]
    share: float = 1.0
    tuned: bool = False
    folder: str = ""


def _python(
    name: str, module: str, kinds: str, share: float = 1.0, *, tuned: bool = False
) -> Client:
    command = (sys.executable, "-m", f"bench.drivers.{module}")
    return Client(name, command, frozenset(kinds.split()), share, tuned)


def _built(name: str) -> Client:
    return Client(name, (), frozenset(("produce", "paced", "consume", "latency")))


CLIENTS = (
    _python(
        "ottla",
        "ottla_driver",
        "produce paced send_many consume call start latency latency_async busy tasks windows",
    ),
    _python("ottla uvloop", "ottla_driver", "tasks windows latency_async", tuned=True),
    _python(
        "confluent-kafka",
        "confluent_driver",
        "produce paced consume call start latency busy",
        0.5,
    ),
    _python("AIOProducer", "confluent_driver", "tasks windows", 0.1),
    _python("AIOProducer tuned", "confluent_driver", "tasks windows", 0.25, tuned=True),
    _python(
        "aiokafka", "aiokafka_driver", "produce consume start latency_async busy tasks windows", 0.1
    ),
    _python("aiokafka uvloop", "aiokafka_driver", "tasks windows latency_async", 0.25, tuned=True),
    _python("kafka-python", "kafka_python_driver", "produce consume start latency busy", 0.05),
    _built("franz-go"),
    _built("sarama"),
    _built("Java client"),
)


def another_checkout(folder: str, like: Client) -> Client:
    """The Ottla of another checkout that `make build` has built, run by its own driver: for a comparison before and after."""
    root = Path(folder).resolve()
    command = (str(root / ".venv" / "bin" / "python"), *like.command[1:])
    return replace(like, name=f"{like.name} of {root.name}", command=command, folder=str(root))


@dataclass(frozen=True)
class Work:
    """One row of the table; see drivers/shared.py for the fields of a job. smoke: messages in a smoke run, 0: left out."""

    name: str
    kind: str
    messages: int
    smoke: int = 0
    value_bytes: int = 100
    compression: str = "none"
    keep: bool = True
    tasks: int = 5000
    fixed: bool = False
    rate: float = 0.0

    def messages_for(self, client: Client, *, smoke: bool) -> int:
        if smoke:
            return self.smoke
        return self.messages if self.fixed else int(self.messages * client.share)


WORKS = (
    Work("bare call", "call", 0, smoke=1, fixed=True),
    Work("produce 100 B", "produce", 2_000_000, smoke=20_000),
    Work("produce 100 B, no outcome read", "produce", 2_000_000, keep=False),
    Work("produce 100 B, send_many", "send_many", 2_000_000),
    Work("produce 100 B, lz4", "produce", 2_000_000, compression="lz4"),
    Work("produce 1 KiB", "produce", 400_000, value_bytes=1024),
    Work("produce 10 KiB", "produce", 60_000, value_bytes=10_240),
    Work("paced 50 k/s, 100 B", "paced", 250_000, smoke=5000, fixed=True, rate=50_000),
    Work("consume 100 B", "consume", 2_000_000, smoke=20_000),
    Work("consume 1 KiB", "consume", 400_000, value_bytes=1024),
    Work("consume 100 B, lz4", "consume", 2_000_000, compression="lz4"),
    Work("start and idle", "start", 1, smoke=1, fixed=True),
    Work("one at a time", "latency", 3000, smoke=200, fixed=True),
    Work("one at a time, asyncio", "latency_async", 3000, smoke=200, fixed=True),
    Work("with busy Python", "busy", 1500, smoke=100, fixed=True),
    Work("asyncio, 5000 tasks", "tasks", 400_000, smoke=5000),
    Work("asyncio, windows of 5000", "windows", 400_000, smoke=5000),
)
