"""Tells the application what became of its messages: interceptors and `on_delivery`, and callbacks of single deliveries.

Station: delivery. Rust keeps each batch's deliveries until they were told; the engine only says that there are some, and
the dispatcher thread calls the application, a batch at a time. What waits to be told counts against `buffer_memory`.

References: Java: Callback, ProducerInterceptors.onAcknowledgement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ottla.engine.bridge import Ticket
from ottla.engine.dispatcher import dispatch, on_dispatcher, settled
from ottla.observe.log import logger

if TYPE_CHECKING:
    from ottla._native import Delivery, ProduceFlow
    from ottla.producer.interceptors import Interceptors

_log = logger("dispatcher")

_TURN_BATCHES = 64
"""After so many batches the callbacks of other producers get their turn."""


class Reports:
    """The callbacks of one producer.

    Args:
        flow: Where the outcomes come from.
        on_delivery: Called with each delivery that has its outcome, after the interceptors; None: nobody asks.
        interceptors: None: there are none.
    """

    def __init__(
        self,
        flow: ProduceFlow,
        on_delivery: Callable[[Delivery], object] | None,
        interceptors: Interceptors | None,
    ) -> None:
        self._flow = flow
        self._on_delivery = on_delivery
        self._interceptors = interceptors
        self._due = False  # a turn is queued and has not begun
        self._had_calls = False  # callbacks of single deliveries were queued

    # ---- the engine's side -----------------------------------------------------------------------------------------

    def tell_soon(self) -> None:
        """There are outcomes to tell. Engine thread, and the dispatcher's."""
        if not self._due:
            self._due = True
            dispatch(self._turn)

    def call_soon(self, calls: Sequence[tuple[Callable[[Delivery], object], Delivery]]) -> None:
        """Single deliveries have asked for these calls, and have their outcome. Engine thread."""
        self._had_calls = True
        dispatch(self._call, calls)

    # ---- ends ------------------------------------------------------------------------------------------------------

    def told(self) -> Ticket[None] | None:
        """Settles once everything resolved so far was told.

        None where nobody is told, and in a callback, which would wait for itself. Threads: any.
        """
        if on_dispatcher() or (self._on_delivery is None and self._interceptors is None):
            return None
        dispatch(self._tell_all)
        return settled()

    def called(self) -> Ticket[None] | None:
        """As `told`, and every callback of single deliveries that is queued has run. Threads: any."""
        told = self.told()
        if told is None and self._had_calls and not on_dispatcher():
            return settled()
        return told

    def close_interceptors(self) -> None:
        """After everything resolved so far was told. Threads: any."""
        if self._interceptors is not None:
            dispatch(self._tell_all)
            dispatch(self._interceptors.close)

    # ---- on the dispatcher thread ----------------------------------------------------------------------------------

    def _turn(self) -> None:
        # Before the look: who finds more to tell from here on queues another turn.
        self._due = False
        for _ in range(_TURN_BATCHES):
            if not self._tell_batch():
                return
        self.tell_soon()

    def _tell_all(self) -> None:
        while self._tell_batch():
            pass

    def _tell_batch(self) -> bool:
        """Tell of the next batch; False where there is none."""
        self._flow.mark_dispatcher()
        deliveries = self._flow.tell_next()
        if deliveries is None:
            return False
        if self._interceptors is not None:
            self._interceptors.acknowledged(deliveries)
        if self._on_delivery is not None:
            call_each((self._on_delivery, delivery) for delivery in deliveries)
        return True

    def _call(self, calls: Sequence[tuple[Callable[[Delivery], object], Delivery]]) -> None:
        self._flow.mark_dispatcher()
        call_each(calls)


def call_each(calls: Iterable[tuple[Callable[[Any], object], Any]]) -> None:
    """Call each function with its argument; what one raises is logged, and the others are called all the same."""
    for function, argument in calls:
        try:
            function(argument)
        except BaseException:
            _log.exception("a callback raised: %r of %r", function, argument)
