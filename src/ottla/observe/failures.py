"""The exceptions and the words for what Rust reports: failures of messages, reasons of waits, refusals of calls.

Rust has kinds and numbers only (`ottla.seam.failures`); its functions call those of this module by name. Leaf; any thread.
"""

from __future__ import annotations

from typing import Final, assert_never

from ottla import errors
from ottla.observe.budget import full_text
from ottla.observe.troubles import trouble_text
from ottla.seam.budget import Budget
from ottla.seam.failures import (
    EarlierFailed,
    ErrorData,
    ErrorKind,
    Failure,
    GivenUp,
    NoSuchPartition,
    Refused,
    Reported,
    Stage,
    TimedOut,
    Trouble,
    Unreadable,
)

_CLASSES: Final[dict[ErrorKind, type[errors.Error]]] = {
    "error": errors.Error,
    "buffer_full": errors.BufferFull,
    "closed": errors.Closed,
    "timeout": errors.Timeout,
    "connection_lost": errors.ConnectionLost,
    "no_brokers": errors.NoBrokersAvailable,
    "decode": errors.DecodeError,
    "authentication": errors.AuthenticationFailed,
    "tls": errors.TlsError,
}

_LACKED: Final[dict[Stage, str]] = {
    "metadata": "the topic's metadata did not come before delivery_timeout_ms",
    "sending": "it could not be sent before delivery_timeout_ms",
    "answer": "no answer came before delivery_timeout_ms",
    "acknowledgement": "it was not acknowledged before delivery_timeout_ms",
}

_UNKNOWN_TOPIC_OR_PARTITION: Final = 3


# ---- errors as data --------------------------------------------------------------------------------------------------


def error_data(error: errors.Error) -> ErrorData:
    """An exception as Rust keeps it: without its place, its outcome and its own cause."""
    if isinstance(error, errors.KafkaError):
        return ErrorData("broker", error.code, error.message)
    kinds = (kind for kind, made in _CLASSES.items() if type(error) is made)
    # The address of a connection becomes part of the text.
    return ErrorData(next(kinds, "error"), 0, errors.line_of(error))


def error_from(
    data: ErrorData,
    topic: str | None = None,
    partition: int | None = None,
    outcome: errors.Outcome | None = None,
) -> errors.Error:
    """The exception of `error_data`, about this place and with this outcome."""
    if data.kind == "broker":
        return errors.for_code(
            data.code, data.message, topic=topic, partition=partition, outcome=outcome
        )
    made = _CLASSES[data.kind]
    if made is errors.NoBrokersAvailable:
        return errors.NoBrokersAvailable(data.message)
    return made(data.message, topic=topic, partition=partition, outcome=outcome)


# ---- failures of messages --------------------------------------------------------------------------------------------


def error_of(
    failure: Failure, topic: str | None = None, partition: int | None = None
) -> errors.Error:
    """The exception of a message that failed, with its `__cause__`."""
    cause, outcome = failure
    error: errors.Error
    match cause:
        case GivenUp(given, trouble):
            message = given.message or "the producer is gone"
            if given.kind != "broker":
                given = given._replace(message=_because(message, trouble))
            error = error_from(given, topic, partition, outcome)
            error.__cause__ = _trouble_error(trouble, topic, partition)
        case TimedOut(stage, trouble):
            text = _because(_LACKED[stage], trouble)
            error = errors.DeliveryTimeout(text, topic=topic, partition=partition, outcome=outcome)
            error.__cause__ = _trouble_error(trouble, topic, partition)
        case EarlierFailed(first):
            earlier = error_of(first, topic, partition)
            text = f"a message before it in the partition failed: {errors.line_of(earlier)}"
            error = errors.EarlierMessageFailed(
                text, topic=topic, partition=partition, outcome=outcome
            )
            error.__cause__ = earlier
        case NoSuchPartition(number, partitions):
            text = f"partition {number} does not exist: the topic has {partitions}"
            error = errors.for_code(
                _UNKNOWN_TOPIC_OR_PARTITION,
                text,
                topic=topic,
                partition=partition,
                outcome=outcome,
            )
        case Unreadable(code):
            text = "its batch cannot be read, and so not be split"
            error = errors.for_code(code, text, topic=topic, partition=partition, outcome=outcome)
        case _:
            assert_never(cause)
    return error


def not_accepted(raised: BaseException) -> Failure:
    """The failure of a message that this exception kept from being accepted after its call had ended."""
    if isinstance(raised, errors.Error):
        data = error_data(raised)
    else:
        text = f"the message was not accepted: {errors.line_of(raised)}"
        data = ErrorData("error", 0, text)
    return Failure(GivenUp(data, None), errors.NOT_WRITTEN)


def failure_text(failure: Failure) -> str:
    """The reason of a failure, in one line."""
    return errors.line_of(error_of(failure))


def _because(text: str, trouble: Trouble | None) -> str:
    return text if trouble is None else f"{text}: {trouble_text(trouble)}"


def _trouble_error(
    trouble: Trouble | None, topic: str | None, partition: int | None
) -> errors.Error | None:
    """The exception behind a wait, where there is one."""
    match trouble:
        case Reported(_, ErrorData() as error):
            return error_from(error, topic, partition)
        case Refused(code):
            return errors.for_code(code, topic=topic, partition=partition)
        case _:
            return None


# ---- refusals of calls -----------------------------------------------------------------------------------------------


def buffer_full(budget: Budget, topic: str, partition: int | None) -> errors.BufferFull:
    """A message found no free buffer space."""
    return errors.BufferFull(
        full_text(budget), topic=topic, partition=partition, outcome=errors.NOT_WRITTEN
    )


def message_too_large(
    size_bytes: int, limit_bytes: int, setting: str, topic: str, partition: int | None
) -> errors.MessageTooLarge:
    """A message is larger than an option allows."""
    return errors.MessageTooLarge(
        f"the message takes {size_bytes} bytes, but {setting} allows {limit_bytes}",
        topic=topic,
        partition=partition,
        outcome=errors.NOT_WRITTEN,
    )


def producer_closed(topic: str, partition: int | None) -> errors.Closed:
    """The message was sent after `close`."""
    return errors.Closed(
        "the producer is closed", topic=topic, partition=partition, outcome=errors.NOT_WRITTEN
    )


def consumer_closed() -> errors.Closed:
    """Records were requested after the close."""
    return errors.Closed("the consumer is closed")


def topic_pending(topic: str, unknown: bool, trouble: Trouble | None) -> errors.Timeout:
    """The partitioner function could not be called in time. unknown: Whether the topic is unknown; else earlier sends are waiting."""
    text = (
        f'the partitions of topic "{topic}" are not known yet, and the partitioner chooses among them'
        if unknown
        else f'earlier sends to topic "{topic}" are still waiting for its metadata'
    )
    error = errors.Timeout(_because(text, trouble), topic=topic, outcome=errors.NOT_WRITTEN)
    error.__cause__ = _trouble_error(trouble, topic, None)
    return error


def outcome_pending() -> errors.Timeout:
    """The wait for an outcome ended before the message had one."""
    return errors.Timeout("the outcome is not known yet")


def outcomes_pending() -> errors.Timeout:
    """The same for the outcomes of a `send_many`."""
    return errors.Timeout("not every outcome is known yet")


def forked(client: str) -> errors.ForkedClient:
    """A client of the parent process was used in the child of a fork."""
    return errors.ForkedClient(f"{client} was made before a fork; make a new one in the child")


def undecodable(text: str) -> errors.DecodeError:
    """Bytes that are no records; for the record codec by itself."""
    return errors.DecodeError(text)
