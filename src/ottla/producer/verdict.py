"""Decisions about the batches of a held partition, as pure functions.

A partition is held after anything out of the ordinary, once nothing of it is in flight. Each of its unresolved
batches then has an answer or none, and this module decides about each. Nothing here waits, reads a clock or
touches a socket. References: KIP-98, KIP-126, KIP-360, KIP-467, KIP-951; Java: Sender.completeBatch,
TransactionManager.canRetry. The rules in words: `docs/adr/0010-overtaken-batches-are-written.md`,
`docs/adr/0015-outcome-by-attempts.md`; every code with its outcome: `docs/reference/producer-outcomes.md`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ottla import errors
from ottla.observe.failures import error_data
from ottla.protocol.error_codes import ErrorCode
from ottla.seam.connections import Loss
from ottla.seam.failures import EarlierFailed, ErrorData, Failure, GivenUp
from ottla.seam.leaders import LeaderHint
from ottla.seam.producing import Answer, Decision, Fail, FailRecords, Held, HeldBatch, HoldCause

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
"""The broker's sequence state does not fit ours: for the first batch of a hold, only a new epoch helps."""

WAITS_ITS_TURN = IDENTITY_LOST | {ErrorCode.MESSAGE_TOO_LARGE}
"""Behind the head of a hold these codes show nothing about the broker: the decision about the head determines whether to wait."""

_REASONS: Final = {
    "answer": "the broker answered with an error",
    "expired": "delivery_timeout_ms have passed",
    "asked": "its leader is another node now",
    "recreated": "the topic was deleted and recreated",
}


class Verdict(NamedTuple):
    """The decisions about a held partition, and its next step."""

    decisions: list[Decision]
    """One per batch of the hold: the flow carries out these and no others."""
    behind: Failure | None
    """The failure after which everything that is not part of the hold fails as well; None: nothing does."""
    refresh: bool
    """Whether the topic's metadata may be stale."""
    bump: bool
    """Whether the retried batches need a new producer epoch, their sequences from 0."""
    backoff: bool
    """Whether to wait before sending again; False where nothing was wrong with the broker (a split, a leader hint)."""
    leader: LeaderHint | None
    """The leader that the broker named instead of itself (KIP-951)."""


def judge(held: Held, *, idempotent: bool, gapless: bool, start_over: bool = False) -> Verdict:
    """Decide about every batch of a held partition.

    The first batch decides whether sequences start over: everything behind a refused batch of an idempotent producer was refused
    too (the broker accepts no gap), so it is safe to write it under a new epoch. A batch that is refused behind one that is
    retried waits for its turn and is retried too: nobody knows yet whether the one before it is in the log, and under a new epoch
    it could be there twice. A batch without an answer is sent again with the sequence it had: the broker then says which it was.
    If the batch before it failed and may be in the log, it fails as well: under a new epoch it could be there twice. A batch that
    is known to be in the log neither fails nor is sent under another epoch: it is written.

    Args:
        held: The hold.
        idempotent: Whether the broker knows batches again by their sequences.
        gapless: Whether everything behind a failed message fails too.
        start_over: Whether sequences start over in any case.
    """
    recreated = held.cause == "recreated" and idempotent
    draft = _Draft(bump=recreated)
    for position, batch in enumerate(held.batches):
        head = position == 0 or draft.bump
        decision = _decide(batch, draft, head=head, recreated=recreated, idempotent=idempotent)
        draft.add(batch, decision, head=head, idempotent=idempotent)
    draft.bump |= start_over
    decisions, behind = _settle(held, draft.decisions, bump=draft.bump, gapless=gapless)
    hints = [answer.leader for answer in _answers(held) if answer.leader is not None]
    leader = hints[-1] if hints else None
    return Verdict(
        decisions,
        behind,
        refresh=_is_stale(held),
        bump=draft.bump,
        backoff=draft.backoff and leader is None,
        leader=leader,
    )


def fail_all(held: Held, error: errors.Error, *, gapless: bool) -> Verdict:
    """Every batch of a hold fails with this error and the outcome that its attempts leave, unless it is known to be in the log."""
    data = error_data(error)
    failed: list[Decision] = [Fail(Failure(GivenUp(data), _outcome(b))) for b in held.batches]
    decisions, behind = _settle(held, failed, bump=False, gapless=gapless)
    return Verdict(decisions, behind, refresh=False, bump=False, backoff=False, leader=None)


class _Draft:
    """The decisions so far, each by its own batch and those before it."""

    def __init__(self, *, bump: bool) -> None:
        self.decisions: list[Decision] = []
        self.bump = bump
        self.backoff = False
        self.doubt: Fail | None = None
        """The first failure of a batch that may be in the log."""

    def add(self, batch: HeldBatch, decision: Decision, *, head: bool, idempotent: bool) -> None:
        """Note a decision, and its consequences for the batches behind it."""
        self.decisions.append(decision)
        code = None if batch.answer is None else batch.answer.code
        if decision == "retry" and code is not None:
            first = len(self.decisions) == 1
            self.backoff |= first or code not in WAITS_ITS_TURN
            self.bump |= head and code in IDENTITY_LOST
        elif isinstance(decision, Fail | FailRecords):
            self.bump |= idempotent
            if isinstance(decision, Fail) and decision.failure.outcome == errors.UNKNOWN:
                self.doubt = decision if idempotent else None


