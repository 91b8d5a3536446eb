"""The exceptions of the client: what went wrong, and whether it happened.

Leaf of the import tree: raised at every station, imported by all. Every error carries `outcome`, which answers "did it
happen?" for the messages it is about: `not_written` (it never left, or was refused before the append), `unknown` (bytes
may have left and no answer tells), `written`, or None where nothing was to be written.

One class per broker error code stands in `ottla.kafka_errors` (generated); the codes whose class has a name of its own
here (`MessageTooLarge`, `OffsetOutOfRange`, `ProducerFenced`, `UnsupportedVersion`) use that class. Threads: any.

They pickle with every attribute but `accepted`, so that they can cross to another process; `__cause__` and the traceback stay
behind, as with every exception of Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from typing import Self

    from ottla._native import Deliveries
    from ottla.message import TopicPartition

Outcome = Literal["written", "not_written", "unknown"]
"""Did it happen? As `Delivery.outcome` has it too."""

NOT_WRITTEN: Final = "not_written"
"""The broker does not have it; sending it again can duplicate nothing."""
UNKNOWN: Final = "unknown"
"""The broker may have it; sending it again may duplicate it."""
WRITTEN: Final = "written"
"""The broker has it."""


class Error(Exception):
    """Base of every error that this client raises on its own account.

    Did it happen? `outcome` says.

    Args:
        message: What went wrong, for people.
        topic: The topic it is about, where it is about one.
        partition: The partition it is about.
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
        """What went wrong, for people."""
        self.topic = topic
        """The topic it is about, None where there is none."""
        self.partition = partition
        """The partition it is about, None where there is none."""
        self.outcome = outcome
        """Did it happen? `not_written`, `unknown`, `written`, or None where nothing was to be written."""

    @property
    def permanent(self) -> bool:
        """Whether the same attempt can never succeed: refused rights or credentials, a wrong option, no common version.

        The client does not retry after such an error.
        """
        return False

    accepted: Deliveries | None = None
    """Where a `send_many` ended early with this error: the outcomes of the messages that it had accepted before; else None.

    `copy.copy` keeps it; in a pickle and in a deep copy it is None, since outcomes are heard of in their own process alone."""

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
        """What went wrong in one line, without place and outcome."""
        return self.message.replace("\n", "; ")

    def __str__(self) -> str:
        return f"{self.message}{self._notes()}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class KafkaError(Error):
    """A broker answered with an error code; `ottla.kafka_errors` has one subclass per code.

    Did it happen? No, unless `outcome` is `unknown`: some codes (a time-out between replicas, a leader that has just
    moved) do not exclude that the write is in the log.
    """

    code: int = -1
    """The code on the wire."""
    name: str = "UNKNOWN_SERVER_ERROR"
    """Kafka's name of the code."""
    retriable: bool = False
    """Whether the same request may succeed later (Java's RetriableException)."""
    refreshes_metadata: bool = False
    """Whether it means that the metadata of the topic is stale (Java's InvalidMetadataException)."""

    @property
    def permanent(self) -> bool:
        """As `Error.permanent`: not retriable, except for codes that do not tell what is wrong."""
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
    """The byte budget of the producer (`buffer_memory`) had no room within `max_block_ms`.

    Did it happen? No: the message was not accepted, and nothing of it will be sent.
    """


class DeliveryTimeout(Error):
    """A message had no outcome within `delivery_timeout_ms`.

    Did it happen? `outcome` says: `not_written` if it never left, or every attempt was refused before the append; `unknown` if
    it may be in the log. The message says what kept it; `__cause__` is that as an exception, where there is one: the broker's
    last answer (`UnknownTopicOrPartition`, `NotEnoughReplicas`), or why no broker could be reached (`NoBrokersAvailable`).
    """


class EarlierMessageFailed(Error):
    """With `gapless`: a message before it in the same partition failed, so this one must not be written either.

    Did it happen? `outcome` says: `not_written`, or `unknown` where an attempt of it was on its way. The message names the
    first failure; `__cause__` is its exception.
    """


class MessageTooLarge(KafkaError):
    """A message is larger than `max_message_bytes`, or than the broker or topic accepts.

    Did it happen? No: it was refused before it was written. Sending it again cannot succeed.
    """

    code = 10
    name = "MESSAGE_TOO_LARGE"


