"""For tests and development: a Kafka broker inside this process, and a second opinion on the bytes.

`Broker` and `ErrorCode` are loaded when they are first asked for, so that `ottla.testing.plain_records` costs nothing more. This
package knows the protocol only, never the client, so that it can judge the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ottla.protocol.error_codes import ErrorCode
    from ottla.testing.broker import Broker

__all__ = ["Broker", "ErrorCode"]


def __getattr__(name: str) -> Any:
    if name == "Broker":
        from ottla.testing.broker import Broker

        return Broker
    if name == "ErrorCode":
        from ottla.protocol.error_codes import ErrorCode

        return ErrorCode
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
