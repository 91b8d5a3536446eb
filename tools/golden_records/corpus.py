"""Take a small corpus for `fuzz/` out of the golden vectors: `python tools/golden_records/corpus.py`.

Record batches: the cases of one and of few records, each codec and magic, and a frame of several. Produce responses: the
golden messages, each after a byte that says its version.
"""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
RECORDS = ROOT / "tests" / "unit" / "golden_records" / "vectors.jsonl.xz"
MESSAGES = ROOT / "tests" / "protocol" / "golden" / "produce.jsonl.xz"
LOWEST_PRODUCE = 3
MOST_BYTES = 1500


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in lzma.decompress(path.read_bytes()).decode().splitlines()]


def _put(target: str, name: str, data: bytes) -> None:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / re.sub(r"\W+", "-", name)).write_bytes(data)


def record_batches() -> None:
    """Write the corpus of decode_batches."""
    frame = b""
    for case in _lines(RECORDS):
        data = bytes.fromhex(case["bytes"])
        if len(data) <= MOST_BYTES and " idempotent" not in case["name"]:
            _put("decode_batches", case["name"], data)
        if case["name"].endswith((" one", " plain")):
            frame += data if len(data) < MOST_BYTES // 4 else b""
    _put("decode_batches", "several", frame)


def produce_responses() -> None:
    """Write the corpus of produce_response."""
    for number, (name, version, _, _, data) in enumerate(_lines(MESSAGES)):
        body = bytes.fromhex(data)
        if name == "ProduceResponse" and version >= LOWEST_PRODUCE and len(body) <= MOST_BYTES:
            tags = b"\x00" if version >= 9 else b""
            _put(
                "produce_response",
                f"v{version}-{number}",
                bytes((version - LOWEST_PRODUCE,)) + tags + body,
            )


if __name__ == "__main__":
    record_batches()
    produce_responses()
