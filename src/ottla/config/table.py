"""The table of a role: each attribute of its class is an option, with type, unit, default, Kafka's name and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ottla.config.readers import Reader

if TYPE_CHECKING:
    from typing import Self


class Option:
    """One row of the table.

    Args:
        default: Value if the user gives none.
        read: Checks and converts a given value.
        doc: Its effect, for the reference.
        kafka: Kafka's dotted name; None: the option's name with dots.
        aliases: Other dotted names that mean the same.
        unit: ms, bytes, records or empty.
        values: Accepted values, for the reference.
        secret: Whether the value must never be shown.
        java: Default of Java if it differs; `doc` has the reason.
        first: Whether most programs need it: it stands first in the reference.
    """

    def __init__(
        self,
        default: Any,
        read: Reader,
        doc: str,
        *,
        kafka: str | None = None,
        aliases: Sequence[str] = (),
        unit: str = "",
        values: str = "",
        secret: bool = False,
        java: str | None = None,
        first: bool = False,
    ) -> None:
        self.name = ""
        self.default = default
        self.read = read
        self.doc = doc
        self.kafka_name = kafka or ""
        self.aliases = tuple(aliases)
        self.unit = unit
        self.values = values
        self.secret = secret
        self.java = java
        self.first = first

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.kafka_name = self.kafka_name or name.replace("_", ".")
        unit = name.rsplit("_", 1)[-1]
        self.unit = self.unit or (unit if unit in ("ms", "bytes", "records") else "")

    def spellings(self) -> tuple[str, ...]:
        """Every name by which the user may give it."""
        return (self.name, self.kafka_name, *self.aliases)


def option(default: Any, read: Reader, doc: str, **more: Any) -> Any:
    """A row of the table; declared Any so that the attribute keeps the type that stands before it."""
    return Option(default, read, doc, **more)


class Config:
    """A checked configuration: attributes only, frozen."""

    role = ""

    def __init__(self, values: Mapping[str, Any], given: frozenset[str]) -> None:
        self.__dict__.update(values)
        self.__dict__["given"] = given

    given: frozenset[str]
    """Names of the options that the user gave."""

    def without(self, *names: str) -> Self:
        """A copy in which these options have their defaults."""
        defaults = {name: row.default for name, row in options(type(self)).items() if name in names}
        return type(self)({**vars(self), **defaults}, self.given)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a configuration is frozen: {name} cannot be set")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in sorted(self.given))
        return f"{type(self).__name__}({shown})"


def options(role: type[Config]) -> dict[str, Option]:
    """The table of a role, in order: what all roles have first."""
    rows: dict[str, Option] = {}
    for base in reversed(role.__mro__):
        rows.update({name: row for name, row in vars(base).items() if isinstance(row, Option)})
    return rows
