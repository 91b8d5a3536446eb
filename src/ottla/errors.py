"""The exceptions of the client: the cause of a failure, and whether the operation happened.

Leaf of the import tree: every station raises them. Each error has an `outcome`, which answers "did it happen?" for the
messages that it is about: `not_written` (the message never left, or the broker refused it before the append), `unknown` (bytes
may have left and there was no answer), `written`, or None if there was nothing to write.

`ottla.kafka_errors` (generated) has one class for each error code of brokers; codes with a class of their own in this module
(`MessageTooLarge`, `OffsetOutOfRange`, `ProducerFenced`, `UnsupportedVersion`) use that class. Threads: any.

Errors can be pickled, with every attribute except `accepted`; the pickle has neither `__cause__` nor the traceback, as for every
Python exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from typing import Self

    from ottla._native import Deliveries, Record
    from ottla.message import TopicPartition

Outcome = Literal["written", "not_written", "unknown"]
"""Answer to "did it happen?", also of `Delivery.outcome`."""

NOT_WRITTEN: Final = "not_written"
"""The message is not in the log: sending it again duplicates nothing."""
UNKNOWN: Final = "unknown"
"""The message may be in the log: sending it again may duplicate it."""
WRITTEN: Final = "written"
"""The message is in the log."""


class Error(Exception):
    """Base class of the errors of this client.

    Did it happen? See `outcome`.

    Args:
        message: Description of the failure.
        topic: Topic that the error is about.
        partition: Partition that the error is about.
        outcome: `not_written`, `unknown`, `written` or None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        topic: str | None = None,
        partition: int | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        """Description of the failure."""
        self.topic = topic
        """Topic that the error is about, or None."""
        self.partition = partition
        """Partition that the error is about, or None."""
        self.outcome = outcome
        """Did it happen? `not_written`, `unknown`, `written`, or None if there was nothing to write."""

    @property
    def permanent(self) -> bool:
        """Whether the same attempt can never succeed: refused rights or credentials, a wrong option, no common version.

        The client does not retry after such an error.
        """
        return False

    accepted: Deliveries | None = None
    """Deliveries that a `send_many` had accepted before it ended with this error, else None.

    `copy.copy` copies it; in a pickle and in a deep copy it is None, because a delivery resolves only in its own process."""

    def __copy__(self) -> Self:
        twin = type(self)(*self.args)
        twin.__dict__.update(self.__dict__)
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        attributes = {name: own for name, own in self.__dict__.items() if name != "accepted"}
        return type(self), self.args, attributes

    def _place(self) -> str:
        if self.topic is None:
            return ""
        return f"{self.topic}-{self.partition}" if self.partition is not None else self.topic

    def _notes(self) -> str:
        notes = [
            note for note in (self._place(), self.outcome and f"outcome {self.outcome}") if note
        ]
        return f" [{', '.join(notes)}]" if notes else ""

    def _line(self) -> str:
        """Description in one line, without place and outcome."""
        return self.message.replace("\n", "; ")

    def __str__(self) -> str:
        return f"{self.message}{self._notes()}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class KafkaError(Error):
    """A broker answered with an error code; `ottla.kafka_errors` has one subclass per code.

    Did it happen? No, unless `outcome` is `unknown`: after some codes (a time-out between replicas, a leader that has just
    moved) the write may still be in the log.
    """

    code: int = -1
    """Number of the error code in the protocol."""
    name: str = "UNKNOWN_SERVER_ERROR"
    """Name of the error code in Kafka."""
    retriable: bool = False
    """Whether the same request may succeed later (Java's RetriableException)."""
    refreshes_metadata: bool = False
    """Whether the metadata of the topic is stale (Java's InvalidMetadataException)."""

    @property
    def permanent(self) -> bool:
        """Whether a retry is useless, like `Error.permanent`: not retriable, except for codes that name no cause."""
        return not self.retriable and self.code != -1 and self.name != _UNKNOWN_NAME

    def _line(self) -> str:
        text = f"{self.name} ({self.code})"
        return f"{text}: {super()._line()}" if self.message else text

    def __str__(self) -> str:
        text = f"{self.name} ({self.code})"
        return (
            f"{text}: {self.message}{self._notes()}" if self.message else f"{text}{self._notes()}"
        )


