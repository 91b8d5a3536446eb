"""Any value that a version can say comes back from its bytes: every class, every version."""

from __future__ import annotations

from typing import Any

from golden_vectors import (
    Json,
    all_classes,
    attribute,
    in_versions,
    schema_fields,
    schemas,
    struct_types,
    versions_of,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ottla.protocol.base import Message, Struct
from tests.cases import for_each

EXAMPLES_PER_VERSION = 3
SMALLEST_ELEMENTS = 50
INTEGERS = {
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "float64": st.floats(allow_nan=False),
    "uuid": st.binary(min_size=16, max_size=16),
    "string": st.text(max_size=5),
    "bytes": st.binary(max_size=5),
    "records": st.binary(max_size=5),
    **{name: st.integers(low, high) for name, (low, high) in INTEGERS.items()},
}
UNKNOWN_TAGS = st.none() | st.dictionaries(
    st.integers(500, 2**31 - 1), st.binary(max_size=3), min_size=1, max_size=2
)


@st.composite
def structs(
    draw: st.DrawFn, cls: type[Struct], schema: Json, entries: list[Json], version: int
) -> Struct:
    """Draw a struct with the fields of one version set."""
    made = cls()
    for entry, inner in schema_fields(schema, entries):
        if not in_versions(entry.get("versions", entry.get("taggedVersions")), version):
            continue
        name = attribute(cls, entry)
        assert name is not None
        kind = entry["type"].removeprefix("[]")
        values: st.SearchStrategy[Any]
        if kind[0].isupper():
            values = structs(struct_types(cls)[name], schema, inner, version)
        else:
            values = SIMPLE[kind]
        if entry["type"].startswith("[]"):
            values = st.lists(values, max_size=2)
        if in_versions(entry.get("nullableVersions"), version):
            values = st.none() | values
        setattr(made, name, draw(values))
    if in_versions(schema["flexibleVersions"], version):
        tags = draw(UNKNOWN_TAGS)
        made._unknown_tags = dict(sorted(tags.items())) if tags else None
    return made


@for_each(sorted(all_classes()))
def test_a_written_message_is_read(name: str) -> None:
    cls = all_classes()[name]
    for version in versions_of(cls):
        _check_round_trips(cls, version)


def _check_round_trips(cls: type[Message], version: int) -> None:
    @settings(
        max_examples=EXAMPLES_PER_VERSION,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(structs(cls, schemas()[cls.NAME], schemas()[cls.NAME]["fields"], version))
    def round_trip(message: Struct) -> None:
        assert isinstance(message, Message)
        data = message.encode(version)
        back = cls.decode(data, version)
        assert back == message
        assert back.encode(version) == data

    round_trip()


@for_each(sorted(all_classes()))
def test_no_element_is_smaller_than_counts_are_checked_for(name: str) -> None:
    cls = all_classes()[name]
    for version in versions_of(cls):
        for depth in range(_array_depth(cls)):
            message = cls()
            _fill_arrays(message, schemas()[name], schemas()[name]["fields"], version, depth)
            assert cls.decode(message.encode(version), version) == message


def _array_depth(cls: type[Struct]) -> int:
    """Return how deep structs stand inside each other, at most."""
    return max((1 + _array_depth(nested) for nested in struct_types(cls).values()), default=0)


def _fill_arrays(made: Struct, schema: Json, entries: list[Json], version: int, depth: int) -> None:
    """Put one element into each array above `depth` and many of the smallest into those at it."""
    for entry, inner in schema_fields(schema, entries):
        if not in_versions(entry.get("versions", entry.get("taggedVersions")), version):
            continue
        name = attribute(type(made), entry)
        assert name is not None
        nested = struct_types(type(made)).get(name)
        if entry["type"] == "records":
            setattr(made, name, b"")
        elif not entry["type"].startswith("[]"):
            if nested is not None and getattr(made, name) is not None:
                _fill_arrays(getattr(made, name), schema, inner, version, depth)
        elif nested is not None and depth >= 0:
            element = nested()
            _fill_arrays(element, schema, inner, version, depth - 1)
            setattr(made, name, [element] * (1 if depth else SMALLEST_ELEMENTS))
