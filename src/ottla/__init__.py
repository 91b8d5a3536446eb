"""Ottla: a complete Apache Kafka client for Python, synchronous and asyncio, its hot path in Rust.

Names are loaded when they are first used, so `import ottla` costs next to nothing.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
"""Type checkers take the name for `typing.TYPE_CHECKING`; importing that would be most of what this import costs."""

if TYPE_CHECKING:
    from ottla import errors as errors
    from ottla import kafka_errors as kafka_errors
    from ottla._native import Deliveries as Deliveries
    from ottla._native import Delivery as Delivery
    from ottla._native import Record as Record
    from ottla._native import Records as Records
    from ottla.api._async.bounded import AsyncBoundedRead as AsyncBoundedRead
    from ottla.api._async.consumer import AsyncConsumer as AsyncConsumer
    from ottla.api._async.group import AsyncClaim as AsyncClaim
    from ottla.api._async.group import AsyncConsumerGroup as AsyncConsumerGroup
    from ottla.api._async.group import AsyncConsumerGroupHandler as AsyncConsumerGroupHandler
    from ottla.api._async.group import AsyncGroupSession as AsyncGroupSession
    from ottla.api._async.producer import AsyncProducer as AsyncProducer
    from ottla.api._sync.bounded import BoundedRead as BoundedRead
    from ottla.api._sync.consumer import Consumer as Consumer
    from ottla.api._sync.group import Claim as Claim
    from ottla.api._sync.group import ConsumerGroup as ConsumerGroup
    from ottla.api._sync.group import ConsumerGroupHandler as ConsumerGroupHandler
    from ottla.api._sync.group import GroupSession as GroupSession
    from ottla.api._sync.producer import Producer as Producer
    from ottla.arguments import DEFAULT_TIMEOUT as DEFAULT_TIMEOUT
    from ottla.arguments import DefaultTimeout as DefaultTimeout
    from ottla.config.option_types import ConsumerOptions as ConsumerOptions
    from ottla.config.option_types import ProducerOptions as ProducerOptions
    from ottla.config.option_types import TopicOptions as TopicOptions
    from ottla.consumer.interceptors import ConsumerInterceptor as ConsumerInterceptor
    from ottla.engine.bridge import Ticket as Ticket
    from ottla.errors import AuthenticationFailed as AuthenticationFailed
    from ottla.errors import BufferFull as BufferFull
    from ottla.errors import Closed as Closed
    from ottla.errors import CommitFailed as CommitFailed
    from ottla.errors import ConfigError as ConfigError
    from ottla.errors import ConnectionLost as ConnectionLost
    from ottla.errors import DecodeError as DecodeError
    from ottla.errors import DeliveryTimeout as DeliveryTimeout
    from ottla.errors import DeserializationError as DeserializationError
    from ottla.errors import EarlierMessageFailed as EarlierMessageFailed
    from ottla.errors import Error as Error
    from ottla.errors import ForkedClient as ForkedClient
    from ottla.errors import KafkaError as KafkaError
    from ottla.errors import LogTruncated as LogTruncated
    from ottla.errors import MessageTooLarge as MessageTooLarge
    from ottla.errors import NoBrokersAvailable as NoBrokersAvailable
    from ottla.errors import OffsetOutOfRange as OffsetOutOfRange
    from ottla.errors import ProducerFenced as ProducerFenced
    from ottla.errors import StateError as StateError
    from ottla.errors import Timeout as Timeout
    from ottla.errors import TlsError as TlsError
    from ottla.errors import TransactionAborted as TransactionAborted
    from ottla.errors import UnsupportedVersion as UnsupportedVersion
    from ottla.message import CloseReport as CloseReport
    from ottla.message import Header as Header
    from ottla.message import Message as Message
    from ottla.message import OffsetAndMetadata as OffsetAndMetadata
    from ottla.message import OffsetAndTimestamp as OffsetAndTimestamp
    from ottla.message import RecordMetadata as RecordMetadata
    from ottla.message import TopicPartition as TopicPartition
    from ottla.observe.consumer_health import ConsumerHealth as ConsumerHealth
    from ottla.observe.consumer_health import HealthWait as HealthWait
    from ottla.observe.consumer_health import MemberHealth as MemberHealth
    from ottla.observe.consumer_statistics import ConsumerStatistics as ConsumerStatistics
    from ottla.observe.consumer_statistics import FetchBrokerStatistics as FetchBrokerStatistics
    from ottla.observe.consumer_statistics import GroupStatistics as GroupStatistics
    from ottla.observe.consumer_statistics import PartitionStatistics as PartitionStatistics
    from ottla.observe.events import Event as Event
    from ottla.observe.health_trouble import HealthTrouble as HealthTrouble
    from ottla.observe.log import log_to_stderr as log_to_stderr
    from ottla.observe.producer_health import BufferHealth as BufferHealth
    from ottla.observe.producer_health import BufferHolder as BufferHolder
    from ottla.observe.producer_health import ProducerHealth as ProducerHealth
    from ottla.observe.statistics import BrokerStatistics as BrokerStatistics
    from ottla.observe.statistics import LatencyStatistics as LatencyStatistics
    from ottla.observe.statistics import ProducerStatistics as ProducerStatistics
    from ottla.observe.statistics import TopicStatistics as TopicStatistics
    from ottla.producer.interceptors import ProducerInterceptor as ProducerInterceptor

ACKS_NONE = 0
"""`acks`: the broker answers nothing; a message counts as delivered when the socket took it."""
ACKS_LEADER = 1
"""`acks`: the leader has written it."""
ACKS_ALL = -1
"""`acks`: every in-sync replica has it (the default)."""
OFFSET_OLDEST = "earliest"
"""`auto_offset_reset`: start at the oldest record there is."""
OFFSET_NEWEST = "latest"
"""`auto_offset_reset`: start with records that are written from now on (the default)."""

_HOMES = {
    "_native": ("Deliveries", "Delivery", "Record", "Records"),
    "api._async.bounded": ("AsyncBoundedRead",),
    "api._async.consumer": ("AsyncConsumer",),
    "api._async.group": (
        "AsyncClaim",
        "AsyncConsumerGroup",
        "AsyncConsumerGroupHandler",
        "AsyncGroupSession",
    ),
    "api._async.producer": ("AsyncProducer",),
    "api._sync.bounded": ("BoundedRead",),
    "api._sync.consumer": ("Consumer",),
    "api._sync.group": ("Claim", "ConsumerGroup", "ConsumerGroupHandler", "GroupSession"),
    "api._sync.producer": ("Producer",),
    "arguments": ("DEFAULT_TIMEOUT", "DefaultTimeout"),
    "config.option_types": (
        "ConsumerOptions",
        "ProducerOptions",
        "TopicOptions",
    ),
    "consumer.interceptors": ("ConsumerInterceptor",),
    "engine.bridge": ("Ticket",),
    "errors": (
        "AuthenticationFailed",
        "BufferFull",
        "Closed",
        "CommitFailed",
        "ConfigError",
        "ConnectionLost",
        "DecodeError",
        "DeliveryTimeout",
        "DeserializationError",
        "EarlierMessageFailed",
        "Error",
        "ForkedClient",
        "KafkaError",
        "LogTruncated",
        "MessageTooLarge",
        "NoBrokersAvailable",
        "OffsetOutOfRange",
        "ProducerFenced",
        "StateError",
        "Timeout",
        "TlsError",
        "TransactionAborted",
        "UnsupportedVersion",
    ),
    "message": (
        "CloseReport",
        "Header",
        "Message",
        "OffsetAndMetadata",
        "OffsetAndTimestamp",
        "RecordMetadata",
        "TopicPartition",
    ),
    "observe.consumer_health": ("ConsumerHealth", "HealthWait", "MemberHealth"),
    "observe.consumer_statistics": (
        "ConsumerStatistics",
        "FetchBrokerStatistics",
        "GroupStatistics",
        "PartitionStatistics",
    ),
    "observe.events": ("Event",),
    "observe.health_trouble": ("HealthTrouble",),
    "observe.log": ("log_to_stderr",),
    "observe.producer_health": (
        "BufferHealth",
        "BufferHolder",
        "ProducerHealth",
    ),
    "observe.statistics": (
        "BrokerStatistics",
        "LatencyStatistics",
        "ProducerStatistics",
        "TopicStatistics",
    ),
    "producer.interceptors": ("ProducerInterceptor",),
}

_MODULES = ("errors", "kafka_errors")
"""Attributes too, without an import of their own."""

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ACKS_ALL",
    "ACKS_LEADER",
    "ACKS_NONE",
    "OFFSET_NEWEST",
    "OFFSET_OLDEST",
    *sorted(_HOME_OF),
]

if not TYPE_CHECKING:
    # Hidden from type checkers: to them every name of the module would exist, a misspelt one too.
    def __getattr__(name):  # noqa: ANN001, ANN202
        home = _HOME_OF.get(name)
        if home is None and name not in _MODULES:
            raise AttributeError(f"module 'ottla' has no attribute {name!r}")
        import importlib

        if home is None:
            return importlib.import_module(f"ottla.{name}")
        value = getattr(importlib.import_module(f"ottla.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
