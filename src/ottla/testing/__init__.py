"""For tests and development: a Kafka broker inside this process, virtual time, and a second implementation of records.

`Broker`, `ErrorCode` and `advance_time` are loaded at their first use, so `ottla.testing.plain_records` costs nothing more. This package
knows only the protocol and never the client, so that it can judge the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.protocol.error_codes import ErrorCode
    from ottla.testing.broker import Broker
    from ottla.virtual_time import advance_time

__all__ = ["Broker", "ErrorCode", "advance_time"]

if not TYPE_CHECKING:
    # Hidden from type checkers: to them every name of the module would exist, a misspelt one too.
    def __getattr__(name):  # noqa: ANN001, ANN202
        if name == "Broker":
            from ottla.testing.broker import Broker

            return Broker
        if name == "ErrorCode":
            from ottla.protocol.error_codes import ErrorCode

            return ErrorCode
        if name == "advance_time":
            from ottla.virtual_time import advance_time

            return advance_time
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
