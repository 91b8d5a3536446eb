"""The decisions about held partitions: every code, alone and behind others."""

from __future__ import annotations

from typing import Any

import pytest

from ottla import errors
from ottla.producer.verdict import NOT_WRITTEN, UNKNOWN, Held, judge
from ottla.protocol.error_codes import ErrorCode
from tests.cases import for_each


def batch(code: int | None, **more: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "base_sequence": 0,
        "records": 3,
        "bytes": 300,
        "attempts": 1,
        "sent": True,
        "expired": False,
        "unanswered": False,
        "may_be_written": False,
        "code": None if code is None else int(code),
        "base_offset": -1,
        "log_start_offset": -1,
        "error_message": None,
        "record_errors": [],
        "leader": None,
        "node": None,
    }
    return known | more


def held(*batches: dict[str, Any], cause: str = "answer") -> Held:
    return Held("t", 0, cause, batches)


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
def test_batch_goes_again_under_its_sequence(code: ErrorCode) -> None:
    verdict = judge(held(batch(code), batch(None)), idempotent=True)
    assert verdict.decisions == [("retry",), ("retry",)]
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

DOUBTFUL = {"unanswered": True, "may_be_written": True}


@pytest.mark.parametrize("code", FINAL)
def test_batch_fails_and_those_behind_start_a_new_epoch(code: ErrorCode) -> None:
    refused_behind = batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, base_sequence=3)
    verdict = judge(held(batch(code), refused_behind, batch(None, **DOUBTFUL)), idempotent=True)
    assert verdict.decisions[0] == ("fail", "broker", int(code), "", NOT_WRITTEN)
    assert verdict.decisions[1:] == [("retry",), ("retry",)], "the broker accepts no gap"
    assert verdict.bump


@pytest.mark.parametrize("code", [*FINAL, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER])
def test_what_may_be_in_the_log_behind_a_doubtful_failure_gets_no_new_epoch(
    code: ErrorCode,
) -> None:
    refused_behind = batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    verdict = judge(
        held(batch(code, **DOUBTFUL), batch(None, **DOUBTFUL), refused_behind), idempotent=True
    )
    failed = ("fail", "broker", int(code), "", UNKNOWN)
    assert verdict.decisions == [failed, failed, ("retry",)]
    assert verdict.bump


def test_a_topic_made_anew_takes_what_is_not_in_the_old_one() -> None:
    untold = batch(None, **DOUBTFUL)
    refused = batch(ErrorCode.UNKNOWN_TOPIC_ID)
    verdict = judge(held(untold, refused, batch(None), cause="recreated"), idempotent=True)
    assert verdict.decisions[0][:3] == ("fail", "broker", int(ErrorCode.UNKNOWN_TOPIC_ID))
    assert verdict.decisions[0][-1] == UNKNOWN
    assert verdict.decisions[1:] == [("retry",), ("retry",)]
    assert verdict.bump
    assert verdict.refresh
    verdict = judge(held(untold, refused, cause="recreated"), idempotent=False)
    assert verdict.decisions == [("retry",), ("retry",)]
    assert not verdict.bump


def test_a_topic_made_anew_starts_a_new_epoch_with_nothing_in_flight() -> None:
    assert judge(held(cause="recreated"), idempotent=True).bump


def test_records_of_a_batch_that_may_be_in_the_log_are_not_sent_again_without_the_named() -> None:
    refused = batch(ErrorCode.INVALID_RECORD, record_errors=[(1, "bad")], **DOUBTFUL)
    assert judge(held(refused), idempotent=True).decisions[0][0] == "fail"
    assert judge(held(refused), idempotent=False).decisions[0][0] == "fail_records"


def test_a_record_that_is_not_there_is_not_named() -> None:
    refused = batch(ErrorCode.INVALID_RECORD, record_errors=[(-1, "bad"), (3, "bad")])
    assert judge(held(refused), idempotent=True).decisions[0][0] == "fail"


