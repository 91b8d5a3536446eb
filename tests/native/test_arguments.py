"""Refused arguments, by every way to send: the text names the argument, and nothing was accepted."""

from __future__ import annotations

import array
import asyncio
import datetime
import decimal
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ottla.message import Message, RecordMetadata
from ottla.seam.producing import CallbacksReady
from tests.cases import for_each
from tests.native.test_producer import Wire, bound, make_flow
from tests.native.test_send_messages import of_the_loop

Send = Callable[[Wire, dict[str, Any]], object]


@pytest.fixture
def wire() -> Wire:
    return Wire(make_flow())


def sync(name: str) -> Send:
    return lambda wire, given: getattr(bound(wire.flow), name)(**given)


def in_loop(name: str) -> Send:
    async def send(wire: Wire, given: dict[str, Any]) -> object:
        return await getattr(of_the_loop(wire), name)(**given)

    return lambda wire, given: asyncio.run(send(wire, given))


def message_of(given: dict[str, Any]) -> Message:
    more = {name: value for name, value in given.items() if name not in ("topic", "value")}
    return Message(given["topic"], given.get("value"), **more)


def of_messages(wire: Wire, given: dict[str, Any]) -> object:
    return bound(wire.flow).send_many([message_of(given)])


def of_messages_in_loop(wire: Wire, given: dict[str, Any]) -> object:
    async def send() -> object:
        return await of_the_loop(wire).send_many([message_of(given)])

    return asyncio.run(send())


WAYS: dict[str, Send] = {
    "send": sync("send"),
    "send_nowait": sync("send_nowait"),
    "send_and_wait": sync("send_and_wait"),
    "send_many": of_messages,
    "await send": in_loop("send"),
    "await send_and_wait": in_loop("send_and_wait"),
    "await send_many": of_messages_in_loop,
}

RELEASED = memoryview(b"abc")
RELEASED.release()


class Text(str):
    __slots__ = ()


class Broken:
    def __iter__(self) -> Iterator[Any]:
        raise OSError("the disk is gone")


