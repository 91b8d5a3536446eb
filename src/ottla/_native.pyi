"""The extension module: the byte path in Rust. See ARCHITECTURE.md for which thread calls what.

Everything here is private; the public classes that inherit a hot method say so in their own docstrings.
"""

from __future__ import annotations

import asyncio
from collections import deque
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
from contextvars import Context
from types import GenericAlias
from typing import Any, Generic, Literal, NoReturn, Self, final, overload

from typing_extensions import TypeVar, disjoint_base

from ottla.errors import DeserializationError, Error, Outcome
from ottla.message import Message, RecordMetadata, TopicPartition
from ottla.seam.budget import Budget
from ottla.seam.connections import IoEvent, IoStatistics
from ottla.seam.failures import ErrorData, Failure, Reported
from ottla.seam.fetching import FetchEvent, FetchStatistics, PartitionState
from ottla.seam.produce_statistics import ProduceStatistics
from ottla.seam.producing import (
    CallbackCall,
    Decision,
    OutcomeReport,
    ProduceEvent,
    ProducerIdentity,
    UnawaitedProgress,
)
from ottla.seam.records import Deserialized
from ottla.seam.security import TlsFacts, TlsProblem, TlsSettings
from ottla.seam.settings import FetchSettings, ProduceSettings

_Buffer = bytes | bytearray | memoryview | str | None
_K = TypeVar("_K", covariant=True, default=bytes)
"""Type of a record's key where it has one: the result of the `key_deserializer`, else bytes."""
_V = TypeVar("_V", covariant=True, default=bytes)
"""Type of a record's value."""
_Headers = Sequence[tuple[str, bytes | str | None]] | Mapping[str, bytes | str | None] | None

def build_info() -> dict[str, str]:
    """`{"profile": "release"|"quick"|"debug", "features": "testing"|"none", "version": …, "rustc": …, "abi": "abi3-py311"}`."""

def mark_thread(name: str) -> None:
    """Mark this thread as the client's: "engine", where no call waits, or "dispatcher", where a send does not wait for buffer space."""

def check_may_wait() -> None:
    """RuntimeError on the "engine" thread."""

def mark_forked() -> None:
    """For `os.register_at_fork(after_in_child=…)`: objects from before the fork raise `ottla.errors.ForkedClient` here."""

# ---- the I/O thread ------------------------------------------------------------------------------------------------

@final
class TlsContext:
    """Checked TLS settings of a client; its connections share it, and resume each other's sessions."""

    @staticmethod
    def build(settings: TlsSettings) -> TlsContext | list[TlsProblem]:
        """Check the settings: a context, or all their problems."""

    def facts(self) -> TlsFacts: ...
    @staticmethod
    def is_name(name: str) -> bool:
        """Whether a certificate can have this name: a host name or an address."""

@final
class Io:
    """Handle of the one I/O thread of this process. Made by the engine; all methods are called by the engine thread."""

    @staticmethod
    def start() -> Io:
        """Start the I/O thread. It blocks all signals, never takes the GIL and ends with `shutdown`."""

    def fileno(self) -> int:
        """Readable while events wait: the engine's loop watches it."""

    def drain(self) -> list[IoEvent]:
        """Take the connection events since the last call and silence the bell (call it BEFORE the flows' drains)."""

    def connect(
        self,
        ip: str,
        port: int,
        *,
        timeout: float,
        send_buffer_bytes: int,
        receive_buffer_bytes: int,
        frame_cap_bytes: int,
        tls: TlsContext | None = None,
        server_name: str = "",
    ) -> int:
        """Begin a connection to a numeric address; returns its id at once.

        tls: None means plain TCP. server_name: Name that the broker's certificate must have.
        """

    def request(
        self, conn: int, token: int, frame: bytes, *, timeout: float, expects_response: bool = True
    ) -> None:
        """Write a control request. `frame` as `protocol.headers.encode_request` makes it; the correlation id is set here.

        Its deadline passing poisons the connection. On a connection that is gone: nothing is written, and the token
        comes back in a `lost` event.
        """

    def beat(
        self, conn: int, frame: bytes, *, interval: float, timeout: float, error_offset: int
    ) -> int:
        """Send `frame` every `interval` seconds, the first one an interval from now, until `beat_stop`.

        The i16 at `error_offset` of the response frame (counted from the correlation id) is compared with 0.
        """

    def beat_stop(self, beat: int) -> None: ...
    def close(self, conn: int) -> None:
        """Close the connection; `lost` with kind closed follows."""

    def statistics(self) -> IoStatistics: ...
    def skip(self, seconds: float) -> bool:
        """Let the clock of the I/O thread, which is the whole process's, jump ahead; True once it has had a turn after it."""

    def shutdown(self, timeout: float) -> bool:
        """Close everything and end the thread; False if it did not end in time."""

# ---- waiting -------------------------------------------------------------------------------------------------------

@final
class LoopBridge:
    """Wakes what sleeps in one asyncio loop from native threads without the GIL. One per event loop."""

    def __len__(self) -> int:
        """How many sleep."""

    def __new__(cls, event_loop: asyncio.AbstractEventLoop) -> Self: ...
    def fileno(self) -> int:
        """For `loop.add_reader`."""

    def dispatch(self) -> None:
        """The reader callback: wakes every sleeper whose wake came, tasks at once and futures by `set_result(None)`."""

    def turn_ended(self) -> None:
        """End the linger of the messages that tasks of the loop began to await in this turn."""

@final
class Sleep:
    """The sleep of a task: as much of a future as `asyncio.Task` needs. Only ever yielded to a task."""

    _asyncio_future_blocking: bool
    def get_loop(self) -> asyncio.AbstractEventLoop: ...
    def add_done_callback(
        self, callback: Callable[[Self], object], *, context: Context | None = None
    ) -> None: ...
    def remove_done_callback(self, callback: Callable[[Self], object]) -> int: ...
    def cancel(self, msg: object = None) -> bool: ...
    def cancelled(self) -> bool: ...
    def done(self) -> bool: ...
    def result(self) -> None: ...
    def exception(self) -> None: ...

@final
class Waiting:
    """An awaitable over something native, with the methods of a coroutine."""

    def __await__(self) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, _value: Any) -> Any: ...
    def throw(self, kind: Any, value: Any = None, trace: Any = None) -> None: ...
    def close(self) -> None: ...

