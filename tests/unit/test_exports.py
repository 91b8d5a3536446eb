"""The public names, pinned: adding or removing one is a decision."""

from __future__ import annotations

import subprocess
import sys

import ottla

PUBLIC = [
    "ACKS_ALL",
    "ACKS_LEADER",
    "ACKS_NONE",
    "OFFSET_NEWEST",
    "OFFSET_OLDEST",
    "DEFAULT_TIMEOUT",
    "AsyncBoundedRead",
    "AsyncClaim",
    "AsyncConsumer",
    "AsyncConsumerGroup",
    "AsyncConsumerGroupHandler",
    "AsyncGroupSession",
    "AsyncProducer",
    "AuthenticationFailed",
    "BoundedRead",
    "BrokerStatistics",
    "BufferFull",
    "BufferHealth",
    "BufferHolder",
    "Claim",
    "CloseReport",
    "Closed",
    "CommitFailed",
    "ConfigError",
    "ConnectionLost",
    "Consumer",
    "ConsumerGroup",
    "ConsumerGroupHandler",
    "ConsumerHealth",
    "ConsumerInterceptor",
    "ConsumerOptions",
    "ConsumerStatistics",
    "DecodeError",
    "DefaultTimeout",
    "Deliveries",
    "Delivery",
    "DeliveryTimeout",
    "DeserializationError",
    "EarlierMessageFailed",
    "Error",
    "Event",
    "FetchBrokerStatistics",
    "ForkedClient",
    "GroupSession",
    "GroupStatistics",
    "Header",
    "HealthTrouble",
    "HealthWait",
    "KafkaError",
    "LatencyStatistics",
    "LogTruncated",
    "MemberHealth",
    "Message",
    "MessageTooLarge",
    "NoBrokersAvailable",
    "OffsetAndMetadata",
    "OffsetAndTimestamp",
    "OffsetOutOfRange",
    "PartitionStatistics",
    "Producer",
    "ProducerFenced",
    "ProducerHealth",
    "ProducerInterceptor",
    "ProducerOptions",
    "ProducerStatistics",
    "Record",
    "RecordMetadata",
    "Records",
    "StateError",
    "Ticket",
    "Timeout",
    "TlsError",
    "TopicOptions",
    "TopicPartition",
    "TopicStatistics",
    "TransactionAborted",
    "UnsupportedVersion",
    "log_to_stderr",
]


def test_public_names_are_the_pinned_ones() -> None:
    assert sorted(ottla.__all__) == sorted(PUBLIC)


def test_every_public_name_is_there() -> None:
    for name in PUBLIC:
        assert getattr(ottla, name) is not None


def test_the_modules_of_errors_need_no_import_of_their_own() -> None:
    code = (
        "import ottla; print(ottla.kafka_errors.NotEnoughReplicas.__mro__[1] is ottla.errors.KafkaError,"
        " 'errors' in dir(ottla))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout.strip() == "True True"


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    code = "import sys, ottla; print([m for m in sys.modules if m.startswith('ottla.') or m == 'asyncio'])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout.strip() == "[]"
