"""Deserializers: functions of the application that make objects of the bytes of keys and values. Pure; any thread.

They run once per record, when its poll hands it over, so that a failure belongs to one record and the position can stay there.
None stays None: a deserializer is not called for it.

References: Java: Deserializer, RecordDeserializationException (KIP-334, KIP-1036).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from ottla.errors import DecodeError, DeserializationError, line_of
from ottla.seam.records import Deserialized

if TYPE_CHECKING:
    from ottla._native import Record, Records

Deserializer = Callable[[bytes], Any]


class Deserializers:
    """The deserializers of one consumer; None: the field has its bytes."""

    def __init__(self, key: Deserializer | None, value: Deserializer | None) -> None:
        self._key = key
        self._value = value

    def apply(self, records: Records) -> Deserialized:
        """Deserialize keys and values. An exception that is no `Exception` (Ctrl-C) is raised: nothing was deserialized then."""
        errors: dict[int, DeserializationError] = {}
        keys = values = None
        if self._key is not None:
            keys = _column("key", self._key, records, records.keys(), errors)
        if self._value is not None:
            values = _column("value", self._value, records, records.values(), errors)
        for index in errors:
            if keys is not None:
                keys[index] = records[index].key
            if values is not None:
                values[index] = records[index].value
        return Deserialized(keys, values, errors)


def _column(
    field: Literal["key", "value"],
    deserialize: Deserializer,
    records: Records,
    column: list[bytes | None],
    errors: dict[int, DeserializationError],
) -> list[Any]:
    """The objects of one field; the first error of each record is added to `errors`."""
    objects: list[Any] = []
    for data in column:
        try:
            objects.append(None if data is None else deserialize(data))
        except Exception as error:
            index = len(objects)
            objects.append(None)
            errors.setdefault(index, _error(field, records[index], error))
    return objects


def _error(
    field: Literal["key", "value"], record: Record, cause: Exception
) -> DeserializationError:
    reason = f"{type(cause).__name__}: {line_of(cause)}"
    error = DeserializationError(
        f"the {field} did not deserialize: {reason}",
        field=field,
        record=_detached(record),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
    )
    error.__cause__ = cause
    return error


def _detached(record: Record) -> Record:
    """The record with bytes of its own, where its headers can be read."""
    try:
        return record.detach()
    except DecodeError:
        return record
