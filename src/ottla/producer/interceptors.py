"""Interceptors: objects of the application that see, and may change, every message and receive its outcome.

Stations: message, delivery. A producer without interceptors does not use this module.

References: KIP-42; Java: ProducerInterceptor, ProducerInterceptors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from ottla.arguments import done_callback
from ottla.engine.dispatcher import dispatch
from ottla.engine.interceptor_chain import InterceptorChain
from ottla.errors import Error
from ottla.message import Message
from ottla.observe.running import running
from ottla.producer.reports import call_soon

if TYPE_CHECKING:
    from ottla._native import Delivery


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


class Interceptors(InterceptorChain[ProducerInterceptor]):
    """The interceptors of one producer, in their order.

    The extension passes every message through `on_send` before it reads it, and reports one that it does not accept
    afterwards to `refused`: `crates/native/src/send/intercept.rs`. A closed producer refuses a message before `on_send`.

    Args:
        interceptors: In the order in which they are called.
        who: The client, for the log.
    """

    def __init__(self, interceptors: Sequence[ProducerInterceptor], who: str = "producer") -> None:
        super().__init__(interceptors, who)

    # ---- messages --------------------------------------------------------------------------------------------------

    def on_send(self, message: Message) -> Message:
        """The message after every interceptor. In the thread of the caller of `send`."""
        for interceptor in self._all:
            before = _copied(message)
            try:
                changed: object = interceptor.on_send(message)
            except Exception as error:
                self._report_on_send(interceptor, error)
                message = before
                continue
            if isinstance(changed, Message):
                message = changed
                continue
            kind = type(changed).__name__
            wrong = TypeError(f"it returned {kind} instead of a Message")
            self._report_on_send(interceptor, wrong)
            message = before
        return message

    def _report_on_send(self, interceptor: ProducerInterceptor, error: Exception) -> None:
        next_step = "the message is sent as it was before"
        self._report_in_caller("on_send", interceptor, error, next_step)

    # ---- outcomes --------------------------------------------------------------------------------------------------

    def refused(self, message: Message, error: BaseException) -> None:
        """A message was not accepted after `on_send`: the interceptors receive that as its outcome. Threads: any."""
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
                    self._report("on_acknowledgement", interceptor, error)
        running.end()


def _copied(message: Message) -> Message:
    """The message with a list of headers of its own: an interceptor may change both."""
    return Message(
        message.topic,
        message.value,
        key=message.key,
        headers=_pairs(message.headers),
        partition=message.partition,
        timestamp_ms=message.timestamp_ms,
        metadata=message.metadata,
    )


def _pairs(headers: Any) -> Any:
    """A list, as `Message` has them; an object that is neither pairs nor a mapping is refused by `send`."""
    if isinstance(headers, Mapping):
        return list(headers.items())
    return list(headers) if isinstance(headers, Sequence) else headers
