"""Explains names that users of other clients know: of options that do not exist here, and of arguments of calls.

Loaded only where such a name was given. The data on options is in `foreign_options.py`. A name that means the same and takes the
same values is not there but an alias of the option, in the tables.
"""

from __future__ import annotations

import functools
from difflib import get_close_matches

from ottla.config.foreign_options import OTHERS, PAGES, Name


def normalized(name: str) -> str:
    """A name in the form in which names are compared: lower case, with underscores."""
    return name.lower().replace(".", "_")


@functools.cache
def _by_name() -> dict[str, Name]:
    """The options of other clients by each of their names; a prefix ends with …"""
    rows = [row for page in PAGES.values() for names in page for row in names]
    found: dict[str, Name] = {}
    for row in (*rows, *OTHERS):
        for name in row.theirs.split(", "):
            found.setdefault(normalized(name), row)
    return found


def counterpart(name: str) -> Name | None:
    """The option of another client that has this name; None where no client has it."""
    name = normalized(name)
    rows = _by_name()
    if (row := rows.get(name)) is not None:
        return row
    prefixes = (known for known in rows if known.endswith("…"))
    prefix = next((known for known in prefixes if name.startswith(known[:-1])), None)
    return None if prefix is None else rows[prefix]


def explained(row: Name) -> str:
    """The replacement of an option of another client, as the end of a sentence "there is no such option"."""
    note = row.note.replace("`", "").replace("**", "")
    if row.gone:
        return f": {note}"
    return f"; it is {row.ours} here" + (f": {note}" if note else "")


# ---- arguments of a send ---------------------------------------------------------------------------------------------

_CALLBACK = "it is called on_delivery here, a function of the Delivery"
_ENCODE = "keys and values are bytes or str: encode them in the call, as in value=json.dumps(value).encode()"
_VALUE = "it is called value here"

SEND_ARGUMENTS = {
    "timestamp": "it is called timestamp_ms here, in milliseconds since the epoch",
    "callback": _CALLBACK,
    "cb": _CALLBACK,
    "delivery_callback": _CALLBACK,
    "key_serializer": _ENCODE,
    "serializer": _ENCODE,
    "value_serializer": _ENCODE,
    "data": _VALUE,
    "message": _VALUE,
    "msg": _VALUE,
    "payload": _VALUE,
    "context": "it is called metadata here",
    "opaque": "it is called metadata here",
    "topic_name": "it is called topic here",
    "keys": "send_many(topic, values, keys) takes several",
    "messages": "send_many(messages) takes several",
    "values": "send_many(topic, values) takes several",
    "timeout": "send(...).result(timeout=5) waits up to five seconds for the outcome; max_block_ms of the producer limits the wait "
    "for free space",
}
"""Arguments of `send` and `produce` of other clients, and their replacements."""

_SEND_TAKES = (
    "topic",
    "value",
    "key",
    "headers",
    "partition",
    "timestamp_ms",
    "metadata",
    "on_delivery",
)


def send_argument_error(function: str, name: str) -> TypeError:
    """The exception for a keyword that the methods which send one message do not have."""
    hint = SEND_ARGUMENTS.get(name, "")
    if not hint and (close := get_close_matches(name, _SEND_TAKES, 1)):
        hint = f"did you mean {close[0]}?"
    text = f"{function}() got an unexpected keyword argument {name!r}"
    return TypeError(f"{text}: {hint}" if hint else text)


# ---- arguments of a consumer's calls ---------------------------------------------------------------------------------

_TICKET = "commit_async() returns a ticket, which has the outcome"
_LISTENERS = "on_assigned, on_revoked and on_lost are functions of their own"

CALL_ARGUMENTS: dict[tuple[str, str], str] = {
    ("poll", "num_messages"): "it is called max_records here",
    ("poll", "max_poll_records"): "it is called max_records here",
    ("subscribe", "on_assign"): "it is called on_assigned here",
    ("subscribe", "on_revoke"): "it is called on_revoked here",
    ("subscribe", "listener"): _LISTENERS,
    ("subscribe", "callback"): _LISTENERS,
    ("subscribe", "topic"): "it is called topics here",
    ("subscribe", "regex"): "it is called pattern here",
    (
        "commit",
        "asynchronous",
    ): "commit() waits until the offsets are committed, commit_async() returns at once",
    (
        "commit",
        "message",
    ): "offsets={(record.topic, record.partition): record.offset + 1} commits one record",
    ("commit", "callback"): _TICKET,
    ("commit_async", "callback"): _TICKET,
    ("close", "autocommit"): "with enable_auto_commit it commits the finished records",
}
"""Arguments of the methods of other clients, by method and name, and their replacements."""


def argument_hint(method: str, name: str, value: object, parameters: list[str]) -> str:
    """The replacement for a keyword that a method does not have; empty if none is known.

    Args:
        method: Name of the method.
        name: The keyword.
        value: Its value.
        parameters: Names of the method's parameters.
    """
    if name == "timeout_ms" and "timeout" in parameters:
        seconds = value / 1000 if isinstance(value, int | float) else 1.0
        return f"timeout is in seconds: {method}(timeout={seconds:g})"
    if (hint := CALL_ARGUMENTS.get((method, name))) is not None:
        return hint
    close = get_close_matches(name, parameters, 1)
    return f"did you mean {close[0]}?" if close else ""


def positional_hint(method: str, args: tuple[object, ...]) -> str:
    """The replacement where a method got too many positional arguments; empty if none is known."""
    if method == "poll" and args:
        seconds = args[0] if isinstance(args[0], int | float) else 1.0
        return f"poll(timeout={seconds:g}) has a limit in seconds, poll(max_records=...) a limit of records"
    return ""
