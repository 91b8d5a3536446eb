"""Instructions of one `send` by part: `python -m bench.parts ["send with key" | send_many]`.

`instructions.py` counts them; this program sorts them. It builds the extension once more, with line tables, and sorts
the counts of callgrind by source file into the parts of a send. Needs valgrind and a Rust toolchain.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench.instructions import SLICE

ROOT = Path(__file__).resolve().parents[1]
RUNS = (1, 6)
TIMEOUT_S = 900

PARTS = (
    ("the clock", r"clock_gettime|vdso"),
    ("the delivery, made and released", r"obmalloc\.c|object\.[ch]:|delivery\.rs|refcount\.rs"),
    ("the interpreter: loop and call", r"\.[ch]:.*|rangeobject|longobject"),
    ("the record, in wire format", r"encode\.rs|varint\.rs|memmove|memcpy|memset"),
    (
        "partition, budget and lock",
        r"accumulator\.rs|choice\.rs|partitioner\.rs|produce_shared\.rs|atomic\.rs|key_hash|murmur2",
    ),
    ("arguments and checks", r".*"),
)
"""In this order: the first pattern that is found in `file:function`."""

LINE = re.compile(r"\s*([\d,]+)\s+(\S+?):(.+?)( \[.*)?$")


def _build(folder: Path) -> None:
    """The package with an extension that knows its source lines."""
    env = {
        **os.environ,
        "PYO3_PYTHON": sys.executable,
        "CARGO_PROFILE_RELEASE_STRIP": "none",
        "CARGO_PROFILE_RELEASE_DEBUG": "line-tables-only",
    }
    target = ROOT / "target" / "parts"
    command = ["cargo", "build", "-q", "--release", "-p", "ottla-native"]
    command += ["--features", "pyo3/extension-module", "--target-dir", str(target)]
    subprocess.run(command, cwd=ROOT, env=env, check=True, timeout=TIMEOUT_S)
    shutil.copytree(
        ROOT / "src" / "ottla", folder / "ottla", ignore=shutil.ignore_patterns("_native*.so")
    )
    built = target / "release" / "lib_native.so"
    shutil.copy(built, folder / "ottla" / "_native.abi3.so")


def _count(folder: Path, kind: str, slices: int) -> Counter[str]:
    """Instructions by `file:function` of a process that sends `slices` slices."""
    counted = folder / f"counted-{slices}"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counted}", sys.executable]
    command += ["-m", "bench.instructions", "--work", kind, "--slices", str(slices)]
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": "0"}
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=TIMEOUT_S)
    annotate = ["callgrind_annotate", "--threshold=100", "--show-percs=no", str(counted)]
    done = subprocess.run(annotate, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    found: Counter[str] = Counter()
    for line in done.stdout.splitlines():
        if match := LINE.match(line):
            count, file, function = match.group(1), match.group(2), match.group(3)
            found[f"{Path(file).name}:{function}"] += int(count.replace(",", ""))
    return found


def _part_of(place: str) -> str:
    return next(part for part, pattern in PARTS if re.search(pattern, place))


def main() -> None:
    if shutil.which("valgrind") is None:
        sys.exit("parts: valgrind not found")
    kind = sys.argv[1] if len(sys.argv) > 1 else "send"
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _build(folder)
        few, many = (_count(folder, kind, slices) for slices in RUNS)
    messages = (RUNS[1] - RUNS[0]) * SLICE
    parts: Counter[str] = Counter()
    for place in few.keys() | many.keys():
        parts[_part_of(place)] += many[place] - few[place]
    print(f"| part of a {kind} | instructions |\n|---|---|")
    for part, count in parts.most_common():
        print(f"| {part} | {count / messages:.0f} |")
    print(f"| all | {parts.total() / messages:.0f} |")


if __name__ == "__main__":
    main()
