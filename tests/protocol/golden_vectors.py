"""The golden vectors, their schemas, and the conversion from Kafka's JSON to objects.

Nothing here uses the generator: field names, types and versions are taken from the schema files
themselves.
"""

from __future__ import annotations

import base64
import json
import lzma
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

from ottla.protocol.base import Message, Struct

FOLDER = Path(__file__).resolve().parent / "golden"
UNKNOWN_TAGS = {100: b"\x01\x02\x03", 70000: b""}
"""Unknown tags that some vectors have in every struct with a value other than its default."""

Json = dict[str, Any]


class Vector(NamedTuple):
    """One message: Kafka's JSON and the bytes that Kafka's classes write for it."""

    name: str
    version: int
    unknown_tags: bool
    json: Json
    data: bytes


def _lines(path: Path) -> Iterator[Any]:
    for line in lzma.decompress(path.read_bytes()).decode().splitlines():
        yield json.loads(line)


@cache
def schemas() -> dict[str, Json]:
    """Return the schema of every message, by name."""
    (found,) = _lines(FOLDER / "schemas.json.xz")
    return dict(found)


@cache
def vectors() -> dict[str, list[Vector]]:
    """Return all vectors by message name."""
    found: dict[str, list[Vector]] = defaultdict(list)
    for path in sorted(FOLDER.glob("*.jsonl.xz")):
        for name, version, unknown, value, data in _lines(path):
            found[name].append(Vector(name, version, unknown, value, bytes.fromhex(data)))
    return dict(found)


@cache
def all_classes() -> dict[str, type[Message]]:
    """Return every generated message class, by Kafka's name."""
    found = {}
    for path in sorted((Path(__file__).parents[2] / "src/ottla/protocol/messages").glob("*.py")):
        module = import_module(f"ottla.protocol.messages.{path.stem}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Message) and value is not Message:
                found[value.NAME] = value
    return found


def versions_of(cls: type[Message]) -> range:
    """Return every version of a message."""
    return range(cls.MIN_VERSION, cls.MAX_VERSION + 1)


_struct_types: dict[str, dict[str, type[Struct]]] = {}


def struct_types(cls: type[Struct]) -> dict[str, type[Struct]]:
    """Return the class of each struct field, or of its elements."""
    found = _struct_types.setdefault(f"{cls.__module__}.{cls.__name__}", {})
    if found:
        return found
    for name, hint in get_type_hints(cls).items():
        pending = [hint]
        while pending:
            inner = pending.pop()
            if isinstance(inner, type) and issubclass(inner, Struct):
                found[name] = inner
            pending += get_args(inner)
    return found


def schema_fields(
    schema: Json, entries: list[Json] | None = None
) -> Iterator[tuple[Json, list[Json]]]:
    """Yield the entries of a struct, each with the entries of its own struct."""
    common = {entry["name"]: entry["fields"] for entry in schema.get("commonStructs", [])}
    for entry in schema["fields"] if entries is None else entries:
        inner = entry.get("fields") or common.get(entry["type"].removeprefix("[]"), [])
        yield entry, inner


def attribute(cls: type[Struct], entry: Json) -> str | None:
    """Return the attribute for a schema entry; None for a field that no supported version has."""
    return _squeezed(tuple(cls.__slots__)).get(entry["name"].lower())


@cache
def _squeezed(names: tuple[str, ...]) -> dict[str, str]:
    return {name.replace("_", ""): name for name in names}


def from_json(cls: type[Struct], schema: Json, value: Json, unknown_tags: bool) -> Any:
    """Return the object that Kafka's JSON form describes."""
    return _struct(cls, schema, list(schema_fields(schema)), value, unknown_tags)


def _struct(
    cls: type[Struct],
    schema: Json,
    fields: list[tuple[Json, list[Json]]],
    value: Json,
    unknown_tags: bool,
) -> Struct:
    made = cls()
    for entry, inner in fields:
        key = entry["name"][0].lower() + entry["name"][1:]
        if key not in value:
            continue
        name = attribute(cls, entry)
        assert name is not None, f"{cls.__name__} has no attribute for {entry['name']}"
        element = entry["type"].removeprefix("[]")

        def single(
            raw: Any,
            *,
            tags: bool,
            name: str = name,
            element: str = element,
            inner: list[Json] = inner,
        ) -> Any:
            if element[0].isupper():
                nested = struct_types(cls)[name]
                return _struct(nested, schema, list(schema_fields(schema, inner)), raw, tags)
            return plain(element, raw)

        raw = value[key]
        if raw is None:
            setattr(made, name, None)
        elif entry["type"].startswith("[]"):
            setattr(made, name, [single(item, tags=unknown_tags) for item in raw])
        else:
            default = getattr(made, name)
            setattr(made, name, single(raw, tags=False))
            if unknown_tags and getattr(made, name) != default:
                setattr(made, name, single(raw, tags=True))
    if unknown_tags:
        made._unknown_tags = dict(UNKNOWN_TAGS)
    return made


def plain(kind: str, raw: Any) -> Any:
    """Return a value that is not a struct from its JSON form."""
    if kind in ("bytes", "records"):
        return base64.b64decode(raw)
    if kind == "uuid":
        return base64.urlsafe_b64decode(raw + "==")
    return raw


def in_versions(text: str | None, version: int) -> bool:
    """Return whether a version is in a range as the schemas write it."""
    if text is None or text == "none":
        return False
    low, plus, _ = text.partition("+")
    if plus:
        return version >= int(low)
    low, _, high = text.partition("-")
    return int(low) <= version <= int(high or low)