class BufferFull(Error):
    """The buffer of the producer (`buffer_memory`) had no free space within `max_block_ms`.

    Did it happen? No: the message was not accepted and will not be sent.
    """


class DeliveryTimeout(Error):
    """A message had no outcome within `delivery_timeout_ms`.

    Did it happen? See `outcome`: `not_written` if the message never left, or every attempt was refused before the append;
    `unknown` if it may be in the log. The text names the cause of the delay; `__cause__` is that cause if it is an exception: the
    last answer of the broker (`UnknownTopicOrPartition`, `NotEnoughReplicas`) or `NoBrokersAvailable`.
    """


class EarlierMessageFailed(Error):
    """With `gapless`: an earlier message of the same partition failed, so this one must not be written either.

    Did it happen? See `outcome`: `not_written`, or `unknown` if an attempt was in flight. The text names the first failure;
    `__cause__` is its exception.
    """


class MessageTooLarge(KafkaError):
    """A message is larger than `max_message_bytes`, or than the broker or topic accepts.

    Did it happen? No: the message was refused before the append. Sending it again cannot succeed.
    """

    code = 10
    name = "MESSAGE_TOO_LARGE"


class ProducerFenced(KafkaError):
    """Another producer with the same transactional id has replaced this one, which can only be closed.

    Did it happen? No: the open transaction is not committed.
    """

    code = 90
    name = "PRODUCER_FENCED"


class OffsetOutOfRange(KafkaError):
    """The position of a partition is not in its log, and `auto_offset_reset` is none.

    Did it happen? No: nothing was read and the position has not moved.
    """

    code = 1
    name = "OFFSET_OUT_OF_RANGE"


class LogTruncated(OffsetOutOfRange):
    """Records that were read are no longer in the log of their partition, and `auto_offset_reset` is none (KIP-320).

    An unclean leader election does that: a replica that lacked the records became the leader. Other records may have their
    offsets now. `seek(partition, error.offset)` continues where the logs part.

    Did it happen? The records up to `position` were read; nothing was read since, and the position has not moved.

    Args:
        message: Description of the failure.
        topic: Topic of the partition.
        partition: Its number.
        offset: Where the logs part.
        position: The position.
    """

    def __init__(
        self,
        message: str = "",
        *,
        topic: str | None = None,
        partition: int | None = None,
        offset: int = -1,
        position: int = -1,
    ) -> None:
        super().__init__(message, topic=topic, partition=partition)
        self.offset = offset
        """Offset at which the log differs from the records that were read."""
        self.position = position
        """Offset after the last record that was read."""


class UnsupportedVersion(KafkaError):
    """Client and broker have no version of a request in common, or the common version lacks a field that the call needs.

    Did it happen? No: the request was not sent, or the broker did not read it.
    """

    code = 35
    name = "UNSUPPORTED_VERSION"


class TransactionAborted(Error):
    """The transaction was aborted, or can no longer be committed.

    Did it happen? No: readers with `isolation_level="read_committed"` never see its messages.
    """


class CommitFailed(Error):
    """Offsets were not committed.

    Did it happen? Not for the partitions in `partitions`, each with its own error; the others are committed. `outcome`
    is `unknown` if there was no answer: then the offsets may be committed.
    """

    partitions: dict[TopicPartition, BaseException]

    def __init__(
        self,
        message: str = "",
        *,
        partitions: dict[TopicPartition, BaseException] | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message, outcome=outcome)
        self.partitions = partitions or {}
        """Partition -> the reason why its offset was not committed."""


