"""Interceptors: objects of the application that see, and may change, every message and receive its outcome.

Stations: message, delivery. A producer without interceptors does not use this module.

References: KIP-42; Java: ProducerInterceptor, ProducerInterceptors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from ottla.arguments import done_callback
from ottla.engine.dispatcher import dispatch, write_raised_soon
from ottla.errors import Error
from ottla.message import Message
from ottla.observe.log import ClientLog
from ottla.observe.raised import raised
from ottla.observe.running import running
from ottla.producer.accumulator import accepted_of, has_to_wait
from ottla.producer.reports import call_soon

if TYPE_CHECKING:
    from ottla._native import Delivery, Waiting
    from ottla.message import RecordMetadata


class ProducerInterceptor:
    """Receives every message before it is sent, and its outcome; a subclass, or an object with the three methods.

    Given as `ottla.Producer(..., interceptors=[first, second])`. Its methods do nothing.

    References: KIP-42; Java's ProducerInterceptor.
    """

    def on_send(self, message: Message) -> Message:
        """Called once per message, before its partition is chosen, and never again for a retry.

        An exception, or a result that is no Message, is logged; the message is then sent as it was before the call.

        Args:
            message: As the interceptor before left it. It may be changed.

        Returns:
            Message: The message to send: this one or another.

        Threads: The caller's of `send`; for an asynchronous `send_many`, within its await.
        """
        return message

    def on_acknowledgement(self, delivery: Delivery) -> None:
        """Called once per message with its outcome, before `on_delivery`. An exception is logged.

        A message that `send` itself refuses after `on_send`, or whose wait for free buffer space is cancelled, has an outcome too:
        `not_written`, with the exception of `send` as `.error`; an exception that is no `ottla.Error` (an invalid argument, a
        cancellation, Ctrl-C) is the `__cause__` of one. After `close` of the producer `send` raises `Closed` before `on_send`,
        and there is no outcome.

        Args:
            delivery: `.error` is None where the message is written.

        Threads: The dispatcher thread.
        """

    def close(self) -> None:
        """Called once, after the last outcome of an accepted message, when the producer is closed. An exception is logged.

        A `send` that waits for free buffer space while the producer closes raises `Closed` in its own thread: the acknowledgement of
        that message may come after this call.

        Threads: The dispatcher thread.
        """


class RefusedDelivery:
    """The outcome of a message that was never accepted: has the interface of a failed `Delivery`."""

    outcome: Literal["not_written"] = "not_written"
    offset = None

    def __init__(self, message: Message, error: Error, who: str = "producer") -> None:
        self._who = who
        self.topic = message.topic
        self.key = message.key
        self.value = message.value
        self.headers = message.headers
        self.partition = message.partition
        self.metadata = message.metadata
        own = message.timestamp_ms
        self.timestamp_ms = int(time.time() * 1000) if own is None else own
        self.error = error

    def done(self) -> bool:
        """True: it has its outcome from the beginning."""
        return True

    def result(self, timeout: float | None = None) -> NoReturn:
        """Raises `error`."""
        raise self.error

    def exception(self, timeout: float | None = None) -> Error:
        """The error, as `error` has it."""
        return self.error

    def __await__(self) -> Generator[Any, None, NoReturn]:
        return _raise(self.error).__await__()

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Have it called soon on the dispatcher thread; a coroutine function is refused."""
        done_callback(callback)
        call_soon(self._who, callback, self)

    def __repr__(self) -> str:
        return f"<RefusedDelivery {self.topic} {self.error!r}>"


async def _raise(error: Error) -> NoReturn:
    raise error


def _why_refused(message: Message, raised: BaseException) -> Error:
    """The exception of `send` as the error of a delivery, which is always an `ottla.Error`."""
    if isinstance(raised, Error):
        return raised
    # The refused argument may be the topic or the partition itself.
    topic: object = message.topic
    partition: object = message.partition
    text = str(raised)
    named = f"{type(raised).__name__}: {text}" if text else type(raised).__name__
    error = Error(
        f"the message was not accepted: {named}",
        topic=topic if isinstance(topic, str) else None,
        partition=partition if isinstance(partition, int) else None,
        outcome="not_written",
    )
    error.__cause__ = raised
    return error


