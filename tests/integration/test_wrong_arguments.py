"""Wrong values for every argument of every public method: each is refused by the call, with a text that names the argument.

The public methods are found by introspection, so a new method or argument needs its line in the tables below.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import ottla
from ottla._native import make_record
from ottla.config.consumer import ConsumerConfig
from ottla.config.producer import ProducerConfig
from ottla.config.table import options
from ottla.consumer.commits.fence import Ownership
from ottla.consumer.handler import SessionState
from tests.cases import check_each, for_each

NOWHERE = "127.0.0.1:1"
TP = ottla.TopicPartition("t", 0)
CLASSES: list[type[Any]] = [
    ottla.Producer,
    ottla.AsyncProducer,
    ottla.Consumer,
    ottla.AsyncConsumer,
    ottla.ConsumerGroup,
    ottla.AsyncConsumerGroup,
    ottla.GroupSession,
    ottla.AsyncGroupSession,
]


class Handler(ottla.ConsumerGroupHandler):
    def consume_claim(self, session: Any, claim: Any) -> None: ...


class AsyncHandler(ottla.AsyncConsumerGroupHandler):
    async def consume_claim(self, session: Any, claim: Any) -> None: ...


GOOD: dict[str, Any] = {
    "leave_group": None,
    "topic": "t", "topics": ["t"], "value": b"v", "values": [b"v"], "keys": [b"k"], "key": b"k",
    "headers": [("h", b"v")], "partition": 0, "timestamp_ms": 5, "metadata": "", "timeout": 0, "on_delivery": print,
    "listener": print, "pattern": None, "on_assigned": print, "on_revoked": print, "on_lost": print,
    "partitions": [TP], "offset": 5, "offsets": {TP: 5}, "times_ms": {TP: 5}, "max_records": 5,
    "handler": Handler(), "stop": None,
    "record": make_record("t", 0, 5, 5, None, None, [], -1),
}  # fmt: skip
"""Values of the other arguments."""

OBJECT = object()
WRONG_TYPE: Any = "5"
TEXT_AS_OFFSET = ottla.OffsetAndMetadata(WRONG_TYPE)
VAR_POSITIONAL = inspect.Parameter.VAR_POSITIONAL
NUMBERS: list[Any] = ["5", b"5", 1.5, [], {}, OBJECT, True, -1, 2**64, 10**6000]
WRONG: dict[str, list[Any]] = {
    "topic": [None, 5, b"t", "", ".", "..", "a b", "ü", "a" * 250, "\ud800", ["t"], OBJECT],
    "topics": [None, 5, b"t", {"t": 1}, [5], [None], [""], ["a b"], OBJECT],
    "value": [5, 1.5, {}, [], OBJECT, "\ud800", memoryview(b"abcd")[::2], bytes],
    "key": [5, 1.5, {}, [], OBJECT, "\ud800", memoryview(b"abcd")[::2]],
    "values": [5, "abc", b"abc", bytearray(b"a"), memoryview(b"a"), {"a": 1}, OBJECT],
    "keys": [5, "abc", b"abc", bytearray(b"a"), memoryview(b"a"), {"a": 1}, OBJECT],
    "headers": [5, "ab", b"ab", [5], ["ab"], [["a", b""]], [("a",)], [(None, b"")], {"a": 5}, OBJECT],
    "partition": NUMBERS,
    "timestamp_ms": NUMBERS,
    "offset": [None, (5,), *NUMBERS],
    "max_records": [0, *NUMBERS],
    "leave_group": ["no", 1, [], OBJECT],
    "timeout": ["5", b"5", math.nan, [], {}, OBJECT, True, 1j],
    "metadata": [None, 5, b"m", OBJECT],
    "on_delivery": [5, "f", OBJECT, asyncio.sleep],
    "listener": [None, 5, "f", OBJECT, lambda: None, lambda one, two: None],
    "pattern": [5, b"t.*", OBJECT, "("],
    "on_assigned": [5, "f", OBJECT, lambda: None],
    "on_revoked": [5, "f", OBJECT, lambda: None],
    "on_lost": [5, "f", OBJECT, lambda: None],
    "partitions": [None, 5, "orders", b"orders", {"t": 0}, [5], ["t0"], [("t",)], [("t", "0")], [("t", -1)],
                   [("t", 2**31)], [(5, 0)], [("", 0)], [("t", True)], [[TP]], ("t",), ("t", "0"), ("t", -1),
                   (5, 0), ("", 0), OBJECT],
    "offsets": [5, "t", [TP], [(TP, 5)], {TP: "5"}, {TP: -1}, {TP: None}, {TP: (5, 1)}, {"t": 5},
                {TP: TEXT_AS_OFFSET}, {TP: 2**63}, OBJECT],
    "times_ms": [None, 5, "t", [TP], {TP: "5"}, {TP: -1}, {TP: 1.5}, {"t": 5}, OBJECT],
    "handler": [None, 5, OBJECT, ottla.ConsumerGroupHandler, ottla.AsyncConsumerGroupHandler],
    "stop": [5, True, lambda: True, OBJECT],
    "record": [None, 5, b"r", OBJECT],
}  # fmt: skip

NO_PARTITIONS: list[Any] = [
    None,
    5,
    "t0",
    ("t",),
    ("t", "0"),
    ("t", -1),
    (5, 0),
    ("", 0),
    [TP],
    OBJECT,
]
"""For methods that take one `TopicPartition`, and not the number of a partition."""
OF_A_METHOD: dict[tuple[str, str], list[Any]] = {
    ("position", "partition"): NO_PARTITIONS,
    ("seek", "partition"): NO_PARTITIONS,
    ("mark_offset", "partition"): NO_PARTITIONS,
    ("reset_offset", "partition"): NO_PARTITIONS,
    ("subscribe", "topics"): [5, b"t", {"t": 1}, [5], [None], [""], ["a b"], None, OBJECT],
}  # fmt: skip
GOOD_OF_A_METHOD: dict[tuple[str, str], Any] = {
    ("position", "partition"): TP,
    ("seek", "partition"): TP,
    ("mark_offset", "partition"): TP,
    ("reset_offset", "partition"): TP,
    # Both ends at once are refused.
    ("read_until", "offsets"): None,
    ("read_until", "timestamp_ms"): None,
}
ANYTHING = {
    ("send", "metadata"),  # is returned unchanged
    ("send_and_wait", "metadata"),
    ("send_nowait", "metadata"),
    ("unlisten", "listener"),  # an unknown listener is no error
}
NAMED_AS = {"keys": "key", "values": "value"}
"""Names of the elements of several."""


def public_methods(cls: type[Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in dir(cls):
        method = inspect.getattr_static(cls, name)
        if not name.startswith("_") and callable(method):
            yield name, getattr(cls, name)


CASES = {
    cls: [
        (name, parameter)
        for name, method in public_methods(cls)
        for parameter in list(inspect.signature(method).parameters)[1:]
        if (name, parameter) not in ANYTHING
    ]
    for cls in CLASSES
}


@contextmanager
def made(cls: type[Any]) -> Iterator[Any]:
    """An object of the class, without a reachable broker."""
    if cls in (ottla.GroupSession, ottla.AsyncGroupSession):
        with made(ottla.ConsumerGroup) as group:
            yield cls(group._client, SessionState(group._client, {TP: Ownership(1, 1)}, 1))
        return
    group = ["g"] if cls.__name__.endswith("ConsumerGroup") else []
    client = cls(NOWHERE, *group)
    try:
        yield client
    finally:
        ended = client.close(0)
        if inspect.isawaitable(ended):
            asyncio.run(_awaited(ended))


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


async def call(client: Any, name: str, parameter: str, wrong: Any) -> None:
    """Call a method with good arguments but one, and await an awaitable."""
    method = getattr(client, name)
    args: list[Any] = []
    named: dict[str, Any] = {}
    for known in inspect.signature(method).parameters.values():
        good = GOOD_OF_A_METHOD.get((name, known.name), GOOD[known.name])
        if known.name == "handler" and isinstance(client, ottla.AsyncConsumerGroup):
            good = AsyncHandler()
        if known.name == "topics" and parameter == "pattern":
            good = []
        value = wrong if known.name == parameter else good
        if known.kind is VAR_POSITIONAL:
            args.append(value if known.name == parameter else good[0])
        elif known.kind is inspect.Parameter.KEYWORD_ONLY:
            named[known.name] = value
        else:
            args.append(value)
    outcome = method(*args, **named)
    if inspect.isawaitable(outcome):
        await outcome


def undelivered(client: Any) -> int:
    if isinstance(client, ottla.Producer | ottla.AsyncProducer):
        return client._client.undelivered()
    return 0


async def is_refused(client: Any, name: str, parameter: str, wrong: Any) -> None:
    before = undelivered(client)
    with pytest.raises((TypeError, ValueError)) as caught:
        await call(client, name, parameter, wrong)
    text = str(caught.value)
    assert NAMED_AS.get(parameter, parameter) in text, text
    assert "unexpected" not in text
    assert "0x" not in text, text
    assert len(text) < 500
    assert undelivered(client) == before


@pytest.mark.parametrize("cls", CLASSES)
def test_a_wrong_argument_is_named_by_the_call(cls: type[Any]) -> None:
    wrongs = [
        (name, parameter, wrong)
        for name, parameter in CASES[cls]
        for wrong in OF_A_METHOD.get((name, parameter), WRONG[parameter])
    ]
    with made(cls) as client, asyncio.Runner() as runner:
        # A synchronous method is called where no event loop runs: there it may warn that it blocks the loop.
        run = runner.run if cls.__name__.startswith("Async") else run_without_loop
        check_each(lambda *wrong: run(is_refused(client, *wrong)), wrongs)


def run_without_loop(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that awaits nothing."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


@pytest.mark.parametrize("cls", CLASSES[:2])
@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("successes", "return_successes=True"),
        ("errors", "return_errors=True"),
        ("outcomes", "return_successes=True or return_errors=True"),
    ],
)
def test_readers_of_outcomes_that_are_not_collected_are_refused(
    cls: type[Any], name: str, option: str
) -> None:
    with made(cls) as producer, pytest.raises(ottla.ConfigError, match=f"{name}.. needs {option}"):
        getattr(producer, name)()


@pytest.mark.parametrize("timeout", [None, -1, 0.0, math.inf, 10**400])
@pytest.mark.parametrize("cls", CLASSES[:6])
def test_close_takes_every_number_of_seconds(cls: type[Any], timeout: Any) -> None:
    with made(cls) as client:
        ended = client.close(timeout)
        if inspect.isawaitable(ended):
            asyncio.run(_awaited(ended))


@pytest.mark.parametrize("cls", CLASSES[:2])
def test_a_wrong_timeout_leaves_the_producer_open(cls: type[Any]) -> None:
    async def try_it(producer: Any) -> None:
        async def close(method: Callable[[Any], Any]) -> None:
            ended = method("soon")
            if inspect.isawaitable(ended):
                await ended

        for method in (producer.close, producer.close_nowait):
            with pytest.raises(TypeError, match="timeout must be seconds"):
                await close(method)
        assert producer.send_nowait("t", b"v").outcome is None

    with made(cls) as producer:
        asyncio.run(try_it(producer))


async def wrong_world(*_: Any) -> None: ...


def test_listeners_of_a_thread_are_no_coroutine_functions() -> None:
    with made(ottla.Consumer) as consumer, pytest.raises(TypeError, match=r"on_lost: .* await"):
        consumer.subscribe(["t"], on_lost=wrong_world)
    with made(ottla.Producer) as producer, pytest.raises(TypeError, match=r"listener: .* await"):
        producer.listen(wrong_world)
    with (
        made(ottla.ConsumerGroup) as group,
        pytest.raises(TypeError, match=r"handler.consume_claim: .* AsyncHandler.consume_claim"),
    ):
        group.consume(["t"], AsyncHandler())


def test_an_event_of_asyncio_is_refused_by_a_thread() -> None:
    with (
        made(ottla.ConsumerGroup) as group,
        pytest.raises(TypeError, match=r"stop must be a threading.Event, not Event"),
    ):
        group.consume(["t"], Handler(), stop=asyncio.Event())


def test_a_group_needs_a_name() -> None:
    for cls in (ottla.ConsumerGroup, ottla.AsyncConsumerGroup):
        for args in ((NOWHERE,), (NOWHERE, None)):
            with pytest.raises(ottla.ConfigError, match="group_id: missing; a group needs a name"):
                cls(*args)


# ---- options ---------------------------------------------------------------------------------------------------------

VALUES: list[Any] = [
    OBJECT, [], {}, (), -1, 0, 1.5, math.nan, math.inf, 10**30, "", "x" * 5000, b"b", True, [OBJECT], {"a": 1}, "\ud800",
]  # fmt: skip
OPTIONS = [
    (role, name)
    for role, config in ((ottla.Producer, ProducerConfig), (ottla.Consumer, ConsumerConfig))
    for name in options(config)
]


@for_each(OPTIONS)
def test_a_wrong_value_of_an_option_is_accepted_or_named(role: type[Any], name: str) -> None:
    refused = 0
    for value in VALUES:
        config = {"bootstrap_servers": NOWHERE, name: value}
        try:
            role(**config).close(0)
        except ottla.ConfigError as error:
            refused += 1
            problems = error.problems
        else:
            continue
        assert any(name in problem for problem in problems), problems
    assert refused


@pytest.mark.parametrize("interceptors", [[], [ottla.ProducerInterceptor()]])
@pytest.mark.parametrize("name", ["send", "send_nowait", "send_and_wait"])
@pytest.mark.parametrize("cls", [ottla.Producer, ottla.AsyncProducer])
def test_arguments_of_other_clients_get_a_hint(
    cls: type[Any], name: str, interceptors: list[Any]
) -> None:
    client = cls(NOWHERE, interceptors=interceptors)
    try:
        with pytest.raises(TypeError, match="'timestamp': it is called timestamp_ms here"):
            getattr(client, name)("t", b"v", timestamp=5)
        with pytest.raises(TypeError, match=r"'timeout': send\(...\).result\(timeout=5\) waits"):
            getattr(client, name)("t", b"v", timeout=5)
    finally:
        ended = client.close(0)
        if inspect.isawaitable(ended):
            asyncio.run(_awaited(ended))


CALLS_OF_OTHERS: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    (
        "poll",
        (1.0,),
        {},
        "positional argument.* but 2 .*given: poll(timeout=1) has a limit in seconds",
    ),
    ("poll", (), {"timeout_ms": 1500}, "'timeout_ms': timeout is in seconds: poll(timeout=1.5)"),
    ("poll", (), {"max_record": 5}, "'max_record': did you mean max_records?"),
    ("poll", (), {"num_messages": 5}, "'num_messages': it is called max_records here"),
    ("subscribe", (["t"],), {"on_assign": print}, "'on_assign': it is called on_assigned here"),
    ("subscribe", (["t"],), {"listener": print}, "'listener': on_assigned, on_revoked and on_lost"),
    ("commit", (), {"asynchronous": False}, "'asynchronous': commit() waits until"),
    ("commit", (), {"message": 5}, "'message': offsets={(record.topic, record.partition): "),
    ("commit_async", (), {"callback": print}, "'callback': commit_async() returns a ticket"),
    ("close", (), {"timeout_ms": 5000}, "'timeout_ms': timeout is in seconds: close(timeout=5)"),
]


@pytest.mark.parametrize(("name", "args", "named", "text"), CALLS_OF_OTHERS)
@pytest.mark.parametrize("cls", [ottla.Consumer, ottla.AsyncConsumer])
def test_calls_of_other_clients_are_explained(
    cls: type[Any], name: str, args: tuple[Any, ...], named: dict[str, Any], text: str
) -> None:
    async def call(client: Any) -> None:
        outcome = getattr(client, name)(*args, **named)
        if inspect.isawaitable(outcome):
            await outcome

    pattern = ".*".join(map(re.escape, text.split(".*")))
    with made(cls) as client, pytest.raises(TypeError, match=pattern):
        asyncio.run(call(client))


def test_a_type_error_of_the_application_passes_unchanged(
    bootstrap: str, topic: str, unique_name: str
) -> None:
    def listener(_: Any) -> None:
        raise TypeError("mine")

    with ottla.Consumer(bootstrap, unique_name) as consumer:
        consumer.subscribe([topic], on_assigned=listener)
        with pytest.raises(TypeError, match=r"^mine$"):
            consumer.poll(timeout=20)


@pytest.mark.parametrize("given", [[(b"k", b"v")], [("k", "v")]])
def test_pairs_of_key_and_value_get_a_hint(given: list[Any]) -> None:
    with (
        made(ottla.Producer) as producer,
        pytest.raises(
            TypeError, match=r"not tuple: key and value .*ottla.Message\(topic, value, key=key\)"
        ),
    ):
        producer.send_many("t", given)
