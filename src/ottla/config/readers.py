"""Readers: they convert a given value to the value of an option, or raise ValueError with the expected form."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ottla.arguments import MAX_INT32, function_problem, shown

DEFAULT_PORT = 9092
MAX_TEXT_BYTES = 0x7FFF
LATER_PROTOCOLS = ("SASL_PLAINTEXT", "SASL_SSL")
"""Security protocols of Kafka that are not in this release."""

Address = tuple[str, int]
"""Host name or numeric address, and port."""


Reader = Callable[[Any], Any]
"""Converts a given value to the value of an option, or raises ValueError with the expected form."""


def _number(
    value: Any, kinds: type | tuple[type, ...], parse: Callable[[str], Any], word: str
) -> Any:
    if isinstance(value, str):
        try:
            return parse(value.strip())
        except ValueError:
            raise ValueError(f"expected {word}, not {value!r}") from None
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ValueError(f"expected {word}, not {value!r}")
    return value


def integer(low: int, high: int = MAX_INT32) -> Reader:
    """A whole number in a range, also as text."""

    def read(value: Any) -> int:
        number: int = _number(value, int, int, "a whole number")
        if not low <= number <= high:
            raise ValueError(f"expected {low} to {high}, not {number}")
        return number

    return read


def gzip_level(value: Any) -> int:
    """-1 or 1 to 9: level 0 would only store, and Java refuses it too."""
    level: int = integer(-1, 9)(value)
    if level == 0:
        raise ValueError("expected -1 or 1 to 9, not 0")
    return level


def duration(low: float = 0) -> Reader:
    """Milliseconds, whole or not."""

    def read(value: Any) -> float:
        number = _number(value, (int, float), float, "milliseconds")
        if not low <= number <= MAX_INT32:
            raise ValueError(f"expected {low} to {MAX_INT32} ms, not {number}")
        return int(number) if float(number).is_integer() else float(number)

    return read


def boolean(value: Any) -> bool:
    """True or False, or their names as a file has them."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise ValueError(f"expected True or False, not {value!r}")


def optional_boolean(value: Any) -> bool | None:
    """True, False or None, or their names as for `boolean`."""
    return None if value is None else boolean(value)


def text(value: Any) -> str:
    """Any text that requests can carry."""
    if not isinstance(value, str):
        raise ValueError(f"expected a str, not {value!r}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise ValueError(
            f"expected text that UTF-8 can encode, not {value!r}: {error.reason}"
        ) from None
    if size > MAX_TEXT_BYTES:
        raise ValueError(f"expected at most {MAX_TEXT_BYTES} bytes, not {size}")
    return value


def optional_text(value: Any) -> str | None:
    """Text, or None."""
    return None if value is None else text(value)


class Choice:
    """One of several words. `later`: words of Kafka that are not in this release."""

    def __init__(self, *allowed: str, later: Sequence[str] = ()) -> None:
        self.allowed = allowed
        self._later = later

    def __call__(self, value: Any) -> str:
        if isinstance(value, str):
            given = value.strip().lower()
            for word in self.allowed:
                if given == word.lower():
                    return word
            for word in self._later:
                if given == word.lower():
                    raise ValueError(
                        f"{word} is not in this release; use {', '.join(self.allowed)}"
                    )
        raise ValueError(f"expected one of {', '.join(self.allowed)}, not {value!r}")


def choices(*allowed: str, later: Sequence[str] = ()) -> Reader:
    """Several words in order: a sequence, or one text with commas. `later` as for `Choice`."""
    one = Choice(*allowed, later=later)

    def read(value: Any) -> tuple[str, ...]:
        words = value.split(",") if isinstance(value, str) else value
        if not isinstance(words, Sequence) or not words:
            raise ValueError(f"expected one or more of {', '.join(allowed)}, not {value!r}")
        return tuple(one(word) for word in words)

    return read


_DURATION = r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"


def match_duration(text: str) -> re.Match[str] | None:
    """The parts of an ISO 8601 duration that have a fixed length.

    Compiled at the first use (`re` keeps it): producers load this module and have no durations.
    """
    return re.fullmatch(_DURATION, text)


def deserializer(value: Any) -> Callable[[bytes], Any] | None:
    """None, or a function of the bytes of a key or value."""
    if value is None:
        return None
    if isinstance(value, type) and hasattr(value, "deserialize"):
        raise ValueError(
            f"expected a function (data), not the class {value.__name__}: create an object of it and give a method"
        )
    problem = function_problem(value, "(data)")
    if problem is not None:
        if "coroutine" in problem:
            problem += "; await in the loop over the records instead"
        raise ValueError(problem)
    function: Callable[[bytes], Any] = value
    return function


