"""What is to become of the batches of a held partition: the decisions of the outbox, as pure functions.

A partition is held after anything out of the ordinary, once nothing of it is in flight. Each of its unresolved
batches then has an answer or none, and this module says how each goes on. Nothing here waits, looks at a clock or
touches a socket. References: KIP-98, KIP-126, KIP-360, KIP-467, KIP-951; Java: Sender.completeBatch,
TransactionManager.canRetry. The rules in words: `docs/adr/0010-overtaken-batches-are-written.md`,
`docs/adr/0015-outcome-by-attempts.md`; every code with its outcome: `docs/reference/producer-outcomes.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ottla import errors
from ottla.protocol.error_codes import ErrorCode

Decision = tuple[Any, ...]
"""As `ProduceFlow.release` takes them: ("retry",), ("split",), ("written", offset), ("fail", …), ("fail_records", …)."""

NOT_WRITTEN = "not_written"
UNKNOWN = "unknown"

MOVED = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INCONSISTENT_TOPIC_ID,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.REPLICA_NOT_AVAILABLE,
        ErrorCode.NETWORK_EXCEPTION,
    }
)
"""Codes after which the metadata of the topic may be stale."""

IDENTITY_LOST = frozenset(
    {
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode.UNKNOWN_PRODUCER_ID,
        ErrorCode.INVALID_PRODUCER_EPOCH,
        ErrorCode.INVALID_PRODUCER_ID_MAPPING,
    }
)
"""The broker's sequence state does not fit ours: at the head of the line, only a new epoch goes on."""

WAITS_ITS_TURN = IDENTITY_LOST | {ErrorCode.MESSAGE_TOO_LARGE}
"""Behind the head of the line these say nothing of the broker: what became of the head says whether to wait."""

RECREATED = "recreated"
"""The cause of a hold where the topic is another one under the same name."""

_LOST = "lost:"
_REASONS = {
    "answer": "the broker answered with an error",
    "expired": "delivery_timeout_ms have passed",
    "asked": "its leader is another node now",
    RECREATED: "the topic was deleted and made anew",
}


class Held(NamedTuple):
    """A held partition as Rust tells it: what stopped it, and its unresolved batches in order."""

    topic: str
    partition: int
    cause: str
    batches: Sequence[Mapping[str, Any]]
    identity: tuple[int, int] | None = None
    """Producer id and epoch that the partition writes under; None: it has sent nothing yet, or is not idempotent."""

    @property
    def is_lost(self) -> bool:
        """Whether the connection was lost."""
        return self.cause.startswith(_LOST)

    @property
    def kind(self) -> str:
        """The cause in one word: answer, expired, lost, asked or recreated."""
        return self.cause.partition(":")[0]

    @property
    def reason(self) -> str:
        """The cause for people."""
        if self.is_lost:
            # lost:<kind>:<message>
            return self.cause.removeprefix(_LOST).partition(":")[2]
        return _REASONS.get(self.cause, self.cause)


class Verdict(NamedTuple):
    """How a held partition goes on."""

    decisions: list[Decision]
    """One per batch of the hold."""
    refresh: bool
    """Whether the topic's metadata may be stale."""
    bump: bool
    """Whether the retried batches need a new producer epoch, their sequences from 0."""
    backoff: bool
    """Whether to wait before sending again; False where nothing was wrong with the broker (a split, a leader hint)."""
    leader: tuple[int, int] | None
    """(node id, leader epoch) that the broker named instead of itself (KIP-951)."""
    node: tuple[str, int] | None
    """Where that node listens, if it said so."""


