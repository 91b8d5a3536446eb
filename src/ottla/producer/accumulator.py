"""Makes the accumulator of a producer from its configuration.

The accumulator itself is Rust (`crates/core/src/accumulator.rs`): `send` appends to it in the caller's thread. Only
this module of the producer knows the extension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from ottla._native import AsyncProducerBase, Deliveries, ProduceFlow, Waiting

if TYPE_CHECKING:
    from ottla._native import Io
    from ottla.config.batching import BatchingConfig
    from ottla.config.producer import ProducerConfig

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
"""Names of `compression`, and their number in a batch's attributes."""


def partitioner_name(config: ProducerConfig) -> str:
    """The partitioner as the extension knows it."""
    if not isinstance(config.partitioner, str):
        return "user"
    return "ignore_keys" if config.partitioner_ignore_keys else config.partitioner


def batching(config: BatchingConfig) -> tuple[int, int | None, int, float]:
    """Codec, level, bytes and seconds of linger, as the extension takes them."""
    levels = {
        "gzip": config.compression_gzip_level,
        "lz4": config.compression_lz4_level,
        "zstd": config.compression_zstd_level,
    }
    codec = CODECS[config.compression]
    level = levels.get(config.compression)
    return codec, level, config.batch_size, config.linger_ms / 1000


def make_flow(io: Io | None, config: ProducerConfig) -> ProduceFlow:
    """The accumulator and produce flow of one producer."""
    codec, level, batch_bytes, linger = batching(config)
    return ProduceFlow(
        io,
        client_id=config.client_id,
        acks=config.acks,
        idempotent=config.enable_idempotence,
        transactional_id=None,
        codec=codec,
        level=level,
        linger=linger,
        batch_bytes=batch_bytes,
        request_bytes=config.max_request_size,
        message_bytes=config.max_message_bytes,
        buffer_bytes=config.buffer_memory,
        in_flight=config.max_in_flight_requests_per_connection,
        request_timeout=config.request_timeout_ms / 1000,
        delivery_timeout=config.delivery_timeout_ms / 1000,
        max_block=config.max_block_ms / 1000,
        partitioner=partitioner_name(config),
        adaptive=config.partitioner_adaptive_partitioning_enable,
        availability_timeout=config.partitioner_availability_timeout_ms / 1000,
        return_successes=config.return_successes,
        return_errors=config.return_errors,
        tell_outcomes=config.on_delivery is not None or config.interceptors is not None,
        gapless=config.gapless,
        topics={name: batching(topic) for name, topic in config.topics.items()},
    )


def closer(flow: ProduceFlow) -> AsyncProducerBase:
    """Another producer on the same flow, to end what one that is gone has begun."""
    producer = AsyncProducerBase()
    producer._bind(flow)
    return producer


def has_to_wait(sent: object) -> TypeGuard[Waiting]:
    """Whether what a send gave is an awaitable whose message is not accepted yet."""
    return isinstance(sent, Waiting)


def accepted_of(error: BaseException) -> int:
    """How many messages a `send_many` that ended with this error had accepted; 0 where the error does not say."""
    accepted = getattr(error, "accepted", None)
    return len(accepted) if isinstance(accepted, Deliveries) else 0