_RESETS_OF_OTHERS = {
    "smallest": "earliest", "beginning": "earliest", "oldest": "earliest", "-2": "earliest",
    "largest": "latest", "end": "latest", "newest": "latest", "-1": "latest",
    "error": "none",
}  # fmt: skip
"""Words of librdkafka, of old Kafka and of sarama."""


def reset_policy(value: Any) -> str:
    """earliest, latest, none or by_duration:PnDTnHnMn.nS (KIP-1106)."""
    kind, _, duration = str(value).strip().partition(":")
    match = match_duration(duration.upper())
    if kind.lower() == "by_duration" and match is not None and any(match.groups()):
        return f"by_duration:{duration.upper()}"
    if kind.lower() == "by_duration":
        raise ValueError(f"expected by_duration:PnDTnHnMnS, not {value!r}")
    if (word := _RESETS_OF_OTHERS.get(kind.lower())) is not None:
        raise ValueError(f'expected earliest, latest or none: {value!r} is "{word}" here')
    return Choice("earliest", "latest", "none")(value)


def acks_value(value: Any) -> int:
    """All (-1), 1 or 0."""
    known = {"all": -1, "-1": -1, "1": 1, "0": 0}
    name = str(value).strip().lower()
    if isinstance(value, bool) or name not in known:
        raise ValueError(f'expected "all" (-1), 1 or 0, not {value!r}')
    return known[name]


def addresses(value: Any) -> tuple[Address, ...]:
    """Text like host:port,host:port or a sequence of such texts; the port defaults to 9092."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f'expected "host:port" texts, not {shown(value)}')
    found = tuple(address(part.strip()) for part in parts if part.strip())
    if not found:
        raise ValueError('expected at least one "host:port"')
    return found


def address(value: str) -> Address:
    """host, host:port or [ipv6]:port; a leading PLAINTEXT:// is allowed."""
    if re.search(r"[;\s|]", value):
        raise ValueError(f"{value!r} is not host:port; several addresses are separated by commas")
    scheme, separator, rest = value.rpartition("://")
    if separator and scheme.upper() in ("SSL", *LATER_PROTOCOLS):
        raise ValueError(f"{value!r}: write {rest}, and give security_protocol={scheme.upper()!r}")
    if separator and scheme.upper() != "PLAINTEXT":
        raise ValueError(f"{value!r}: expected PLAINTEXT:// or no scheme")
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
        well_formed = not tail or tail.startswith(":")
    elif rest.count(":") > 1:
        raise ValueError(f"{value!r}: write an IPv6 address as [address]:port")
    else:
        host, _, port = rest.partition(":")
        well_formed = True
    if not host or not well_formed or (port and not port.isdecimal()):
        raise ValueError(f"{value!r} is not host:port")
    number = int(port) if port else DEFAULT_PORT
    if not 0 < number < 65536:
        raise ValueError(f"{value!r}: no such port")
    return host, number


def plain_function(form: str, note: str = "") -> Reader:
    """None, or a function that can be called like `form`; not a coroutine function, which nothing would await."""

    def read(value: Any) -> Callable[..., object] | None:
        if value is None:
            return None
        if (problem := function_problem(value, form)) is not None:
            raise ValueError(problem + note)
        function: Callable[..., object] = value
        return function

    return read


_INTERCEPTOR_METHODS = {"on_send": "(message)", "on_acknowledgement": "(delivery)", "close": "()"}

_CONSUMER_INTERCEPTOR_METHODS = {"on_consume": "(records)", "on_commit": "(offsets)", "close": "()"}


def interceptor_objects(value: Any) -> tuple[Any, ...] | None:
    """None, or objects with the methods of a `ProducerInterceptor`."""
    return _objects_like("ottla.ProducerInterceptor", _INTERCEPTOR_METHODS, value)


def consumer_interceptor_objects(value: Any) -> tuple[Any, ...] | None:
    """None, or objects with the methods of a `ConsumerInterceptor`."""
    return _objects_like("ottla.ConsumerInterceptor", _CONSUMER_INTERCEPTOR_METHODS, value)


def _objects_like(model: str, methods: Mapping[str, str], value: Any) -> tuple[Any, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"expected a list of objects like {model}, not {value!r}")
    for one in value:
        missing = [name for name in methods if not callable(getattr(one, name, None))]
        if isinstance(one, type):
            raise ValueError(
                f"expected objects, not the class {one.__name__}: create an object of it"
            )
        if missing:
            raise ValueError(f"{one!r} has no {', '.join(missing)}: see {model}")
        for name, form in methods.items():
            if (problem := function_problem(getattr(one, name), form)) is not None:
                raise ValueError(f"{name} of {one!r}: {problem}")
    return tuple(value) or None
