"""The public producer: messages in, deliveries out."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING

from ottla._native import AsyncProducerBase, Delivery
from ottla.arguments import (
    DEFAULT_TIMEOUT,
    DefaultTimeout,
    TimeoutArgument,
    function,
    seconds,
    wait_limit,
)
from ottla.arguments import topic as topic_name
from ottla.client.copies import refuse_copy
from ottla.client.dropped import dropped
from ottla.client.hints import hinted
from ottla.client.leaving import CALLBACK_S, producer_close_timeout
from ottla.client.producer import ProducerClient
from ottla.config.producer import producer_config
from ottla.engine.bridge import GRACE_S
from ottla.engine.clock import Deadline
from ottla.engine.twins import in_background_async, wait_async
from ottla.errors import ConfigError, Timeout
from ottla.message import CloseReport, TopicPartition
from ottla.observe.running import running

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, Self, Unpack

    from ottla.config.option_types import ProducerOptions, Servers
    from ottla.engine.bridge import Ticket
    from ottla.observe.events import Event
    from ottla.observe.producer_health import ProducerHealth
    from ottla.observe.statistics import ProducerStatistics

_OUTCOMES_AT_ONCE = 1000
"""Maximum number of deliveries that a reader of `successes()` or `errors()` takes from the queue at once."""


class AsyncProducer(AsyncProducerBase):
    """Sends messages to Kafka, and reports the outcome of every one of them.

    `send` accepts a message and returns its `Delivery`; the I/O thread does batching, compression, retries and the network.
    By default messages are written with acks=all and idempotence: in the order of the calls per partition, and once each, also
    after failures. Every accepted message gets exactly one outcome (`written`, `not_written` or `unknown`), at the latest
    `delivery_timeout_ms` plus one second after it was accepted.

        async with ottla.AsyncProducer("localhost:9092") as producer:
            delivery = await producer.send("orders", b"value", key=b"k")
            print(await delivery)

    Args:
        bootstrap_servers: "host:port", several with commas or as a list; one that can be reached is enough. Or a mapping
            of options, as in `{"bootstrap.servers": "localhost:9092", "linger.ms": 5}`.
        config: Options of producers by Kafka's names, with underscores (`linger_ms=5`); see the configuration reference.

    Raises:
        ConfigError: Every problem of the configuration at once; nothing was started.

    A producer that is dropped without `close` warns (`ResourceWarning`) and is closed in the background: accepted messages are
    still delivered, `on_delivery` is called, and every `Delivery` resolves.

    Threads: Any thread or event loop may call any method; messages of a partition are written in the order of the calls.
    """

    def __init__(
        self, bootstrap_servers: Servers | None = None, /, **config: Unpack[ProducerOptions]
    ) -> None:
        parsed = producer_config(bootstrap_servers, config)
        self._config = parsed
        self._client = ProducerClient(parsed)
        self._callbacks = self._client.callbacks.give_to_owner()
        chooser = None if isinstance(parsed.partitioner, str) else parsed.partitioner
        self._bind(self._client.flow, chooser, self._callbacks.interceptors)
        self._report: CloseReport | None = None
        self._written: deque[Delivery] = deque()
        self._failed: deque[Delivery] = deque()
        self._resolved: deque[Delivery] = deque()

    @hinted
    async def flush(self, timeout: TimeoutArgument = DEFAULT_TIMEOUT) -> None:
        """Send lingering messages now, and wait until every message accepted before this call has its outcome.

        The call also waits until every callback of these outcomes has returned: `add_done_callback`, `on_delivery`,
        interceptors. A callback that calls it waits only for the outcomes. The producer stays open. A failed message raises
        nothing here: its delivery has the error.

        Args:
            timeout: Seconds. Not given: until every message has its outcome, which `delivery_timeout_ms` bounds, and its
                callbacks have returned, 30 seconds each at most. None: as long as it takes.

        Raises:
            Timeout: The time ran out; the client continues to send the unresolved messages.
            TypeError, ValueError: `timeout` is no number of seconds; nothing was begun.
            RuntimeError: The call would wait on the engine thread of the client, where a handler of its log runs.
            ForkedClient: The producer was made before a fork.

        Cancellation: Ends the wait only.
        Threads: Any.
        """
        self._client.refuse_forked()
        limit, patience = _limit_and_patience(timeout)
        end = Deadline(limit)
        if not await self._accept_unawaited(end) or not await self._flush(end.left()):
            raise Timeout(f"flush: not everything was resolved within {timeout} s")
        called = self._client.flush_callbacks()
        if called is not None and not await self._all_called(called, end, patience):
            within = "" if limit is None else f" within {timeout} s"
            text = f"flush: everything is resolved, and not every callback has returned{within}"
            raise Timeout(f"{text}: {running.blocker()}")

    @hinted
    async def close(self, timeout: TimeoutArgument = DEFAULT_TIMEOUT) -> CloseReport:
        """Accept no more messages, send everything, wait for every outcome, and disconnect.

        `successes()` and `errors()` end after the last outcome. A message without an outcome gets one when the time runs out:
        `not_written` if it never left, else `unknown`. Failed messages raise nothing here; the report counts them. A second
        close returns the same report. The end of a `with` block closes without a timeout, also after an exception, but with one
        second after Ctrl-C or a cancellation; in the child of a fork it does nothing. After three seconds the log reports the
        messages that close waits for.

        Callbacks of resolved messages run before it returns, as far as the time allows; the others run later. A callback that
        calls it does not wait for callbacks. Interceptors are closed after the last callback.

        Args:
            timeout: Seconds for the whole close; 0 gives up unresolved messages at once. Not given and None: as for `flush`.

        Returns:
            CloseReport: number of delivered, failed and unknown messages since the start.

        Raises:
            TypeError, ValueError: `timeout` is no number of seconds; the producer is as open as before.
            RuntimeError: The call would wait on the engine thread of the client, where a handler of its log runs. The producer
                accepts nothing more; call again from another thread to finish closing.
            ForkedClient: The producer was made before a fork.

        Cancellation: The producer accepts nothing more; call again to finish closing.
        Threads: Any. The shortest timeout of several calls at a time applies to all; each returns the same report.
        """
        self._client.refuse_forked()
        limit, patience = _limit_and_patience(timeout)
        end = Deadline(limit)
        try:
            await self._accept_unawaited(end)
        finally:
            self._stop_accepting()
        self._client.watch_close(limit)
        await self._flush(end.left())
        await wait_async(self._client.shut_down())
        if (called := self._client.run_callbacks()) is not None:
            await self._all_called(called, end, patience)
        self._end_outcomes()
        if self._report is None:
            self._report = CloseReport(*self._counts())
        return self._report

    async def _accept_unawaited(self, end: Deadline) -> bool:
        """Wait until every asynchronous send that nobody awaits is accepted or has failed. False if the time ran out."""
        accepted = self._client.unawaited_sends()
        if accepted is None:
            return True
        try:
            await wait_async(accepted, end.left())
        except Timeout:
            return False
        return True

    async def _all_called(
        self, called: Ticket[None], end: Deadline, patience: float | None
    ) -> bool:
        """Wait for callbacks until the deadline; without a deadline `patience` seconds for each. False if the time ran out."""
        while True:
            number, left = running.number, end.left()
            try:
                await wait_async(called, patience if left is None else left)
            except Timeout:
                if left is not None or running.number == number:
                    return False
            else:
                return True

    def close_nowait(self, timeout: TimeoutArgument = DEFAULT_TIMEOUT) -> None:
        """Begin to close and return at once; `successes()` and `errors()` end when the producer is closed.

        Args:
            timeout: Seconds. Not given and None: as for `close`, which returns the report.

        Raises:
            TypeError, ValueError: `timeout` is no number of seconds; the producer is as open as before.
            ForkedClient: The producer was made before a fork.

        Threads: Any.
        """
        self._client.refuse_forked()
        _limit_and_patience(timeout)
        if not self._client.flow.unawaited():
            self._stop_accepting()
        in_background_async(self.close, timeout)

    def successes(self) -> AsyncIterator[Delivery]:
        """Iterate over the written messages, each exactly once, in the order of their outcomes; ends after `close`.

        Needs `return_successes=True`. Unread outcomes count against `buffer_memory`, so without a reader `send` waits in the
        end. Several readers share the outcomes.

        Returns:
            Iterator: of Delivery, with topic, key, value, headers, metadata, partition, offset and timestamp_ms.

        Raises:
            ConfigError: `return_successes` is not set. Raised by the call itself.

        Cancellation: No outcome is lost: the next reader gets those that were not yielded.
        Threads: Any.
        """
        if not self._config.return_successes:
            raise ConfigError("successes() needs return_successes=True")
        return self._each_outcome(self._written, False)

    def errors(self) -> AsyncIterator[Delivery]:
        """Iterate over the failed messages, each exactly once, with `.error` and `.outcome`; ends after `close`.

        Needs `return_errors=True`; else as `successes`.

        Raises:
            ConfigError: `return_errors` is not set. Raised by the call itself.

        Cancellation: No outcome is lost: the next reader gets those that were not yielded.
        Threads: Any.
        """
        if not self._config.return_errors:
            raise ConfigError("errors() needs return_errors=True")
        return self._each_outcome(self._failed, True)

    def outcomes(self) -> AsyncIterator[Delivery]:
        """Iterate over all queued outcomes, written (`.error` is None) or failed, each exactly once; ends after `close`.

        `return_successes` and `return_errors` select the outcomes that are queued. One reader gets each outcome: the first of
        `outcomes()`, `successes()` and `errors()` that takes it; else as `successes`.

        Raises:
            ConfigError: Neither `return_successes` nor `return_errors` is set. Raised by the call itself.

        Cancellation: No outcome is lost: the next reader gets those that were not yielded.
        Threads: Any.
        """
        if not (self._config.return_successes or self._config.return_errors):
            raise ConfigError("outcomes() needs return_successes=True or return_errors=True")
        return self._each_outcome(self._resolved, None)

    async def _each_outcome(
        self, ready: deque[Delivery], failed: bool | None
    ) -> AsyncIterator[Delivery]:
        # All readers share `ready`. `iter` takes a delivery from it and returns it within one step of the interpreter, so an
        # interrupt cannot lose the delivery.
        while True:
            try:
                for delivery in iter(ready.popleft, None):
                    yield delivery
            except IndexError:
                taken = await self._take_outcomes(failed, _OUTCOMES_AT_ONCE, None, ready)
            if taken is not None and not taken:
                return

    async def partitions_for(
        self, topic: str, timeout: TimeoutArgument = DEFAULT_TIMEOUT
    ) -> list[TopicPartition]:
        """Return the partitions of a topic, for a partitioner of the application or for `send(partition=...)`.

        The call creates a topic that does not exist, if the broker is configured so (`auto.create.topics.enable`); until the
        topic exists it raises `UnknownTopicOrPartition`.

        Args:
            topic: Name of the topic.
            timeout: Seconds to wait. Not given: `max_block_ms`. None: until an answer or its failure.

        Returns:
            list: By number.

        Raises:
            KafkaError: The topic does not exist, or the client has no access to it.
            NoBrokersAvailable: No broker can be reached; one line per address. Raised at the first failure, before the time runs out.
            Timeout: The time ran out.
            TypeError, ValueError: Wrong type or value; the text names the argument. Nothing was requested.
            Closed: The producer is closed.
            ForkedClient: The producer was made before a fork.

        Cancellation: Ends the wait only.
        Threads: Any except the engine thread of the client, where it raises RuntimeError.
        Protocol: Metadata (key 3).
        """
        name = topic_name(topic)
        limit = wait_limit(timeout, self._config.max_block_ms / 1000)
        numbers = await wait_async(
            self._client.partitions_for("AsyncProducer.partitions_for", name, limit),
            limit + GRACE_S,
        )
        return [TopicPartition(name, partition) for partition in numbers]

    def statistics(self) -> ProducerStatistics:
        """Return the counts since the start and the contents of the buffer, also by broker and by topic.

        All numbers are of one moment: accepted = delivered + failed + unknown + buffered_records. Counting costs nothing per
        message. `as_dict()` returns plain values for JSON.

        Returns:
            ProducerStatistics: frozen; the names of its fields have the units.

        Raises:
            ForkedClient: The producer was made before a fork.

        Threads: Any.
        """
        return self._client.statistics()

    def health(self) -> ProducerHealth:
        """Return whether all accepted messages make progress; if not, the causes and the next steps of the client.

        It also lists the largest parts of `buffer_memory`: bytes by topic-partition and leader, each with its cause. The call uses
        known state and sends no request; a leader without an answer for more than a second is a trouble. `if producer.health():`
        is true without troubles. After close the state is "closed", without troubles. `as_dict()` returns plain values for JSON.

        Returns:
            ProducerHealth: state "ok", "degraded" or "closed", troubles, and the buffer with its largest holders.

        Raises:
            ForkedClient: The producer was made before a fork.

        Threads: Any.
        """
        return self._client.health()

    def listen(self, listener: Callable[[Event], object]) -> None:
        """Call `listener` with each `Event` from now on: batches, holds, connections, the buffer, metadata.

        `docs/reference/events.md` has every event with its fields. Listeners run on the dispatcher thread, one call after
        the other, after the callbacks of deliveries: a slow one delays those and nothing else. An exception in one is logged.
        Events that a slow listener does not receive (10 000 events waiting) are counted in `events.dropped`. Without a listener
        events cost nothing; with one, a call per batch or rarer.

        Args:
            listener: A plain function that takes one `Event`; given twice, it is called twice.

        Raises:
            TypeError: It is no such function; nothing was changed.
            ForkedClient: The producer was made before a fork.

        Threads: Any.
        """
        self._client.refuse_forked()
        function("listener", listener, "(event)")
        self._client.callbacks.listen(self._client.events, listener)

    def unlisten(self, listener: Callable[[Event], object]) -> None:
        """No longer call `listener`; one that never listened is no error.

        A call that has begun on the dispatcher thread still ends.

        Args:
            listener: As it was given to `listen`.

        Raises:
            ForkedClient: The producer was made before a fork.

        Threads: Any.
        """
        self._client.refuse_forked()
        self._client.callbacks.unlisten(self._client.events, listener)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # In the child of a fork there is nothing to close: the parent delivers the accepted messages.
        if not self._client.is_forked:
            await self.close(producer_close_timeout(error))

    def __reduce__(self) -> NoReturn:
        refuse_copy(self)

    def __del__(self, _dropped: Callable[..., None] = dropped) -> None:
        _dropped(self, self._hand_over)

    def _hand_over(self) -> None:
        self._client.drop(self._callbacks)

    def __repr__(self) -> str:
        if self._client.is_forked:
            state = "of the parent process"
        else:
            state = "open" if self._report is None else f"closed: {self._report}"
        return f"<AsyncProducer {self._config.client_id!r} {state}>"


def _limit_and_patience(timeout: TimeoutArgument) -> tuple[float | None, float | None]:
    """Seconds for a whole `flush` or `close`, and for one callback if there is no limit for the whole."""
    if isinstance(timeout, DefaultTimeout):
        return None, CALLBACK_S
    return seconds(timeout), None