@final
class Latch:
    """A one-way gate, set once from any thread and waited for by threads and by event loops."""

    def __init__(self) -> None: ...
    def set(self) -> None: ...
    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it (seconds; None: no limit); False when the time ran out. Ctrl-C ends the wait at once."""

    def future(self) -> asyncio.Future[None]:
        """A future of the running loop that is done once the latch is set. Cancelling it ends the wait only."""

# ---- producing -----------------------------------------------------------------------------------------------------

@final
class ProduceFlow:
    """Accumulator and produce flow of one producer, as the engine and the outbox use them."""

    def __new__(cls, io: Io | None, settings: ProduceSettings) -> Self:
        """`io=None`: no thread drives it (tests and the bare-call benchmark drive it by hand)."""

    # tables that Python gives
    def set_topic(
        self,
        topic: str,
        topic_id: bytes,
        partitions: int,
        available: Sequence[int],
        near: Sequence[int] = ...,
    ) -> None:
        """Metadata of a topic came or changed. Messages that waited for it are partitioned now, in order.

        `available`: partitions with a leader; `near`: those of them that messages without a key prefer.
        Another id for the same name: the partitions that have sent are held with cause `recreated`.
        """

    def awaits_metadata(self, topic: str) -> bool:
        """Whether messages wait for metadata: the topic, or the partition that they name, is not known."""

    def stored_count(self, topic: str) -> int:
        """Number of messages that have ever waited for metadata of the topic, for `refuse_missing`."""

    def refuse_missing(self, topic: str, before: int) -> None:
        """The known metadata was requested when `stored_count` was `before`: of those messages, the ones that name a partition
        that the topic does not have fail (outcome not_written), reported by `MessagesFailed`. Later ones wait for a younger answer."""

    def drop_idle_topics(self, idle_us: int) -> list[str]:
        """The topics without an unresolved message whose last one is at least `idle_us` microseconds old. Each is returned once;
        its next message is reported by `TopicWanted` again."""

    def fail_partition(self, topic: str, partition: int, error: ErrorData) -> int:
        """Fail the messages of a partition that has neither a route nor a hold, with the outcome that their attempts leave,
        reported by `MessagesFailed`. Its next message is reported by `RouteWanted`. Returns how many messages."""

    def fail_topic(self, topic: str, error: ErrorData) -> int:
        """Fail the messages that wait for the topic's metadata (outcome not_written); returns how many. Reported by
        `MessagesFailed`."""

    def set_trouble(
        self, topic: str, trouble: Reported | None, partition: int | None = None
    ) -> None:
        """Why the messages of a topic, or of one partition of it until that is routed, are not sent: for errors and health.
        None: nothing is known."""

    def set_identity(self, identity: ProducerIdentity) -> None:
        """No batch is sent before this when idempotent."""

    def attach(
        self, conn: int, api_version: int, node: int | None = None, address: str = ""
    ) -> None:
        """A connection in the produce role to this node is ready; it belongs to this flow until it is lost."""

    def route(self, topic: str, partition: int, conn: int) -> None:
        """Let the partition flow over this connection. Only for a partition that neither flows nor is held."""

    def hold(self, topic: str, partition: int) -> None:
        """Stop draining the partition (its leader moved); `held` follows when nothing of it is in flight."""

    def release(
        self,
        topic: str,
        partition: int,
        decisions: Sequence[Decision],
        *,
        behind: Failure | None = None,
        identity: ProducerIdentity | None = None,
    ) -> None:
        """End a hold; the partition then waits for `route`. Each decision is carried out, and nothing else.

        A batch whose messages got their outcome since `Held` keeps it.

        Args:
            topic: The topic.
            partition: The partition.
            decisions: One per batch of `Held`, in order.
            behind: The failure after which everything behind the hold fails too.
            identity: Everything is sent under this one from here on, with sequences from 0.

        Raises:
            ValueError: The decisions contradict the facts about the batches; nothing was carried out.
        """

    def drain(self) -> list[ProduceEvent]:
        """Take the events since the last call."""

    def take_callbacks(self) -> list[CallbackCall]:
        """The calls of the event `CallbacksReady`, for every delivery that has its outcome now; each is returned once."""

    def unawaited(self) -> int:
        """Number of asynchronous sends that were dropped without an await and whose message waits for its turn."""

    def advance_unawaited(self, functions: bool = False) -> UnawaitedProgress:
        """Accept such messages in their turn, and fail those whose time ran out. Engine thread; with `functions` the
        dispatcher's, where a partitioner function may be called.
        """

    def has_callbacks(self) -> bool:
        """Whether `add_done_callback` was ever called on one of its deliveries."""

    def next_report(self) -> OutcomeReport | None:
        """The next resolved batch to report, None where there is none now.

        The batch of the call before was reported by now, and leaves `buffer_memory`. On the dispatcher thread only.
        """

    def reports_outcomes(self) -> bool:
        """Whether `next_report` may ever have something: the producer has callbacks, or a message was sent with one."""

    def in_use(self) -> bool:
        """Whether a send of the first producer that was bound to it waits to be accepted, or to be awaited."""

    def undelivered(self) -> int:
        """Messages accepted and not yet resolved."""

    def abort_all(self, error: ErrorData) -> int:
        """Fail everything that is not resolved, each batch with the outcome that its attempts leave; returns how many messages.
        Reported by `MessagesFailed`."""

    def detach(self) -> None:
        """Remove the flow from the I/O thread, and drop its batches in flight; its connections stay the engine's."""

    def still_full(self) -> int | None:
        """Number of messages accepted up to now, if senders wait for buffer space or were refused since some was last freed. None:
        there is free space; the next lack of it is reported by `SpaceLacking`."""

    def statistics(self) -> ProduceStatistics: ...
    def budget(self, holders: int) -> Budget:
        """The budget and its largest holders, at most `holders` of them."""

    def is_closed(self) -> bool:
        """Whether every message is refused from here on."""

    def watch(self, watched: bool) -> None:
        """Whether `BatchAcked`, `BufferFilled` and `BufferFreed` are reported."""