class ConnectionLost(Error, ConnectionError):
    """A connection ended while a request waited on it: closed by the peer, reset, timed out, or unreadable.

    Did it happen? Unknown for requests that had been sent; `outcome` is `not_written` if none had been.

    Args:
        message: Cause of the end.
        kind: connect, eof, io, request_timeout, protocol, closed.
        address: Address of the peer as host:port.
    """

    def __init__(
        self,
        message: str = "",
        *,
        kind: str = "io",
        address: str | None = None,
        topic: str | None = None,
        partition: int | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message, topic=topic, partition=partition, outcome=outcome)
        self.kind = kind
        """connect, eof, io, request_timeout, protocol or closed."""
        self.address = address
        """Address of the peer as host:port, None if unknown."""

    def _line(self) -> str:
        where = f"{self.address}: " if self.address else ""
        return f"{where}{super()._line()}"

    def __str__(self) -> str:
        where = f"{self.address}: " if self.address else ""
        return f"{where}{self.message}{self._notes()}"


class AuthenticationFailed(Error):
    """The broker refused the credentials, or could not prove its own identity. The client does not retry with them.

    Did it happen? No: no request was sent on the connection.
    """

    @property
    def permanent(self) -> bool:
        """Always: other credentials are needed."""
        return True


class TlsError(Error):
    """The TLS handshake failed: an unknown authority, another host name, no common version.

    Did it happen? No: no request was sent on the connection.

    Args:
        message: Cause and remedy.
        reason: Kind of the failure: unknown_issuer, wrong_name, expired, not_tls, client_certificate and others.
        remedy: The way out, in words.
        alert: Name of the alert that the broker sent.
    """

    def __init__(
        self,
        message: str = "",
        *,
        reason: str = "",
        remedy: str = "",
        alert: str = "",
        topic: str | None = None,
        partition: int | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message, topic=topic, partition=partition, outcome=outcome)
        self.reason = reason
        """Kind of the failure, or empty."""
        self.remedy = remedy
        """The way out, in words; also part of the message."""
        self.alert = alert
        """Name of the alert that the broker sent, or empty."""

    @property
    def permanent(self) -> bool:
        """Always: other certificates or options are needed."""
        return True


class DecodeError(Error):
    """A response or a batch from a broker is malformed.

    Did it happen? For a response: unknown whether the request took effect. For records: nothing was handed over, and
    the position stays before the batch.

    Args:
        message: Description of the fault and its place.
        offset: Offset of the record or batch, if known.
        next_offset: Offset after the batch by its header, if that could be read.
    """

    def __init__(
        self,
        message: str = "",
        *,
        topic: str | None = None,
        partition: int | None = None,
        offset: int | None = None,
        next_offset: int | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message, topic=topic, partition=partition, outcome=outcome)
        self.offset = offset
        """Offset of the record or batch, None if unknown."""
        self.next_offset = next_offset
        """Offset after the batch: a seek to it skips the batch. None if its header is unreadable too."""

    def _place(self) -> str:
        place = super()._place()
        return place if self.offset is None else f"{place}@{self.offset}"


class DeserializationError(Error):
    """A `key_deserializer` or `value_deserializer` raised for a record; its exception is the `__cause__`.

    Did it happen? The record was not handed over, and the position is at its offset: the next poll or iteration raises the error
    again, unless a seek to `next_offset` skips the record.

    Args:
        message: Description of the failure.
        field: Field that did not deserialize.
        record: The record as it was fetched.
    """

    def __init__(
        self,
        message: str = "",
        *,
        field: Literal["key", "value"] = "value",
        record: Record | None = None,
        topic: str | None = None,
        partition: int | None = None,
        offset: int = -1,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message, topic=topic, partition=partition, outcome=outcome)
        self.field: Literal["key", "value"] = field
        """Field that did not deserialize."""
        self.record = record
        """The record as it was fetched, with the bytes of its key and value: to log it or to send it to another topic."""
        self.offset = offset
        """Offset of the record."""

    @property
    def next_offset(self) -> int:
        """Offset after the record: a seek to it skips the record."""
        return self.offset + 1

    def _place(self) -> str:
        return f"{super()._place()}@{self.offset}"


