"""The codecs of record batches in plain Python: all are read, and written well enough to be read.

gzip is the standard library's. Snappy and lz4 are decoded here and written as literals only; zstd is written as raw blocks
and read by `compression.zstd` (Python 3.14) or the package `backports.zstd`, where one of them is installed. Slow: for
tests and the embedded broker. References: google/snappy `format_description.txt`; snappy-java's `SnappyOutputStream`; the
lz4 frame and block formats; RFC 8878.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from typing import Any

_Transform = Callable[[bytes], bytes]

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")

_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_START = _XERIAL + b"\x00\x00\x00\x01" * 2
_XERIAL_BLOCK = 32 * 1024
_LZ4_MAGIC = b"\x04\x22\x4d\x18"
_LZ4_BLOCK = 64 * 1024
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_BLOCK = 128 * 1024
_MASK = 0xFFFFFFFF
_XXH = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1)


def decompress(codec: str, data: bytes) -> bytes:
    """Return the decompressed content of `data`.

    Raises:
        ValueError: It is not a stream of the codec, or nothing here reads the codec.
    """
    readers: dict[str, _Transform] = {
        "none": bytes,
        "gzip": _read_gzip,
        "snappy": _read_snappy,
        "lz4": _read_lz4,
        "zstd": _read_zstd,
    }
    if codec not in readers:
        raise ValueError(f"codec {codec} is not read here")
    return readers[codec](data)


def compress(codec: str, data: bytes) -> bytes:
    """Return `data` in the codec's format, gzip alone smaller than before.

    Raises:
        ValueError: No such codec.
    """
    writers: dict[str, _Transform] = {
        "none": bytes,
        "gzip": _write_gzip,
        "snappy": _write_snappy,
        "lz4": _write_lz4,
        "zstd": _write_zstd,
    }
    if codec not in writers:
        raise ValueError(f"codec {codec!r} is not one of {', '.join(CODECS)}")
    return writers[codec](data)


def can_read(codec: str) -> bool:
    """Whether batches of this codec are read here."""
    return codec in CODECS and (codec != "zstd" or _zstd() is not None)


# ---- gzip ------------------------------------------------------------------------------------------


def _read_gzip(data: bytes) -> bytes:
    out = bytearray()
    while True:
        member = zlib.decompressobj(wbits=31)
        try:
            out += member.decompress(data)
        except zlib.error as cause:
            raise ValueError(f"gzip: {cause}") from cause
        if not member.eof:
            raise ValueError("gzip: the stream ends too early")
        data = member.unused_data
        if not data:
            return bytes(out)


def _write_gzip(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=31)
    return compressor.compress(data) + compressor.flush()


# ---- snappy ----------------------------------------------------------------------------------------


def _read_snappy(data: bytes) -> bytes:
    if not data.startswith(_XERIAL):
        return _read_snappy_block(data)
    out = bytearray()
    pos = len(_XERIAL_START)
    while pos < len(data):
        size = int.from_bytes(data[pos : pos + 4], "big")
        pos += 4
        if pos + size > len(data):
            raise ValueError(f"snappy: block of {size} bytes where {len(data) - pos} are left")
        out += _read_snappy_block(data[pos : pos + size])
        pos += size
    return bytes(out)


def _read_snappy_block(data: bytes) -> bytes:
    out = bytearray()
    try:
        size, pos = _read_length(data, 0)
        while pos < len(data):
            pos = _read_snappy_element(data, pos, out)
    except IndexError as cause:
        raise ValueError("snappy: the block ends too early") from cause
    if len(out) != size:
        raise ValueError(f"snappy: {len(out)} bytes where the block claims {size}")
    return bytes(out)


def _read_length(data: bytes, pos: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[pos]
        pos += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, pos
        shift += 7


def _read_snappy_element(data: bytes, pos: int, out: bytearray) -> int:
    """Append the output of the element at `pos`; return the position of the next one."""
    tag = data[pos]
    pos += 1
    kind, length = tag & 3, (tag >> 2) + 1
    if kind == 0:
        if length > 60:
            extra = length - 60
            length = int.from_bytes(data[pos : pos + extra], "little") + 1
            pos += extra
        if pos + length > len(data):
            raise ValueError("snappy: a literal ends too early")
        out += data[pos : pos + length]
        return pos + length
    if kind == 1:
        length = (tag >> 2 & 7) + 4
        offset, size = (tag >> 5) << 8 | data[pos], 1
    else:
        size = 2 if kind == 2 else 4
        offset = int.from_bytes(data[pos : pos + size], "little")
    _copy(out, offset, length, 0)
    return pos + size


def _copy(out: bytearray, offset: int, length: int, start: int) -> None:
    """Append `length` bytes from `offset` bytes back, not before `start`; the source may overlap the result."""
    if not 0 < offset <= len(out) - start:
        raise ValueError(f"a copy from {offset} bytes back where there are {len(out) - start}")
    piece = out[-offset:]
    out += (piece * (length // offset + 1))[:length]


def _write_snappy(data: bytes) -> bytes:
    out = bytearray(_XERIAL_START)
    for pos in range(0, len(data), _XERIAL_BLOCK):
        piece = data[pos : pos + _XERIAL_BLOCK]
        block = bytearray()
        number = len(piece)
        while number > 0x7F:
            block.append(number & 0x7F | 0x80)
            number >>= 7
        # One literal whose length, less one, follows in two bytes.
        block += bytes((number, 61 << 2)) + (len(piece) - 1).to_bytes(2, "little") + piece
        out += len(block).to_bytes(4, "big") + block
    return bytes(out)


# ---- lz4 -------------------------------------------------------------------------------------------


def _read_lz4(data: bytes) -> bytes:
    out = bytearray()
    pos = 0
    try:
        while pos < len(data):
            pos = _read_lz4_frame(data, pos, out)
    except IndexError as cause:
        raise ValueError("lz4: the frame ends too early") from cause
    return bytes(out)


def _read_lz4_frame(data: bytes, pos: int, out: bytearray) -> int:
    """Append the content of the frame at `pos`; return the position behind it."""
    if data[pos : pos + 4] != _LZ4_MAGIC:
        raise ValueError("lz4: no frame")
    flags = data[pos + 4]
    if flags & 0xC3 != 0x40:
        raise ValueError(f"lz4: frame flags {flags:#04x}")
    end = pos + 6 + (8 if flags & 0x08 else 0)
    if data[end] != xxh32(data[pos + 4 : end]) >> 8 & 0xFF:
        raise ValueError("lz4: a wrong header checksum")
    pos, start = end + 1, len(out)
    while word := _word(data, pos):
        pos += 4
        block = data[pos : pos + (word & 0x7FFFFFFF)]
        pos += len(block)
        if flags & 0x10:
            _check_xxh32(data, pos, block)
            pos += 4
        if word >> 31:
            out += block
        else:
            linked = not flags & 0x20
            _read_lz4_block(block, out, start if linked else len(out))
    pos += 4
    if flags & 0x04:
        _check_xxh32(data, pos, bytes(out[start:]))
        pos += 4
    return pos


def _word(data: bytes, pos: int) -> int:
    if pos + 4 > len(data):
        raise ValueError("lz4: the frame ends too early")
    return int.from_bytes(data[pos : pos + 4], "little")


def _check_xxh32(data: bytes, pos: int, content: bytes) -> None:
    if _word(data, pos) != xxh32(content):
        raise ValueError("lz4: a wrong checksum")


def _read_lz4_block(block: bytes, out: bytearray, start: int) -> None:
    """Append the content of a compressed block; its copies reach back to `start`."""
    pos = 0
    while True:
        token = block[pos]
        literal, pos = _lz4_length(token >> 4, block, pos + 1)
        if pos + literal > len(block):
            raise ValueError("lz4: a literal ends too early")
        out += block[pos : pos + literal]
        pos += literal
        if pos == len(block):
            return
        offset = block[pos] | block[pos + 1] << 8
        length, pos = _lz4_length(token & 15, block, pos + 2)
        _copy(out, offset, length + 4, start)


def _lz4_length(length: int, block: bytes, pos: int) -> tuple[int, int]:
    if length == 15:
        while True:
            byte = block[pos]
            pos += 1
            length += byte
            if byte != 255:
                break
    return length, pos


def _write_lz4(data: bytes) -> bytes:
    descriptor = b"\x60\x40"
    out = bytearray(_LZ4_MAGIC + descriptor + bytes((xxh32(descriptor) >> 8 & 0xFF,)))
    for pos in range(0, len(data), _LZ4_BLOCK):
        block = data[pos : pos + _LZ4_BLOCK]
        out += (len(block) | 1 << 31).to_bytes(4, "little") + block
    return bytes(out + bytes(4))


def xxh32(data: bytes) -> int:
    """Return the xxHash32 of `data`, seed 0."""
    pos, whole = 0, len(data) // 16 * 16
    number = _XXH[4]
    if whole:
        lanes = [(_XXH[0] + _XXH[1]) & _MASK, _XXH[1], 0, -_XXH[0] & _MASK]
        for pos in range(0, whole, 4):
            word = int.from_bytes(data[pos : pos + 4], "little")
            lane = (lanes[pos // 4 % 4] + word * _XXH[1]) & _MASK
            lanes[pos // 4 % 4] = _rotate(lane, 13) * _XXH[0] & _MASK
        number = sum(_rotate(lane, turn) for lane, turn in zip(lanes, (1, 7, 12, 18), strict=True))
    number = (number + len(data)) & _MASK
    pos = whole
    while pos + 4 <= len(data):
        number += int.from_bytes(data[pos : pos + 4], "little") * _XXH[2]
        number = _rotate(number & _MASK, 17) * _XXH[3] & _MASK
        pos += 4
    for byte in data[pos:]:
        number = _rotate((number + byte * _XXH[4]) & _MASK, 11) * _XXH[0] & _MASK
    number = (number ^ number >> 15) * _XXH[1] & _MASK
    number = (number ^ number >> 13) * _XXH[2] & _MASK
    return number ^ number >> 16


def _rotate(number: int, turn: int) -> int:
    return (number << turn | number >> 32 - turn) & _MASK


# ---- zstd ------------------------------------------------------------------------------------------


def _zstd() -> Any:
    """The module that reads zstd, None where there is none."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def _read_zstd(data: bytes) -> bytes:
    module = _zstd()
    if module is None:
        raise ValueError(
            "codec zstd is not read here: it needs Python 3.14 or the package backports.zstd"
        )
    try:
        return bytes(module.decompress(data))
    except module.ZstdError as cause:
        raise ValueError(f"zstd: {cause}") from cause


def _write_zstd(data: bytes) -> bytes:
    # A single segment, whose content size of eight bytes follows; then blocks: last (1 bit), raw (2 bits), size.
    out = bytearray(_ZSTD_MAGIC + b"\xe0" + len(data).to_bytes(8, "little"))
    for pos in range(0, max(len(data), 1), _ZSTD_BLOCK):
        block = data[pos : pos + _ZSTD_BLOCK]
        last = pos + _ZSTD_BLOCK >= len(data)
        out += (len(block) << 3 | last).to_bytes(3, "little") + block
    return bytes(out)
