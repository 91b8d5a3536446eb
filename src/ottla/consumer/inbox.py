"""Makes the inbox of a consumer from its configuration.

The inbox itself is Rust (`crates/core/src/fetch/inbox.rs`): fetch responses wait there until a caller takes their records.
Only this module of the consumer and `iteration` import the extension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla._native import FetchFlow
from ottla.seam.settings import FetchSettings

if TYPE_CHECKING:
    from ottla._native import Io
    from ottla.config.consumer import ConsumerConfig

ISOLATION = {"read_uncommitted": 0, "read_committed": 1}


def flow_settings(config: ConsumerConfig) -> FetchSettings:
    """The configuration as the flow takes it."""
    return FetchSettings(
        client_id=config.client_id,
        rack=config.client_rack,
        read_committed=config.isolation_level == "read_committed",
        min_bytes=config.fetch_min_bytes,
        max_bytes=config.fetch_max_bytes,
        partition_bytes=config.max_partition_fetch_bytes,
        max_wait=config.fetch_max_wait_ms / 1000,
        request_timeout=config.request_timeout_ms / 1000,
        buffer_bytes=config.fetch_buffer_bytes,
        decompressed_bytes=config.decompressed_cap_bytes,
        check_crcs=config.check_crcs,
    )


def make_flow(io: Io | None, config: ConsumerConfig) -> FetchFlow:
    """The fetch flow and inbox of one consumer."""
    return FetchFlow(io, flow_settings(config))
