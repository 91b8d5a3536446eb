"""Make the golden record batches: the bytes that Kafka's own classes write, with the records that Kafka's own reader finds in them.

They go to tests/unit/golden_records. GoldenRecords.java makes the cases, seeded; nothing is added here.
`python tools/golden_records/make.py` writes the file, `--check` only compares.
"""

from __future__ import annotations

import lzma
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "codegen"))

from kafka_jar import fetch  # noqa: E402

VECTORS = ROOT / "tests" / "unit" / "golden_records" / "vectors.jsonl.xz"
JAVA_TIMEOUT_S = 120


def run_java(*arguments: str, text: bytes = b"") -> bytes:
    """Return the cases, one a line: those that Java makes, or with "read" the records that it finds in lines of hex."""
    source = Path(__file__).with_name("GoldenRecords.java")
    done = subprocess.run(
        ["java", "-cp", f"{fetch()}/*", str(source), *arguments],
        input=text,
        stdout=subprocess.PIPE,
        check=True,
        timeout=JAVA_TIMEOUT_S,
    )
    return done.stdout


def main(*, check: bool) -> int:
    """Write or compare the file, print the count of cases, return the exit status."""
    lines = run_java()
    same = VECTORS.exists() and lzma.decompress(VECTORS.read_bytes()) == lines
    if not same and not check:
        VECTORS.parent.mkdir(parents=True, exist_ok=True)
        VECTORS.write_bytes(lzma.compress(lines, preset=9 | lzma.PRESET_EXTREME))
    state = "unchanged" if same else "differ" if check else "written"
    count = len(lines.splitlines())
    print(f"{count} cases of record batches: {state}")
    return 1 if check and not same else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
