"""Reports outcomes to the application: interceptors and `on_delivery`, and callbacks of single deliveries.

Station: delivery. Rust stores the deliveries of each batch until they are reported. The engine queues a turn on the dispatcher
thread, which calls the application, a batch at a time. Deliveries that are not reported yet count against `buffer_memory`.

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
    from ottla.producer.callbacks import CallbackRef, Callbacks

_TURN_BATCHES = 64
"""Maximum number of batches before the callbacks of other producers get their turn."""


class Reports:
    """The callbacks of one producer.

    Args:
        flow: Source of the outcomes.
        callbacks: The functions to call. Calls that are queued for the dispatcher hold strong references to them.
        who: The client, for the log.
    """

    def __init__(self, flow: ProduceFlow, callbacks: CallbackRef, who: str = "producer") -> None:
        self._flow = flow
        self._callbacks = callbacks
        self._log = ClientLog("dispatcher", who)
        self._due = False  # a turn is queued and has not begun
        self._close_due = False  # interceptors must be closed, and were not available

    # ---- the engine's side -----------------------------------------------------------------------------------------

    def report_soon(self) -> None:
        """Report outcomes in a turn of the dispatcher. Engine thread, and the dispatcher's."""
        callbacks = self._callbacks.get()
        if not self._due and callbacks is not None:
            self._due = True
            dispatch(self._turn, callbacks)

    def call_soon(self, calls: Sequence[tuple[Callable[[Delivery], object], Delivery]]) -> None:
        """Run these callbacks of single deliveries, which have their outcome. Engine thread."""
        dispatch(self._call, calls)

    def call_settled(self) -> None:
        """Run the callbacks of every single delivery that has its outcome by now, drained or not. Engine thread."""
        if calls := self._flow.take_callbacks():
            self.call_soon(calls)

    def resume(self) -> None:
        """Report outcomes that could not be reported while the producer was being collected. Engine thread."""
        if self._flow.reports_outcomes():
            self.report_soon()
        if self._close_due:
            self.end()

    # ---- ends ------------------------------------------------------------------------------------------------------

    def report_all(self) -> Ticket[None] | None:
        """Report every outcome so far. Returns a ticket that settles once that is done.

        None where there is nothing to report to, and in a callback, which would wait for itself. Threads: any.
        """
        callbacks = self._callbacks.get()
        if on_dispatcher() or not self._flow.reports_outcomes() or callbacks is None:
            return None
        dispatch(self._report_rest, callbacks)
        return settled()

    def run_callbacks(self) -> Ticket[None] | None:
        """`report_all`; the ticket settles once every queued callback of single deliveries has run too. Threads: any."""
        reported = self.report_all()
        if reported is None and self._flow.has_callbacks() and not on_dispatcher():
            return settled()
        return reported

    def end(self) -> None:
        """Report every outcome so far, close the interceptors, and write the counts of their exceptions. Engine thread."""
        callbacks = self._callbacks.get()
        self._close_due = callbacks is None
        if callbacks is not None and callbacks.interceptors is not None:
            dispatch(self._report_rest, callbacks)
            dispatch(callbacks.interceptors.close)
        if is_busy():
            dispatch(raised.end, self._log.client)
        else:
            raised.end(self._log.client)

    # ---- on the dispatcher thread ----------------------------------------------------------------------------------

    def _turn(self, callbacks: Callbacks) -> None:
        # Before the first report: an outcome that comes from here on queues another turn.
        self._due = False
        for _ in range(_TURN_BATCHES):
            if not self._report_batch(callbacks):
                return
        self.report_soon()

    def _report_rest(self, callbacks: Callbacks) -> None:
        while self._report_batch(callbacks):
            pass

    def _report_batch(self, callbacks: Callbacks) -> bool:
        """Report the next batch; False where there is none."""
        report = self._flow.next_report()
        if report is None:
            return False
        if callbacks.interceptors is not None:
            callbacks.interceptors.acknowledged(report.deliveries)
        if callbacks.on_delivery is not None:
            on_delivery = callbacks.on_delivery
            call_each(self._log, ((on_delivery, delivery) for delivery in report.deliveries))
        if report.calls:
            call_each(self._log, report.calls)
        return True

    def _call(self, calls: Sequence[tuple[Callable[[Delivery], object], Delivery]]) -> None:
        call_each(self._log, calls)


def call_soon(who: str, function: Callable[[Any], object], delivery: Any) -> None:
    """Run a callback of a delivery that has its outcome. Threads: any.

    who: The producer, for people.
    """
    dispatch(call_each, ClientLog("dispatcher", who), ((function, delivery),))


def call_each(log: ClientLog, calls: Iterable[tuple[Callable[[Any], object], Any]]) -> None:
    """Call each function with its argument; an exception is logged, and the other functions are called in any case."""
    for function, argument in calls:
        running.begin(function, log.client)
        try:
            function(argument)
        except BaseException as error:
            raised.report(log, "callback", function, error, argument=repr(argument))
    running.end()
