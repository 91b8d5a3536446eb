"""Tells the application what became of its messages: interceptors and `on_delivery`, and callbacks of single deliveries.

Station: delivery. Rust keeps each batch's deliveries until they were told; the engine only says that there are some, and
the dispatcher thread calls the application, a batch at a time. What waits to be told counts against `buffer_memory`.

Invariant: a batch leaves `buffer_memory` when its callbacks have returned, so a `send` in a callback never waits for space
(`docs/adr/0013-callbacks-count-against-the-budget.md`).

References: Java: Callback, ProducerInterceptors.onAcknowledgement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ottla.engine.bridge import Ticket
from ottla.engine.dispatcher import dispatch, is_busy, on_dispatcher, settled
from ottla.observe.log import ClientLog
from ottla.observe.raised import raised
from ottla.observe.running import running

if TYPE_CHECKING:
    from ottla._native import Delivery, ProduceFlow
    from ottla.producer.callbacks import Callbacks, Lent

_TURN_BATCHES = 64
"""After so many batches the callbacks of other producers get their turn."""


class Reports:
    """The callbacks of one producer.

    Args:
        flow: Where the outcomes come from.
        lent: Who is told of them. What is queued for the dispatcher has the callbacks themselves with it.
        who: The client, for the log.
    """

    def __init__(self, flow: ProduceFlow, lent: Lent, who: str = "producer") -> None:
        self._flow = flow
        self._lent = lent
        self._log = ClientLog("dispatcher", who)
        self._due = False  # a turn is queued and has not begun
        self._close_due = False  # interceptors are to be closed, and were not there

    # ---- the engine's side -----------------------------------------------------------------------------------------

    def tell_soon(self) -> None:
        """There are outcomes to tell. Engine thread, and the dispatcher's."""
        callbacks = self._lent.get()
        if not self._due and callbacks is not None:
            self._due = True
            dispatch(self._turn, callbacks)

    def call_soon(self, calls: Sequence[tuple[Callable[[Delivery], object], Delivery]]) -> None:
        """Single deliveries have asked for these calls, and have their outcome. Engine thread."""
        dispatch(self._call, calls)

    def call_settled(self) -> None:
        """Queue every call of a single delivery that has its outcome by now, the engine told of it or not. Engine thread."""
        if calls := self._flow.take_callbacks():
            self.call_soon(calls)

    def kept(self) -> None:
        """The callbacks outlive their producer: tell what could not be told while it was collected. Engine thread."""
        if self._flow.reports_outcomes():
            self.tell_soon()
        if self._close_due:
            self.end()

    # ---- ends ------------------------------------------------------------------------------------------------------

    def told(self) -> Ticket[None] | None:
        """Settles once everything resolved so far was told.

        None where nobody is told, and in a callback, which would wait for itself. Threads: any.
        """
        callbacks = self._lent.get()
        if on_dispatcher() or not self._flow.reports_outcomes() or callbacks is None:
            return None
        dispatch(self._tell_all, callbacks)
        return settled()

    def called(self) -> Ticket[None] | None:
        """As `told`, and every callback of single deliveries that is queued has run. Threads: any."""
        told = self.told()
        if told is None and self._flow.has_callbacks() and not on_dispatcher():
            return settled()
        return told

    def end(self) -> None:
        """Once everything resolved so far was told: interceptors are closed, and what was counted of exceptions is told. Engine thread."""
        callbacks = self._lent.get()
        self._close_due = callbacks is None
        if callbacks is not None and callbacks.interceptors is not None:
            dispatch(self._tell_all, callbacks)
            dispatch(callbacks.interceptors.close)
        if is_busy():
            dispatch(raised.end, self._log.client)
        else:
            raised.end(self._log.client)

    # ---- on the dispatcher thread ----------------------------------------------------------------------------------

    def _turn(self, callbacks: Callbacks) -> None:
        # Before the look: who finds more to tell from here on queues another turn.
        self._due = False
        for _ in range(_TURN_BATCHES):
            if not self._tell_batch(callbacks):
                return
        self.tell_soon()

    def _tell_all(self, callbacks: Callbacks) -> None:
        while self._tell_batch(callbacks):
            pass

    def _tell_batch(self, callbacks: Callbacks) -> bool:
        """Tell of the next batch; False where there is none."""
        report = self._flow.next_report()
        if report is None:
            return False
        deliveries, calls = report
        if callbacks.interceptors is not None:
            callbacks.interceptors.acknowledged(deliveries)
        if callbacks.on_delivery is not None:
            call_each(self._log, ((callbacks.on_delivery, delivery) for delivery in deliveries))
        if calls:
            call_each(self._log, calls)
        return True

    def _call(self, calls: Sequence[tuple[Callable[[Delivery], object], Delivery]]) -> None:
        call_each(self._log, calls)


def call_soon(who: str, function: Callable[[Any], object], delivery: Any) -> None:
    """A delivery that has its outcome was asked for this call. Threads: any.

    who: The producer, for people.
    """
    dispatch(call_each, ClientLog("dispatcher", who), ((function, delivery),))


def call_each(log: ClientLog, calls: Iterable[tuple[Callable[[Any], object], Any]]) -> None:
    """Call each function with its argument; what one raises is logged, and the others are called all the same."""
    for function, argument in calls:
        running.begin(function, log.client)
        try:
            function(argument)
        except BaseException as error:
            raised.report(log, "callback", function, error, argument=repr(argument))
    running.end()
