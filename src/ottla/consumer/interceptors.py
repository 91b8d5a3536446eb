"""Interceptors of a consumer: objects of the application that see, and may filter, the records of every poll and every commit.

Station: record. A consumer without interceptors does not use this module.

References: KIP-42; Java: ConsumerInterceptor, ConsumerInterceptors.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ottla.consumer.iteration import Records
from ottla.engine.interceptor_chain import InterceptorChain
from ottla.observe.running import running

if TYPE_CHECKING:
    from ottla.message import OffsetAndMetadata, TopicPartition


class ConsumerInterceptor:
    """Receives the records of every poll before the application does, and every commit; a subclass, or an object with the methods.

    Given as `ottla.Consumer(..., interceptors=[first, second])`. Its methods do nothing.

    References: KIP-42; Java's ConsumerInterceptor.
    """

    def on_consume(self, records: Records[Any, Any]) -> Records[Any, Any]:
        """Called once with the records of each poll, each chunk of an iteration or of a claim, after the deserializers.

        An exception is logged, and a result that is no `Records`, or has records that were not given, or another order; the records
        are then handed over as they were before the call. A record that is left out is not handed over, and is committed with the
        records around it.

        Args:
            records: As the interceptor before returned them; not empty.

        Returns:
            Records: The records to hand over: these, or a part of them: `ottla.Records(r for r in records if ...)`.

        Threads: The one that polls, iterates or runs the claim.
        """
        return records

    def on_commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """Called with the offsets that the coordinator has accepted, of every commit. An exception is logged.

        Args:
            offsets: A dict of its own for this call.

        Threads: The dispatcher thread.
        """

    def close(self) -> None:
        """Called once, after the last commit, when the consumer is closed. An exception is logged. Threads: the dispatcher thread."""


class ConsumerInterceptors(InterceptorChain[ConsumerInterceptor]):
    """The interceptors of one consumer, in their order."""

    def on_consume(self, records: Records[Any, Any]) -> Records[Any, Any]:
        """The records after every interceptor. In the thread of the caller of the poll."""
        for interceptor in self._all:
            if not records:
                break
            try:
                left = interceptor.on_consume(records)
                problem = None if left is records else _problem(left, records)
            except Exception as error:
                self._report_on_consume(interceptor, error)
                continue
            if problem is None:
                records = left
            else:
                self._report_on_consume(interceptor, TypeError(problem))
        return records

    def _report_on_consume(self, interceptor: ConsumerInterceptor, error: Exception) -> None:
        next_step = "the records are handed over as they were before"
        self._report_in_caller("on_consume", interceptor, error, next_step)

    def committed(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """Call every interceptor with accepted offsets, in their order. Dispatcher thread."""
        for interceptor in self._all:
            try:
                on_commit = interceptor.on_commit
                running.begin(on_commit, self._log.client)
                on_commit(dict(offsets))
            except BaseException as error:
                self._report("on_commit", interceptor, error)
        running.end()


def _problem(left: object, given: Records[Any, Any]) -> str | None:
    """Why the result of an `on_consume` cannot be handed over; None if it can.

    Commits cover the records in front of the current one, so the records of a partition have to stay together and in order.
    """
    if not isinstance(left, Records):
        return f"it returned {type(left).__name__} instead of Records"
    known = given.by_partition()
    grouped: list[int] = []
    for tp, records in left.by_partition().items():
        offsets = records.offsets()
        if tp not in known or not set(offsets) <= set(known[tp].offsets()):
            return "it returned records that it was not given"
        if any(second <= first for first, second in pairwise(offsets)):
            return "it returned records in another order"
        grouped += offsets
    return None if grouped == left.offsets() else "it returned records in another order"