TABLE: list[tuple[dict[str, Any], str]] = [
    ({"topic": None}, "topic must be a str, the name of a topic, not None"),
    ({"topic": 5}, "topic must be a str, the name of a topic, not int 5"),
    ({"topic": b"t"}, r"not bytes b't': topic.decode\(\) converts it"),
    ({"topic": ["t"]}, "topic must be a str, the name of a topic, not list"),
    ({"topic": ""}, "topic is an empty str"),
    ({"topic": "."}, "topic must not be '.'"),
    ({"topic": ".."}, "topic must not be '..'"),
    ({"topic": "a" * 250}, "topic has 250 characters; names of topics have at most 249"),
    ({"topic": "a b"}, "topic has the character ' '"),
    ({"topic": "bestellung-ä"}, "topic has the character 'ä'"),
    ({"topic": "\udc80"}, "topic has the character"),
    ({"topic": Text("a/b")}, "topic has the character '/'"),
    ({"value": 5}, r"value must be bytes, .*, not int: str\(value\).encode\(\)"),
    ({"value": 1.5}, "value must be bytes, .*, not float: str"),
    ({"value": {"a": 1}}, r"not dict: json.dumps\(value\).encode\(\)"),
    ({"value": [1]}, "not list: json.dumps"),
    ({"value": object()}, "not object: convert it to bytes first"),
    ({"value": bytes}, "value must be bytes, .* not type"),
    ({"value": memoryview(b"abcd")[::2]}, r"value is a memoryview that is not contiguous: bytes\(value\)"),
    ({"value": RELEASED}, "value is unreadable: operation forbidden on released memoryview"),
    ({"value": "\ud800"}, "surrogates not allowed: UTF-8 cannot encode this value"),
    ({"value": Text("\ud800")}, "surrogates not allowed: UTF-8 cannot encode this value"),
    ({"key": 5}, "key must be bytes, bytearray, memoryview, str or None, not int"),
    ({"key": ("a",)}, "key must be bytes, .*, not tuple"),
    ({"key": "a\ud800"}, "position 1: surrogates not allowed: UTF-8 cannot encode this key"),
    ({"headers": "ab"}, "headers must be pairs of name .*, not str 'ab'"),
    ({"headers": 5}, "headers must be pairs of name .*, not int 5"),
    ({"headers": ["ab"]}, r"headers\[0\] is str 'ab': headers must be pairs"),
    ({"headers": [["a", b""]]}, r"headers\[0\] is list: headers must be pairs"),
    ({"headers": [("a", b""), ("a",)]}, r"headers\[1\] is a tuple of 1: headers must be pairs"),
    ({"headers": [(None, b"")]}, r"headers\[0\] has a name that is None"),
    ({"headers": {b"a": b""}}, r"headers\[0\] has a name that is bytes"),
    ({"headers": [("a", 1)]}, r"the value of headers\[0\] must be bytes, .* not int"),
    ({"headers": {"a": {}}}, r"the value of headers\[0\] must be bytes, .* not dict: json"),
    ({"headers": [("\ud800", b"")]}, r"UTF-8 cannot encode this headers\[0\]"),
    ({"headers": [("a", memoryview(b"abcd")[::2])]}, r"the value of headers\[0\] is a memoryview"),
    ({"headers": iter([("a", b"1")])}, r"headers must be pairs .*, not list_iterator: .* list\(headers\)"),
    ({"partition": -1}, "partition must be 0 to 2147483647, not -1"),
    ({"partition": 2**31}, "partition must be 0 to 2147483647, not 2147483648"),
    ({"partition": 10**6000}, "partition must be 0 to 2147483647, not an int of 19932 bits"),
    ({"partition": 1.0}, "partition must be an int, not float 1.0"),
    ({"partition": "1"}, "partition must be an int, not str '1'"),
    ({"partition": True}, "partition must be an int, not bool True"),
    ({"timestamp_ms": -1}, "timestamp_ms must be 0 to 9223372036854775807, not -1"),
    ({"timestamp_ms": 2**63}, "timestamp_ms must be 0 to 9223372036854775807, not 9223372036854775808"),
    ({"timestamp_ms": 1.7e12}, r"timestamp_ms must be an int, not float .*: int\(time.time\(\) \* 1000\) is now"),
    (
        {"timestamp_ms": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)},
        r"not datetime: int\(timestamp_ms.timestamp\(\) \* 1000\)",
    ),
    ({"timestamp_ms": "now"}, "timestamp_ms must be an int, not str 'now'"),
]  # fmt: skip


@for_each((way, given, text) for way in WAYS for given, text in TABLE)
def test_an_invalid_argument_is_named_and_nothing_is_accepted(
    way: str, given: dict[str, Any], text: str
) -> None:
    wire = Wire(make_flow())
    # A fresh iterator for each: the table's own is spent by the first.
    fresh = {name: iter([("a", b"1")]) if hasattr(v, "__next__") else v for name, v in given.items()}  # fmt: skip
    with pytest.raises((TypeError, ValueError), match=text):
        WAYS[way](wire, {"topic": "t", **fresh})
    assert wire.flow.undelivered() == 0


class Bytes(bytes):
    pass


class Buffer(bytearray):
    pass


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Text("é"), "é".encode()),
        (Bytes(b"ab"), b"ab"),
        (Buffer(b"ab"), b"ab"),
        (memoryview(bytearray(b"abcd"))[1:3], b"bc"),
        (array.array("B", [1, 2]), b"\x01\x02"),
    ],
)
def test_subtypes_count_as_their_base_types(wire: Wire, given: Any, expected: bytes) -> None:
    bound(wire.flow).send("t", given, given, [("h", given)])
    wire.pump()
    (record,) = wire.records
    assert (record.value, record.key, list(record.headers)) == (
        expected,
        expected,
        [("h", expected)],
    )


