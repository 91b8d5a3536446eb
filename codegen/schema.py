"""The schema language of Kafka's message JSON files as typed tables, ready to emit.

Source of the rules: Kafka's own message generator (`org.apache.kafka.message`): versions, types,
flexible and nullable versions, tags, defaults. `load(json)` checks its assumptions and
raises for unknown keys.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, field
from typing import Any

FOREVER = 32767


@dataclass(frozen=True)
class Versions:
    """An inclusive range of versions; empty when `low > high`."""

    low: int
    high: int

    @staticmethod
    def parse(text: str | None) -> Versions:
        if text is None or text == "none":
            return NO_VERSIONS
        if text.endswith("+"):
            return Versions(int(text[:-1]), FOREVER)
        low, _, high = text.partition("-")
        return Versions(int(low), int(high or low))

    def __and__(self, other: Versions) -> Versions:
        return Versions(max(self.low, other.low), min(self.high, other.high))

    def __contains__(self, other: Versions) -> bool:
        return other.empty or (self.low <= other.low and other.high <= self.high)

    @property
    def empty(self) -> bool:
        return self.low > self.high

    def cover(self, other: Versions) -> Versions:
        """Return the smallest range that holds both."""
        if self.empty or other.empty:
            return other if self.empty else self
        return Versions(min(self.low, other.low), max(self.high, other.high))

    def __str__(self) -> str:
        if self.empty:
            return "none"
        if self.high == FOREVER:
            return f"{self.low}+"
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


FIELD_KEYS = {
    *("name", "type", "versions", "nullableVersions", "flexibleVersions", "taggedVersions", "tag"),
    *("default", "ignorable", "entityType", "fields"),
    *("about", "mapKey", "zeroCopy"),  # no effect on the wire
}

NO_VERSIONS = Versions(1, 0)
ALL_VERSIONS = Versions(0, FOREVER)


@dataclass(frozen=True)
class Fixed:
    """A fixed-size wire type: its `struct` letter, size and Python type."""

    letter: str
    size: int
    python: str


FIXED = {
    "bool": Fixed("?", 1, "bool"),
    "int8": Fixed("b", 1, "int"),
    "int16": Fixed("h", 2, "int"),
    "uint16": Fixed("H", 2, "int"),
    "int32": Fixed("i", 4, "int"),
    "uint32": Fixed("I", 4, "int"),
    "int64": Fixed("q", 8, "int"),
    "float64": Fixed("d", 8, "float"),
    "uuid": Fixed("16s", 16, "bytes"),
}
VARIABLE = {"string": "str", "bytes": "bytes", "records": "Records"}


@dataclass(eq=False)
class Struct:
    """One class to be generated: a whole message or a nested struct."""

    name: str
    json_name: str
    fields: list[Field]
    declared: Versions
    context: Versions = NO_VERSIONS
    """Versions in which the struct can occur, given its parents."""


@dataclass(eq=False)
class Field:
    """One field: its versions, its wire form and its default."""

    json_name: str
    name: str
    type: str
    versions: Versions
    nullable: Versions
    tagged: Versions
    tag: int | None
    default: Any
    ignorable: bool
    entity: str | None
    never_flexible: bool
    struct: Struct | None = None
    """The struct of the field, or of its elements."""

    @property
    def is_array(self) -> bool:
        return self.type.startswith("[]")

    @property
    def element(self) -> str:
        return self.type.removeprefix("[]")

    @property
    def is_fixed(self) -> bool:
        return self.type in FIXED


@dataclass
class Message:
    """One schema file."""

    root: Struct
    kind: str
    api_key: int | None
    valid: Versions
    flexible: Versions
    latest_unstable: bool
    structs: list[Struct] = field(default_factory=list)
    """Nested structs, each after the structs that it contains."""


def snake_case(name: str) -> str:
    """Return Kafka's CamelCase field name in snake case."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
    return name + "_" if keyword.iskeyword(name) else name


def load(
    schema: dict[str, Any], clashes: frozenset[str] = frozenset(), prefix: str = ""
) -> Message:
    """Read one schema file.

    Args:
        schema: The parsed JSON.
        clashes: Struct names that another message of the same module uses too.
        prefix: Prefix that makes the structs of `clashes` unique, such as "Request".
    """
    return _Loader(schema, dict.fromkeys(clashes, prefix)).load()


