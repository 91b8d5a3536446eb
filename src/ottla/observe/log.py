"""Logging: one standard logger per station, `ottla.<noun>`, silent unless the application listens. Leaf; any thread."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

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
