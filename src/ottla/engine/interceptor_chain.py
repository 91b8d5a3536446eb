"""The interceptors of one client: objects of the application, called in their order, whose exceptions are logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from ottla.engine.dispatcher import write_raised_soon
from ottla.observe.log import ClientLog
from ottla.observe.raised import raised


class _Closes(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closes)


class InterceptorChain(Generic[T]):
    """Base of the chains of producers and consumers.

    Args:
        interceptors: In the order in which they are called; each has a method `close`.
        who: The client, for the log.
    """

    def __init__(self, interceptors: Sequence[T], who: str) -> None:
        self._all = tuple(interceptors)
        self._log = ClientLog("dispatcher", who)

    def _report(self, method: str, interceptor: T, error: BaseException) -> None:
        """A call on the dispatcher thread failed."""
        raised.report(self._log, f"{method} of interceptor", interceptor, error)

    def _report_in_caller(
        self, method: str, interceptor: T, error: Exception, next_step: str
    ) -> None:
        """A call in a thread of the application failed. The dispatcher's thread writes the count of later failures."""
        raised.report(
            self._log, f"{method} of interceptor", interceptor, error, next_step=next_step
        )
        write_raised_soon()

    def close(self) -> None:
        """Close every interceptor. Dispatcher thread."""
        for interceptor in self._all:
            try:
                interceptor.close()
            except Exception as error:
                self._report("close", interceptor, error)
