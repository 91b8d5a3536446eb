"""Base classes of the generated messages: comparison, a safe repr, checked `encode` and `decode`.

Station: request. `Struct` is a nested struct, `Message` a whole body with a range of versions. The generated
`_read` and `_write` may raise any of the errors of a buffer that is too short; `Message` converts those to
`DecodeError` and `EncodeError`. Mutable; the creator owns the object.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from ottla.errors import DecodeError, EncodeError, UnsupportedVersion
from ottla.protocol.primitives import StructError

SHOWN_BYTES = 64


class Struct:
    """A struct inside a message: slots, equality by value, a repr without secrets."""

    __slots__ = ("_unknown_tags",)

    _REDACTED: ClassVar[frozenset[str]] = frozenset()
    """Fields whose values never appear in a repr."""

    _unknown_tags: dict[int, bytes] | None
    """Tagged fields that this version of the schema does not have: written back unchanged."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return (self._unknown_tags or None) == (other._unknown_tags or None) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = [f"{name}={self._shown(name)}" for name in self.__slots__]
        if self._unknown_tags:
            parts.append(f"_unknown_tags={sorted(self._unknown_tags)}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def _shown(self, name: str) -> str:
        value: Any = getattr(self, name)
        if name in self._REDACTED:
            return "None" if value is None else "'***'"
        if isinstance(value, bytes | memoryview) and len(value) > SHOWN_BYTES:
            return f"<{len(value)} bytes>"
        return repr(value)

    @classmethod
    def _read(cls, buf: bytes, pos: int, version: int) -> tuple[Self, int]:
        raise TypeError(f"{cls.__name__} has no wire form")

    def _write(self, out: bytearray, version: int) -> None:
        raise TypeError(f"{type(self).__name__} has no wire form")


class Message(Struct):
    """A request, a response, a header or a payload, each with versions of its own."""

    __slots__ = ()

    API_KEY: ClassVar[int | None]
    """The API's key; None for headers and payloads."""
    NAME: ClassVar[str]
    """Kafka's name of the message, such as "MetadataRequest"."""
    MIN_VERSION: ClassVar[int]
    MAX_VERSION: ClassVar[int]
    FLEXIBLE_FROM: ClassVar[int | None]
    """First version with compact lengths and tags (KIP-482); None if there is none."""
    LATEST_UNSTABLE: ClassVar[bool]
    """Whether brokers hide `MAX_VERSION` unless unstable versions are enabled."""

    @classmethod
    def is_flexible(cls, version: int) -> bool:
        """Return whether `version` has compact lengths and tags."""
        return cls.FLEXIBLE_FROM is not None and version >= cls.FLEXIBLE_FROM

    @classmethod
    def check_version(cls, version: int) -> None:
        """Check that the schema has `version`.

        Raises:
            UnsupportedVersion: It does not; nothing was read or written.
        """
        if not cls.MIN_VERSION <= version <= cls.MAX_VERSION:
            raise UnsupportedVersion(
                f"{cls.NAME} has versions {cls.MIN_VERSION} to {cls.MAX_VERSION}, not {version}"
            )

    def encode(self, version: int) -> bytes:
        """Return the body in wire format.

        Raises:
            UnsupportedVersion: The version does not exist, or lacks a field that is set and must
                not be dropped.
            EncodeError: A value does not fit its field, or is None where the version has no null.
        """
        out = bytearray()
        self.encode_into(out, version)
        return bytes(out)

    def encode_into(self, out: bytearray, version: int) -> None:
        """Append the body to `out`; raises as `encode`, with a part of it appended."""
        self.check_version(version)
        try:
            self._write(out, version)
        except (StructError, UnicodeEncodeError) as cause:
            raise EncodeError(f"{self.NAME} version {version}: {cause}") from cause

    @classmethod
    def decode(cls, data: bytes | memoryview, version: int) -> Self:
        """Read a whole body.

        Raises:
            UnsupportedVersion: The version does not exist.
            DecodeError: The bytes are not this message in this version, or bytes are left over.
        """
        message, end = cls.decode_from(data, 0, version)
        if end != len(data):
            raise DecodeError(
                f"{cls.NAME} version {version}: {len(data) - end} bytes left over at byte {end}"
            )
        return message

    @classmethod
    def decode_from(cls, data: bytes | memoryview, pos: int, version: int) -> tuple[Self, int]:
        """Read a body at byte `pos`; return it and the position behind it; raises as `decode`."""
        cls.check_version(version)
        buf = data if type(data) is bytes else bytes(data)
        try:
            return cls._read(buf, pos, version)
        except DecodeError as cause:
            raise DecodeError(f"{cls.NAME} version {version}: {cause}") from None
        except (StructError, IndexError, UnicodeDecodeError) as cause:
            raise DecodeError(
                f"{cls.NAME} version {version}, {len(buf)} bytes: {_described(cause)}"
            ) from cause


def _described(cause: Exception) -> str:
    return "the bytes end too early" if isinstance(cause, IndexError) else str(cause)
