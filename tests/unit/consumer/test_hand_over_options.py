"""Options of deserializers and interceptors: wrong ones are refused by name, with a hint."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest

from ottla.config.consumer import consumer_config
from ottla.consumer.interceptors import ConsumerInterceptor
from ottla.errors import ConfigError


async def loads(data: bytes) -> Any:
    return json.loads(data)


class Registry:
    def deserialize(self, data: bytes) -> Any:
        return json.loads(data)


@pytest.mark.parametrize("name", ["key_deserializer", "value_deserializer"])
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            loads,
            "coroutine function loads: nobody would await it; await in the loop over the records",
        ),
        (functools.partial(loads), "coroutine function"),
        ("json", r"expected a function \(data\), not"),
        (lambda: None, r"takes \(\)"),
        (lambda topic, data: data, r"takes \(topic, data\)"),
        (Registry, "the class Registry: create an object of it"),
    ],
)
def test_deserializers_are_plain_functions_of_bytes(name: str, given: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: .*{reason}"):
        consumer_config("localhost:1", {name: given})


@pytest.mark.parametrize("given", [json.loads, bytes.decode, int, Registry().deserialize, None])
def test_every_function_of_bytes_is_a_deserializer(given: Any) -> None:
    assert consumer_config("localhost:1", {"value_deserializer": given}).value_deserializer is given


class Async(ConsumerInterceptor):
    async def on_consume(self, records: Any) -> Any:  # type: ignore[override]
        return records


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([object()], "no on_consume, on_commit, close: see ottla.ConsumerInterceptor"),
        ([ConsumerInterceptor], "not the class ConsumerInterceptor: create an object of it"),
        ([Async()], "on_consume of .*coroutine function"),
        (ConsumerInterceptor(), "expected a list of objects like ottla.ConsumerInterceptor"),
    ],
)
def test_interceptors_are_objects_with_the_methods(given: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"interceptors: .*{reason}"):
        consumer_config("localhost:1", {"interceptors": given})


def test_policies_are_named() -> None:
    with pytest.raises(ConfigError, match="one of raise, skip, hand_over"):
        consumer_config("localhost:1", {"on_deserialize_error": "ignore"})