class ProducerFenced(KafkaError):
    """Another producer with the same transactional id has taken over; this one can only be closed.

    Did it happen? The open transaction is not committed.
    """

    code = 90
    name = "PRODUCER_FENCED"


class OffsetOutOfRange(KafkaError):
    """The position of a partition is not in its log, and `auto_offset_reset` names no other one.

    Did it happen? Nothing was read and the position has not moved.
    """

    code = 1
    name = "OFFSET_OUT_OF_RANGE"


class UnsupportedVersion(KafkaError):
    """Client and broker have no version of a request in common, or the common one cannot say what was asked for.

    Did it happen? No: the request was not sent, or the broker did not read it.
    """

    code = 35
    name = "UNSUPPORTED_VERSION"


class TransactionAborted(Error):
    """The transaction cannot be committed any more, or was aborted.

    Did it happen? No: readers with `isolation_level="read_committed"` never see its messages.
    """


class CommitFailed(Error):
    """Offsets were not committed.

    Did it happen? Not for the partitions in `partitions`, each with its own error; the others are committed. `outcome`
    is `unknown` where no answer came.
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
        """Partition -> why its offset was not committed."""


class ConnectionLost(Error, ConnectionError):
    """A connection ended while something waited on it: closed by the peer, reset, timed out, or unreadable.

    Did it happen? Unknown for requests that had been written; `outcome` is `not_written` where none was.

    Args:
        message: What ended it.
        kind: connect, eof, io, request_timeout, protocol, closed.
        address: The other end as host:port.
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
        """The other end as host:port, None where it is not known."""

    def _line(self) -> str:
        where = f"{self.address}: " if self.address else ""
        return f"{where}{super()._line()}"

    def __str__(self) -> str:
        where = f"{self.address}: " if self.address else ""
        return f"{where}{self.message}{self._notes()}"


class AuthenticationFailed(Error):
    """The broker refused the credentials, or could not prove who it is. Never tried again with the same credentials.

    Did it happen? No: no request was sent on the connection.
    """

    @property
    def permanent(self) -> bool:
        """Always: other credentials are needed."""
        return True


class TlsError(Error):
    """TLS could not be set up: an unknown authority, another host name, no common version.

    Did it happen? No: no request was sent on the connection.
    """

    @property
    def permanent(self) -> bool:
        """Always: other certificates or options are needed."""
        return True


class DecodeError(Error):
    """Bytes from the broker cannot be what they claim to be.

    Did it happen? For a response: unknown whether the request took effect. For records: nothing was handed over, and
    the position stays before them.

    Args:
        message: What did not fit, and where.
        offset: Offset of the record or batch, where it is known.
        next_offset: Offset behind the batch as its header says, where that could be read.
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
        """Offset of the record or batch, None where it is not known."""
        self.next_offset = next_offset
        """Seek here to go on behind the batch; None where its header cannot be read either."""

    def _place(self) -> str:
        place = super()._place()
        return place if self.offset is None else f"{place}@{self.offset}"


class EncodeError(Error):
    """A request cannot be written as its schema demands: a null, a length or a number that does not fit.

    Did it happen? No: nothing was sent.
    """

    @property
    def permanent(self) -> bool:
        """Always: the same arguments cannot be encoded."""
        return True


class NoBrokersAvailable(Error):
    """No broker could be reached: every address was tried, and the message has one line for each with its reason.

    Did it happen? No: no request was sent.

    Args:
        message: What was looked for.
        attempts: (address, why it failed), in the order of trying; what comes again is left out.
    """

    def __init__(self, message: str = "", *, attempts: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.attempts = tuple(dict.fromkeys(attempts))
        """(address, why it failed), in the order of trying."""

    def _line(self) -> str:
        head = super()._line()
        reasons = [
            reason if head.startswith(address) else f"{address}: {reason}"
            for address, reason in self.attempts
        ]
        return f"{head}: {'; '.join(reasons)}" if reasons else head

    def __str__(self) -> str:
        return "\n".join(
            [self.message, *(f"  {address}: {reason}" for address, reason in self.attempts)]
        )


class ConfigError(Error, ValueError):
    """The configuration is wrong; `problems` has everything that is wrong with it.

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
    """The call does not fit the state of the client: a misuse, and no trouble of the cluster.

    For example `poll` before `subscribe` or `assign`, two polls at a time, or a partition that is not assigned.

    Did it happen? No: nothing was changed.
    """

    @property
    def permanent(self) -> bool:
        """Always: the program has to be corrected."""
        return True