class Interceptors:
    """The interceptors of one producer, in their order. `send` and those below run in the caller's thread.

    Args:
        interceptors: In the order in which they are called.
        is_closed: Whether every message is refused by now; such messages skip the interceptors. Its exception is raised by
            `send`, before `on_send`.
        who: The client, for the log.
    """

    def __init__(
        self,
        interceptors: Sequence[ProducerInterceptor],
        is_closed: Callable[[], bool],
        who: str = "producer",
    ) -> None:
        self._all = tuple(interceptors)
        self.is_closed = is_closed
        self._log = ClientLog("dispatcher", who)

    # ---- messages --------------------------------------------------------------------------------------------------

    def on_send(self, message: Message) -> Message:
        """The message after every interceptor."""
        for interceptor in self._all:
            before = _fields(message)
            try:
                changed: object = interceptor.on_send(message)
            except Exception as error:
                self._report_on_send(interceptor, error)
                message = _message(*before)
                continue
            if isinstance(changed, Message):
                message = changed
                continue
            kind = type(changed).__name__
            wrong = TypeError(f"it returned {kind} instead of a Message")
            self._report_on_send(interceptor, wrong)
            message = _message(*before)
        return message

    def _report_on_send(self, interceptor: object, error: Exception) -> None:
        """An `on_send` failed, in the caller's thread. The dispatcher's thread writes the count of later failures."""
        raised.report(
            self._log,
            "on_send of interceptor",
            interceptor,
            error,
            next_step="the message is sent as it was before",
        )
        write_raised_soon()

    def send(
        self,
        inner: Callable[..., Any],
        topic: str,
        value: Any = None,
        key: Any = None,
        headers: Any = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        metadata: Any = None,
        on_delivery: Callable[[Delivery], object] | None = None,
        **foreign: Any,
    ) -> Any:
        """`send` and `send_nowait`: the result of `inner`, the producer's own method, for the message after `on_send`."""
        if foreign:
            # Not at the top: it is needed only where a name is wrong.
            from ottla.config.foreign import send_argument_error

            raise send_argument_error("send", next(iter(foreign)))
        if self.is_closed():
            return inner(topic, value, key, headers, partition, timestamp_ms, metadata, on_delivery)
        message = self.on_send(
            _message(topic, value, key, _pairs(headers), partition, timestamp_ms, metadata)
        )
        try:
            sent = inner(*_fields(message), on_delivery)
        except BaseException as error:
            self._refused(message, error)
            raise
        if has_to_wait(sent):
            return _Watched(sent, lambda error: self._refused(message, error))
        return sent

    def send_and_wait(self, inner: Callable[..., Any], *args: Any, **named: Any) -> RecordMetadata:
        """`send_and_wait` in a thread; the same arguments as `send`."""
        metadata: RecordMetadata = self.send(inner, *args, **named).result()
        return metadata

    def send_and_wait_async(
        self, inner: Callable[..., Any], *args: Any, **named: Any
    ) -> Coroutine[Any, Any, RecordMetadata]:
        """`send_and_wait` in an event loop. The message is accepted when this returns, as without interceptors."""
        return _outcome(self.send(inner, *args, **named))

    def send_messages(
        self,
        inner: Callable[..., Any],
        messages: Iterable[Message],
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Any:
        """`send_many` of messages."""
        passing = _Passing(self, iter(messages))

        def refused(error: BaseException) -> None:
            message = passing.refused(error)
            if message is not None:
                self._refused(message, error)

        try:
            sent = inner(passing, on_delivery)
        except BaseException as error:
            refused(error)
            raise
        return _Watched(sent, refused) if has_to_wait(sent) else sent

    def send_values(
        self,
        inner: Callable[..., Any],
        topic: str,
        values: Iterable[Any],
        keys: Iterable[Any] | None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Any:
        """`send_many` of the values of one topic."""
        return self.send_messages(inner, _of_values(topic, values, keys), on_delivery)

    # ---- outcomes --------------------------------------------------------------------------------------------------

    def _refused(self, message: Message, error: BaseException) -> None:
        refused = RefusedDelivery(message, _why_refused(message, error), self._log.client)
        dispatch(self.acknowledged, [refused])

    def acknowledged(self, deliveries: Iterable[Any]) -> None:
        """Call every interceptor with every outcome, in their order. Dispatcher thread."""
        for delivery in deliveries:
            for interceptor in self._all:
                try:
                    acknowledge = interceptor.on_acknowledgement
                    running.begin(acknowledge, self._log.client)
                    acknowledge(delivery)
                except BaseException as error:
                    raised.report(
                        self._log, "on_acknowledgement of interceptor", interceptor, error
                    )
        running.end()

    def close(self) -> None:
        """Close every interceptor. Dispatcher thread."""
        for interceptor in self._all:
            try:
                interceptor.close()
            except Exception as error:
                raised.report(self._log, "close of interceptor", interceptor, error)


class _Passing(Iterator[Message]):
    """Messages after `on_send`, which is called when each is requested."""

    def __init__(self, chain: Interceptors, messages: Iterator[Message]) -> None:
        self._chain = chain
        self._messages = messages
        self._count = 0
        self._last: tuple[int, Message] | None = None
        """Number of messages before the last one, and the last one; None where it is known to be accepted."""

    def __next__(self) -> Message:
        # The producer requests the next message only after it has accepted this one.
        self._last = None
        message = next(self._messages)
        if isinstance(message, Message) and not self._chain.is_closed():
            message = self._chain.on_send(message)
            self._last = (self._count, message)
        self._count += 1
        return message

    def refused(self, error: BaseException) -> Message | None:
        """The message that went through `on_send` and was not accepted, where `send_many` ended with this error."""
        if self._last is None:
            return None
        before, message = self._last
        # A signal may come before the first line of `__next__`: only the producer knows then how many it accepted.
        return None if accepted_of(error) > before else message


class _Watched:
    """A send that waits in an event loop; its error, or its cancellation, is reported as the outcome of the message.

    Has the methods of a coroutine, for create_task.
    """

    def __init__(self, waiting: Waiting, refused: Callable[[BaseException], None]) -> None:
        self._waiting = waiting
        self._refused: Callable[[BaseException], None] | None = refused
        """None once the wait has ended: later calls do not change the outcome of the message."""
        self._loop = _running_loop()

    def __await__(self) -> _Watched:
        return self

    __iter__ = __await__

    def __next__(self) -> Any:
        return self._step(self._waiting.__next__)

    def send(self, value: Any) -> Any:
        return self._step(self._waiting.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._waiting.throw, *error)

    def close(self) -> None:
        self._waiting.close()
        self._ended(asyncio.CancelledError("the send was closed while it waited"))

    def _step(self, step: Callable[..., Any], *args: Any) -> Any:
        try:
            return step(*args)
        except StopIteration:
            self._refused = None
            raise
        except BaseException as error:
            self._ended(error)
            raise

    def _ended(self, error: BaseException) -> None:
        refused, self._refused = self._refused, None
        if refused is not None:
            refused(error)

    def __del__(self) -> None:
        refused, self._refused = self._refused, None
        if refused is None or self._loop is None:
            return
        # A finalizer takes no lock, so the loop makes the call. A closed loop makes none.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(
                refused, asyncio.CancelledError("the send was dropped while it waited")
            )


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop of this thread, None where none runs."""
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


async def _outcome(sent: Awaitable[Delivery]) -> RecordMetadata:
    metadata: RecordMetadata = await (await sent)
    return metadata


_NONE_LEFT: Any = object()
_Fields = tuple[Any, Any, Any, Any, Any, Any, Any]


def _fields(message: Message) -> _Fields:
    """In the order of the arguments of `send`; the headers in a list of their own."""
    return (
        message.topic,
        message.value,
        message.key,
        _pairs(message.headers),
        message.partition,
        message.timestamp_ms,
        message.metadata,
    )


def _message(
    topic: Any, value: Any, key: Any, headers: Any, partition: Any, timestamp_ms: Any, metadata: Any
) -> Message:
    return Message(
        topic,
        value,
        key=key,
        headers=headers,
        partition=partition,
        timestamp_ms=timestamp_ms,
        metadata=metadata,
    )


def _pairs(headers: Any) -> Any:
    """A list, as `Message` has them; an object that is neither pairs nor a mapping is refused by `send`."""
    if isinstance(headers, Mapping):
        return list(headers.items())
    return list(headers) if isinstance(headers, Sequence) else headers


def _of_values(topic: str, values: Iterable[Any], keys: Iterable[Any] | None) -> Iterator[Message]:
    if keys is None:
        for value in values:
            yield Message(topic, value)
        return
    rest = iter(keys)
    for value in values:
        key = next(rest, _NONE_LEFT)
        if key is _NONE_LEFT:
            raise ValueError("there are more values than keys")
        yield Message(topic, value, key=key)
    if next(rest, _NONE_LEFT) is not _NONE_LEFT:
        raise ValueError("there are more keys than values")