def test_whatever_java_retries_is_retried() -> None:
    for code in ErrorCode:
        if errors.for_code(int(code)).retriable:
            assert judge(held(batch(code)), idempotent=False).decisions == [("retry",)]


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
    assert verdict.decisions == [("retry",), ("retry",)]
    assert verdict.bump


def test_sequence_gap_behind_an_unanswered_batch_keeps_the_epoch() -> None:
    verdict = judge(
        held(batch(None), batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)), idempotent=True
    )
    assert verdict.decisions == [("retry",), ("retry",)]
    assert not verdict.bump


def test_lost_connection_sends_everything_again_at_once_and_looks_for_the_leader() -> None:
    verdict = judge(held(batch(None), batch(None), cause="lost:eof:gone"), idempotent=True)
    assert verdict.decisions == [("retry",), ("retry",)]
    assert verdict.refresh
    assert not verdict.backoff


def test_large_batch_is_split_and_a_single_large_message_fails() -> None:
    verdict = judge(held(batch(ErrorCode.MESSAGE_TOO_LARGE)), idempotent=True)
    assert verdict.decisions == [("split",)]
    assert not verdict.bump
    verdict = judge(held(batch(ErrorCode.MESSAGE_TOO_LARGE, records=1)), idempotent=True)
    assert verdict.decisions == [
        (
            "fail", "broker", int(ErrorCode.MESSAGE_TOO_LARGE),
            "alone in a batch of 300 bytes, which is over max.message.bytes of the topic", NOT_WRITTEN,
        )
    ]  # fmt: skip
    told = batch(ErrorCode.MESSAGE_TOO_LARGE, records=1, error_message="1000 are allowed")
    assert judge(held(told), idempotent=True).decisions[0][3] == "1000 are allowed"


@pytest.mark.parametrize(
    "behind", [ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode.MESSAGE_TOO_LARGE]
)
def test_what_was_refused_behind_a_split_batch_does_not_make_it_wait(behind: ErrorCode) -> None:
    verdict = judge(held(batch(ErrorCode.MESSAGE_TOO_LARGE), batch(behind)), idempotent=True)
    assert verdict.decisions == [("split",), ("retry",)]
    assert not verdict.backoff


def test_what_was_refused_behind_a_batch_that_goes_again_waits_with_it() -> None:
    refused = batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    verdict = judge(held(batch(ErrorCode.NOT_ENOUGH_REPLICAS), refused), idempotent=True)
    assert verdict.backoff


def test_only_the_named_records_fail() -> None:
    errors = [(1, "no key"), (2, None)]
    verdict = judge(
        held(batch(ErrorCode.INVALID_RECORD, records=5, record_errors=errors, error_message="bad")),
        idempotent=True,
    )
    assert verdict.decisions == [
        ("fail_records", {1: "no key", 2: "bad"}, int(ErrorCode.INVALID_RECORD))
    ]
    assert verdict.bump


def test_where_all_records_are_named_each_fails_with_what_is_said_of_it() -> None:
    errors = [(0, "a"), (1, "b"), (2, "c")]
    refused = batch(ErrorCode.INVALID_RECORD, record_errors=errors, error_message="3 of them")
    verdict = judge(held(refused), idempotent=True)
    assert verdict.decisions == [("fail_records", {0: "a", 1: "b", 2: "c"}, 87)]
    assert verdict.bump


def test_leader_hint_is_followed_without_a_pause() -> None:
    hinted = batch(ErrorCode.NOT_LEADER_OR_FOLLOWER, leader=(2, 7), node=("h", 9))
    verdict = judge(held(hinted), idempotent=True)
    assert verdict.leader == (2, 7)
    assert verdict.node == ("h", 9)
    assert not verdict.backoff


def test_identity_errors_fail_a_producer_without_identity() -> None:
    verdict = judge(held(batch(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)), idempotent=False)
    assert verdict.decisions[0][0] == "fail"
    assert not verdict.bump


@for_each([int(code) for code in ErrorCode if code != 0] + [9999])
def test_every_code_has_a_decision(code: int) -> None:
    verdict = judge(held(batch(code)), idempotent=True)
    assert verdict.decisions[0][0] in ("retry", "split", "fail")
