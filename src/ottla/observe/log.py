"""Logging: one standard logger per station, `ottla.<noun>`, silent unless the application listens. Leaf; any thread.

What speaks for one client goes through a `ClientLog`, so that each line of it names the client; what speaks for the process
(the engine and its threads) goes through the plain logger.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from traceback import print_exc
from typing import Any, TextIO

from ottla.errors import Error, line_of

NOUNS = (
    "engine",
    "dispatcher",
    "connection",
    "cluster",
    "coordinator",
    "accumulator",
    "outbox",
    "producer",
    "inbox",
    "cursor",
    "consumer",
    "group",
    "client",
)
"""The nouns that name a logger; those of the data's way and the roles."""

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
    """The logger of a station of the data's way, or of a role."""
    return logging.getLogger(f"ottla.{noun}")


class ClientLog(logging.LoggerAdapter[logging.Logger]):
    """A logger that speaks for one client: its lines begin with `[producer orders]`, its records have `client`.

    Args:
        noun: The station, as for `logger`.
        who: Role and client id, as `CommonConfig.who` has them.
    """

    def __init__(self, noun: str, who: str) -> None:
        super().__init__(logger(noun), {"client": who})
        self.who = who

    def log(self, level: int, msg: object, *args: Any, stacklevel: int = 1, **more: Any) -> None:
        """As `Logger.log`."""
        if self.isEnabledFor(level):
            extra: Mapping[str, object] = {"client": self.who}
            text = str(msg) if args else str(msg).replace("%", "%%")
            # One frame up: the record names the place that speaks, not this one.
            try:
                self.logger.log(
                    level,
                    f"[%s] {text}",
                    self.who,
                    *map(_in_one_line, args),
                    stacklevel=stacklevel + 1,
                    extra=extra,
                    **more,
                )
            except Exception:
                # A handler of the application's failed, which is no reason for the engine to end. Where else could it go?
                print_exc()


def _in_one_line(arg: Any) -> Any:
    """What the texts of errors have on several lines would fall apart in a log."""
    return line_of(arg) if isinstance(arg, Error) and "\n" in str(arg) else arg


def counted(count: int, noun: str) -> str:
    """`1 message`, `2 messages`, `2 batches`: for people."""
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
