"""The options that every role has, and the rules between them."""

from __future__ import annotations

from typing import Any

from ottla.config.check import fit_maximum
from ottla.config.readers import (
    Address,
    Choice,
    addresses,
    duration,
    integer,
    text,
)
from ottla.config.security import SecurityConfig, security_rules
from ottla.config.table import Config, option


class ConnectionConfig(Config):
    """Options of brokers, requests and connections."""

    bootstrap_servers: tuple[Address, ...] = option(
        (),
        addresses,
        "Addresses of brokers: the client tries all of them, and one that answers is enough.",
        aliases=("metadata.broker.list",),
        values='"host:port,host:port" or a list',
        first=True,
    )
    client_id: str = option(
        "",
        text,
        "Name of this client in the logs, metrics and quotas of brokers. Empty: producer-N, "
        "consumer-N or consumer-group-N.",
        first=True,
    )
    request_timeout_ms: float = option(
        30_000,
        duration(1),
        "Maximum time of one request until its answer. When it has passed, the client closes the "
        "connection and retries the requests that waited on it on a new one.",
        aliases=("socket.timeout.ms",),
    )
    retry_backoff_ms: float = option(
        100,
        duration(0),
        "Pause before the first retry; each further retry doubles it, give or take 20 %.",
    )
    retry_backoff_max_ms: float = option(1_000, duration(0), "Maximum pause between retries.")
    reconnect_backoff_ms: float = option(
        50,
        duration(0),
        "Pause before the client connects again to a broker that it could not reach; doubled like "
        "retries.",
    )
    reconnect_backoff_max_ms: float = option(
        1_000, duration(0), "Maximum pause between attempts to connect to one broker."
    )
    socket_connection_setup_timeout_ms: float = option(
        10_000,
        duration(1),
        "Maximum time in which one address accepts a connection. Consecutive failures double it, give "
        "or take 20 % (KIP-601).",
    )
    socket_connection_setup_timeout_max_ms: float = option(
        30_000,
        duration(1),
        "Maximum of the doubled time in which one address accepts a connection.",
    )
    metadata_max_age_ms: float = option(
        300_000,
        duration(1),
        "Age at which the client requests metadata again, even if nothing seems to have changed.",
        aliases=("topic.metadata.refresh.interval.ms",),
    )
    metadata_recovery_strategy: str = option(
        "rebootstrap",
        Choice("rebootstrap", "none"),
        "If no known broker can be reached: start over from bootstrap_servers (KIP-899), or keep "
        "trying the known brokers.",
        values="rebootstrap, none",
    )
    metadata_recovery_rebootstrap_trigger_ms: float = option(
        300_000,
        duration(0),
        "Time without metadata after which the client starts over from bootstrap_servers (KIP-1102).",
    )
    send_buffer_bytes: int = option(
        -1,
        integer(-1),
        "SO_SNDBUF; -1: the default of the system. A fixed size switches off the tuning of the "
        "kernel.",
        aliases=("socket.send.buffer.bytes",),
        java="131072",
    )
    receive_buffer_bytes: int = option(
        -1,
        integer(-1),
        "SO_RCVBUF; -1: the default of the system. A fixed size switches off the tuning of the "
        "kernel.",
        aliases=("socket.receive.buffer.bytes",),
        java="32768 (producer), 65536 (consumer)",
    )
    frame_cap_bytes: int = option(
        104_857_600,
        integer(1_024),
        "Maximum size of a response. The client refuses a larger one before it allocates memory, and "
        "closes the connection.",
        aliases=("receive.message.max.bytes",),
        java="no cap",
    )


class CommonConfig(SecurityConfig, ConnectionConfig):
    """Options of every role."""

    @property
    def who(self) -> str:
        """Name of the client in texts: role and client id."""
        return f"{self.role} {self.client_id}"


def common_rules(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
    for low, high in (
        ("retry_backoff_ms", "retry_backoff_max_ms"),
        ("reconnect_backoff_ms", "reconnect_backoff_max_ms"),
        ("socket_connection_setup_timeout_ms", "socket_connection_setup_timeout_max_ms"),
    ):
        fit_maximum(values, given, problems, low, high)
    security_rules(values, given, problems)
