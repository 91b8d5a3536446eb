"""The decisions about held partitions: every code, alone and behind others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ottla import errors
from ottla.producer.verdict import Verdict, fail_all
from ottla.producer.verdict import judge as judge_all
from ottla.protocol.error_codes import ErrorCode
from ottla.seam.connections import Loss
from ottla.seam.failures import EarlierFailed, ErrorData, Failure, GivenUp
from ottla.seam.leaders import Endpoint, LeaderHint
from ottla.seam.producing import (
    Answer,
    Decision,
    Fail,
    FailRecords,
    Held,
    HeldBatch,
    HoldCause,
    Proof,
    RecordError,
)
from tests.cases import for_each

NOT_WRITTEN: errors.Outcome = "not_written"
UNKNOWN: errors.Outcome = "unknown"


def batch(
    code: int | None,
    *,
    records: int = 3,
    attempts: int = 1,
    expired: bool = False,
    proof: Proof = "none",
    may_be_written: bool | None = None,
    message: str | None = None,
    record_errors: Sequence[tuple[int, str | None]] = (),
    leader: LeaderHint | None = None,
) -> HeldBatch:
    """A batch that was answered with this code; None: not at all."""
    errors = [RecordError(*error) for error in record_errors]
    answer = None if code is None else Answer(int(code), message, errors, leader)
    doubtful = proof != "none" if may_be_written is None else may_be_written
    return HeldBatch(records, 300, attempts, expired, proof, doubtful, answer)


def held(*batches: HeldBatch, cause: HoldCause = "answer") -> Held:
    return Held("t", 0, cause, batches, None)


def judge(story: Held, *, idempotent: bool, gapless: bool = False) -> Verdict:
    return judge_all(story, idempotent=idempotent, gapless=gapless)


def failed(code: int, message: str = "", outcome: errors.Outcome = NOT_WRITTEN) -> Failure:
    """A refusal by a broker."""
    return Failure(GivenUp(ErrorData("broker", int(code), message)), outcome)


def behind(first: Failure, outcome: errors.Outcome = NOT_WRITTEN) -> Fail:
    return Fail(Failure(EarlierFailed(first), outcome))


def words(decisions: Sequence[Decision]) -> list[str]:
    """Each decision in a word."""
    return [one if isinstance(one, str) else type(one).__name__ for one in decisions]


LOST = Loss("eof", "closed by the broker, 2 requests unanswered")


RETRIED = [
    ErrorCode.CORRUPT_MESSAGE,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.LEADER_NOT_AVAILABLE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.REQUEST_TIMED_OUT,
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ErrorCode.KAFKA_STORAGE_ERROR,
    ErrorCode.UNKNOWN_TOPIC_ID,
]


@pytest.mark.parametrize("code", RETRIED)
def test_batch_is_sent_again_under_its_sequence(code: ErrorCode) -> None:
    verdict = judge(held(batch(code), batch(None)), idempotent=True)
    assert verdict.decisions == ["retry", "retry"]
    assert not verdict.bump
    assert verdict.backoff


FINAL = [
    ErrorCode.TOPIC_AUTHORIZATION_FAILED,
    ErrorCode.INVALID_TOPIC_EXCEPTION,
    ErrorCode.RECORD_LIST_TOO_LARGE,
    ErrorCode.INVALID_RECORD,
    ErrorCode.INVALID_TIMESTAMP,
    ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
    ErrorCode.POLICY_VIOLATION,
    ErrorCode.UNKNOWN_SERVER_ERROR,
]


@pytest.mark.parametrize("code", FINAL)
def test_batch_fails_and_those_behind_start_a_new_epoch(code: ErrorCode) -> None:
    refused_behind = batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    verdict = judge(held(batch(code), refused_behind, batch(None, proof="maybe")), idempotent=True)
    assert verdict.decisions[0] == Fail(failed(code))
    assert verdict.decisions[1:] == ["retry", "retry"], "the broker accepts no gap"
    assert verdict.bump


@pytest.mark.parametrize("code", [*FINAL, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER])
def test_a_doubtful_batch_behind_a_doubtful_failure_gets_no_new_epoch(
    code: ErrorCode,
) -> None:
    refused_behind = batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    verdict = judge(
        held(batch(code, proof="maybe"), batch(None, proof="maybe"), refused_behind),
        idempotent=True,
    )
    doubtful = Fail(failed(code, outcome=UNKNOWN))
    assert verdict.decisions == [doubtful, doubtful, "retry"]
    assert verdict.bump


def test_a_recreated_topic_gets_the_batches_that_are_not_in_the_old_one() -> None:
    unanswered = batch(None, proof="maybe")
    refused = batch(ErrorCode.UNKNOWN_TOPIC_ID)
    verdict = judge(held(unanswered, refused, batch(None), cause="recreated"), idempotent=True)
    (decision, *_) = verdict.decisions
    assert isinstance(decision, Fail)
    assert isinstance(decision.failure.cause, GivenUp)
    assert decision.failure.cause.error.code == ErrorCode.UNKNOWN_TOPIC_ID
    assert decision.failure.outcome == UNKNOWN
    assert verdict.decisions[1:] == ["retry", "retry"]
    assert verdict.bump
    assert verdict.refresh
    verdict = judge(held(unanswered, refused, cause="recreated"), idempotent=False)
    assert verdict.decisions == ["retry", "retry"]
    assert not verdict.bump


def test_a_recreated_topic_starts_a_new_epoch_with_nothing_in_flight() -> None:
    assert judge(held(cause="recreated"), idempotent=True).bump


def test_records_of_a_batch_that_may_be_in_the_log_are_not_sent_again_without_the_named() -> None:
    refused = batch(ErrorCode.INVALID_RECORD, record_errors=[(1, "bad")], proof="maybe")
    assert words(judge(held(refused), idempotent=True).decisions) == ["Fail"]
    assert words(judge(held(refused), idempotent=False).decisions) == ["FailRecords"]


def test_a_record_that_is_not_there_is_not_named() -> None:
    refused = batch(ErrorCode.INVALID_RECORD, record_errors=[(-1, "bad"), (3, "bad")])
    assert words(judge(held(refused), idempotent=True).decisions) == ["Fail"]


def test_every_code_that_java_retries_is_retried() -> None:
    for code in ErrorCode:
        if errors.for_code(int(code)).retriable:
            assert judge(held(batch(code)), idempotent=False).decisions == ["retry"]


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode.UNKNOWN_PRODUCER_ID,
        ErrorCode.INVALID_PRODUCER_EPOCH,
    ],
)
def test_lost_identity_at_the_head_of_the_line_starts_a_new_epoch(code: ErrorCode) -> None:
    verdict = judge(
        held(batch(code), batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)), idempotent=True
    )
    assert verdict.decisions == ["retry", "retry"]
    assert verdict.bump


def test_sequence_gap_behind_an_unanswered_batch_keeps_the_epoch() -> None:
    verdict = judge(
        held(batch(None), batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)), idempotent=True
    )
    assert verdict.decisions == ["retry", "retry"]
    assert not verdict.bump


def test_lost_connection_sends_everything_again_at_once_and_refreshes_the_leader() -> None:
    verdict = judge(held(batch(None), batch(None), cause=LOST), idempotent=True)
    assert verdict.decisions == ["retry", "retry"]
    assert verdict.refresh
    assert not verdict.backoff


def test_large_batch_is_split_and_a_single_large_message_fails() -> None:
    verdict = judge(held(batch(ErrorCode.MESSAGE_TOO_LARGE)), idempotent=True)
    assert verdict.decisions == ["split"]
    assert not verdict.bump
    verdict = judge(held(batch(ErrorCode.MESSAGE_TOO_LARGE, records=1)), idempotent=True)
    text = "alone in a batch of 300 bytes, which is over max.message.bytes of the topic"
    assert verdict.decisions == [Fail(failed(ErrorCode.MESSAGE_TOO_LARGE, text))]
    refused = batch(ErrorCode.MESSAGE_TOO_LARGE, records=1, message="1000 are allowed")
    assert judge(held(refused), idempotent=True).decisions == [
        Fail(failed(ErrorCode.MESSAGE_TOO_LARGE, "1000 are allowed"))
    ]


@pytest.mark.parametrize(
    "code", [ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode.MESSAGE_TOO_LARGE]
)
def test_a_batch_refused_behind_a_split_batch_does_not_make_it_wait(code: ErrorCode) -> None:
    verdict = judge(held(batch(ErrorCode.MESSAGE_TOO_LARGE), batch(code)), idempotent=True)
    assert verdict.decisions == ["split", "retry"]
    assert not verdict.backoff


def test_a_batch_refused_behind_a_retried_batch_waits_with_it() -> None:
    refused = batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    verdict = judge(held(batch(ErrorCode.NOT_ENOUGH_REPLICAS), refused), idempotent=True)
    assert verdict.backoff


def test_only_the_named_records_fail() -> None:
    errors = [(1, "no key"), (2, None)]
    refused = batch(ErrorCode.INVALID_RECORD, records=5, record_errors=errors, message="bad")
    verdict = judge(held(refused), idempotent=True)
    code = ErrorCode.INVALID_RECORD
    assert verdict.decisions == [FailRecords({1: failed(code, "no key"), 2: failed(code, "bad")})]
    assert verdict.bump


def test_where_all_records_are_named_each_fails_with_its_own_text() -> None:
    errors = [(0, "a"), (1, "b"), (2, "c")]
    refused = batch(ErrorCode.INVALID_RECORD, record_errors=errors, message="3 of them")
    verdict = judge(held(refused), idempotent=True)
    assert verdict.decisions == [FailRecords({i: failed(87, text) for i, text in errors})]
    assert verdict.bump


def test_leader_hint_is_followed_without_a_pause() -> None:
    hinted = batch(ErrorCode.NOT_LEADER_OR_FOLLOWER, leader=LeaderHint(2, 7, Endpoint("h", 9)))
    verdict = judge(held(hinted), idempotent=True)
    assert verdict.leader == LeaderHint(2, 7, Endpoint("h", 9))
    assert not verdict.backoff


def test_identity_errors_fail_a_producer_without_identity() -> None:
    verdict = judge(held(batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)), idempotent=False)
    assert words(verdict.decisions) == ["Fail"]
    assert not verdict.bump


@for_each([int(code) for code in ErrorCode if code != 0] + [9999])
def test_every_code_has_a_decision(code: int) -> None:
    verdict = judge(held(batch(code)), idempotent=True)
    assert words(verdict.decisions)[0] in ("retry", "split", "Fail")


# ---- batches known to be in the log ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", FINAL)
def test_a_batch_in_the_log_does_not_fail_and_takes_nothing_with_it(code: ErrorCode) -> None:
    overtaken = batch(code, proof="appended")
    verdict = judge(held(overtaken, batch(None, proof="maybe")), idempotent=True)
    assert verdict.decisions == ["written", "retry"]
    assert not verdict.bump


def test_a_batch_in_the_log_is_asked_for_again_under_its_own_sequence_only() -> None:
    overtaken = batch(ErrorCode.REQUEST_TIMED_OUT, proof="appended")
    assert judge(held(overtaken), idempotent=True).decisions == ["retry"]
    refused = batch(ErrorCode.POLICY_VIOLATION)
    verdict = judge(held(overtaken, refused, batch(None, proof="appended")), idempotent=True)
    assert verdict.decisions == ["retry", "retry", "retry"], "the first decides first"
    verdict = judge(held(refused, overtaken), idempotent=True)
    assert verdict.decisions == [Fail(failed(ErrorCode.POLICY_VIOLATION)), "written"]
    assert verdict.bump
    verdict = judge_all(held(overtaken), idempotent=True, gapless=False, start_over=True)
    assert verdict.decisions == ["written"]
    assert verdict.bump


def test_a_batch_in_the_log_of_a_topic_that_is_gone_was_written() -> None:
    overtaken = batch(None, proof="appended")
    assert judge(held(overtaken, cause="recreated"), idempotent=True).decisions == ["written"]


@pytest.mark.parametrize("code", [None, *FINAL, ErrorCode.NOT_ENOUGH_REPLICAS])
def test_an_expired_batch_is_dropped(code: ErrorCode | None) -> None:
    expired = batch(code, expired=True)
    verdict = judge(held(expired, batch(None), cause="expired"), idempotent=True, gapless=True)
    assert verdict.decisions == ["drop", "retry"]
    assert verdict.behind is None


# ---- gapless ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", FINAL)
def test_gapless_everything_behind_a_failure_fails_with_its_own_outcome(code: ErrorCode) -> None:
    first = failed(code)
    story = held(
        batch(ErrorCode.NOT_ENOUGH_REPLICAS, proof="appended"),
        batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER),
        batch(None, proof="maybe"),
    )
    verdict = judge(story, idempotent=True, gapless=True)
    assert verdict.decisions == ["retry"] * 3
    assert verdict.behind is None
    verdict = judge(
        held(batch(code), *story.batches[1:], batch(None, proof="appended")),
        idempotent=True,
        gapless=True,
    )
    assert verdict.decisions == [Fail(first), behind(first), behind(first, UNKNOWN), "written"]
    assert verdict.behind == first


def test_gapless_records_behind_a_named_one_fail_too() -> None:
    named = [(1, "no key"), (3, "no key")]
    refused = batch(ErrorCode.INVALID_RECORD, records=5, record_errors=named)
    verdict = judge(held(refused, batch(None)), idempotent=True, gapless=True)
    first = failed(ErrorCode.INVALID_RECORD, "no key")
    after = behind(first).failure
    assert verdict.decisions == [
        FailRecords({1: first, 2: after, 3: first, 4: after}),
        behind(first),
    ]
    assert verdict.behind == first


def test_a_hold_that_cannot_be_judged_fails_as_a_whole() -> None:
    story = held(
        batch(None, proof="appended"),
        batch(None),
        batch(None, proof="maybe"),
        batch(19, expired=True),
    )
    first = Failure(GivenUp(ErrorData("error", 0, "a bug")), NOT_WRITTEN)
    doubtful = first._replace(outcome=UNKNOWN)
    verdict = fail_all(story, errors.Error("a bug"), gapless=False)
    assert verdict.decisions == ["written", Fail(first), Fail(doubtful), "drop"]
    assert verdict.behind is None
    verdict = fail_all(story, errors.Error("a bug"), gapless=True)
    assert verdict.decisions == ["written", Fail(first), behind(first, UNKNOWN), "drop"]
    assert verdict.behind == first
