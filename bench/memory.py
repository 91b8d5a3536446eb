"""Memory of a producer while its broker takes requests and answers none, and after it answers again.

    python -m bench.memory                     every scenario; table and curves to bench/results
    python -m bench.memory --only partitions   those whose name contains a word

The producer is a process of its own that sends as fast as it may for as long as the broker is silent, and then until all
is delivered. Its resident memory is sampled; the figure is its growth over an idle, connected producer, against
`buffer_memory`. The values are one object, so that the memory of the program itself does not count.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

import ottla
from ottla.testing import Broker

MIB = 1024 * 1024
RESULTS = Path(__file__).resolve().parent / "results"
TICK_S = 0.05
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Scenario:
    """One way to fill a producer."""

    name: str
    value_bytes: int
    partitions: int = 1
    compression: Literal["none", "lz4"] = "none"
    buffer_bytes: int = 32 * MIB
    outcomes: str = "dropped"
    """dropped; or read: `return_successes`, read while they come."""
    known: bool = True
    """Whether the topic's metadata is there before the broker falls silent."""
    headers: int = 0
    linger_ms: float = 5
    silent_s: float = 3.0


SCENARIOS = (
    Scenario("100 B", 100),
    Scenario("100 B lz4", 100, compression="lz4"),
    Scenario("10 KiB", 10_240),
    Scenario("1000 partitions, 100 B", 100, partitions=1000),
    Scenario("1000 partitions, linger 0", 100, partitions=1000, linger_ms=0),
    Scenario("metadata not known, 10 B", 10, known=False),
    Scenario("five headers, 100 B", 100, headers=5),
    Scenario("outcomes read, 10 B", 10, outcomes="read"),
    Scenario("1 MB budget, 100 B", 100, buffer_bytes=1_000_000),
    Scenario("1 MB budget, 10 KiB, 50 partitions", 10_240, partitions=50, buffer_bytes=1_000_000),
    Scenario("1 MB budget, 1000 partitions", 100, partitions=1000, buffer_bytes=1_000_000),
    Scenario("100 kB budget, 100 B", 100, buffer_bytes=100_000),
    Scenario("100 kB budget, 10 KiB, 8 partitions", 10_240, partitions=8, buffer_bytes=100_000),
)


def rss() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


# ---- the producer's process ------------------------------------------------------------------------------------------------


def client(scenario: Scenario, bootstrap: str) -> None:
    """Fill a producer while the parent keeps the broker silent; print the samples as JSON."""
    gc.collect()
    more: dict[str, Any] = {}
    if scenario.outcomes == "read":
        more = {"return_successes": True}
    producer = ottla.Producer(
        bootstrap,
        buffer_memory=scenario.buffer_bytes,
        compression=scenario.compression,
        linger_ms=scenario.linger_ms,
        max_block_ms=200,
        **more,
    )
    warm = producer.send("warm", b"")
    warm.result(30)
    if scenario.known:
        for partition in range(scenario.partitions):
            producer.send("t", b"", partition=partition)
        producer.flush(30)
    topic = "t" if scenario.known else "unknown"
    base = rss()
    print("ready", flush=True)
    sys.stdin.readline()
    samples: list[tuple[float, float, float]] = []
    started = time.monotonic()
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(TICK_S):
            used = producer.statistics().buffered_bytes
            samples.append((time.monotonic() - started, (rss() - base) / MIB, used / MIB))

    def read() -> None:
        for _ in producer.successes():
            pass

    others = [threading.Thread(target=sample)]
    if scenario.outcomes == "read":
        others.append(threading.Thread(target=read, daemon=True))
    for other in others:
        other.start()
    value = b"x" * scenario.value_bytes
    headers = [(f"h{number}", b"v") for number in range(scenario.headers)] or None
    full = 0
    number = 0
    while (passed := time.monotonic() - started) < scenario.silent_s or (not full and passed < 60):
        try:
            place = number % scenario.partitions if scenario.known else None
            producer.send(topic, value, headers=headers, partition=place)
            number += 1
        except ottla.BufferFull:
            full += 1
    print("silent", flush=True)
    sys.stdin.readline()
    ends = time.monotonic() - started
    producer.flush(60)
    time.sleep(0.3)
    stop.set()
    others[0].join()
    statistics = producer.statistics()
    producer.close(timeout=5)
    result = {
        "scenario": asdict(scenario),
        "accepted": statistics.accepted,
        "delivered": statistics.delivered,
        "full": full,
        "ends": ends,
        "samples": samples,
    }
    print(json.dumps(result), flush=True)


# ---- the broker's process ------------------------------------------------------------------------------------------------