@disjoint_base
class Delivery:
    """The outcome of one message, as `send` returns it.

    Once it is written, not_written or unknown it never changes. Wait with `result` or `exception`, `await` it in an event loop,
    register `add_done_callback`, or read `outcome` and `error` without waiting. An await gives and raises the same as `result`,
    `Timeout` excepted; cancelling it ends that wait only; any number of callers may wait. Threads: any.
    """

    @property
    def topic(self) -> str:
        """Name of the topic."""

    @property
    def key(self) -> Any:
        """The key that was given, the same object; None without one, and for deliveries of `send_many`."""

    @property
    def value(self) -> Any:
        """The value that was given, the same object; None without one, and for deliveries of `send_many`."""

    @property
    def headers(self) -> Any:
        """The headers that were given, the same object; None without any, and for deliveries of `send_many`."""

    @property
    def metadata(self) -> Any:
        """The `metadata` of the send, the same object, or None. It never leaves this process."""

    @property
    def partition(self) -> int | None:
        """Number of the partition; None until it is chosen."""

    @property
    def offset(self) -> int | None:
        """Offset of the record; None until it is written, -1 where the broker does not report it (acks=0, or a retry that found it there)."""

    @property
    def timestamp_ms(self) -> int:
        """Milliseconds since the epoch, UTC: of the message, or of the append where the topic has LogAppendTime."""

    @property
    def outcome(self) -> Outcome | None:
        """None while pending, then "written", "not_written" or "unknown"; it never changes afterwards."""

    @property
    def error(self) -> Error | None:
        """The error, without waiting; None while pending and where it is written. Its `.outcome` says whether the message may be written."""

    def done(self) -> bool:
        """Whether the message has its outcome. Threads: any."""

    def result(self, timeout: float | None = None) -> RecordMetadata:
        """Wait for the outcome.

        Args:
            timeout: Seconds; None: no limit but `delivery_timeout_ms`.

        Returns:
            RecordMetadata: topic, partition, offset, timestamp_ms.

        Raises:
            KafkaError: The broker refused the message because of its topic or partition, its size (`MessageTooLarge`) or the
                producer; `ottla.kafka_errors` has a class for each reason. `.outcome` says whether it may be written.
            DeliveryTimeout: No outcome within `delivery_timeout_ms`; `.outcome` says whether it may be written.
            EarlierMessageFailed: With `gapless`: an earlier message of the partition failed; `.outcome` as above.
            Closed: The producer was closed before the message had its outcome; `.outcome` as above.
            RuntimeError: It would wait on the client's own engine thread, where a handler of its log runs.
            Timeout: `timeout` ended and the outcome is not known yet; the message is still in flight.
            ForkedClient: The process is a fork of the one that sent the message, which alone receives the outcome.
            TypeError, ValueError: `timeout` is no number of seconds. The message is in flight all the same.

        Cancellation: Ctrl-C ends the wait only.
        Threads: Any thread but one that runs an event loop, which it would block: this gives a RuntimeWarning, once per place. Await the
            delivery there, which gives and raises the same.
        """

    def exception(self, timeout: float | None = None) -> Error | None:
        """Wait for the outcome, and return the error that `result` would raise, or None where the message is written.

        Args:
            timeout: Seconds; None: no limit but `delivery_timeout_ms`.

        Returns:
            KafkaError, DeliveryTimeout, EarlierMessageFailed, Closed: as `result` raises them; None: it is written.

        Raises:
            RuntimeError: It would wait on the client's own engine thread, where a handler of its log runs.
            Timeout: `timeout` ended and the outcome is not known yet; the message is still in flight.
            ForkedClient: The process is a fork of the one that sent the message, which alone receives the outcome.
            TypeError, ValueError: `timeout` is no number of seconds. The message is in flight all the same.

        Cancellation: Ctrl-C ends the wait only.
        Threads: As `result`.
        """

    def add_done_callback(self, callback: Callable[[Delivery], object]) -> None:
        """Have `callback(delivery)` called on the dispatcher thread once the message has its outcome, soon if it has it already.

        Callbacks run one after another and should be quick; an exception in one is logged and loses nothing. Callbacks of messages that
        get their outcome together, as the messages of a batch do, run in the order of these calls.

        Args:
            callback: A plain function that takes this delivery.

        Raises:
            TypeError: `callback` is not callable, or is a coroutine function, which nobody would await. The message is in flight all the
                same.
            ForkedClient: The process is a fork of the one that sent the message, which alone receives the outcome.

        Threads: Any.
        """

    def __await__(self) -> Generator[Any, None, RecordMetadata]: ...
    def __reduce__(self) -> NoReturn:
        """TypeError."""

@final
class DeliveryWithMetadata(Delivery):
    """A `Delivery` with headers, metadata or a callback."""

@final
class Deliveries:
    """The outcomes of one `send_many`, in the order of its values or messages: one object for all.

    Wait with `result` or `await`, then read `offsets` and `failed`. `len`, indices, slices and iteration give a `Delivery` per
    message, with its `metadata`, but without key, value and headers, which the caller has. Threads: any.
    """

    def __len__(self) -> int: ...
    def done(self) -> bool:
        """Whether every message has its outcome. Threads: any."""

    def result(self, timeout: float | None = None) -> Deliveries:
        """Wait until every message has its outcome.

        Args:
            timeout: Seconds; None: no limit but `delivery_timeout_ms`.

        Returns:
            Deliveries: This object.

        Raises:
            KafkaError, DeliveryTimeout, EarlierMessageFailed, Closed: The error of the first message in order that failed, as
                `Delivery.result` raises it; `failed` has them all.
            RuntimeError: It would wait on the client's own engine thread, where a handler of its log runs.
            Timeout: `timeout` ended; the messages are still in flight.
            ForkedClient: The process is a fork of the one that sent the messages, which alone receives the outcomes.
            TypeError, ValueError: `timeout` is no number of seconds. The messages are in flight all the same.

        Cancellation: Ctrl-C ends the wait only.
        Threads: Any thread but one that runs an event loop, which it would block: this gives a RuntimeWarning. Await the object there.
        """

    def __await__(self) -> Generator[Any, None, Deliveries]: ...
    @property
    def offsets(self) -> list[int | None]:
        """The offset of each message: None until it is written, -1 where the broker does not report it."""

    @property
    def failed(self) -> list[tuple[int, Error]]:
        """(index, error) of each message that has failed so far, without waiting."""

    @overload
    def __getitem__(self, index: int, /) -> Delivery: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Delivery]: ...
    def __iter__(self) -> Iterator[Delivery]: ...
    def __reduce__(self) -> NoReturn:
        """TypeError."""

