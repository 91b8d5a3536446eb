"""Kafka's own reader on what our codec writes, every codec and level, without a broker between."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ottla import _native
from tools.golden_records.make import run_java

Message = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]

SETTINGS: list[tuple[str, int | None]] = [
    ("none", None),
    ("gzip", None),
    ("gzip", 1),
    ("gzip", 9),
    ("snappy", None),
    ("lz4", None),
    ("lz4", 1),
    ("lz4", 9),
    ("lz4", 12),
    ("lz4", 17),
    ("zstd", None),
    ("zstd", -7),
    ("zstd", 19),
]


def messages(seed: int, count: int, most_bytes: int) -> list[Message]:
    source = random.Random(seed)

    def content() -> bytes | None:
        size = source.randrange(most_bytes)
        text = b"the way of a record; " * (size // 21 + 1)
        return source.choice((None, b"", source.randbytes(size // 8), text[:size], text[:size]))

    return [
        (
            1_700_000_000_000 + source.randrange(-5000, 5000),
            content(),
            content(),
            [(name, content()) for name in ("same", "same", "", "żółw 🐢")[: source.randrange(5)]],
        )
        for _ in range(count)
    ]


def unhex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def found(case: dict[str, Any]) -> list[tuple[Any, ...]]:
    [batch] = case["batches"]
    return [
        (offset, time, unhex(key), unhex(value), [(name, unhex(v)) for name, v in pairs])
        for offset, time, key, value, pairs in batch["records"]
    ]


@pytest.mark.timeout(150)
def test_kafka_finds_the_records_that_we_wrote() -> None:
    written: list[tuple[str, list[Message], bytes]] = []
    for seed, (codec, level) in enumerate(SETTINGS):
        for count, most_bytes in ((1, 1000), (20, 200), (200, 3000)):
            sent = messages(seed, count, most_bytes)
            batch = _native.encode_batch(
                sent,
                codec=codec,
                level=level,
                producer_id=2**33,
                producer_epoch=3,
                base_sequence=2**31 - 5,
                transactional=True,
            )
            written.append((codec, sent, batch))
    lines = "".join(batch.hex() + "\n" for _, _, batch in written)
    cases = [json.loads(line) for line in run_java("read", text=lines.encode()).splitlines()]
    for (codec, sent, _), case in zip(written, cases, strict=True):
        assert found(case) == [(index, *message) for index, message in enumerate(sent)]
        [batch] = case["batches"]
        assert (batch["producer_id"], batch["transactional"]) == (2**33, True)
        assert batch["codec"] == codec or len(sent) == 1, "one small record may not be worth it"
