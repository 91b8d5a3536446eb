"""Producing: the events of a produce flow, as `ProduceFlow.drain` returns them, and the decisions that end a hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from ottla.seam.connections import Loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla._native import Delivery
    from ottla.seam.failures import Failure
    from ottla.seam.leaders import LeaderHint

# ---- holds -----------------------------------------------------------------------------------------------------------

HoldCause = Literal["answer", "expired", "asked", "recreated"] | Loss
"""Cause of a hold: an error code, a batch that expired in flight, the engine's `hold`, another topic under the same name, or the end
of its connection."""


class ProducerIdentity(NamedTuple):
    """Producer id and epoch under which a partition writes (KIP-98)."""

    producer_id: int
    epoch: int


class RecordError(NamedTuple):
    """A record that the broker refuses (KIP-467)."""

    record: int
    """Its index in the batch."""
    message: str | None


class Answer(NamedTuple):
    """The broker's answer to a batch: an error."""

    code: int
    message: str | None
    record_errors: Sequence[RecordError]
    leader: LeaderHint | None


Proof = Literal["none", "maybe", "appended"]
"""Knowledge about a batch apart from its last answer. none: it is not in the log; maybe: an attempt ended without an answer, or with
one that does not exclude it; appended: a batch behind it was acknowledged under the same identity, and a broker accepts no gap."""


class HeldBatch(NamedTuple):
    """An unresolved batch of a held partition."""

    records: int
    size_bytes: int
    attempts: int
    """Times that it was sent; 0: never."""
    expired: bool
    """Its time has passed, or it was given up: its messages have their outcome."""
    proof: Proof
    may_be_written: bool
    """By its proof, or since its last answer does not exclude it."""
    answer: Answer | None
    """To its last attempt; None: there was none."""


class Held(NamedTuple):
    """A partition came to rest: nothing of it is in flight, and it waits for `release`."""

    topic: str
    partition: int
    cause: HoldCause
    batches: Sequence[HeldBatch]
    """In order."""
    identity: ProducerIdentity | None
    """The partition writes under it; None: it has sent nothing yet, or is not idempotent."""


# ---- decisions -------------------------------------------------------------------------------------------------------


class Fail(NamedTuple):
    """All messages of the batch fail."""

    failure: Failure


class FailRecords(NamedTuple):
    """These messages of the batch fail, by index; the others are sent again as a new batch."""

    failures: Mapping[int, Failure]


Decision = Literal["retry", "split", "written", "drop"] | Fail | FailRecords
"""Decision about a held batch. retry: sent again as it was; split: sent again as several batches; written: it is in the log; drop:
it has expired, so only its memory is to be given back."""


# ---- outcomes for the application ---------------------------------------------------------------------------------

if TYPE_CHECKING:
    CallbackCall = tuple[Callable[[Delivery], object], Delivery]
    """A callback and its delivery; a pair, since there may be one for each message."""


class OutcomeReport(NamedTuple):
    """The deliveries of a batch that callbacks of the application have to be called with."""

    deliveries: Sequence[Delivery]
    """For the callbacks of the whole producer; empty without any."""
    calls: Sequence[CallbackCall]
    """Of messages that were sent with a callback of their own."""


# ---- events ----------------------------------------------------------------------------------------------------------


class TopicWanted(NamedTuple):
    """Messages wait for the topic's metadata."""

    topic: str


class RouteWanted(NamedTuple):
    """Batches wait and the partition has no route."""

    topic: str
    partition: int


class MessagesFailed(NamedTuple):
    """Messages of one partition failed."""

    topic: str
    partition: int | None
    """None: it was not chosen yet."""
    records: int
    failure: Failure


class Throttled(NamedTuple):
    """A broker asked to be sent nothing for a time (KIP-219), which the flow observes."""

    conn: int
    throttle_ms: int


class BatchAcked(NamedTuple):
    """A batch is in the log. Emitted while somebody watches, as `BufferFilled` and `BufferFreed`."""

    topic: str
    partition: int
    records: int
    size_bytes: int
    base_offset: int
    attempts: int
    age_s: float


class BufferFilled(NamedTuple):
    """The first sender waits for free buffer space."""

    used_bytes: int


class BufferFreed(NamedTuple):
    """No sender waits for buffer space any more."""

    used_bytes: int


class SpaceLacking(NamedTuple):
    """A message found no free buffer space; `still_full` says whether that goes on."""

    accepted: int
    """Messages accepted before it."""


class CallbacksReady(NamedTuple):
    """Callbacks of single deliveries that have their outcome, to be called on the dispatcher thread."""

    calls: Sequence[CallbackCall]


class OutcomesReady(NamedTuple):
    """`next_report` has a batch for callbacks of the application."""


class SendManyDropped(NamedTuple):
    """Calls of an asynchronous `send_many` were dropped before any await: none of their messages was sent."""

    topic: str | None
    """None: they name several topics."""
    calls: int


class UnawaitedDue(NamedTuple):
    """Asynchronous sends that nobody awaits may have their turn: `advance_unawaited` has to be called."""


class UnawaitedProgress(NamedTuple):
    """The unawaited sends that are left after `advance_unawaited`."""

    next_expiry_s: float | None
    """Seconds until the time of the next one runs out; None: there is none."""
    needs_functions: bool
    """Whether a function of the application has to be called for some."""


ProduceEvent = (
    TopicWanted
    | RouteWanted
    | Held
    | MessagesFailed
    | Throttled
    | BatchAcked
    | BufferFilled
    | BufferFreed
    | SpaceLacking
    | CallbacksReady
    | OutcomesReady
    | SendManyDropped
    | UnawaitedDue
)
