"""Checks of the arguments of public calls, and the texts about wrong ones.

Leaf: knows of Kafka only the form of a message. The extension reads the arguments of a send itself and calls this module for
the exception alone (the functions `…_error`), so a valid message never gets here. Each text names the argument, the accepted
values and the given value; of keys and values only the type, since texts end in logs. Threads: any.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

MAX_INT32 = 0x7FFF_FFFF
MAX_INT64 = 0x7FFF_FFFF_FFFF_FFFF
LONGEST_TOPIC = 249
LONGEST_WAIT_S = 365 * 24 * 3600.0
"""Longest wait that the clocks of every system take: a year, which limits nobody."""

_LEGAL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_SHOWN = 60
"""Maximum number of characters of a given value in a text."""


def shown(given: object) -> str:
    """A given value for a text: its type, and the value itself if that is short and plain."""
    if given is None:
        return "None"
    if isinstance(given, type):
        return f"the class {given.__name__}"
    kind = type(given).__name__
    if isinstance(given, int) and given.bit_length() > 128:
        # Python refuses to convert the largest ints to text.
        return f"an int of {given.bit_length()} bits"
    if not isinstance(given, (int, float, str, bytes)):
        return kind
    text = repr(given)
    return f"{kind} {text}" if len(text) <= _SHOWN else f"{kind} {text[:_SHOWN]}…"


# ---- time-outs -------------------------------------------------------------------------------------------------------


class DefaultTimeout:
    """Type of `DEFAULT_TIMEOUT`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "DEFAULT_TIMEOUT"

    def __reduce__(self) -> str:
        return "DEFAULT_TIMEOUT"


DEFAULT_TIMEOUT: Final = DefaultTimeout()
"""Default of `timeout`: the limit that the configuration sets for the call.

The rule for every call: `timeout` is the number of seconds that the call may wait. If it is not given, the configuration
sets the limit; with None there is no limit. A call whose time runs out does not undo its operation.
"""

TimeoutArgument = float | None | DefaultTimeout
"""The parameter `timeout` of a call: seconds, None, or `DEFAULT_TIMEOUT`."""


def wait_limit(given: Any, default_s: float) -> float:
    """Seconds that a call may wait which got this `timeout`.

    Args:
        given: Seconds, None, or `DEFAULT_TIMEOUT`.
        default_s: Limit that the configuration sets.

    Raises:
        TypeError: The value is neither a number nor None.
        ValueError: The value is nan.
    """
    if given is DEFAULT_TIMEOUT:
        return default_s
    limit = seconds(given)
    return LONGEST_WAIT_S if limit is None else limit


# ---- numbers ---------------------------------------------------------------------------------------------------------


def seconds(given: Any, name: str = "timeout") -> float | None:
    """A duration in seconds; None: no limit.

    A negative number counts as 0, since the rest of a deadline may be negative.

    Raises:
        TypeError: The value is neither a number nor None.
        ValueError: The value is nan.
    """
    if given is None:
        return None
    number = hasattr(type(given), "__float__") or hasattr(type(given), "__index__")
    if not number or isinstance(given, bool):
        spans = hasattr(given, "total_seconds")
        hint = f": {name}.total_seconds() gives them" if spans else ""
        raise TypeError(f"{name} must be seconds (a number) or None, not {shown(given)}{hint}")
    try:
        found = float(given)
    except OverflowError:
        return LONGEST_WAIT_S if given > 0 else 0.0
    if found != found:
        raise ValueError(f"{name} must be seconds (a number) or None, not nan")
    return min(max(0.0, found), LONGEST_WAIT_S)


def number(name: str, given: Any, least: int = 0, most: int = MAX_INT64, hint: str = "") -> int:
    """A whole number in a range.

    Raises:
        TypeError: The value is no int.
        ValueError: The value is out of the range.
    """
    try:
        value = None if isinstance(given, bool) else operator.index(given)
    except TypeError:
        value = None
    if value is None:
        raise TypeError(f"{name} must be an int, not {shown(given)}{hint}")
    if not least <= value <= most:
        text = shown(value).removeprefix("int ")
        raise ValueError(f"{name} must be {least} to {most}, not {text}")
    return value


def _error_of(check: Callable[..., object], *args: Any) -> Exception:
    """The exception that a check raises."""
    try:
        check(*args)
    except (TypeError, ValueError) as error:
        return error
    return TypeError(f"{args[0]} is invalid")


def partition_error(given: Any) -> Exception:
    """The exception for an invalid `partition` of a message."""
    return _error_of(number, "partition", given, 0, MAX_INT32)


