"""Records: the objects that deserializers made of the keys and values of several records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ottla.errors import DeserializationError


class Deserialized(NamedTuple):
    """One object per record, in the order of the records."""

    keys: list[Any] | None
    """None: there is no deserializer of keys."""
    values: list[Any] | None
    """None: there is no deserializer of values."""
    errors: dict[int, DeserializationError]
    """Index of each record that did not deserialize -> its error. The lists have the bytes of its key and value."""
