"""How long a large Metadata response takes to decode: generated code against field tables.

`python bench/protocol_decode.py [--rounds N]` prints milliseconds for 10 000 partitions with three
replicas, per version, for the generated classes and for an interpreter over field tables that fills
the same classes, and what importing an API module costs. This is the measurement behind
docs/adr/0003-generated-protocol-classes.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import lzma
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "codegen"), str(ROOT / "src")]

import schema  # noqa: E402

from ottla.protocol import primitives  # noqa: E402
from ottla.protocol.base import Struct  # noqa: E402
from ottla.protocol.messages import metadata  # noqa: E402

SCHEMAS = ROOT / "tests" / "protocol" / "golden" / "schemas.json.xz"
VERSIONS = (1, 8, 12, 13)
TOPICS, PARTITIONS_PER_TOPIC = 100, 100

Step = Callable[[Any, bytes, int], int]


def large_response() -> metadata.MetadataResponse:
    """Return the metadata of 10 000 partitions."""
    partitions = [
        metadata.MetadataResponsePartition(
            partition_index=index,
            leader_id=index % 3 + 1,
            leader_epoch=7,
            replica_nodes=[1, 2, 3],
            isr_nodes=[1, 2, 3],
        )
        for index in range(PARTITIONS_PER_TOPIC)
    ]
    topics = [
        metadata.MetadataResponseTopic(
            name=f"topic-{number:04}", topic_id=number.to_bytes(16, "big"), partitions=partitions
        )
        for number in range(TOPICS)
    ]
    brokers = [
        metadata.MetadataResponseBroker(node_id=node, host="broker.example", port=9092)
        for node in (1, 2, 3)
    ]
    return metadata.MetadataResponse(brokers=brokers, topics=topics)


class Interpreter:
    """The rejected form: a table of steps for each struct and version, walked while reading."""

    def __init__(self, message: schema.Message, version: int) -> None:
        self.version = schema.Versions(version, version)
        self.flexible = self.version in message.flexible
        self.tables: dict[str, list[Step]] = {}
        for nested in message.structs:
            self.tables[nested.name] = self.table(nested)
        self.root = self.table(message.root)

    def decode(self, data: bytes) -> metadata.MetadataResponse:
        """Read a whole body."""
        made, _ = self.read(metadata.MetadataResponse, self.root, data, 0)
        assert isinstance(made, metadata.MetadataResponse)
        return made

    def read(self, cls: type[Struct], table: list[Step], buf: bytes, pos: int) -> tuple[Any, int]:
        made = cls.__new__(cls)
        for step in table:
            pos = step(made, buf, pos)
        return made, pos

    def table(self, nested: schema.Struct) -> list[Step]:
        steps: list[Step] = []
        present = [entry for entry in nested.fields if self.version in entry.versions]
        for fixed, run in groupby(present, lambda entry: entry.is_fixed):
            entries = list(run)
            steps += [self.fixed(entries)] if fixed else [self.variable(it) for it in entries]
        steps.append(self.end([entry for entry in nested.fields if entry not in present]))
        return steps

    def fixed(self, entries: list[schema.Field]) -> Step:
        layout = struct.Struct(">" + "".join(schema.FIXED[e.type].letter for e in entries))
        names = [entry.name for entry in entries]

        def step(made: Any, buf: bytes, pos: int) -> int:
            for name, value in zip(names, layout.unpack_from(buf, pos), strict=True):
                setattr(made, name, value)
            return pos + layout.size

        return step

    def variable(self, entry: schema.Field) -> Step:
        name, flexible = entry.name, self.flexible
        nullable = self.version in entry.nullable
        read: Callable[[bytes, int], tuple[Any, int]]
        if entry.struct:
            table, cls = self.tables[entry.struct.name], getattr(metadata, entry.struct.name)

            def element(buf: bytes, pos: int, _: Any) -> tuple[Any, int]:
                return self.read(cls, table, buf, pos)

            def read(buf: bytes, pos: int) -> tuple[Any, int]:
                return primitives.read_nullable_array(
                    buf, pos, flexible, nullable, 1, element, None
                )

        elif entry.is_array:
            letter = schema.FIXED[entry.element].letter

            def read(buf: bytes, pos: int) -> tuple[Any, int]:
                return primitives.read_nullable_numbers(buf, pos, flexible, nullable, letter)

        else:

            def read(buf: bytes, pos: int) -> tuple[Any, int]:
                return primitives.read_nullable_string(buf, pos, flexible, nullable)

        def step(made: Any, buf: bytes, pos: int) -> int:
            value, pos = read(buf, pos)
            setattr(made, name, value)
            return pos

        return step

    def end(self, absent: list[schema.Field]) -> Step:
        defaults = [(entry.name, entry.default) for entry in absent]
        flexible = self.flexible

        def step(made: Any, buf: bytes, pos: int) -> int:
            for name, default in defaults:
                setattr(made, name, list(default) if default == [] else default)
            made._unknown_tags = None
            if flexible:
                made._unknown_tags, pos = primitives.read_tags(buf, pos)
            return pos

        return step


def milliseconds(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Return the least and the median time of `work`."""
    took = []
    for _ in range(rounds):
        gc.collect()
        start = time.perf_counter()
        work()
        took.append((time.perf_counter() - start) * 1000)
    return min(took), statistics.median(took)


def import_milliseconds(module: str, after: str, rounds: int) -> float:
    """Return the median time of importing `module` in new processes that have imported `after`."""
    code = (
        f"import time, {after}; start = time.perf_counter(); import {module}; "
        "print((time.perf_counter() - start) * 1000)"
    )
    took = []
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        took.append(float(done.stdout))
    return statistics.median(took)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    response = large_response()
    table = json.loads(lzma.decompress(SCHEMAS.read_bytes()))["MetadataResponse"]
    print(
        f"Metadata response, {TOPICS * PARTITIONS_PER_TOPIC} partitions, 3 replicas; "
        "ms, least / median"
    )
    print(f"{'version':>8}{'bytes':>9}{'generated':>18}{'field tables':>18}{'encode':>18}")
    for version in VERSIONS:
        data = response.encode(version)
        interpreter = Interpreter(schema.load(table), version)
        if interpreter.decode(data) != metadata.MetadataResponse.decode(data, version):
            raise SystemExit(f"version {version}: the two forms read different values")
        figures = [
            milliseconds(lambda: metadata.MetadataResponse.decode(data, version), rounds),  # noqa: B023
            milliseconds(lambda: interpreter.decode(data), rounds),  # noqa: B023
            milliseconds(lambda: response.encode(version), rounds),  # noqa: B023
        ]
        cells = "".join(f"{f'{least:.1f} / {median:.1f}':>18}" for least, median in figures)
        print(f"{version:>8}{len(data):>9}{cells}")
    base = "ottla.protocol.base"
    for name in ("metadata", "fetch", "streams_group_heartbeat"):
        took = import_milliseconds(f"ottla.protocol.messages.{name}", base, rounds)
        print(f"import of messages.{name} after {base}: {took:.2f} ms")
    print(
        f"import of {base} after struct, typing: "
        f"{import_milliseconds(base, 'struct, typing', rounds):.2f} ms"
    )


if __name__ == "__main__":
    main()