def timestamp_ms(name: str, given: Any) -> int:
    """Milliseconds since the epoch."""
    hint = ""
    if callable(getattr(given, "timestamp", None)):
        hint = f": int({name}.timestamp() * 1000) makes milliseconds since the epoch of it"
    elif isinstance(given, float):
        hint = ": int(time.time() * 1000) is now, in milliseconds since the epoch"
    return number(name, given, 0, MAX_INT64, hint)


def timestamp_ms_error(given: Any) -> Exception:
    """The exception for an invalid `timestamp_ms`."""
    return _error_of(timestamp_ms, "timestamp_ms", given)


# ---- topics ----------------------------------------------------------------------------------------------------------


def topic_error(given: Any, name: str = "topic") -> Exception | None:
    """The exception for an invalid name of a topic; None if it is valid. The rules are Kafka's (Java: Topic.validate)."""
    if not isinstance(given, str):
        hint = f": {name}.decode() converts it" if isinstance(given, bytes) else ""
        return TypeError(f"{name} must be a str, the name of a topic, not {shown(given)}{hint}")
    if not given:
        return ValueError(f"{name} is an empty str; it must be the name of a topic")
    if given in (".", ".."):
        return ValueError(f"{name} must not be {given!r}: Kafka has no topic of that name")
    illegal = next((letter for letter in given if letter not in _LEGAL), None)
    if illegal is not None:
        return ValueError(
            f"{name} has the character {illegal!r} (in {shown(given)}): Kafka allows A-Z, a-z, 0-9, '.', '_' and '-' "
            "in the names of topics"
        )
    if len(given) > LONGEST_TOPIC:
        return ValueError(
            f"{name} has {len(given)} characters; names of topics have at most {LONGEST_TOPIC}"
        )
    return None


def topic(given: Any, name: str = "topic") -> str:
    """The name of a topic.

    Raises:
        TypeError: The value is no str.
        ValueError: Kafka does not allow the name.
    """
    if (error := topic_error(given, name)) is not None:
        raise error
    found: str = given
    return found


# ---- keys, values, headers -------------------------------------------------------------------------------------------


def payload_error(name: str, given: Any) -> Exception:
    """The exception for a key or value (of the message or of a header) that is not bytes-like."""
    if isinstance(given, str):
        return _unencodable(name, given)
    try:
        view = memoryview(given)
    except TypeError:
        kind = "None" if given is None else type(given).__name__
        return TypeError(
            f"{name} must be bytes, bytearray, memoryview, str or None, not {kind}: {_encoding_hint(name, given)}"
        )
    except (BufferError, ValueError) as error:
        return ValueError(f"{name} is unreadable: {error}")
    if not view.c_contiguous:
        return ValueError(
            f"{name} is a {type(given).__name__} that is not contiguous: bytes({name}) makes a contiguous copy"
        )
    return ValueError(f"{name}: the bytes of this {type(given).__name__} are unreadable")


def _unencodable(name: str, given: str) -> Exception:
    try:
        given.encode()
    except UnicodeEncodeError as error:
        reason = f"{error.reason}: UTF-8 cannot encode this {name}; give bytes instead"
        return UnicodeEncodeError(error.encoding, error.object, error.start, error.end, reason)
    return ValueError(f"{name} cannot be encoded as UTF-8")


def _encoding_hint(name: str, given: Any) -> str:
    it = name if name.isidentifier() else "…"
    if isinstance(given, (int, float)):
        return f"str({it}).encode() converts a number to bytes"
    if isinstance(given, tuple):
        return (
            "key and value are arguments of their own, as in send(topic, value, key=key), send_many(topic, values, keys) or "
            "send_many([ottla.Message(topic, value, key=key)])"
        )
    if isinstance(given, (Mapping, Collection)):
        return f"json.dumps({it}).encode() converts it to bytes"
    return "convert it to bytes first"


_HEADERS = 'pairs of name (str) and value, as in [("name", b"value")], or a mapping'


def headers_error(given: Any) -> Exception:
    """The exception for invalid headers."""
    if hasattr(given, "__next__"):
        return TypeError(
            f"headers must be {_HEADERS}, not {shown(given)}: that can be read only once; list(headers) can be read again"
        )
    if isinstance(given, (str, bytes, bytearray, memoryview)) or not hasattr(given, "__iter__"):
        return TypeError(f"headers must be {_HEADERS}, not {shown(given)}")
    pairs = given.items() if isinstance(given, Mapping) else given
    for place, pair in enumerate(pairs):
        error = _header_error(f"headers[{place}]", pair)
        if error is not None:
            return error
    return TypeError(f"headers must be {_HEADERS}")