@disjoint_base
class SendingBase:
    """The common base of both producers: the flow, and the methods that never wait."""

    def _bind(
        self,
        flow: ProduceFlow,
        partitioner: Callable[[str, bytes | None, bytes | None, int], int] | None = None,
        interceptors: object | None = None,
    ) -> None:
        """interceptors: has `on_send(message)`, called with every message before it is read, and `refused(message, error)`."""

    def send_nowait(
        self,
        topic: str,
        value: _Buffer = None,
        key: _Buffer = None,
        headers: _Headers = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        metadata: object = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Delivery:
        """Append one message to the batch of its partition, or raise instead of waiting: `send` that never waits.

        Args:
            topic: Name of the topic: ASCII letters and digits, '.', '_' and '-'. An unknown topic is no reason to wait: the
                message keeps its place in the topic's order and gets its partition when the metadata arrives. (With a function
                as `partitioner` and no `partition` the first sends wait for the metadata, at most `max_block_ms`.)
            value: bytes-like, str (sent as UTF-8) or None (a tombstone in a compacted topic). Copied before the return.
            key: As value. Without a `partition` the key chooses one, by default by murmur2 as in Java; None: batches rotate
                over the partitions.
            headers: Pairs of name (str) and value (as value) in a list or tuple, or a mapping; order and repeated names are
                preserved.
            partition: Number of the partition, 0 or more; None: the partitioner chooses. One that is not known yet is looked up
                in the cluster; where the topic does not have it, the message fails with UnknownTopicOrPartition.
            timestamp_ms: Milliseconds since the epoch, UTC, an int of 0 or more; None: now.
            metadata: Any object; the delivery returns it as `.metadata`. It is never sent.
            on_delivery: Function of the `Delivery`, called once on the dispatcher thread when this message has its outcome,
                after the producer's own `on_delivery`. Until it has returned, the batch of the message counts against
                `buffer_memory`. Its exceptions are logged. A message that is refused has no such call. None: no call.

        Returns:
            Delivery: has the outcome: `result(timeout)`, `await`, `add_done_callback`, or `outcome` without waiting.

        Raises:
            BufferFull: `buffer_memory` has no free space, or earlier sends wait for it. Not accepted.
            MessageTooLarge: Larger than `max_message_bytes` or `buffer_memory`. Not accepted.
            Closed: The producer is closed or closing. Not accepted.
            ForkedClient: The producer was made before a fork. Not accepted.
            Timeout: The `partitioner` is a function and the partitions of the topic are unknown, or earlier sends of an event
                loop still wait for them. Not accepted. Exceptions of the function itself, and a TypeError or ValueError for
                a result that is no partition: likewise.
            TypeError: An argument has a wrong type; the message names it. Not accepted.
            ValueError: An argument has a wrong value: no legal topic name, a number out of range, a str without a form in UTF-8
                (UnicodeEncodeError), a memoryview that is not contiguous. Not accepted.

        Threads: Any.
        Protocol: Produce (key 0); KIP-98 sequences, KIP-480 and KIP-794 partition choice; Java: KafkaProducer.send,
            RecordAccumulator.append.
        """

    def _stop_accepting(self) -> None:
        """From here `send` raises `ottla.errors.Closed`."""

    def _end_outcomes(self) -> None:
        """`_take_outcomes` returns [] once drained."""

    def _counts(self) -> tuple[int, int, int]:
        """(delivered, failed as not written, unknown) messages so far."""

class ProducerBase(SendingBase):
    """The hot methods of `ottla.Producer`: hand-made, no Python frame in front."""

    def __new__(cls, *_args: Any, **_config: Any) -> Self: ...
    def send(
        self,
        topic: str,
        value: _Buffer = None,
        key: _Buffer = None,
        headers: _Headers = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        metadata: object = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Delivery:
        """Append one message to the batch of its partition; wait only while `buffer_memory` is full.

        This thread encodes the record; batching, compression, the network and retries are the I/O thread's work. Messages of
        a partition are written in the order of the calls. An accepted message is not yet a written one: the delivery has the
        outcome, and the log has every failure whose outcome nobody retrieves.

        Args:
            topic: Name of the topic: ASCII letters and digits, '.', '_' and '-'. An unknown topic is no reason to wait: the
                message keeps its place in the topic's order and gets its partition when the metadata arrives. (With a function
                as `partitioner` and no `partition` the first sends wait for the metadata, at most `max_block_ms`.)
            value: bytes-like, str (sent as UTF-8) or None (a tombstone in a compacted topic). Copied before the return.
            key: As value. Without a `partition` the key chooses one, by default by murmur2 as in Java; None: batches rotate
                over the partitions.
            headers: Pairs of name (str) and value (as value) in a list or tuple, or a mapping; order and repeated names are
                preserved.
            partition: Number of the partition, 0 or more; None: the partitioner chooses. One that is not known yet is looked up
                in the cluster; where the topic does not have it, the message fails with UnknownTopicOrPartition.
            timestamp_ms: Milliseconds since the epoch, UTC, an int of 0 or more; None: now.
            metadata: Any object; the delivery returns it as `.metadata`. It is never sent.
            on_delivery: Function of the `Delivery`, called once on the dispatcher thread when this message has its outcome,
                after the producer's own `on_delivery`. Until it has returned, the batch of the message counts against
                `buffer_memory`. Its exceptions are logged. A message that is refused has no such call. None: no call.

        Returns:
            Delivery: `result(timeout)` waits for the outcome. The caller need not keep it.

        Raises:
            BufferFull: No free buffer space within `max_block_ms`, first come, first served; at once in callbacks and in
                handlers of the client's own log, which run on its threads. Not accepted.
            MessageTooLarge: Larger than `max_message_bytes` or `buffer_memory`. Not accepted.
            Closed: The producer is closed or closing. Not accepted.
            ForkedClient: The producer was made before a fork. Not accepted.
            Timeout: The `partitioner` is a function and the partitions of the topic are unknown, or earlier sends of an event
                loop still wait for them. Not accepted. Exceptions of the function itself, and a TypeError or ValueError for
                a result that is no partition: likewise.
            TypeError: An argument has a wrong type; the message names it. Not accepted.
            ValueError: An argument has a wrong value: no legal topic name, a number out of range, a str without a form in UTF-8
                (UnicodeEncodeError), a memoryview that is not contiguous. Not accepted.

        Cancellation: Ctrl-C ends the wait for buffer space at once; the message is not accepted then.
        Threads: Any.
        Protocol: Produce (key 0); KIP-98 sequences, KIP-480 and KIP-794 partition choice; Java: KafkaProducer.send,
            RecordAccumulator.append.
        """

    def send_and_wait(
        self,
        topic: str,
        value: _Buffer = None,
        key: _Buffer = None,
        headers: _Headers = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        metadata: object = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> RecordMetadata:
        """Send one message and wait for its outcome: `send` and the wait for its delivery in one call.

        The message does not linger (`linger_ms`): it leaves as soon as no other batch of its partition is in flight. One message
        at a time costs a round trip each: a loop of `send` with one wait at its end shares batches and requests.

        It waits for buffer space up to `max_block_ms` and for the outcome up to `delivery_timeout_ms`, and has no timeout of its own:
        to wait for less, and have the delivery afterwards, call `send(...)` and `result(timeout=5)` of its delivery.

        Args:
            topic: Name of the topic: ASCII letters and digits, '.', '_' and '-'. An unknown topic is no reason to wait: the
                message keeps its place in the topic's order and gets its partition when the metadata arrives. (With a function
                as `partitioner` and no `partition` the first sends wait for the metadata, at most `max_block_ms`.)
            value: bytes-like, str (sent as UTF-8) or None (a tombstone in a compacted topic). Copied before the return.
            key: As value. Without a `partition` the key chooses one, by default by murmur2 as in Java; None: batches rotate
                over the partitions.
            headers: Pairs of name (str) and value (as value) in a list or tuple, or a mapping; order and repeated names are
                preserved.
            partition: Number of the partition, 0 or more; None: the partitioner chooses. One that is not known yet is looked up
                in the cluster; where the topic does not have it, the message fails with UnknownTopicOrPartition.
            timestamp_ms: Milliseconds since the epoch, UTC, an int of 0 or more; None: now.
            metadata: Any object; the delivery returns it as `.metadata`. It is never sent.
            on_delivery: Function of the `Delivery`, called once on the dispatcher thread when this message has its outcome,
                after the producer's own `on_delivery`. Until it has returned, the batch of the message counts against
                `buffer_memory`. Its exceptions are logged. A message that is refused has no such call. None: no call.

        Returns:
            RecordMetadata: topic, partition, offset, timestamp_ms.

        Raises:
            KafkaError: The broker refused the message because of its topic or partition, its size (`MessageTooLarge`) or the
                producer; `ottla.kafka_errors` has a class for each reason. `.outcome` says whether it may be written.
            DeliveryTimeout: No outcome within `delivery_timeout_ms`; `.outcome` says whether it may be written.
            EarlierMessageFailed: With `gapless`: an earlier message of the partition failed; `.outcome` as above.
            Closed: The producer was closed before the message had its outcome; `.outcome` as above.
            BufferFull: No free buffer space within `max_block_ms`. Not accepted.
            RuntimeError: It would wait on the client's own engine thread, where a handler of its log runs. Not accepted.
            MessageTooLarge: Larger than `max_message_bytes` or `buffer_memory`. Not accepted.
            UnknownTopicOrPartition: The topic has no such partition. Not written.
            Closed: The producer is closed or closing. Not accepted.
            ForkedClient: The producer was made before a fork. Not accepted.
            Timeout: The `partitioner` is a function and the partitions of the topic are unknown, or earlier sends of an event
                loop still wait for them. Not accepted. Exceptions of the function itself, and a TypeError or ValueError for
                a result that is no partition: likewise.
            TypeError: An argument has a wrong type; the message names it. Not accepted.
            ValueError: An argument has a wrong value: no legal topic name, a number out of range, a str without a form in UTF-8
                (UnicodeEncodeError), a memoryview that is not contiguous. Not accepted.

        Cancellation: Ctrl-C ends the wait only; an accepted message is still sent.
        Threads: Any thread but one that runs an event loop, which it would block: this gives a RuntimeWarning.
        Protocol: Produce (key 0); KIP-98 sequences, KIP-480 and KIP-794 partition choice; Java: KafkaProducer.send,
            RecordAccumulator.append.
        """

    @overload
    def send_many(
        self,
        topic: str,
        values: Iterable[_Buffer],
        keys: Iterable[_Buffer] | None = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Deliveries:
        """Send every value of an iterable as a message of one topic, or every `Message` of an iterable; one object has all outcomes.

        Waits while `buffer_memory` is full, for each message at most `max_block_ms`. Otherwise as `send`.

        Args:
            topic: Name of the topic; or, alone, any iterable of `ottla.Message`, each with its own topic.
            values: Any iterable of bytes-like, str or None; each is copied when it is accepted.
            keys: As many keys as values, or None: no keys.
            on_delivery: As for `send`, for each message of this call.

        Returns:
            Deliveries: len, `.result(timeout)`, `.offsets`, `.failed`, and a `Delivery` by index.

        Raises:
            BufferFull: One message found no free buffer space within `max_block_ms`; at once in callbacks and handlers of the
                client's log.
            MessageTooLarge, Closed, ForkedClient, TypeError, ValueError: As for `send`.
            ValueError: There are more keys than values, or more values than keys.
            Exception: Raised by the iterable itself.
            In each of these cases `.accepted` of the exception has the Deliveries of the messages before that one, which are
            accepted and will be sent; that one and the messages after it are not accepted.
            TypeError: `values` or `keys` is not iterable, or is a mapping or a single str or bytes object, whose letters nobody means
            to send. Nothing was accepted, and there is no `.accepted`.

        Cancellation: Ctrl-C ends a wait for buffer space; `.accepted` as above.
        Threads: Any.
        """

    @overload
    def send_many(
        self,
        topic: Iterable[Message],
        values: None = None,
        keys: None = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Deliveries: ...
    def _flush(self, timeout: float | None) -> bool:
        """Seal everything accepted so far, wait until it is resolved; False when the time ran out."""

    def _take_outcomes(
        self,
        failed: bool | None,
        limit: int,
        timeout: float | None,
        into: deque[Delivery] | None = None,
    ) -> list[Delivery] | None:
        """Resolved deliveries for `successes()` (False), `errors()` (True), `outcomes()` (None).

        None: the time ran out; []: ended. `into` has them too before an interrupt can come between.
        """

class AsyncProducerBase(SendingBase):
    """The `ProducerBase` for event loops: methods that can wait return an awaitable."""

    def __new__(cls, *_args: Any, **_config: Any) -> Self: ...
    def send(
        self,
        topic: str,
        value: _Buffer = None,
        key: _Buffer = None,
        headers: _Headers = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        metadata: object = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Coroutine[Any, Any, Delivery]:
        """Append one message to the batch of its partition; the await waits only while `buffer_memory` is full.

        The call itself accepts the message, so messages of a partition are written in the order of the calls, in whichever order
        they are awaited, and also without an await. Without free buffer space the message takes a place in the queue, and the
        await ends when it is in the buffer. An accepted message is not yet a written one: awaiting the delivery gives the
        outcome, and the log has every failure whose outcome nobody retrieves.

            delivery = await producer.send("orders", b"value")
            metadata = await delivery

        Args:
            topic: Name of the topic: ASCII letters and digits, '.', '_' and '-'. An unknown topic is no reason to wait: the
                message keeps its place in the topic's order and gets its partition when the metadata arrives. (With a function
                as `partitioner` and no `partition` the first sends wait for the metadata, at most `max_block_ms`.)
            value: bytes-like, str (sent as UTF-8) or None (a tombstone in a compacted topic). Copied before the return.
            key: As value. Without a `partition` the key chooses one, by default by murmur2 as in Java; None: batches rotate
                over the partitions.
            headers: Pairs of name (str) and value (as value) in a list or tuple, or a mapping; order and repeated names are
                preserved.
            partition: Number of the partition, 0 or more; None: the partitioner chooses. One that is not known yet is looked up
                in the cluster; where the topic does not have it, the message fails with UnknownTopicOrPartition.
            timestamp_ms: Milliseconds since the epoch, UTC, an int of 0 or more; None: now.
            metadata: Any object; the delivery returns it as `.metadata`. It is never sent.
            on_delivery: Function of the `Delivery`, called once on the dispatcher thread when this message has its outcome,
                after the producer's own `on_delivery`. Until it has returned, the batch of the message counts against
                `buffer_memory`. Its exceptions are logged. A message that is refused has no such call. None: no call.

        Returns:
            Delivery: result of the await; awaiting the delivery in turn gives the outcome.

        Raises:
            BufferFull: No free buffer space within `max_block_ms`; first come, first served. Raised by the call itself while
                messages that wait without an await hold as many bytes as `buffer_memory`. Not accepted.
            MessageTooLarge: Larger than `max_message_bytes` or `buffer_memory`. Not accepted.
            Closed: The producer is closed or closing. Not accepted.
            ForkedClient: The producer was made before a fork. Not accepted.
            Timeout: The `partitioner` is a function and the partitions of the topic are unknown, or earlier sends of an event
                loop still wait for them. Not accepted. Exceptions of the function itself, and a TypeError or ValueError for
                a result that is no partition: likewise.
            TypeError: An argument has a wrong type; the message names it. Not accepted.
            ValueError: An argument has a wrong value: no legal topic name, a number out of range, a str without a form in UTF-8
                (UnicodeEncodeError), a memoryview that is not contiguous. Not accepted.

        Cancellation: While it waits for buffer space it gives up its place in the queue: the message is not accepted. After
            that it changes nothing: an accepted message is sent.
        Threads: Any thread with a running event loop.
        Protocol: Produce (key 0); KIP-98 sequences, KIP-480 and KIP-794 partition choice; Java: KafkaProducer.send,
            RecordAccumulator.append.
        """

    def send_and_wait(
        self,
        topic: str,
        value: _Buffer = None,
        key: _Buffer = None,
        headers: _Headers = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        metadata: object = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Coroutine[Any, Any, RecordMetadata]:
        """Send one message and wait for its outcome: `send` and the wait for its delivery in one call.

        As with `send` the call itself appends, so messages of a partition are written in the order of the calls. The message does not
        linger (`linger_ms`): it leaves as soon as no other batch of its partition is in flight, together with the messages that other
        tasks send in this turn of the loop. One message at a time costs a round trip each: many sends, awaited afterwards,
        share batches and requests.

        It waits for buffer space up to `max_block_ms` and for the outcome up to `delivery_timeout_ms`, and has no timeout of its own:
        to wait for less, and have the delivery afterwards, write `delivery = await producer.send(...)` and await the delivery under
        `asyncio.timeout(5)`.

        Args:
            topic: Name of the topic: ASCII letters and digits, '.', '_' and '-'. An unknown topic is no reason to wait: the
                message keeps its place in the topic's order and gets its partition when the metadata arrives. (With a function
                as `partitioner` and no `partition` the first sends wait for the metadata, at most `max_block_ms`.)
            value: bytes-like, str (sent as UTF-8) or None (a tombstone in a compacted topic). Copied before the return.
            key: As value. Without a `partition` the key chooses one, by default by murmur2 as in Java; None: batches rotate
                over the partitions.
            headers: Pairs of name (str) and value (as value) in a list or tuple, or a mapping; order and repeated names are
                preserved.
            partition: Number of the partition, 0 or more; None: the partitioner chooses. One that is not known yet is looked up
                in the cluster; where the topic does not have it, the message fails with UnknownTopicOrPartition.
            timestamp_ms: Milliseconds since the epoch, UTC, an int of 0 or more; None: now.
            metadata: Any object; the delivery returns it as `.metadata`. It is never sent.
            on_delivery: Function of the `Delivery`, called once on the dispatcher thread when this message has its outcome,
                after the producer's own `on_delivery`. Until it has returned, the batch of the message counts against
                `buffer_memory`. Its exceptions are logged. A message that is refused has no such call. None: no call.

        Returns:
            RecordMetadata: topic, partition, offset, timestamp_ms.

        Raises:
            KafkaError: The broker refused the message because of its topic or partition, its size (`MessageTooLarge`) or the
                producer; `ottla.kafka_errors` has a class for each reason. `.outcome` says whether it may be written.
            DeliveryTimeout: No outcome within `delivery_timeout_ms`; `.outcome` says whether it may be written.
            EarlierMessageFailed: With `gapless`: an earlier message of the partition failed; `.outcome` as above.
            Closed: The producer was closed before the message had its outcome; `.outcome` as above.
            BufferFull: No free buffer space within `max_block_ms`. Not accepted.
            MessageTooLarge: Larger than `max_message_bytes` or `buffer_memory`. Not accepted.
            UnknownTopicOrPartition: The topic has no such partition. Not written.
            Closed: The producer is closed or closing. Not accepted.
            ForkedClient: The producer was made before a fork. Not accepted.
            Timeout: The `partitioner` is a function and the partitions of the topic are unknown, or earlier sends of an event
                loop still wait for them. Not accepted. Exceptions of the function itself, and a TypeError or ValueError for
                a result that is no partition: likewise.
            TypeError: An argument has a wrong type; the message names it. Not accepted.
            ValueError: An argument has a wrong value: no legal topic name, a number out of range, a str without a form in UTF-8
                (UnicodeEncodeError), a memoryview that is not contiguous. Not accepted.

        Cancellation: While it waits for buffer space it gives up its place in the queue: the message is not accepted. After
            that it ends the wait only: an accepted message is sent.
        Threads: Any thread with a running event loop.
        Protocol: Produce (key 0); KIP-98 sequences, KIP-480 and KIP-794 partition choice; Java: KafkaProducer.send,
            RecordAccumulator.append.
        """

    @overload
    def send_many(
        self,
        topic: str,
        values: Iterable[_Buffer],
        keys: Iterable[_Buffer] | None = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Coroutine[Any, Any, Deliveries]:
        """Send every value of an iterable as a message of one topic, or every `Message` of an iterable; one object has all outcomes.

        Nothing is sent before the await, which waits while `buffer_memory` is full, for each message at most `max_block_ms`. It does
        not give way to other tasks while there is free buffer space. Otherwise as `send`.

        Args:
            topic: Name of the topic; or, alone, any iterable of `ottla.Message`, each with its own topic.
            values: Any iterable of bytes-like, str or None; each is copied when it is accepted.
            keys: As many keys as values, or None: no keys.
            on_delivery: As for `send`, for each message of this call.

        Returns:
            Deliveries: len, `.result(timeout)`, `.offsets`, `.failed`, and a `Delivery` by index.

        Raises:
            BufferFull: One message found no free buffer space within `max_block_ms`; at once in callbacks and handlers of the
                client's log.
            MessageTooLarge, Closed, ForkedClient, TypeError, ValueError: As for `send`.
            ValueError: There are more keys than values, or more values than keys.
            Exception: Raised by the iterable itself.
            In each of these cases `.accepted` of the exception has the Deliveries of the messages before that one, which are
            accepted and will be sent; that one and the messages after it are not accepted.
            TypeError: `values` or `keys` is not iterable, or is a mapping or a single str or bytes object, whose letters nobody means
            to send. Nothing was accepted, and there is no `.accepted`.

        Cancellation: Accepted messages are sent; the others are not.
        Threads: Any thread with a running event loop.
        """

    @overload
    def send_many(
        self,
        topic: Iterable[Message],
        values: None = None,
        keys: None = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Coroutine[Any, Any, Deliveries]: ...
    def _flush(self, timeout: float | None) -> Awaitable[bool]: ...
    def _take_outcomes(
        self,
        failed: bool | None,
        limit: int,
        timeout: float | None,
        into: deque[Delivery] | None = None,
    ) -> Awaitable[list[Delivery] | None]: ...

# ---- consuming -----------------------------------------------------------------------------------------------------

@final
class FetchFlow:
    """Fetch flow and inbox of one consumer."""

    def __new__(cls, io: Io | None, settings: FetchSettings) -> Self:
        """`io=None`: no thread drives it (tests are the broker themselves)."""

    # tables that Python gives (engine thread)
    def attach(self, conn: int, api_version: int, node: int, address: str) -> None: ...
    def assign(self, topic: str, topic_id: bytes, partition: int) -> None:
        """Make the partition known, neither positioned nor flowing."""

    def unassign(self, topic: str, partition: int) -> None:
        """Forget it, with everything of it that waits in the inbox. Nothing of it is handed over after this returns."""

    def withhold(self, topic: str, partition: int) -> None:
        """End its hand-over: nothing of it is taken once this returns. Its position stays readable, and can be set."""

    def position(self, topic: str, partition: int, offset: int, leader_epoch: int) -> None:
        """Set the position (assignment or seek): records fetched for an earlier one are never handed over."""

    def route(self, topic: str, partition: int, conn: int, current_leader_epoch: int) -> None:
        """Let it flow over this connection from its position."""

    def hold(self, topic: str, partition: int) -> None: ...
    def pause(self, topic: str, partition: int) -> None: ...
    def resume(self, topic: str, partition: int) -> None: ...
    def drain(self) -> list[FetchEvent]:
        """Take the events since the last call."""

    def fail(self, topic: str, partition: int, error: BaseException) -> None:
        """Queue an error that the next take of the partition raises, once: this very object."""

    def withdraw_error(self, topic: str, partition: int) -> None:
        """Raise no error of the partition that still waits for a take: the application has answered it by a seek."""

    def close(self) -> None:
        """Wakes every taker; from here `take` raises `ottla.errors.Closed`. The I/O thread forgets the flow."""

    # callers
    def take(
        self, limit: int, timeout: float | None, only: tuple[str, int] | None = None
    ) -> Records | None:
        """Wait for records, partitions in rotation; None when time ran out or `wakeup`/`end` came.

        Ctrl-C ends the wait at once. Raises what `fail` queued, once, and `ottla.errors.DecodeError`, once, for a
        batch that could not be read twice in a row; it is fetched again after a pause, and the other partitions go on.
        """

    def take_async(
        self, limit: int, timeout: float | None, only: tuple[str, int] | None = None
    ) -> Awaitable[Records | None]:
        """The same as an awaitable of the running loop; no future where records are there. Cancelling loses none."""

    def wakeup(self) -> None:
        """Make current takers return None; if there is none, the next one does."""

    def end(self, topic: str, partition: int) -> None:
        """Takers of only this partition return None from now on (its claim ended)."""

    def positions(self) -> dict[tuple[str, int], tuple[int, int]]:
        """(next offset to hand over, leader epoch) of every positioned partition."""

    def partition_state(self, topic: str, partition: int) -> PartitionState: ...
    def statistics(self) -> FetchStatistics: ...

@final
class Record(Generic[_K, _V]):
    """One record: its topic, partition and offset, and its key, value and headers, which each access creates.

    It keeps the memory of the fetched data around it until `detach`; pickles and copies have bytes of their own. Records with the same
    topic, partition, offset, timestamp, key, value and headers are equal. A record never changes. Threads: any.
    """

    @property
    def topic(self) -> str:
        """Name of the topic; the same object for all records of a poll."""

    @property
    def partition(self) -> int:
        """Number of the partition."""

    @property
    def topic_partition(self) -> TopicPartition:
        """Topic and number of the partition; each access creates it."""

    @property
    def offset(self) -> int:
        """Offset in the partition."""

    @property
    def timestamp_ms(self) -> int:
        """Milliseconds since the epoch, UTC: of the message, or of the append where the topic has LogAppendTime."""

    @property
    def timestamp_type(self) -> Literal["CreateTime", "LogAppendTime"] | None:
        """Origin of the timestamp: the producer of the message, or the broker at the append. None: a message of magic 0, which has no
        timestamp.
        """

    @property
    def key(self) -> _K | None:
        """bytes or None, created by each access; with a `key_deserializer` its result, the same object each time."""

    @property
    def value(self) -> _V | None:
        """bytes or None (a tombstone), created by each access; with a `value_deserializer` its result, the same object each time."""

    @property
    def serialized_key_size(self) -> int:
        """Bytes of the key as the broker stores it, without creating it; -1 for None."""

    @property
    def serialized_value_size(self) -> int:
        """Bytes of the value as the broker stores it, without creating it; -1 for None."""

    @property
    def key_view(self) -> memoryview | None:
        """Read-only view of the key's bytes, without a copy; None where the key is None. A view keeps the fetched data around it in
        memory, also after `detach` of its record.
        """

    @property
    def value_view(self) -> memoryview | None:
        """Read-only view of the value's bytes, without a copy; None where the value is None. A view keeps the fetched data around it in
        memory, also after `detach` of its record.
        """

    @property
    def headers(self) -> list[tuple[str, bytes | None]]:
        """List of (name, bytes or None) in order, with repeated names; each access creates it. DecodeError where the bytes are no
        headers.
        """

    @property
    def leader_epoch(self) -> int:
        """Epoch of the leader that wrote the batch; -1 where unknown."""

    @property
    def error(self) -> DeserializationError | None:
        """None; with `on_deserialize_error="hand_over"` the error of a record that did not deserialize: its key and value are bytes."""

    def detach(self) -> Self:
        """Copy this record's bytes, so that its batch can be freed, and return the record itself.

        For records that are stored for long: a single one would otherwise keep the memory of its neighbours.

        Raises:
            DecodeError: The bytes of its headers are no headers; nothing was copied.
        """

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __class_getitem__(cls, types: Any, /) -> GenericAlias: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

def make_record(
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]],
    leader_epoch: int,
    timestamp_type: str | None = None,
    deserialized: Deserialized | None = None,
) -> Record:
    """A record with bytes of its own, from a pickle or for a test."""

def make_records(
    records: Iterable[Record], next_offsets: Mapping[TopicPartition, tuple[int, int]]
) -> Records:
    """Records from a pickle. next_offsets: As `Records.next_offsets` returned them."""

@final
class Records(Generic[_K, _V]):
    """Records of one poll, those of a partition in order: `len`, iteration, indices, slices and `+`. Empty is false.

    It holds whole batches; a `Record` is created when it is read. It never changes. Two are equal if their records are, in
    order; pickles and deep copies have bytes of their own. `Records()` is empty, `Records(some)` has the `Record` objects of an
    iterable. Threads: any.
    """

    def __new__(cls, records: Iterable[Record[_K, _V]] | None = None, /) -> Self: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Record[_K, _V]]: ...
    @overload
    def __getitem__(self, index: int, /) -> Record[_K, _V]: ...
    @overload
    def __getitem__(self, index: slice, /) -> Records[_K, _V]: ...
    def values(self) -> list[_V | None]:
        """The value of each record, bytes or None, or the result of the `value_deserializer`: one list in one call."""

    def keys(self) -> list[_K | None]:
        """The key of each record, bytes or None, or the result of the `key_deserializer`: one list in one call."""

    def offsets(self) -> list[int]:
        """The offset of each record: one list in one call."""

    def timestamps(self) -> list[int]:
        """The timestamp of each record, milliseconds since the epoch, UTC: one list in one call."""

    def headers(self) -> list[list[tuple[str, bytes | None]]]:
        """The headers of each record, as `Record.headers`: one list in one call.

        Raises:
            DecodeError: The bytes of a record's headers are no headers; its `offset` is that of the record.
        """

    def __add__(self, other: Records[_K, _V], /) -> Records[_K, _V]: ...
    def _deserialized(self, given: Deserialized) -> Records[Any, Any]:
        """The same records with the objects of deserializers, one per record."""

    def _without(self, places: list[int]) -> Records[_K, _V]:
        """The records without those at these indices, in ascending order; the positions after them are the same."""

    def __class_getitem__(cls, types: Any, /) -> GenericAlias: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def by_partition(self) -> dict[TopicPartition, Records[_K, _V]]:
        """`TopicPartition` -> its records, in the order in which the partitions appear."""

    def next_offsets(self) -> dict[TopicPartition, tuple[int, int]]:
        """`TopicPartition` -> (offset after its last record here, leader epoch): the offsets to commit for all of them.

        After the last record of a batch that is the offset after the batch, which may be higher by more than one.
        """

@disjoint_base
class ConsumerBase(Generic[_K, _V]):
    """The hot iteration of `ottla.Consumer`: `__next__` hands over one record after another without a Python frame."""

    def _bind(self, flow: FetchFlow, /) -> None:
        """The iteration starts over; `_refill` takes from this flow."""

    def __class_getitem__(cls, types: Any, /) -> GenericAlias: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Record[_K, _V]:
        """Next record; asks `self._refill() -> Records | None` when the current records are used up (None: stop)."""

    def _current(self) -> tuple[str, int, int] | None:
        """(topic, partition, offset) of the record handed out last and not yet followed by another request."""

    def _start(self, records: Records[Any, Any], /) -> None:
        """The next steps hand over these records."""

    def _interrupt(self) -> None:
        """The next step calls `self._interrupted()` before it hands over a record. Threads: any."""

    def _rest(self) -> Records[_K, _V]:
        """The records that are left; the last one that was handed over is not the current record any more."""

    def _skip(self, place: tuple[str, int], /) -> None:
        """Hand over nothing more of this partition out of the current records: its position was set again."""

# ---- for tests alone: cargo feature `testing`, which the wheel is built without ---------------------------------------

def encode_batch(
    records: Sequence[tuple[int, bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]],
    *,
    codec: str = "none",
    level: int | None = None,
    base_offset: int = 0,
    leader_epoch: int = -1,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    transactional: bool = False,
    control: bool = False,
    log_append_ms: int | None = None,
) -> bytes:
    """One batch of magic 2. records: (timestamp_ms, key, value, headers). ValueError: unknown codec or level."""

def decode_batches(
    data: bytes, cap: int
) -> list[
    tuple[
        dict[str, int],
        list[tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]],
    ]
]:
    """The whole batches of any magic: (header, [(offset, timestamp_ms, key, value, headers)]).

    cap: bytes that one batch may have decompressed. Raises `ottla.errors.DecodeError`.
    """

def decode_records(topic: str, partition: int, data: bytes, position: int = 0) -> Records:
    """The records from `position` on in the bytes of one partition, as a fetch response has them.

    A cut batch at the end is left out, markers of transactions too. Raises `ottla.errors.DecodeError`.
    """

def bridge_for_loop(loop: asyncio.AbstractEventLoop) -> LoopBridge:
    """The bridge of this loop, made and registered on first use, in the loop's own thread; it ends with the loop."""

def next_frame(
    flow: ProduceFlow | FetchFlow, conn: int, correlation_id: int, now_us: int
) -> tuple[int, bytes] | None:
    """The next request of a connection of a flow without an I/O thread: its token, and the frame without its size."""

def answer(flow: ProduceFlow | FetchFlow, conn: int, token: int, frame: bytes, now_us: int) -> None:
    """The answer to a request, from behind the correlation id on. Raises ValueError where it is none."""

def lose(flow: ProduceFlow | FetchFlow, conn: int, message: str, now_us: int) -> None:
    """The broker closes the connection."""

def tick(flow: ProduceFlow | FetchFlow, now_us: int) -> int | None:
    """Time passes; returns the time of the next call."""

def assume_sequence(flow: ProduceFlow, topic: str, partition: int, next: int) -> None:
    """The next message of the partition gets this sequence. Raises ValueError where the flow has no such partition."""