def struct_names(schema: dict[str, Any]) -> set[str]:
    """Return the names of all nested structs of a schema file."""
    names = {common["name"] for common in schema.get("commonStructs", [])}
    pending = [schema, *schema.get("commonStructs", [])]
    while pending:
        for entry in pending.pop()["fields"]:
            if "fields" in entry:
                names.add(entry["type"].removeprefix("[]"))
                pending.append(entry)
    return names


class _Loader:
    def __init__(self, schema: dict[str, Any], prefixes: dict[str, str]) -> None:
        self.schema = schema
        self.prefixes = prefixes
        self.common = {entry["name"]: entry for entry in schema.get("commonStructs", [])}
        self.structs: dict[str, Struct] = {}

    def load(self) -> Message:
        schema = self.schema
        valid = Versions.parse(schema["validVersions"])
        root = Struct(schema["name"], schema["name"], [], ALL_VERSIONS, valid)
        root.fields = [self.field(entry) for entry in schema["fields"]]
        message = Message(
            root=root,
            kind=schema["type"],
            api_key=schema.get("apiKey"),
            valid=valid,
            flexible=Versions.parse(schema["flexibleVersions"]),
            latest_unstable=schema.get("latestVersionUnstable", False),
        )
        _spread_context(root)
        message.structs = _contained_first(root)
        return message

    def struct(self, name: str, entry: dict[str, Any] | None) -> Struct:
        if name in self.structs:
            return self.structs[name]
        declared = ALL_VERSIONS
        if entry is None:
            entry = self.common[name]
            declared = Versions.parse(entry["versions"])
        made = Struct(self.prefixes.get(name, "") + name, name, [], declared)
        self.structs[name] = made
        made.fields = [self.field(inner) for inner in entry["fields"]]
        return made

    def field(self, entry: dict[str, Any]) -> Field:
        where = f"{self.schema['name']}.{entry['name']}"
        if unknown := entry.keys() - FIELD_KEYS:
            raise ValueError(f"{where}: unknown keys {sorted(unknown)}")
        tagged = Versions.parse(entry.get("taggedVersions"))
        versions = Versions.parse(entry["versions"]) if "versions" in entry else tagged
        made = Field(
            json_name=entry["name"],
            name=snake_case(entry["name"]),
            type=entry["type"],
            versions=versions,
            nullable=Versions.parse(entry.get("nullableVersions")),
            tagged=tagged,
            tag=entry.get("tag"),
            default=None,
            ignorable=entry.get("ignorable", False),
            entity=entry.get("entityType"),
            never_flexible=entry.get("flexibleVersions") == "none",
        )
        if made.element[0].isupper():
            made.struct = self.struct(made.element, entry if "fields" in entry else None)
        elif made.element not in FIXED and made.element not in VARIABLE:
            raise ValueError(f"{where}: unknown type {made.type}")
        if (made.tag is None) != tagged.empty:
            raise ValueError(f"{where}: tag and taggedVersions go together")
        if tagged not in versions:
            raise ValueError(f"{where}: tagged in versions that lack the field")
        made.default = _default(made, entry.get("default"))
        return made


def _default(made: Field, text: Any) -> Any:
    """Return the default as a Python value; `made.struct` for a struct of defaults."""
    if text in ("null", None) and (text == "null" or made.type == "records"):
        return None
    if made.is_array:
        return []
    if made.struct:
        return made.struct
    if made.type == "string":
        return text or ""
    if made.type == "bytes":
        return b""
    if made.type == "uuid":
        return bytes(16)
    if made.type == "bool":
        return str(text).lower() == "true"
    if made.type == "float64":
        return float(text or 0)
    return int(str(text or 0), 0)


def _spread_context(struct: Struct) -> None:
    """Widen the context of each nested struct by the versions in which a parent can hold it."""
    for entry in struct.fields:
        if entry.struct:
            seen = entry.struct.context
            entry.struct.context = seen.cover(
                struct.context & entry.versions & entry.struct.declared
            )
            if entry.struct.context != seen:
                _spread_context(entry.struct)


def _contained_first(root: Struct) -> list[Struct]:
    ordered: list[Struct] = []

    def visit(struct: Struct) -> None:
        for entry in struct.fields:
            if entry.struct and entry.struct not in ordered:
                visit(entry.struct)
                ordered.append(entry.struct)

    visit(root)
    return ordered
