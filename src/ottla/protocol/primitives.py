"""The wire types of Kafka's messages: `read_*(buf, pos, …)` and `write_*(out, …)`.

Station: request (and every response). A reader takes whole `bytes` and a position, and returns the
value and the position behind it; a writer appends to a `bytearray`. Every size and count is checked
against the bytes that remain before anything is allocated. Called by the generated classes only,
from any thread.

Wire facts: KIP-482 (flexible versions). A flexible string, bytes, records or array has its length +
1 as an unsigned varint (0 = null); otherwise a string has an int16 length, the rest an int32 (-1 =
null).
Java: `ByteBufferAccessor`, `Readable`, `Writable`, `RawTaggedField`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct, error, pack_into, unpack_from
from typing import Any, TypeAlias, TypeVar

from ottla.errors import DecodeError, EncodeError, UnsupportedVersion

Records: TypeAlias = bytes | memoryview
"""Record batches in wire format."""

ZERO_UUID = bytes(16)
"""No topic id, no directory id: uuids are never null on the wire."""

MAX_STRING_BYTES = 32767
MAX_ARRAY_ELEMENTS = 1_000_000
MAX_TAGS = 10_000
MAX_INT32 = 0x7FFFFFFF

StructError = error
T = TypeVar("T")

_int16 = Struct(">h")
_int32 = Struct(">i")
_element_sizes = {"b": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "d": 8, "?": 1}


# -- varints ---------------------------------------------------------------------------------------


def read_uvarint(buf: bytes, pos: int) -> tuple[int, int]:
    """Read an unsigned varint of at most 31 bits."""
    value = buf[pos]
    pos += 1
    if value < 0x80:
        return value, pos
    value &= 0x7F
    for shift in (7, 14, 21, 28):
        byte = buf[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > MAX_INT32:
                break
            return value, pos
    raise DecodeError(f"varint does not fit in 31 bits before byte {pos}")


def write_uvarint(out: bytearray, value: int) -> None:
    """Write an unsigned varint."""
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


# -- lengths and counts ----------------------------------------------------------------------------


def _read_length(buf: bytes, pos: int, flexible: bool, prefix: Struct) -> tuple[int, int]:
    """Read a length in bytes, -1 for null; the bytes are there."""
    if flexible:
        length, pos = read_uvarint(buf, pos)
        length -= 1
    else:
        (length,) = prefix.unpack_from(buf, pos)
        pos += prefix.size
        if length < -1:
            raise DecodeError(f"negative length {length} before byte {pos}")
    if length > len(buf) - pos:
        raise DecodeError(f"length {length} at byte {pos}, but only {len(buf) - pos} bytes remain")
    return length, pos


def _write_length(out: bytearray, length: int, flexible: bool, prefix: Struct) -> None:
    if flexible:
        write_uvarint(out, length + 1)
    else:
        out += prefix.pack(length)


def read_count(buf: bytes, pos: int, flexible: bool, min_element_bytes: int) -> tuple[int, int]:
    """Read the element count of an array, -1 for null.

    Args:
        buf: The whole message.
        pos: Where the count starts.
        flexible: Whether this version is flexible.
        min_element_bytes: No element of the array can be shorter than this.
    """
    if flexible:
        count, pos = read_uvarint(buf, pos)
        count -= 1
    else:
        (count,) = _int32.unpack_from(buf, pos)
        pos += 4
        if count < -1:
            raise DecodeError(f"negative count {count} before byte {pos}")
    if count * min_element_bytes > len(buf) - pos:
        raise DecodeError(f"count {count} at byte {pos}, but only {len(buf) - pos} bytes remain")
    if count > MAX_ARRAY_ELEMENTS:
        raise DecodeError(f"count {count} before byte {pos} is over {MAX_ARRAY_ELEMENTS}")
    return count, pos


def _no_null(pos: int) -> DecodeError:
    return DecodeError(f"null where none is allowed before byte {pos}")


def _null_refused(field: str) -> EncodeError:
    return EncodeError(f"{field} is None, which this version does not allow")


def unsupported(field: str, version: int) -> UnsupportedVersion:
    """Return the error for a field that is set but that this version does not have."""
    return UnsupportedVersion(f"{field} is set, but version {version} does not have it")


# -- string, bytes, records, uuid ------------------------------------------------------------------


def read_string(buf: bytes, pos: int, flexible: bool) -> tuple[str, int]:
    """Read a string that is not null."""
    length, pos = _read_length(buf, pos, flexible, _int16)
    if length < 0:
        raise _no_null(pos)
    if length > MAX_STRING_BYTES:
        raise DecodeError(f"string of {length} bytes at byte {pos} is over {MAX_STRING_BYTES}")
    end = pos + length
    return buf[pos:end].decode(), end


def read_nullable_string(
    buf: bytes, pos: int, flexible: bool, nullable: bool
) -> tuple[str | None, int]:
    """Read a string that may be null if `nullable`."""
    length, pos = _read_length(buf, pos, flexible, _int16)
    if length < 0:
        if not nullable:
            raise _no_null(pos)
        return None, pos
    if length > MAX_STRING_BYTES:
        raise DecodeError(f"string of {length} bytes at byte {pos} is over {MAX_STRING_BYTES}")
    end = pos + length
    return buf[pos:end].decode(), end


def write_string(
    out: bytearray, value: str | None, flexible: bool, nullable: bool, field: str
) -> None:
    """Write a string; null only if `nullable`."""
    if value is None:
        if not nullable:
            raise _null_refused(field)
        _write_length(out, -1, flexible, _int16)
        return
    data = value.encode()
    if len(data) > MAX_STRING_BYTES:
        raise EncodeError(f"{field} is {len(data)} bytes long, over {MAX_STRING_BYTES}")
    _write_length(out, len(data), flexible, _int16)
    out += data


def read_bytes(buf: bytes, pos: int, flexible: bool) -> tuple[bytes, int]:
    """Read bytes that are not null."""
    length, pos = _read_length(buf, pos, flexible, _int32)
    if length < 0:
        raise _no_null(pos)
    end = pos + length
    return buf[pos:end], end


def read_nullable_bytes(
    buf: bytes, pos: int, flexible: bool, nullable: bool
) -> tuple[bytes | None, int]:
    """Read bytes that may be null if `nullable`."""
    length, pos = _read_length(buf, pos, flexible, _int32)
    if length < 0:
        if not nullable:
            raise _no_null(pos)
        return None, pos
    end = pos + length
    return buf[pos:end], end


def write_bytes(
    out: bytearray, value: Records | None, flexible: bool, nullable: bool, field: str
) -> None:
    """Write bytes or records; null only if `nullable`."""
    if value is None:
        if not nullable:
            raise _null_refused(field)
        _write_length(out, -1, flexible, _int32)
        return
    length = value.nbytes if isinstance(value, memoryview) else len(value)
    if length > MAX_INT32 - 1:
        raise EncodeError(f"{field} is {length} bytes long, over what a length can say")
    _write_length(out, length, flexible, _int32)
    out += value


def checked_uuid(value: bytes, field: str) -> bytes:
    """Return `value` if it is 16 bytes long."""
    if len(value) != 16:
        raise EncodeError(f"{field} is a uuid of {len(value)} bytes, not 16")
    return value


# -- arrays ----------------------------------------------------------------------------------------


def read_numbers(buf: bytes, pos: int, flexible: bool, letter: str) -> tuple[list[Any], int]:
    """Read an array of fixed-size numbers that is not null; `letter` as in `struct`."""
    values, pos = read_nullable_numbers(buf, pos, flexible, False, letter)
    assert values is not None
    return values, pos


def read_nullable_numbers(
    buf: bytes, pos: int, flexible: bool, nullable: bool, letter: str
) -> tuple[list[Any] | None, int]:
    """Read an array of fixed-size numbers; `letter` as in `struct`."""
    size = _element_sizes[letter]
    count, pos = read_count(buf, pos, flexible, size)
    if count < 0:
        if not nullable:
            raise _no_null(pos)
        return None, pos
    return list(unpack_from(f">{count}{letter}", buf, pos)), pos + count * size


def write_numbers(
    out: bytearray,
    values: Sequence[float] | None,
    flexible: bool,
    nullable: bool,
    letter: str,
    field: str,
) -> None:
    """Write an array of fixed-size numbers; `letter` as in `struct`."""
    if not _write_count(out, values, flexible, nullable, field):
        return
    assert values is not None
    start = len(out)
    out += bytes(len(values) * _element_sizes[letter])
    pack_into(f">{len(values)}{letter}", out, start, *values)


def _write_count(
    out: bytearray, values: Sequence[Any] | None, flexible: bool, nullable: bool, field: str
) -> bool:
    """Write the count of an array; return whether elements follow."""
    if values is None:
        if not nullable:
            raise _null_refused(field)
        _write_length(out, -1, flexible, _int32)
        return False
    _write_length(out, len(values), flexible, _int32)
    return bool(values)


def read_array(
    buf: bytes, pos: int, flexible: bool, min_element_bytes: int, read: Callable[..., Any], arg: Any
) -> tuple[list[Any], int]:
    """Read an array that is not null, each element by `read(buf, pos, arg)`."""
    values, pos = read_nullable_array(buf, pos, flexible, False, min_element_bytes, read, arg)
    assert values is not None
    return values, pos


def read_nullable_array(
    buf: bytes,
    pos: int,
    flexible: bool,
    nullable: bool,
    min_element_bytes: int,
    read: Callable[..., Any],
    arg: Any,
) -> tuple[list[Any] | None, int]:
    """Read an array, each element by `read(buf, pos, arg)`."""
    count, pos = read_count(buf, pos, flexible, min_element_bytes)
    if count < 0:
        if not nullable:
            raise _no_null(pos)
        return None, pos
    values: list[Any] = []
    append = values.append
    for _ in range(count):
        value, pos = read(buf, pos, arg)
        append(value)
    return values, pos


def read_uuid(buf: bytes, pos: int, flexible: bool) -> tuple[bytes, int]:
    """Read one uuid as an array element."""
    end = pos + 16
    if end > len(buf):
        raise DecodeError(f"uuid at byte {pos}, but only {len(buf) - pos} bytes remain")
    return buf[pos:end], end


def write_strings(
    out: bytearray, values: Sequence[str] | None, flexible: bool, nullable: bool, field: str
) -> None:
    """Write an array of strings."""
    if _write_count(out, values, flexible, nullable, field):
        for value in values or ():
            write_string(out, value, flexible, False, field)


def write_bytes_array(
    out: bytearray, values: Sequence[bytes] | None, flexible: bool, nullable: bool, field: str
) -> None:
    """Write an array of bytes."""
    if _write_count(out, values, flexible, nullable, field):
        for value in values or ():
            write_bytes(out, value, flexible, False, field)


def write_uuids(
    out: bytearray, values: Sequence[bytes] | None, flexible: bool, nullable: bool, field: str
) -> None:
    """Write an array of uuids."""
    if _write_count(out, values, flexible, nullable, field):
        for value in values or ():
            out += checked_uuid(value, field)


def write_structs(
    out: bytearray,
    values: Sequence[Any] | None,
    version: int,
    flexible: bool,
    nullable: bool,
    field: str,
) -> None:
    """Write an array of structs."""
    if _write_count(out, values, flexible, nullable, field):
        for value in values or ():
            write_struct(out, value, version, field)


# -- structs ---------------------------------------------------------------------------------------


def write_struct(out: bytearray, value: Any, version: int, field: str) -> None:
    """Write a struct that must not be null."""
    if value is None:
        raise _null_refused(field)
    value._write(out, version)


def read_nullable_struct(
    buf: bytes, pos: int, version: int, read: Callable[[bytes, int, int], tuple[T, int]]
) -> tuple[T | None, int]:
    """Read a struct behind the int8 that says whether it is there (negative: null)."""
    if buf[pos] & 0x80:
        return None, pos + 1
    return read(buf, pos + 1, version)


def write_nullable_struct(
    out: bytearray, value: Any, version: int, nullable: bool, field: str
) -> None:
    """Write a struct, or null, behind the int8 that says which; null only if `nullable`."""
    if value is None:
        if not nullable:
            raise _null_refused(field)
        out.append(0xFF)
    else:
        out.append(1)
        value._write(out, version)


def read_nullable_tagged_struct(
    buf: bytes, pos: int, version: int, read: Callable[[bytes, int, int], tuple[T, int]]
) -> tuple[T | None, int]:
    """Read the payload of a nullable tagged struct: a varint, 0 for null, then the struct."""
    present, pos = read_uvarint(buf, pos)
    return read(buf, pos, version) if present else (None, pos)


def write_nullable_tagged_struct(
    out: bytearray, value: Any, version: int, nullable: bool, field: str
) -> None:
    """Write the payload of a nullable tagged struct; null only if `nullable`."""
    if value is None:
        if not nullable:
            raise _null_refused(field)
        out.append(0)
    else:
        out.append(1)
        value._write(out, version)


# -- tag sections ----------------------------------------------------------------------------------


def read_tags(buf: bytes, pos: int) -> tuple[dict[int, bytes] | None, int]:
    """Read a tag section: payload by tag in the order on the wire, None if it is empty."""
    if buf[pos] == 0:
        return None, pos + 1
    count, pos = read_uvarint(buf, pos)
    if count > MAX_TAGS or count * 2 > len(buf) - pos:
        raise DecodeError(f"{count} tags at byte {pos}, but {len(buf) - pos} bytes remain")
    tags: dict[int, bytes] = {}
    last = -1
    for _ in range(count):
        tag, pos = read_uvarint(buf, pos)
        size, pos = read_uvarint(buf, pos)
        if tag <= last:
            raise DecodeError(f"tag {tag} after tag {last} before byte {pos}")
        end = pos + size
        if end > len(buf):
            raise DecodeError(f"tag {tag} of {size} bytes at byte {pos}, {len(buf) - pos} remain")
        tags[tag] = buf[pos:end]
        last = tag
        pos = end
    return tags or None, pos


def end_of_tag(payload: bytes, pos: int, tag: int) -> None:
    """Check that a tagged field took all of its payload."""
    if pos != len(payload):
        raise DecodeError(f"tag {tag} has {len(payload)} bytes, of which its field takes {pos}")


def write_tags(
    out: bytearray, known: Mapping[int, bytes | bytearray], unknown: dict[int, bytes] | None
) -> None:
    """Write a tag section in ascending order: fields of this version and tags kept as they came."""
    tags: Mapping[int, bytes | bytearray] = known
    if unknown:
        if twice := known.keys() & unknown.keys():
            raise EncodeError(f"tags {sorted(twice)} are fields of this version and unknown tags")
        tags = {**known, **unknown}
    if not tags:
        out.append(0)
        return
    write_uvarint(out, len(tags))
    for tag in sorted(tags):
        write_uvarint(out, tag)
        write_uvarint(out, len(tags[tag]))
        out += tags[tag]
