"""Logging: one standard logger per station, `ottla.<noun>`, silent unless the application configures it. Leaf; any thread.

Each line is an event of `log_table`, written by its name and its fields. The sentence comes from the table, and the record
carries `event` and every field as attributes, so that filters and tests match on those and never on the sentence. Lines
about one client go through a `ClientLog`, lines about the process (the engine and its threads) through a `ProcessLog`.
"""

from __future__ import annotations

import logging
import string
import sys
from traceback import print_exc
from typing import TYPE_CHECKING, Any, TextIO

from ottla.errors import line_of
from ottla.observe.log_table import LOG_EVENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ottla.observe.log_names import LogName

NAMED = 3
"""Maximum number of items of a list that a line names; the rest are counted."""

_LINE = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"


class _StderrHandler(logging.StreamHandler[TextIO]):
    """The handler that `log_to_stderr` adds, once. Follows `sys.stderr` where it is replaced."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter(_LINE, "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def logger(noun: str) -> logging.Logger:
    """The standard logger of a station or a role."""
    return logging.getLogger(f"ottla.{noun}")


class ProcessLog:
    """Writes events of `log_table` that concern the whole process.

    Args:
        noun: The station, as for `logger`.
    """

    def __init__(self, noun: str) -> None:
        self._logger = logger(noun)

    def debug(self, event: LogName, **fields: Any) -> None:
        """Write the event at DEBUG; arguments as of `log`."""
        self.log(logging.DEBUG, event, stacklevel=2, **fields)

    def info(self, event: LogName, **fields: Any) -> None:
        """Write the event at INFO; arguments as of `log`."""
        self.log(logging.INFO, event, stacklevel=2, **fields)

    def warning(self, event: LogName, **fields: Any) -> None:
        """Write the event at WARNING; arguments as of `log`."""
        self.log(logging.WARNING, event, stacklevel=2, **fields)

    def error(
        self, event: LogName, *, exc_info: BaseException | None = None, **fields: Any
    ) -> None:
        """Write the event at ERROR; arguments as of `log`."""
        self.log(logging.ERROR, event, exc_info=exc_info, stacklevel=2, **fields)

    def log(
        self,
        level: int,
        event: LogName,
        *,
        exc_info: BaseException | None = None,
        stacklevel: int = 1,
        **fields: Any,
    ) -> None:
        """Write the event.

        Args:
            level: As for `logging`.
            event: Name of the event in `log_table`.
            exc_info: Exception whose traceback is part of the record; None: no traceback.
            stacklevel: Frames between the place that the record names and this function, plus one.
            fields: Fields of the event, as the table lists them. A `reason` that is an exception becomes its text, and its
                class the field `error`.
        """
        if not self._logger.isEnabledFor(level):
            return
        # A handler of the application may raise, which must not end the engine. No other place could report it.
        try:
            known = self._all(fields)
            self._logger.log(
                level,
                self._line(sentence(event, known)),
                stacklevel=stacklevel + 1,
                exc_info=exc_info,
                extra={"event": event, **known},
            )
        except Exception:
            print_exc()

    def _all(self, fields: dict[str, Any]) -> dict[str, Any]:
        reason = fields.get("reason")
        if isinstance(reason, BaseException):
            return {**fields, "reason": line_of(reason), "error": type(reason).__name__}
        return fields

    def _line(self, text: str) -> str:
        return text


class ClientLog(ProcessLog):
    """Writes events of one client: its lines begin with `[producer orders]`, its records carry `client`.

    Args:
        noun: The station, as for `logger`.
        client: Role and client id, as `CommonConfig.who` gives them.
    """

    def __init__(self, noun: str, client: str) -> None:
        super().__init__(noun)
        self.client = client

    def _all(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"client": self.client, **super()._all(fields)}

    def _line(self, text: str) -> str:
        return f"[{self.client}] {text}"


class _Sentence(string.Formatter):
    """`str.format` with `{count:message}` for a number and its noun, and lists that name their first items."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if len(format_spec) > 1 and format_spec.isalpha():
            return counted(value, format_spec)
        return str(super().format_field(named(value), format_spec))


_SENTENCE = _Sentence()


def sentence(event: LogName, fields: Mapping[str, Any]) -> str:
    """The text of an event, without the client."""
    broker = broker_name(fields) if "node" in fields else fields.get("places", "the broker")
    made = {"place": place_name(fields), "broker": broker}
    return _SENTENCE.vformat(LOG_EVENTS[event].text, (), {**made, **fields})


def place_name(fields: Mapping[str, Any]) -> str:
    """`orders-3`, or `orders` where no partition is given."""
    topic, partition = fields.get("topic"), fields.get("partition", -1)
    return f"{topic}-{partition}" if partition >= 0 else str(topic)


def broker_name(fields: Mapping[str, Any]) -> str:
    """`node 1 at host:9092`; only the address, or only the node, where the other is not known."""
    node, address = fields.get("node", -1), fields.get("address")
    if node < 0:
        return str(address or "the broker")
    return f"node {node} at {address}" if address else f"node {node}"


def named(value: Any, most: int = NAMED) -> Any:
    """A list as its first `most` items and the number of the others; every other value as it is."""
    if not isinstance(value, (list, tuple)):
        return value
    more = f" and {len(value) - most} more" if len(value) > most else ""
    return ", ".join(map(str, value[:most])) + more if value else "none"


def counted(count: int, noun: str) -> str:
    """`1 message`, `2 messages`, `2 batches`: a number with its noun, for people."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun}{'es' if noun.endswith('ch') else 's'}"


def log_to_stderr(level: int | str = logging.INFO) -> None:
    """Write this client's log to standard error; call again to change the level.

    Args:
        level: As for `logging`: a number or a name such as "DEBUG".

    Threads: any.
    """
    root = logging.getLogger("ottla")
    root.setLevel(level.upper() if isinstance(level, str) else level)
    if not any(isinstance(handler, _StderrHandler) for handler in root.handlers):
        root.addHandler(_StderrHandler())
