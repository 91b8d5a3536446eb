"""Make the vectors of partitioners: which partition the Java client and sarama choose for each of many keys.

They go to tests/unit/partition_vectors.json; librdkafka's are checked live in tests/peers. The keys are seeded.
`python tools/partition_vectors/make.py` writes the file, `--check` only compares. Needs Java, Maven and Go.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "codegen"))

from kafka_jar import KAFKA_VERSION, fetch  # noqa: E402

HERE = Path(__file__).parent
VECTORS = ROOT / "tests" / "unit" / "partition_vectors.json"
SARAMA = "v1.61.1"
TIMEOUT_S = 300
COUNTS = (1, 2, 3, 7, 12, 64, 1000)


def keys() -> list[bytes]:
    """Short and long ones, text and not, and one whose FNV-1a is the lowest number of 32 bits."""
    seeded = random.Random(794)
    made = [b"", b"\0", b"a", b"key", "ключ".encode(), b"\xff" * 3, bytes(range(256))]
    made += [b"user-%d" % number for number in range(40)]
    made += [seeded.randbytes(seeded.randrange(1, 40)) for _ in range(80)]
    return [*made, lowest()]


def lowest() -> bytes:
    """A key whose hash is 0x80000000: from two bytes forward, from two others back, and the one between that joins them."""
    prime, offset, mask = 0x01000193, 0x811C9DC5, 0xFFFFFFFF
    back = pow(prime, -1, 1 << 32)

    def forward(value: int, text: bytes) -> int:
        for byte in text:
            value = (value ^ byte) * prime & mask
        return value

    # Any byte may stand between: it changes the lowest eight bits only.
    ahead = {forward(offset, first) >> 8: first for first in _pairs()}
    for last in _pairs():
        value = 0x80000000
        for byte in reversed(last):
            value = (value * back & mask) ^ byte
        value = value * back & mask
        if (first := ahead.get(value >> 8)) is not None:
            return first + bytes([(forward(offset, first) ^ value) & 0xFF]) + last
    raise ValueError("no key of five bytes has the lowest hash")


def _pairs() -> list[bytes]:
    return [number.to_bytes(2, "big") for number in range(1 << 16)]


def run(command: list[str], folder: Path, lines: str) -> list[str]:
    done = subprocess.run(
        command,
        cwd=folder,
        input=lines,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    return done.stdout.split("\n")[:-1]


def sarama(lines: str) -> list[str]:
    """Built in a folder of its own, so that no module cache gets into the tree."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("go.mod", "main.go"):
            shutil.copy(HERE / file, folder)
        for step in (["get", f"github.com/IBM/sarama@{SARAMA}"], ["build", "-o", "vectors", "."]):
            subprocess.run(
                ["go", *step], cwd=folder, check=True, timeout=TIMEOUT_S, stderr=subprocess.PIPE
            )
        return run([str(folder / "vectors")], folder, lines)


def vectors() -> str:
    """The file's text."""
    cases = [(key, count) for count in COUNTS for key in keys()]
    lines = "".join(f"{key.hex()} {count}\n" for key, count in cases)
    java = run(["java", "-cp", f"{fetch()}/*", "Partitions.java"], HERE, lines)
    hashed, turns = zip(*(line.split() for line in sarama(lines)), strict=True)
    table = [
        [key.hex(), count, int(by_java), int(by_sarama)]
        for (key, count), by_java, by_sarama in zip(cases, java, hashed, strict=True)
    ]
    head = {
        "java": f"kafka-clients {KAFKA_VERSION}: BuiltInPartitioner.partitionForKey",
        "sarama": f"sarama {SARAMA}: NewHashPartitioner",
        "columns": ["key in hex", "partitions", "java", "sarama"],
        "round_robin": [
            int(turn) for turn, (_, count) in zip(turns, cases, strict=True) if count == 7
        ],
    }
    rows = ",\n".join(json.dumps(row) for row in table)
    return f'{json.dumps(head)[:-1]}, "cases": [\n{rows}\n]}}\n'


def main(*, check: bool) -> int:
    """Write or compare the file, return the exit status."""
    text = vectors()
    same = VECTORS.exists() and VECTORS.read_text() == text
    if not same and not check:
        VECTORS.write_text(text)
    print(f"vectors of partitioners: {'unchanged' if same else 'differ' if check else 'written'}")
    return 1 if check and not same else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