def run(scenario: Scenario) -> dict[str, Any]:
    """One scenario, its producer in another process."""
    with Broker() as broker:
        broker.create_topic("warm", partitions=1)
        broker.create_topic("t", partitions=scenario.partitions)
        arguments = json.dumps(asdict(scenario))
        command = [sys.executable, "-m", "bench.memory", "--client", arguments, broker.bootstrap]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=RESULTS.parents[1],
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            _expect(process.stdout, "ready")
            apis = ("Produce", "Metadata")
            for api in apis:
                broker.delay(api, 3600.0, times=None)
            print("go", file=process.stdin, flush=True)
            _expect(process.stdout, "silent")
            broker.clear_rules()
            # The requests that it has swallowed are answered by nobody: their connections have to end.
            broker.kill(1)
            broker.restart(1)
            print("go", file=process.stdin, flush=True)
            result: dict[str, Any] = json.loads(process.stdout.readline())
        return result


def _expect(lines: Any, word: str) -> None:
    line = lines.readline().strip()
    if line != word:
        raise RuntimeError(f"the producer's process printed {line!r}, not {word!r}")


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """Figures of a curve, in MiB over an idle producer."""
    silent = [grown for at, grown, _ in result["samples"] if at < result["ends"]]
    budget = result["scenario"]["buffer_bytes"] / MIB
    peak = max(grown for _, grown, _ in result["samples"])
    counted = max(counted for _, _, counted in result["samples"])
    return {
        "name": result["scenario"]["name"],
        "accepted": result["accepted"],
        "budget": budget,
        "counted": counted,
        "silent": max(silent, default=0.0),
        "peak": peak,
        "after": result["samples"][-1][1],
        "over": peak - budget,
    }


def table(results: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| scenario | accepted | buffer_memory MiB | most of it counted | growth while silent | peak | after recovery "
        "| peak over budget |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in map(summary, results):
        counted = f"{row['budget']:.2f} | {100 * row['counted'] / row['budget']:.0f} %"
        figures = " | ".join(f"{row[key]:.1f}" for key in ("silent", "peak", "after", "over"))
        lines.append(f"| {row['name']} | {row['accepted']:,} | {counted} | {figures} |")
    return "\n".join(lines) + "\n"


WIDTH, HEIGHT, LEFT, TOP = 420, 120, 60, 28


def _curves(result: dict[str, Any], top: int) -> Iterator[str]:
    """One scenario's curves: resident growth, and what the producer has counted."""
    samples = result["samples"]
    budget = result["scenario"]["buffer_bytes"] / MIB
    most = max(budget, max(grown for _, grown, _ in samples)) * 1.1
    last = max(at for at, _, _ in samples)

    def points(column: int) -> str:
        places = (
            (LEFT + WIDTH * one[0] / last, top + HEIGHT - HEIGHT * max(0.0, one[column]) / most)
            for one in samples
        )
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)

    line = top + HEIGHT - HEIGHT * budget / most
    ends = LEFT + WIDTH * result["ends"] / last
    yield f'<text x="8" y="{top - 8}" font-weight="bold">{escape(result["scenario"]["name"])}</text>'
    yield f'<rect x="{LEFT}" y="{top}" width="{ends - LEFT:.0f}" height="{HEIGHT}" fill="#f4e9e9"/>'
    yield f'<path d="M{LEFT} {line:.1f}h{WIDTH}" stroke="#a33" stroke-dasharray="4 3"/>'
    yield f'<text x="{LEFT - 6}" y="{line + 4:.0f}" text-anchor="end">{budget:.3g} MiB</text>'
    yield f'<polyline points="{points(1)}" fill="none" stroke="#2a6fbb" stroke-width="1.5"/>'
    yield f'<polyline points="{points(2)}" fill="none" stroke="#888" stroke-width="1.5"/>'
    yield f'<text x="{LEFT}" y="{top + HEIGHT + 14}">0</text>'
    yield f'<text x="{LEFT + WIDTH}" y="{top + HEIGHT + 14}" text-anchor="end">{last:.1f} s</text>'


def plot(results: list[dict[str, Any]]) -> str:
    """An SVG document: the resident growth (blue), the counted bytes (grey), the budget (dashed), the silence (shaded)."""
    step = HEIGHT + TOP + 24
    body = [
        element
        for row, result in enumerate(results)
        for element in _curves(result, TOP + row * step)
    ]
    size = f'width="{LEFT + WIDTH + 20}" height="{len(results) * step + 8}"'
    style = 'font-family="sans-serif" font-size="11"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--client", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        client(Scenario(**json.loads(arguments.client[0])), arguments.client[1])
        return
    results = [run(one) for one in SCENARIOS if arguments.only in one.name]
    RESULTS.mkdir(exist_ok=True)
    stem = time.strftime("memory-%Y%m%d-%H%M%S")
    (RESULTS / f"{stem}.md").write_text(table(results))
    (RESULTS / f"{stem}.svg").write_text(plot(results))
    (RESULTS / f"{stem}.json").write_text(json.dumps(results))
    print(table(results))


if __name__ == "__main__":
    main()
