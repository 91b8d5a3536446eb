"""Makes the accumulator of a producer from its configuration.

The accumulator itself is Rust (`crates/core/src/produce/append/accumulator.rs`): `send` appends to it in the caller's thread. Only
this module of the producer knows the extension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla._native import AsyncProducerBase, ProduceFlow
from ottla.seam.settings import BatchSettings, ProduceSettings

if TYPE_CHECKING:
    from ottla._native import Io
    from ottla.config.batching import BatchingConfig
    from ottla.config.producer import ProducerConfig


def partitioner_name(config: ProducerConfig) -> str:
    """The partitioner as the extension knows it."""
    if not isinstance(config.partitioner, str):
        return "user"
    return "ignore_keys" if config.partitioner_ignore_keys else config.partitioner


def batch_settings(config: BatchingConfig) -> BatchSettings:
    """Settings of the batches of a topic."""
    levels = {
        "gzip": config.compression_gzip_level,
        "lz4": config.compression_lz4_level,
        "zstd": config.compression_zstd_level,
    }
    return BatchSettings(
        codec=config.compression,
        level=levels.get(config.compression),
        batch_bytes=config.batch_size,
        linger=config.linger_ms / 1000,
    )


def flow_settings(config: ProducerConfig) -> ProduceSettings:
    """The configuration as the flow takes it."""
    return ProduceSettings(
        client_id=config.client_id,
        acks=config.acks,
        idempotent=config.enable_idempotence,
        transactional_id=None,
        gapless=config.gapless,
        batches=batch_settings(config),
        topics={name: batch_settings(topic) for name, topic in config.topics.items()},
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
        report_outcomes=config.on_delivery is not None or config.interceptors is not None,
    )


def make_flow(io: Io | None, config: ProducerConfig) -> ProduceFlow:
    """The accumulator and produce flow of one producer."""
    return ProduceFlow(io, flow_settings(config))


def closer(flow: ProduceFlow) -> AsyncProducerBase:
    """Another producer on the same flow, which delivers the messages of a collected one."""
    producer = AsyncProducerBase()
    producer._bind(flow)
    return producer
