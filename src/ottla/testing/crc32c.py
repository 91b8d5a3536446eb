"""CRC-32C (Castagnoli) in plain Python, fast enough to check what a producer sends.

A byte at a time costs about 0.1 us per byte, too slow for megabyte batches. CRCs are linear, so a long input is cut
into lanes of `LANE` bytes which all go through the register together: byte n of every lane forms one column, the four
bytes of all registers form four columns, and one step is four `bytes.translate` and four XORs of columns as integers.
At the end the lanes' registers are folded from left to right, each shifted by the length of a lane through a table.
Runs at about 50 MB/s. References: RFC 3720 appendix B.4; the record batch format, field CRC.
"""

from __future__ import annotations

from functools import cache

POLYNOMIAL = 0x82F63B78
LANE = 128
SHORT = 8 * LANE
"""Below this many bytes the columns are too short to pay."""


def crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C of `data`."""
    size = len(data)
    head = size if size < SHORT else size % LANE
    register = _bytewise(0xFFFFFFFF, data[:head])
    if head < size:
        register = _lanes(register, bytes(data[head:]))
    return register ^ 0xFFFFFFFF


def _bytewise(register: int, data: bytes | memoryview) -> int:
    table = _table()
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
    return register


def _lanes(register: int, data: bytes) -> int:
    """Append `data`, a multiple of LANE bytes, to the register."""
    lanes = len(data) // LANE
    tables = _byte_tables()
    next0 = next1 = next2 = next3 = 0
    for step in range(LANE):
        column = next0 ^ int.from_bytes(data[step::LANE], "little")
        low = column.to_bytes(lanes, "little")
        next0 = next1 ^ int.from_bytes(low.translate(tables[0]), "little")
        next1 = next2 ^ int.from_bytes(low.translate(tables[1]), "little")
        next2 = next3 ^ int.from_bytes(low.translate(tables[2]), "little")
        next3 = int.from_bytes(low.translate(tables[3]), "little")
    columns = [n.to_bytes(lanes, "little") for n in (next0, next1, next2, next3)]
    shift0, shift1, shift2, shift3 = _shift_tables()
    for byte0, byte1, byte2, byte3 in zip(*columns, strict=True):
        register = (
            shift0[register & 0xFF]
            ^ shift1[register >> 8 & 0xFF]
            ^ shift2[register >> 16 & 0xFF]
            ^ shift3[register >> 24]
            ^ (byte0 | byte1 << 8 | byte2 << 16 | byte3 << 24)
        )
    return register


@cache
def _table() -> tuple[int, ...]:
    """What one byte does to an empty register."""
    table = []
    for register in range(256):
        for _ in range(8):
            register = (register >> 1) ^ (POLYNOMIAL if register & 1 else 0)
        table.append(register)
    return tuple(table)


@cache
def _byte_tables() -> tuple[bytes, ...]:
    """The four bytes of `_table`, lowest first, each as a table for `bytes.translate`."""
    return tuple(bytes(entry >> shift & 0xFF for entry in _table()) for shift in (0, 8, 16, 24))


@cache
def _shift_tables() -> tuple[tuple[int, ...], ...]:
    """What LANE zero bytes make of a register, by each of its four bytes."""
    zeros = bytes(LANE)
    bits = [_bytewise(1 << bit, zeros) for bit in range(32)]
    tables = []
    for place in range(4):
        table = [0] * 256
        for byte in range(1, 256):
            lowest = byte & -byte
            table[byte] = table[byte ^ lowest] ^ bits[8 * place + lowest.bit_length() - 1]
        tables.append(tuple(table))
    return tuple(tables)
