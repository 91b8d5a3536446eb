"""For tests and development: a Kafka broker inside this process, time that passes at once, and a second opinion on the bytes.

`Broker`, `ErrorCode` and `advance_time` are loaded when they are first asked for, so that `ottla.testing.plain_records` costs nothing more. This
package knows the protocol only, never the client, so that it can judge the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ottla.protocol.error_codes import ErrorCode
    from ottla.testing.broker import Broker
    from ottla.virtual_time import advance_time

__all__ = ["Broker", "ErrorCode", "advance_time"]


def __getattr__(name: str) -> Any:
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
