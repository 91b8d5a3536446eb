"""The folded CRC is the CRC of the definition, at every length where the folding changes."""

from __future__ import annotations

import random

import pytest

from ottla.testing.crc32c import DEGREE, LOW, MIDDLE, POLYNOMIAL, SHORT, crc32c

FOLDS = [DEGREE * 2**power // 8 + step for power in range(4) for step in (-1, 0, 1, 2)]


def by_definition(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (POLYNOMIAL if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_published_values(data: bytes, wanted: int) -> None:
    assert crc32c(data) == wanted
    assert crc32c(memoryview(data)) == wanted


@pytest.mark.parametrize("size", [1, SHORT - 1, SHORT, SHORT + 1, *FOLDS, 20_000])
def test_any_length(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert crc32c(data) == by_definition(data)


def test_the_short_multiple_is_one() -> None:
    """x^6777 + x^484 + x^100 + 1 leaves no remainder by the polynomial."""
    polynomial = 1 << 32 | int(f"{POLYNOMIAL:032b}"[::-1], 2)
    rest = 1 << DEGREE | 1 << MIDDLE | 1 << LOW | 1
    while rest.bit_length() > 32:
        rest ^= polynomial << rest.bit_length() - 33
    assert rest == 0