def test_names_of_topics_at_their_limits(wire: Wire) -> None:
    for name in ("a" * 249, "a.b_c-D9", "...", "-"):
        assert bound(wire.flow).send(name).topic == name


def test_the_error_of_a_text_has_the_place_of_the_fault(wire: Wire) -> None:
    with pytest.raises(UnicodeEncodeError) as caught:
        bound(wire.flow).send("t", "ab\ud800")
    assert (caught.value.start, caught.value.encoding) == (2, "utf-8")


def test_an_exception_of_an_argument_is_passed_on(wire: Wire) -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        bound(wire.flow).send("t", headers=Broken())  # type: ignore[arg-type]


def test_headers_of_a_send_that_waits_for_space_are_all_sent() -> None:
    wire = Wire(make_flow(buffer_bytes=70_000))
    producer = of_the_loop(wire)

    async def fill_and_send() -> None:
        filled = producer.send_nowait("t", bytes(60_000), partition=0)
        task = asyncio.ensure_future(
            producer.send("t", bytes(60_000), headers={"a": b"1"}, partition=0)
        )
        await asyncio.sleep(0)
        assert not task.done()
        wire.pump()
        assert filled.done()
        await task

    asyncio.run(fill_and_send())
    wire.pump()
    assert list(wire.records[-1].headers) == [("a", b"1")]


# ---- send_many -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("t", "abc"), r"values must be an iterable of values, not one str: \[values\] is one"),
        (("t", b"abc"), "values must be an iterable of values, not one bytes"),
        (("t", 5), "values must be an iterable of values, not int"),
        (("t", {"k": "v"}), "values must be an iterable of values, not dict"),
        (("t", [b"v"], "k"), "keys must be an iterable of values, not one str"),
        (("t", [b"v"], 5), "keys must be an iterable of values, not int"),
        ((5, [b"v"]), "topic must be a str"),
        (("a b", [b"v"]), "topic has the character ' '"),
        (("t", [5]), "value must be bytes"),
        (("t", [b"v"], [5]), "key must be bytes"),
        ((5,), "takes a topic and its values, or an iterable of ottla.Message, not int"),
        ((Message("t", b"v"),), r"ottla.Message, not Message: \[message\] is one"),
        (([b"v"],), "without values takes ottla.Message, not bytes"),
    ],
)
def test_refused_arguments_of_send_many(wire: Wire, args: tuple[Any, ...], text: str) -> None:
    async def in_loop() -> None:
        await of_the_loop(wire).send_many(*args)

    with pytest.raises(TypeError if "character" not in text else ValueError, match=text):
        bound(wire.flow).send_many(*args)
    with pytest.raises(TypeError if "character" not in text else ValueError, match=text):
        asyncio.run(in_loop())
    assert wire.flow.undelivered() == 0


# ---- deliveries ------------------------------------------------------------------------------------------------------

TIMEOUTS: list[tuple[Any, str]] = [
    ("1", r"timeout must be seconds \(a number\) or None, not str '1'"),
    (True, "timeout must be seconds .*, not bool True"),
    (math.nan, "timeout must be seconds .*, not nan"),
    ([], "timeout must be seconds .*, not list"),
    (1j, "timeout must be seconds .*, not complex"),
    (datetime.timedelta(seconds=1), r"not timedelta: timeout.total_seconds\(\)"),
]


@pytest.mark.parametrize(("given", "text"), TIMEOUTS)
def test_a_timeout_that_is_none(wire: Wire, given: Any, text: str) -> None:
    producer = bound(wire.flow)
    delivery, many = producer.send("t", b""), producer.send_many("t", [b""])
    for wait in (delivery.result, delivery.exception, many.result):
        with pytest.raises((TypeError, ValueError), match=text):
            wait(given)
    wire.pump()
    assert (delivery.outcome, many.done()) == ("written", True)