class EncodeError(Error):
    """A value does not fit the schema of a request: a null, a length or a number.

    Did it happen? No: nothing was sent.
    """

    @property
    def permanent(self) -> bool:
        """Always: the same arguments cannot be encoded."""
        return True


class NoBrokersAvailable(Error):
    """No broker could be reached: the client tried every address, and the text has one line with the reason for each.

    Did it happen? No: no request was sent.

    Args:
        message: Purpose of the connection.
        attempts: (address, reason) in the order of the attempts; repetitions are left out.
    """

    def __init__(self, message: str = "", *, attempts: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.attempts = tuple(dict.fromkeys(attempts))
        """(address, reason) in the order of the attempts."""

    def _line(self) -> str:
        head = super()._line()
        reasons = [
            reason if head.startswith(address) else f"{address}: {reason}"
            for address, reason in sorted(self.attempts)  # brokers are tried in random order
        ]
        return f"{head}: {'; '.join(reasons)}" if reasons else head

    def __str__(self) -> str:
        return "\n".join(
            [self.message, *(f"  {address}: {reason}" for address, reason in self.attempts)]
        )


class ConfigError(Error, ValueError):
    """The configuration is invalid; `problems` has every problem.

    Did it happen? No: nothing was started.

    Args:
        message: A single problem, or the head of the list.
        problems: One text per problem.
    """

    def __init__(self, message: str = "", *, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)
        """One text per problem."""

    def __str__(self) -> str:
        if self.problems == (self.message,):
            return self.message
        return "\n".join([self.message, *(f"  {problem}" for problem in self.problems)])

    @property
    def permanent(self) -> bool:
        """Always: other options are needed."""
        return True


class StateError(Error, RuntimeError):
    """The call does not fit the state of the client: a mistake of the program, not a failure of the cluster.

    For example `poll` before `subscribe` or `assign`, two polls at a time, or a partition that is not assigned.

    Did it happen? No: nothing was changed.
    """

    @property
    def permanent(self) -> bool:
        """Always: the program has to be corrected."""
        return True


class Closed(Error):
    """The client is closed or is closing, and accepts nothing more.

    Did it happen? No, unless `outcome` is `unknown`: a request sent before the close may have taken effect. If a message was given
    up at the close, the text names the cause of its delay, and `__cause__` is that cause if it is an exception.
    """

    @property
    def permanent(self) -> bool:
        """Always: a closed client stays closed."""
        return True


class ForkedClient(Error):
    """The client was created before a `fork` and is used in the child, which has none of its threads and connections.

    Did it happen? No. Create a new client in the child; the client of the parent is not affected.
    """

    @property
    def permanent(self) -> bool:
        """Always: the client belongs to the parent process."""
        return True


class Timeout(Error, TimeoutError):
    """The `timeout` of a call, or the deadline of a request, has passed.

    Did it happen? Unknown: only the wait has ended. The docstring of each call states whether its operation continues.
    """


_UNKNOWN_NAME: Final = "UNKNOWN_CODE"
"""Name of error codes that this release does not know."""


def for_code(
    code: int,
    message: str = "",
    *,
    topic: str | None = None,
    partition: int | None = None,
    outcome: Outcome | None = None,
) -> KafkaError:
    """The exception for a broker's error code.

    A code that this release does not know becomes a plain `KafkaError` with that number.
    """
    from ottla import kafka_errors

    error = kafka_errors.for_code(code)(message, topic=topic, partition=partition, outcome=outcome)
    if error.code != code:
        error.code = code
        error.name = _UNKNOWN_NAME
    return error


def line_of(error: BaseException) -> str:
    """Description of a failure in one line, without place and outcome: for the log, health and the texts of other errors."""
    if isinstance(error, Error):
        return error._line()
    return f"{type(error).__name__}: {error}".replace("\n", "; ")
