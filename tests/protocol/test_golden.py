"""Every message in every version against bytes that Kafka's own classes wrote."""

from __future__ import annotations

from golden_vectors import (
    Json,
    all_classes,
    attribute,
    from_json,
    in_versions,
    schema_fields,
    schemas,
    struct_types,
    vectors,
    versions_of,
)

from ottla.protocol.api_keys import APIS, ApiKey
from ottla.protocol.base import Struct
from ottla.protocol.primitives import ZERO_UUID
from ottla.protocol.registry import request_class, response_class
from tests.cases import for_each

NAMES = sorted(all_classes())


@for_each(NAMES)
def test_kafkas_bytes_decode_to_kafkas_values_and_back(name: str) -> None:
    cls = all_classes()[name]
    for vector in vectors()[name]:
        meant = from_json(cls, schemas()[name], vector.json, vector.unknown_tags)
        decoded = cls.decode(vector.data, vector.version)
        assert decoded == meant, vector
        assert decoded.encode(vector.version) == vector.data, vector
        assert meant.encode(vector.version) == vector.data, vector
        assert cls.decode(memoryview(vector.data), vector.version) == decoded


@for_each(NAMES)
def test_every_version_has_vectors(name: str) -> None:
    cls = all_classes()[name]
    counts = dict.fromkeys(versions_of(cls), 0)
    for vector in vectors()[name]:
        counts[vector.version] += 1
    for version, count in counts.items():
        assert count >= (5 if cls.is_flexible(version) else 4), (name, version, count)


def test_schemas_classes_and_vectors_are_of_the_same_messages() -> None:
    assert all_classes().keys() == schemas().keys() == vectors().keys()
    assert len(APIS) == 74
    assert sum(map(len, vectors().values())) > 2500


def test_registry_finds_every_api() -> None:
    assert {key.value for key in ApiKey} == APIS.keys()
    for key, api in APIS.items():
        for cls in (request_class(key), response_class(key)):
            assert key == cls.API_KEY
            assert (api.min_version, api.max_version) == (cls.MIN_VERSION, cls.MAX_VERSION)
            assert api.flexible_from == cls.FLEXIBLE_FROM
        assert api.latest_unstable == request_class(key).LATEST_UNSTABLE


@for_each(NAMES)
def test_class_agrees_with_the_schema(name: str) -> None:
    cls, schema = all_classes()[name], schemas()[name]
    assert schema.get("apiKey") == cls.API_KEY
    for version in range(-1, cls.MAX_VERSION + 2):
        assert (version in versions_of(cls)) == in_versions(schema["validVersions"], version)
    for version in versions_of(cls):
        assert cls.is_flexible(version) == in_versions(schema["flexibleVersions"], version)
    _check_defaults(cls, schema, schema["fields"])


def _check_defaults(cls: type[Struct], schema: Json, entries: list[Json]) -> None:
    made = cls()
    for entry, inner in schema_fields(schema, entries):
        name = attribute(cls, entry)
        if name is None:
            continue
        value, kind, text = getattr(made, name), entry["type"], entry.get("default")
        if text == "null" or kind == "records":
            assert value is None
        elif kind.startswith("[]"):
            assert value == []
        elif kind[0].isupper():
            assert value == struct_types(cls)[name]()
        elif kind == "bool":
            assert value is (str(text).lower() == "true")
        elif kind == "float64":
            assert value == float(text or 0)
        elif kind in ("string", "bytes", "uuid"):
            assert value == {"string": text or "", "bytes": b"", "uuid": ZERO_UUID}[kind]
        else:
            assert value == int(str(text or "0"), 0)
        if inner:
            _check_defaults(struct_types(cls)[name], schema, inner)