def judge(held: Held, *, idempotent: bool) -> Verdict:
    """Decide about every batch of a held partition.

    The first batch in line decides whether sequences start anew: everything behind a refused batch of an idempotent
    producer was refused too (the broker accepts no gap), so it is safe to write it under a new epoch. A batch that is
    refused behind one that goes again waits for its turn and goes again too: nobody knows yet whether the one before
    it is in the log, and under a new epoch it could be there twice. A batch without an answer is sent again with the
    sequence it had: the broker then says which it was. Where that cannot be, because the one before it failed and may
    be in the log, it fails as well: under a new epoch it could be there twice.
    """
    recreated = held.cause == RECREATED and idempotent
    decisions: list[Decision] = []
    refresh = held.is_lost or held.cause in ("asked", RECREATED)
    backoff = False
    bump = recreated
    doubt: Decision | None = None
    leader: tuple[int, int] | None = None
    node: tuple[str, int] | None = None
    for position, batch in enumerate(held.batches):
        code = batch["code"]
        if code is not None and batch["leader"] is not None and batch["leader"][0] >= 0:
            leader, node = batch["leader"], batch["node"]
        refresh = refresh or code in MOVED
        if recreated and batch["may_be_written"]:
            decision: Decision = (
                "fail",
                "broker",
                int(ErrorCode.UNKNOWN_TOPIC_ID),
                _MADE_ANEW,
                UNKNOWN,
            )
        elif doubt is not None and batch["may_be_written"]:
            decision = doubt
        elif code is None:
            decisions.append(("retry",))
            continue
        else:
            decision = _decide(batch, code, head=position == 0 or bump, idempotent=idempotent)
        kind = decision[0]
        if kind == "retry":
            backoff = backoff or position == 0 or code not in WAITS_ITS_TURN
            if code in IDENTITY_LOST and (position == 0 or bump):
                bump = True
        elif kind != "split":
            bump = bump or idempotent
            if kind == "fail" and decision[-1] == UNKNOWN and idempotent:
                doubt = decision
        decisions.append(decision)
    return Verdict(decisions, refresh, bump, backoff and leader is None, leader, node)


def let_fail(held: Held, why: str) -> list[Decision]:
    """Every batch of a hold fails for this reason, with the outcome that its attempts leave."""
    return [
        ("fail", "error", 0, why, UNKNOWN if batch["may_be_written"] else NOT_WRITTEN)
        for batch in held.batches
    ]


_MADE_ANEW = (
    "the topic was deleted and made anew, and whether this was written to the old one is not known"
)


def _decide(batch: Mapping[str, Any], code: int, *, head: bool, idempotent: bool) -> Decision:
    """One batch that the broker answered with an error."""
    if errors.for_code(code).retriable:
        return ("retry",)
    if idempotent and not head:
        return ("retry",)
    if code in IDENTITY_LOST and idempotent and not batch["unanswered"]:
        return ("retry",)
    if code == ErrorCode.MESSAGE_TOO_LARGE and batch["records"] > 1:
        return ("split",)
    named = _named_records(batch, code)
    # Without the named records the rest is another batch: if the whole may be in the log, the rest could be there twice.
    if named and not (idempotent and batch["may_be_written"]):
        return ("fail_records", named, code)
    outcome = UNKNOWN if batch["may_be_written"] else NOT_WRITTEN
    return ("fail", "broker", code, batch["error_message"] or _explained(batch, code), outcome)


def _explained(batch: Mapping[str, Any], code: int) -> str:
    """What is to be said beside the code where the broker says nothing."""
    if code != ErrorCode.MESSAGE_TOO_LARGE:
        return ""
    return (
        f"alone in a batch of {batch['bytes']} bytes, which is over max.message.bytes of the topic"
    )


def _named_records(batch: Mapping[str, Any], code: int) -> dict[int, str]:
    """The records that the broker refuses by their index, each with its reason (KIP-467)."""
    if code not in (ErrorCode.INVALID_RECORD, ErrorCode.INVALID_TIMESTAMP):
        return {}
    return {
        index: message or batch["error_message"] or ""
        for index, message in batch["record_errors"]
        if 0 <= index < batch["records"]
    }


def name_of(code: int) -> str:
    """A code for people: `NOT_ENOUGH_REPLICAS (19)`."""
    try:
        return f"{ErrorCode(code).name} ({code})"
    except ValueError:
        return f"error code {code}"