def _header_error(name: str, pair: Any) -> Exception | None:
    if not isinstance(pair, tuple) or len(pair) != 2:
        kind = f"a tuple of {len(pair)}" if isinstance(pair, tuple) else shown(pair)
        return TypeError(f"{name} is {kind}: headers must be {_HEADERS}")
    key, value = pair
    if not isinstance(key, str):
        return TypeError(f"{name} has a name that is {shown(key)}: headers must be {_HEADERS}")
    for text in (key, value):
        if isinstance(text, str) and not _is_utf8(text):
            return payload_error(name, text)
    if value is None or isinstance(value, str):
        return None
    try:
        readable = memoryview(value).c_contiguous
    except (TypeError, BufferError, ValueError):
        readable = False
    return None if readable else payload_error(f"the value of {name}", value)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def many_error(name: str, given: Any) -> Exception | None:
    """The exception for invalid values, keys or messages of a `send_many`; None if they are valid."""
    kind = shown(given) if given is None else type(given).__name__
    if name == "messages" and not hasattr(given, "__iter__"):
        return TypeError(
            "send_many() takes a topic and its values, or an iterable of ottla.Message, not "
            f"{kind}" + (": [message] is one" if kind == "Message" else "")
        )
    if isinstance(given, (str, bytes, bytearray, memoryview)):
        return TypeError(
            f"{name} must be an iterable of values, not one {kind}: [{name}] is one; send() sends one message"
        )
    if isinstance(given, Mapping):
        return TypeError(
            f"{name} must be an iterable of values, not {kind}: give values and keys one after the other, as in "
            "send_many(topic, d.values(), d.keys())"
        )
    if not hasattr(given, "__iter__") and not hasattr(given, "__getitem__"):
        return TypeError(f"{name} must be an iterable of values, not {kind}")
    return None


# ---- functions -------------------------------------------------------------------------------------------------------


def function_problem(given: Any, form: str, *, coroutines: bool = False) -> str | None:
    """Describes why a function of the user cannot be called like `form`, for example "(delivery)"; None if it can.

    With `coroutines` a coroutine function is accepted too.
    """
    # Not at the top of the module: most programs pass no function.
    import inspect

    if not callable(given):
        return f"expected a function {form}, not {shown(given)}"
    if not coroutines and _is_coroutine_function(given):
        return f"expected a plain function {form}, not the coroutine function {_named(given)}: nobody would await it"
    arguments = [name for name in form.strip("()").split(", ") if name]
    try:
        signature = inspect.signature(given)
    except (TypeError, ValueError):
        # Some functions written in C have no signature.
        return None
    try:
        signature.bind(*arguments)
    except TypeError:
        return f"expected a function {form}; {_named(given)} takes {signature}"
    return None


def function(name: str, given: Any, form: str, *, coroutines: bool = False) -> None:
    """Check that a function can be called like `form`.

    Raises:
        TypeError: It cannot.
    """
    problem = function_problem(given, form, coroutines=coroutines)
    if problem is not None:
        raise TypeError(f"{name}: {problem}")


def coroutine_function(name: str, given: Any, form: str) -> None:
    """Check that a coroutine function, also one behind a decorator that names it, can be called like `form`.

    Raises:
        TypeError: It cannot.
    """
    import inspect

    function(name, given, form, coroutines=True)
    if not _is_coroutine_function(inspect.unwrap(given)):
        raise TypeError(
            f"{name}: expected a coroutine function (async def) {form}, not the plain function {_named(given)}: it would block "
            "the event loop"
        )


def on_delivery(given: Any) -> None:
    """Refuse an `on_delivery` of a send that cannot be called, or whose coroutine nobody would await.

    Raises:
        TypeError: It cannot be called with a delivery.
    """
    function("on_delivery", given, "(delivery)")


def done_callback(given: Any) -> None:
    """Check the callback of `add_done_callback`. Its parameters are not checked: that costs more than the message.

    Raises:
        TypeError: It is not callable, or a coroutine function, which nothing would await.
    """
    if not callable(given):
        raise TypeError(f"add_done_callback() needs a function (delivery), not {shown(given)}")
    if _is_coroutine_function(given):
        raise TypeError(
            f"add_done_callback() needs a plain function (delivery), not the coroutine function {_named(given)}: nobody would "
            "await it; `await delivery` waits in an event loop"
        )


def _named(given: Any) -> str:
    name = getattr(given, "__qualname__", None)
    return name if isinstance(name, str) else shown(given)


def _is_coroutine_function(given: Any) -> bool:
    import functools
    import inspect

    while isinstance(given, functools.partial):
        given = given.func
    called = type(given).__call__ if callable(given) else None
    return inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(called)
