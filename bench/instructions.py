"""How many instructions one `send` executes, against a budget: `python -m bench.instructions [--update]`.

Callgrind counts the instructions of whole processes, the interpreter included. Two that differ in the number of sends
alone differ by what the sends cost, and that count moves by a percent or two from run to run, on a busy machine too: a change that makes the path longer is seen where a clock sees noise. Nothing is connected: this is what the
calling thread does for a message, up to its batch. The budget is instructions.json; a rise over its tolerance fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.drivers.ottla_driver import unconnected
from ottla import _native

BUDGET = Path(__file__).with_name("instructions.json")
SLICE = 10_000
PARTITIONS = 6
RUNS = (1, 3)
TIMEOUT_S = 300
VALUE = b"x" * 100
KEY = b"some-key"


def work(kind: str, slices: int) -> None:
    """Send `slices` slices of one kind, under callgrind."""
    _, producer = unconnected("instructions", PARTITIONS)
    send, topic = producer.send, "instructions"
    for _ in range(slices):
        if kind == "send":
            for _ in range(SLICE):
                send(topic, VALUE)
        elif kind == "send with key":
            for _ in range(SLICE):
                send(topic, VALUE, KEY)
        else:
            producer.send_many(topic, [VALUE] * SLICE)


def _count(kind: str, slices: int) -> int:
    """Count the instructions of a process that sends `slices` slices."""
    with tempfile.TemporaryDirectory() as folder:
        callgrind = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out")
        program = (
            sys.executable,
            "-m",
            "bench.instructions",
            "--work",
            kind,
            "--slices",
            str(slices),
        )
        done = subprocess.run(
            [*callgrind, *program],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    collected = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode != 0 or collected is None:
        sys.exit(f"instructions: callgrind failed: {done.stderr.strip()[-1000:]}")
    return int(collected.group(1))


def _measure(kind: str) -> float:
    few, many = RUNS
    return (_count(kind, many) - _count(kind, few)) / ((many - few) * SLICE)


def _reason_not_to() -> str | None:
    if shutil.which("valgrind") is None:
        return "valgrind not found; nothing was counted"
    built = _native.build_info()
    if (built["profile"], built["features"]) != ("release", "none"):
        return f"the extension is not what users get; `make bench-instructions` builds it: {built}"
    return None


def _here() -> str:
    """Key of the counts: another interpreter or processor has others."""
    return f"{platform.machine()}, Python {'.'.join(platform.python_version_tuple()[:2])}"


def _check(*, update: bool) -> int:
    if (reason := _reason_not_to()) is not None:
        sys.exit(f"instructions: {reason}")
    budget = json.loads(BUDGET.read_text())
    measured = {kind: round(_measure(kind)) for kind in budget["per_message"]}
    if update:
        written = {**budget, "machine": _here(), "per_message": measured}
        BUDGET.write_text(json.dumps(written, indent=2) + "\n")
    elif budget["machine"] != _here():
        print(
            f"instructions: the budget is of {budget['machine']}, this is {_here()}: not compared"
        )
        budget["per_message"] = measured
    over = 0
    for kind, count in measured.items():
        allowed = measured[kind] if update else budget["per_message"][kind]
        change = count / allowed - 1
        print(f"{kind}: {count} instructions a message, budget {allowed} ({change:+.1%})")
        over += change > budget["tolerance"]
    if over:
        print(f"instructions: {over} over the budget; see where with callgrind_annotate")
    return 1 if over else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the counts as the new budget")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--slices", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, arguments.slices)
    else:
        sys.exit(_check(update=arguments.update))


if __name__ == "__main__":
    main()
