"""Attempts of one operation: with a growing pause in between, until a deadline or a permanent failure.

The one place that decides whether to try again. Engine thread only. References: KIP-580; Java: ExponentialBackoff, Timer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from ottla.cluster.backoff import Backoff
    from ottla.engine.clock import Clock
    from ottla.errors import Error


class Attempts:
    """An asynchronous iterator of attempts. It ends at the deadline; the caller leaves it when an attempt succeeds.

    ```
    attempts = Attempts(backoff, clock, timeout)
    async for _ in attempts:
        try:
            return await ask()
        except Error as error:
            attempts.record_failure(error)  # raises it if it is permanent
    raise Timeout(f"no answer in time: {attempts.cause()}")
    ```

    Args:
        backoff: Pauses between attempts.
        clock: The engine's.
        timeout: Seconds for all attempts; None: no deadline.
    """

    def __init__(self, backoff: Backoff, clock: Clock, timeout: float | None = None) -> None:
        self._backoff = backoff
        self._clock = clock
        self._deadline = None if timeout is None else clock.now() + timeout
        self._begun = 0
        self.last_failure: Error | None = None
        """Error of the last attempt that failed with one."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        """Begin an attempt, after its pause. Returns the number of attempts before it.

        The first one always takes place; another one only where its pause ends before the deadline.
        """
        if self._begun:
            pause = self._backoff.delay(self._begun)
            if (left := self.left()) is not None and pause >= left:
                raise StopAsyncIteration
            await self._clock.sleep(pause)
        self._begun += 1
        return self._begun - 1

    def left(self) -> float | None:
        """Seconds until the deadline, at least 0; None: there is no deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock.now())

    def until_deadline(self) -> asyncio.Timeout:
        """A context whose waits end at the deadline, with `TimeoutError`."""
        return asyncio.timeout(self.left())

    def record_failure(self, error: Error) -> None:
        """The running attempt has failed. Raises the error if it is permanent: another attempt cannot succeed."""
        self.last_failure = error
        if error.permanent:
            raise error
