"""Resolves host names outside the engine thread: getaddrinfo may take long and cannot be interrupted.

Each look-up has its own thread, which does not prevent the end of the engine or the process.
References: KIP-302 (all addresses of a name are used).
"""

from __future__ import annotations

import asyncio
import socket
import threading


def is_numeric(host: str) -> bool:
    """Whether the host is an address already."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False


async def resolve(host: str) -> list[str]:
    """Every address of a host, in the system's order of preference, each once.

    Raises:
        OSError: The name cannot be resolved.

    Cancellation: Ends the wait; the thread of the look-up continues and ends by itself.
    """
    if is_numeric(host):
        return [host]
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str] | None, error: OSError | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(addresses or [])

    def look_up() -> None:
        addresses: list[str] | None = None
        error: OSError | None = None
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        except OSError as cause:
            error = cause
        except UnicodeError as cause:
            error = OSError(f"{host!r} is not a host name: {cause}")
        try:
            loop.call_soon_threadsafe(settle, addresses, error)
        except RuntimeError:
            return  # the loop has been closed meanwhile: no caller waits any more

    threading.Thread(target=look_up, name=f"ottla-resolve-{host}", daemon=True).start()
    return await future
