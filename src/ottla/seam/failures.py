"""Failures: why messages wait and why they failed, as kinds and numbers. The words are in `ottla.observe.failures`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from ottla.errors import Outcome

ErrorKind = Literal[
    "broker",
    "error",
    "buffer_full",
    "closed",
    "timeout",
    "connection_lost",
    "no_brokers",
    "decode",
    "authentication",
    "tls",
]
"""Classes of errors that Python gives to the flow: the reason of a failure, or of a wait."""


class ErrorData(NamedTuple):
    """An exception as data: it crosses to Rust with a failure, and comes back with each message that failed."""

    kind: ErrorKind
    code: int
    """The broker's error code where kind is broker, else 0."""
    message: str


# ---- why messages wait -----------------------------------------------------------------------------------------------


class Reported(NamedTuple):
    """The engine reported why a topic or a partition cannot be sent to."""

    text: str
    error: ErrorData | None
    """The exception behind it; None: there is none."""


class Refused(NamedTuple):
    """The broker's last answer to the first batch was this code, and the batch is sent again."""

    code: int


class Silent(NamedTuple):
    """The leader owes an answer."""

    node_id: int
    address: str
    for_s: float
    """Age of its oldest request without an answer."""


class Throttling(NamedTuple):
    """The leader asked to be sent nothing for a time (KIP-219)."""

    node_id: int
    address: str
    for_s: float
    """Time that is left of it."""


Trouble = Reported | Refused | Silent | Throttling | Literal["backoff"]
"""Why messages wait. backoff: their partition is held until its backoff has passed."""


# ---- why messages failed ---------------------------------------------------------------------------------------------

Stage = Literal["metadata", "sending", "answer", "acknowledgement"]
"""The first thing that a message lacked when its time had passed: its topic's metadata, a chance to be sent, an answer, or an answer
that is no refusal."""


class GivenUp(NamedTuple):
    """The engine decided that they fail: by a broker's refusal, or because the producer ends."""

    error: ErrorData
    trouble: Trouble | None = None
    """Why they had waited up to then, where that is known and the broker's refusal does not say it."""


class TimedOut(NamedTuple):
    """`delivery_timeout_ms` have passed."""

    stage: Stage
    trouble: Trouble | None


class EarlierFailed(NamedTuple):
    """With `gapless`: an earlier message of the partition failed."""

    first: Failure
    """The failure of that message."""


class NoSuchPartition(NamedTuple):
    """The topic's metadata came and has fewer partitions."""

    partition: int
    partitions: int


class Unreadable(NamedTuple):
    """A batch that was to be split after this error code could not be read."""

    code: int


FailureCause = GivenUp | TimedOut | EarlierFailed | NoSuchPartition | Unreadable


class Failure(NamedTuple):
    """Why messages failed, and whether they may be in the log all the same."""

    cause: FailureCause
    outcome: Outcome