class Closed(Error):
    """The client was closed, or is closing, and takes nothing more.

    Did it happen? No, unless `outcome` is `unknown`: what had been sent before the close may have. For a message that was given
    up at the close, the text says what had kept it, and `__cause__` is that as an exception where there is one.
    """

    @property
    def permanent(self) -> bool:
        """Always: a closed client stays closed."""
        return True


class ForkedClient(Error):
    """The client was made before a `fork` and is used in the child, where its threads and connections do not exist.

    Did it happen? No. Make a new client in the child; the parent's goes on undisturbed.
    """

    @property
    def permanent(self) -> bool:
        """Always: the client belongs to the parent process."""
        return True


class Timeout(Error, TimeoutError):
    """A wait ended by its `timeout`, or a request by its deadline.

    Did it happen? Unknown: only the wait has ended. What was begun goes on where its own docstring says so.
    """


_KINDS: Final[dict[str, type[Error]]] = {
    "delivery_timeout": DeliveryTimeout,
    "gapless": EarlierMessageFailed,
    "message_too_large": MessageTooLarge,
    "buffer_full": BufferFull,
    "closed": Closed,
    "timeout": Timeout,
    "connection_lost": ConnectionLost,
    "decode": DecodeError,
    "forked": ForkedClient,
    "no_brokers": NoBrokersAvailable,
    "error": Error,
}

_UNKNOWN_TOPIC_OR_PARTITION: Final = 3
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

    A code that this release does not know becomes a plain `KafkaError` that keeps the number.
    """
    from ottla import kafka_errors

    error = kafka_errors.for_code(code)(message, topic=topic, partition=partition, outcome=outcome)
    if error.code != code:
        error.code = code
        error.name = _UNKNOWN_NAME
    return error


def line_of(error: BaseException) -> str:
    """What went wrong in one line, without place and outcome: for the log, health and the texts of other errors."""
    if isinstance(error, Error):
        return error._line()
    return f"{type(error).__name__}: {error}".replace("\n", "; ")


def to_native(error: Error) -> tuple[str, int, str]:
    """Kind, code and message, of which `from_native` makes the same exception without its place."""
    if isinstance(error, KafkaError):
        return "broker", error.code, error.message
    kinds = (kind for kind, made in _KINDS.items() if type(error) is made)
    # An address is in the text from here on, and not told twice.
    return next(kinds, "error"), 0, error._line()


def from_native(
    kind: str,
    code: int,
    message: str,
    topic: str | None = None,
    partition: int | None = None,
    outcome: Outcome | None = None,
    cause: tuple[str, int, str] | None = None,
) -> Error:
    """The exception for a failure that the extension tells by its fields.

    Args:
        kind: broker, topic, delivery_timeout, gapless, message_too_large, buffer_full, closed, timeout, connection_lost,
            decode, forked, no_brokers or error.
        code: The broker's error code where kind is broker or topic, else without meaning.
        message: What went wrong.
        topic: The topic it is about.
        partition: The partition it is about, -1 or None where it is not known.
        outcome: `not_written`, `unknown`, `written` or None.
        cause: Kind, code and message of the exception that is its cause.
    """
    if partition is not None and partition < 0:
        partition = None
    if kind in ("broker", "topic"):
        code = (code or _UNKNOWN_TOPIC_OR_PARTITION) if kind == "topic" else code
        return for_code(code, message, topic=topic, partition=partition, outcome=outcome)
    made = _KINDS.get(kind)
    if made is None:
        message, made = f"{kind}: {message}", Error
    if made is NoBrokersAvailable:
        return NoBrokersAvailable(message)
    error = made(message, topic=topic, partition=partition, outcome=outcome)
    if cause is not None:
        error.__cause__ = from_native(*cause, topic=topic, partition=partition)
    return error