def _decide(
    batch: HeldBatch, draft: _Draft, *, head: bool, recreated: bool, idempotent: bool
) -> Decision:
    """One batch."""
    decision: Decision
    if recreated and batch.may_be_written:
        decision = Fail(_RECREATED)
    elif draft.doubt is not None and batch.may_be_written:
        decision = draft.doubt
    elif batch.answer is None:
        decision = "retry"
    else:
        decision = _decide_refused(batch, batch.answer, head=head, idempotent=idempotent)
    is_failure = isinstance(decision, Fail | FailRecords)
    return "written" if is_failure and batch.proof == "appended" else decision


_RECREATED: Final = Failure(
    GivenUp(
        ErrorData(
            "broker",
            int(ErrorCode.UNKNOWN_TOPIC_ID),
            "the topic was deleted and recreated, and whether this was written to the old one is not known",
        )
    ),
    errors.UNKNOWN,
)


def _decide_refused(batch: HeldBatch, answer: Answer, *, head: bool, idempotent: bool) -> Decision:
    """One batch that the broker answered with an error."""
    code = answer.code
    if errors.for_code(code).retriable:
        return "retry"
    if idempotent and not head:
        return "retry"
    if code in IDENTITY_LOST and idempotent and batch.proof == "none":
        return "retry"
    if code == ErrorCode.MESSAGE_TOO_LARGE and batch.records > 1:
        return "split"
    named = _named_records(batch, answer)
    # Without the named records the rest is another batch: if the whole may be in the log, the rest could be there twice.
    if named and not (idempotent and batch.may_be_written):
        return FailRecords(named)
    return Fail(_refusal(batch, code, answer.message or _explanation(batch, code)))


def _refusal(batch: HeldBatch, code: int, message: str) -> Failure:
    return Failure(GivenUp(ErrorData("broker", code, message)), _outcome(batch))


def _explanation(batch: HeldBatch, code: int) -> str:
    """Words for a code where the broker has none."""
    if code != ErrorCode.MESSAGE_TOO_LARGE:
        return ""
    return f"alone in a batch of {batch.size_bytes} bytes, which is over max.message.bytes of the topic"


def _named_records(batch: HeldBatch, answer: Answer) -> dict[int, Failure]:
    """The failures of the records that the broker refuses, by index (KIP-467)."""
    if answer.code not in (ErrorCode.INVALID_RECORD, ErrorCode.INVALID_TIMESTAMP):
        return {}
    return {
        error.record: _refusal(batch, answer.code, error.message or answer.message or "")
        for error in answer.record_errors
        if 0 <= error.record < batch.records
    }


# ---- the final list --------------------------------------------------------------------------------------------------


def _settle(
    held: Held, draft: list[Decision], *, bump: bool, gapless: bool
) -> tuple[list[Decision], Failure | None]:
    """The decisions as they are carried out, and the failure after which everything behind the hold fails."""
    first: Failure | None = None
    settled: list[Decision] = []
    for batch, decision in zip(held.batches, draft, strict=True):
        if batch.expired:
            settled.append("drop")
            continue
        if first is not None:
            decision = Fail(Failure(EarlierFailed(first), _outcome(batch)))
        if batch.proof == "appended" and _must_be_written(decision, bump=bump):
            decision = "written"
        elif gapless and isinstance(decision, FailRecords):
            decision = _fail_behind(batch, decision)
        settled.append(decision)
        if gapless:
            first = first or _first_failure(decision)
    return settled, first


def _must_be_written(decision: Decision, *, bump: bool) -> bool:
    """Whether a decision is wrong for a batch in the log: under another epoch it would be there twice."""
    return isinstance(decision, Fail | FailRecords) or (decision == "retry" and bump)


def _fail_behind(batch: HeldBatch, decision: FailRecords) -> FailRecords:
    """All records of the batch from its first failed one on fail."""
    start = min(decision.failures)
    behind = Failure(EarlierFailed(decision.failures[start]), _outcome(batch))
    return FailRecords({i: decision.failures.get(i, behind) for i in range(start, batch.records)})


def _first_failure(decision: Decision) -> Failure | None:
    match decision:
        case Fail(failure):
            return failure
        case FailRecords(failures):
            return failures[min(failures)]
        case _:
            return None


# ---- facts -----------------------------------------------------------------------------------------------------------


def _outcome(batch: HeldBatch) -> errors.Outcome:
    """The outcome of its messages if they fail now."""
    return errors.UNKNOWN if batch.may_be_written else errors.NOT_WRITTEN


def _answers(held: Held) -> list[Answer]:
    return [batch.answer for batch in held.batches if batch.answer is not None]


def _is_stale(held: Held) -> bool:
    """Whether the topic's metadata may be stale."""
    moved = isinstance(held.cause, Loss) or held.cause in ("asked", "recreated")
    return moved or any(answer.code in MOVED for answer in _answers(held))


def cause_name(cause: HoldCause) -> str:
    """The cause of a hold in one word: answer, expired, lost, asked or recreated."""
    return "lost" if isinstance(cause, Loss) else cause


def cause_text(cause: HoldCause) -> str:
    """The cause of a hold, for people."""
    return cause.message if isinstance(cause, Loss) else _REASONS[cause]


def name_of(code: int) -> str:
    """A code for people: `NOT_ENOUGH_REPLICAS (19)`."""
    try:
        return f"{ErrorCode(code).name} ({code})"
    except ValueError:
        return f"error code {code}"
