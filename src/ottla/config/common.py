"""The options that every role has, and the rules between them."""

from __future__ import annotations

from typing import Any

from ottla.config.check import fit_maximum
from ottla.config.readers import (
    LATER_PROTOCOLS,
    Address,
    Choice,
    addresses,
    duration,
    integer,
    text,
)
from ottla.config.table import Config, option


class CommonConfig(Config):
    """What every role has."""

    bootstrap_servers: tuple[Address, ...] = option(
        (),
        addresses,
        "Where to find the cluster: one address that answers is enough; all are tried.",
        aliases=("metadata.broker.list",),
        values='"host:port,host:port" or a list',
        first=True,
    )
    client_id: str = option(
        "",
        text,
        "Names this client in the broker's logs, metrics and quotas. Empty: producer-N or consumer-group-N.",
        first=True,
    )
    request_timeout_ms: float = option(
        30_000,
        duration(1),
        "How long the answer to one request may take. Its passing ends the connection, and what waits on it is tried "
        "again on a new one.",
        aliases=("socket.timeout.ms",),
    )
    retry_backoff_ms: float = option(
        100,
        duration(0),
        "Pause before the first retry; each further one doubles it, give or take 20 %.",
    )
    retry_backoff_max_ms: float = option(1_000, duration(0), "Longest pause between retries.")
    reconnect_backoff_ms: float = option(
        50,
        duration(0),
        "Pause before a broker that could not be reached is dialled again; doubled like retries.",
    )
    reconnect_backoff_max_ms: float = option(
        1_000, duration(0), "Longest pause between dials of one broker."
    )
    socket_connection_setup_timeout_ms: float = option(
        10_000,
        duration(1),
        "How long one address may take to accept a connection. Failures in a row double it, give or take 20 % (KIP-601).",
    )
    socket_connection_setup_timeout_max_ms: float = option(
        30_000, duration(1), "Longest time that one address may take to accept a connection."
    )
    metadata_max_age_ms: float = option(
        300_000,
        duration(1),
        "Metadata is asked for again at this age even if nothing seems to have changed.",
        aliases=("topic.metadata.refresh.interval.ms",),
    )
    metadata_recovery_strategy: str = option(
        "rebootstrap",
        Choice("rebootstrap", "none"),
        "When no known broker can be reached: start over from bootstrap_servers (KIP-899), or keep trying those known.",
        values="rebootstrap, none",
    )
    metadata_recovery_rebootstrap_trigger_ms: float = option(
        300_000,
        duration(0),
        "Start over from bootstrap_servers after this time without metadata (KIP-1102).",
    )
    send_buffer_bytes: int = option(
        -1,
        integer(-1),
        "SO_SNDBUF; -1: the system's. A fixed size would switch off the kernel's own tuning.",
        aliases=("socket.send.buffer.bytes",),
        java="131072",
    )
    receive_buffer_bytes: int = option(
        -1,
        integer(-1),
        "SO_RCVBUF; -1: the system's. A fixed size would switch off the kernel's own tuning.",
        aliases=("socket.receive.buffer.bytes",),
        java="32768 (producer), 65536 (consumer)",
    )
    frame_cap_bytes: int = option(
        104_857_600,
        integer(1_024),
        "A response that claims to be larger is refused before memory is taken for it, and its connection ended.",
        aliases=("receive.message.max.bytes",),
        java="no cap",
    )
    security_protocol: str = option(
        "PLAINTEXT",
        Choice("PLAINTEXT", later=LATER_PROTOCOLS),
        "How connections are protected.",
        values="PLAINTEXT",
    )

    @property
    def who(self) -> str:
        """The client, for people: role and client id."""
        return f"{self.role} {self.client_id}"


def common_rules(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
    for low, high in (
        ("retry_backoff_ms", "retry_backoff_max_ms"),
        ("reconnect_backoff_ms", "reconnect_backoff_max_ms"),
        ("socket_connection_setup_timeout_ms", "socket_connection_setup_timeout_max_ms"),
    ):
        fit_maximum(values, given, problems, low, high)