@pytest.mark.parametrize(
    "given", [None, 0, 5, -1, -math.inf, 1.5, math.inf, 10**400, decimal.Decimal(1), 1e300]
)
def test_a_timeout_that_is_one(wire: Wire, given: Any) -> None:
    delivery = bound(wire.flow).send("t", b"", partition=0)
    wire.pump()
    assert delivery.result(given).offset == 0
    assert delivery.exception(given) is None


def test_a_callback_has_to_be_callable(wire: Wire) -> None:
    delivery = bound(wire.flow).send("t", b"")
    for wrong in (5, None, "f"):
        with pytest.raises(TypeError, match=r"needs a function \(delivery\), not "):
            delivery.add_done_callback(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"needs a function \(delivery\)"):
        delivery.add_done_callback()  # type: ignore[call-arg]


class Awaited:
    """Called, it gives a coroutine."""

    async def method(self, delivery: Any) -> None:
        """Never awaited."""

    __call__ = method


async def coroutine_function(delivery: Any) -> None:
    """Never awaited."""


@pytest.mark.parametrize(
    "given",
    [
        coroutine_function,
        functools.partial(coroutine_function),
        functools.partial(functools.partial(coroutine_function)),
        functools.partial(Awaited()),
        Awaited(),
        Awaited().method,
    ],
)
def test_a_callback_that_nobody_would_await_is_refused(wire: Wire, given: Any) -> None:
    delivery = bound(wire.flow).send("t", b"")
    for _ in ("pending", "written"):
        with pytest.raises(TypeError, match="nobody would await it"):
            delivery.add_done_callback(given)
        wire.pump()
    assert wire.flow.drain() == []


def test_callbacks_of_every_plain_kind_are_taken(wire: Wire) -> None:
    called: list[Any] = []

    class Plain:
        def __call__(self, delivery: Any) -> None:
            called.append(delivery)

        method = __call__

    delivery = bound(wire.flow).send("t", b"")
    kinds: list[Callable[[Any], object]] = [
        lambda given: called.append(given),
        called.append,
        Plain(),
        Plain().method,
        functools.partial(called.append),
    ]
    for callback in kinds:
        delivery.add_done_callback(callback)
    wire.pump()
    (ready,) = wire.flow.drain()
    assert isinstance(ready, CallbacksReady)
    assert [callback for callback, _ in ready.calls] == kinds


def test_callbacks_are_called_in_the_order_in_which_they_were_asked_for(wire: Wire) -> None:
    producer = bound(wire.flow)
    sent = [producer.send("t", b"%d" % number, partition=0) for number in range(20)]
    asked = [(callback, delivery) for delivery in reversed(sent) for callback in (print, repr)]
    for callback, delivery in asked:
        delivery.add_done_callback(callback)
    wire.pump()
    assert wire.flow.drain() == [CallbacksReady(asked)]


# ---- forgotten and needless awaits -----------------------------------------------------------------------------------

ASKED = ("result", "exception", "add_done_callback", "offset", "outcome", "partition")


@pytest.mark.parametrize("name", ASKED)
def test_a_send_that_was_not_awaited_warns(wire: Wire, name: str) -> None:
    async def forgotten() -> None:
        for sent in (
            of_the_loop(wire).send("t", b""),
            of_the_loop(wire).send_and_wait("t", b""),
            of_the_loop(wire).send_many("t", [b""]),
        ):
            with pytest.raises(AttributeError, match=f'no "{name}" before the await: .* await'):
                getattr(sent, name)
            assert not hasattr(sent, name)
            with pytest.raises(AttributeError, match="no attribute 'nothing'"):
                sent.nothing  # type: ignore[union-attr]
            assert asyncio.iscoroutine(sent)
            sent.close()

    asyncio.run(forgotten())


def test_a_delivery_of_the_thread_world_can_be_awaited(wire: Wire) -> None:
    async def awaited() -> RecordMetadata:
        delivery = bound(wire.flow).send("t", b"", partition=0)
        wire.pump()
        return await delivery

    assert asyncio.run(awaited()).offset == 0
