"""Codes, flags and exception classes of broker errors agree with each other."""

from __future__ import annotations

from ottla import errors, kafka_errors
from ottla.protocol.error_codes import REFRESHES_METADATA, RETRIABLE, ErrorCode
from tests.cases import for_each


def test_kafkas_table() -> None:
    assert min(ErrorCode) == -1
    assert max(ErrorCode) == 136
    assert len(ErrorCode) == 138
    assert len(RETRIABLE) == 32
    assert len(REFRESHES_METADATA) == 13
    assert REFRESHES_METADATA < RETRIABLE


@for_each(code for code in ErrorCode if code != ErrorCode.NONE)
def test_every_code_has_its_class(code: ErrorCode) -> None:
    cls = kafka_errors.for_code(code)
    assert issubclass(cls, errors.KafkaError)
    assert cls is not errors.KafkaError
    assert (cls.code, cls.name) == (code.value, code.name)
    assert (cls.retriable, cls.refreshes_metadata) == (code.retriable, code.refreshes_metadata)
    assert cls.__name__.lower() == code.name.replace("_", "").lower()


def test_classes_of_their_own_keep_their_place() -> None:
    assert kafka_errors.for_code(10) is errors.MessageTooLarge
    assert kafka_errors.for_code(90) is errors.ProducerFenced
    assert kafka_errors.for_code(1) is errors.OffsetOutOfRange
    assert kafka_errors.for_code(35) is errors.UnsupportedVersion


def test_a_code_that_is_not_known() -> None:
    assert kafka_errors.for_code(9999) is errors.KafkaError
    assert errors.for_code(9999, "new").code == 9999
    assert kafka_errors.for_code(-1) is kafka_errors.UnknownServerError


def test_flags_agree_with_java() -> None:
    assert ErrorCode.NOT_LEADER_OR_FOLLOWER.refreshes_metadata
    assert ErrorCode.REQUEST_TIMED_OUT.retriable
    assert not ErrorCode.REQUEST_TIMED_OUT.refreshes_metadata
    assert not ErrorCode.REBALANCE_IN_PROGRESS.retriable
    assert kafka_errors.NotCoordinator.retriable
