"""Settings: the options of a flow, given once when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Codec = Literal["none", "gzip", "snappy", "lz4", "zstd"]
"""Names of the option `compression`."""


class BatchSettings(NamedTuple):
    """How the batches of a topic are made."""

    codec: Codec
    level: int | None
    """Compression level; None: the codec has none, or its own default."""
    batch_bytes: int
    """Size at which a batch is full."""
    linger: float
    """Maximum seconds for which a batch that is not full waits for more messages."""


class ProduceSettings(NamedTuple):
    """Settings of a producer's accumulator and produce flow. Durations are seconds."""

    client_id: str
    acks: int
    idempotent: bool
    transactional_id: str | None
    gapless: bool
    """Whether everything behind a failed message of a partition fails too."""
    batches: BatchSettings
    """Of topics without settings of their own."""
    topics: Mapping[str, BatchSettings]
    """Topics with settings of their own."""
    request_bytes: int
    message_bytes: int
    buffer_bytes: int
    in_flight: int
    """Maximum number of requests without an answer per connection."""
    request_timeout: float
    delivery_timeout: float
    max_block: float
    partitioner: str
    """A name of the option `partitioner`, "ignore_keys", or "user": the producer is bound to a function."""
    adaptive: bool
    availability_timeout: float
    return_successes: bool
    return_errors: bool
    report_outcomes: bool
    """Whether each outcome is reported to `on_delivery` or interceptors."""


class FetchSettings(NamedTuple):
    """Settings of a consumer's fetch flow and inbox. Durations are seconds."""

    client_id: str
    rack: str
    read_committed: bool
    """Whether records of open and aborted transactions are left out."""
    min_bytes: int
    max_bytes: int
    partition_bytes: int
    max_wait: float
    request_timeout: float
    buffer_bytes: int
    decompressed_bytes: int
    """Maximum size of a batch once it is decompressed."""
    check_crcs: bool
