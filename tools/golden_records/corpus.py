"""Take a small corpus for `fuzz/` out of the golden vectors: `python tools/golden_records/corpus.py`.

Record batches: the cases of one and of few records, each codec and magic, and a frame of several. Message sets: the
uncompressed ones of magic 0 and 1, after a byte that chooses codec and magic. Responses: the golden messages, each after a
byte that chooses its version, and Fetch responses with those batches as their records. Frames: streams of such responses.
"""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path
from typing import Any

from ottla.protocol.messages.fetch import (
    AbortedTransaction,
    FetchableTopicResponse,
    FetchResponse,
    PartitionData,
)

ROOT = Path(__file__).resolve().parent.parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
RECORDS = ROOT / "tests" / "unit" / "golden_records" / "vectors.jsonl.xz"
MESSAGES = ROOT / "tests" / "protocol" / "golden" / "produce.jsonl.xz"
FETCH = ROOT / "tests" / "protocol" / "golden" / "fetch.jsonl.xz"
LOWEST_PRODUCE, LOWEST_FETCH = 3, 4
TOPIC_ID = bytes(range(1, 17))
READS = bytes((0, 3, 9, 14))
"""Lengths of reads, as powers of two."""
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


def message_sets() -> None:
    """Write the corpus of legacy_message_set: each set for each codec."""
    for case in _lines(RECORDS):
        batch, data = case["batches"][0], bytes.fromhex(case["bytes"])
        if batch["magic"] == 2 or batch["codec"] != "none" or len(data) > MOST_BYTES:
            continue
        for codec in range(3):
            first = batch["magic"] | codec << 1 | (0x20 if batch["log_append"] else 0)
            _put("legacy_message_set", f"{case['name']}-{codec}", bytes((first,)) + data)


def _batches() -> list[tuple[str, bytes]]:
    cases = [(case["name"], bytes.fromhex(case["bytes"])) for case in _lines(RECORDS)]
    wanted = (" one", " plain", " transaction", "ABORT")
    return [one for one in cases if one[0].endswith(wanted) and len(one[1]) <= MOST_BYTES // 2]


def _response(version: int, parts: list[PartitionData]) -> bytes:
    topic = FetchableTopicResponse(topic="t", topic_id=TOPIC_ID, partitions=parts)
    tags = b"\x00" if version >= 12 else b""
    return tags + FetchResponse(responses=[topic]).encode(version)


def fetch_responses() -> None:
    """Write the corpus of fetch_response: golden messages, and every kind of batch in three versions."""
    for number, (name, version, _, _, data) in enumerate(_lines(FETCH)):
        body = bytes.fromhex(data)
        if name == "FetchResponse" and version >= LOWEST_FETCH and len(body) <= MOST_BYTES // 3:
            tags = b"\x00" if version >= 12 else b""
            first = version - LOWEST_FETCH
            if first < 16:
                _put("fetch_response", f"v{version}-{number}", bytes((first,)) + tags + body)
    for number, (name, data) in enumerate(_batches()):
        version = (4, 11, 16)[number % 3]
        part = PartitionData(
            partition_index=0, high_watermark=9, last_stable_offset=9, records=data
        )
        part.aborted_transactions = [AbortedTransaction(producer_id=1, first_offset=0)]
        parts = [part, PartitionData(partition_index=1, error_code=6)]
        first = (version - LOWEST_FETCH) | 0x10
        _put("fetch_response", name, bytes((first,)) + _response(version, parts))


def frames() -> None:
    """Write the corpus of frames: lengths of reads, repetitions, and one or a few responses behind their sizes."""
    bodies = [bytes(4) + _response(16, [PartitionData(records=data)]) for _, data in _batches()]
    sized = [len(body).to_bytes(4, "big") + body for body in bodies]
    for number, stream in enumerate((sized[0], b"".join(sized[:3]), sized[4] + sized[5][:40])):
        for repeats in (0, 63):
            _put("frames", f"responses-{number}-{repeats}", READS + bytes((repeats,)) + stream)
    large = (40_000).to_bytes(4, "big") + sized[0]
    _put("frames", "larger-than-the-scratch-buffer", READS + bytes((63,)) + large)
    _put("frames", "http", READS + b"\x00HTTP/1.1 400 Bad Request\r\n\r\n")


if __name__ == "__main__":
    record_batches()
    message_sets()
    produce_responses()
    fetch_responses()
    frames()
