"""The options of consumers and consumer groups, and the rules between them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from ottla.config.check import checked, fit_maximum, given_options
from ottla.config.common import CommonConfig, common_rules
from ottla.config.readers import (
    Choice,
    boolean,
    choices,
    duration,
    integer,
    optional_text,
    reset_policy,
    text,
)
from ottla.config.table import option

_numbers = itertools.count(1)


class ConsumerConfig(CommonConfig):
    """Options of consumers and consumer groups."""

    role = "consumer"

    group_id: str | None = option(
        None, optional_text, "The consumer group; None: no group, no commits.", first=True
    )
    group_instance_id: str | None = option(
        None,
        optional_text,
        "Makes this a static member, which may restart within its session without a rebalance (KIP-345).",
    )
    group_protocol: str = option(
        "classic",
        Choice("classic", later=("consumer",)),
        "The group protocol.",
        values="classic",
    )
    partition_assignment_strategy: tuple[str, ...] = option(
        ("range",),
        choices("range", "roundrobin", later=("sticky", "cooperative-sticky")),
        "How a group shares out its partitions, in order of preference; the members must have one in common. "
        "cooperative-sticky is not offered, so it is not in the default either.",
        values="range, roundrobin",
        java="range, cooperative-sticky",
    )
    session_timeout_ms: float = option(
        45_000,
        duration(1),
        "A member whose heartbeats stay away this long is thrown out of the group.",
    )
    heartbeat_interval_ms: float = option(
        3_000, duration(1), "Pause between heartbeats; below session_timeout_ms."
    )
    max_poll_interval_ms: float = option(
        300_000,
        duration(1),
        "A member that does not ask for records this long leaves the group, with an error log.",
        first=True,
    )
    max_poll_records: int = option(500, integer(1), "Most records that one poll returns.")
    enable_auto_commit: bool = option(
        True,
        boolean,
        "Commit in the background what the application has finished with. Off without group_id.",
        first=True,
    )
    auto_commit_interval_ms: float = option(5_000, duration(0), "Pause between automatic commits.")
    auto_offset_reset: str = option(
        "latest",
        reset_policy,
        "Where to start without a committed offset, or when it is no longer in the log; none: raise OffsetOutOfRange; "
        "by_duration: at the first record of that time before now (KIP-1106).",
        values="earliest, latest, none, by_duration:PnDTnHnMnS",
        first=True,
    )
    isolation_level: str = option(
        "read_uncommitted",
        Choice("read_uncommitted", "read_committed"),
        "Whether messages of open and aborted transactions are handed over.",
        values="read_uncommitted, read_committed",
    )
    fetch_min_bytes: int = option(
        1, integer(0), "A broker waits for this much before it answers a fetch."
    )
    fetch_max_bytes: int = option(
        52_428_800, integer(1), "Most that one fetch response should carry."
    )
    max_partition_fetch_bytes: int = option(
        1_048_576,
        integer(1),
        "Most that one fetch response should carry of one partition.",
        aliases=("fetch.message.max.bytes",),
    )
    fetch_max_wait_ms: float = option(
        500,
        duration(0),
        "How long a broker waits for fetch_min_bytes before it answers anyway.",
        aliases=("fetch.wait.max.ms",),
    )
    fetch_buffer_bytes: int = option(
        67_108_864,
        integer(1),
        "Budget for what was fetched and not taken yet; full: no fetch is sent.",
        java="no such option",
    )
    decompressed_cap_bytes: int = option(
        268_435_456,
        integer(1),
        "A batch that grows beyond this when decompressed is refused.",
        java="no cap",
    )
    check_crcs: bool = option(True, boolean, "Check the checksum of every batch.")
    client_rack: str = option(
        "",
        text,
        "Where this client is: brokers may then name a nearer replica to read from (KIP-392).",
    )
    allow_auto_create_topics: bool = option(
        True,
        boolean,
        "Let the broker create a topic that is subscribed or assigned, if it is set to.",
    )
    exclude_internal_topics: bool = option(
        True, boolean, "Leave the cluster's own topics out of what a pattern matches."
    )
    default_api_timeout_ms: float = option(
        60_000,
        duration(0),
        "Limit of calls that take a `timeout` and got none; with `timeout=None` they have no limit.",
    )


def consumer_config(
    bootstrap_servers: Any, config: Mapping[str, Any], group_id: Any = None
) -> ConsumerConfig:
    """Check the configuration of a consumer.

    Args:
        bootstrap_servers: Addresses, or a mapping of options.
        config: The keywords.
        group_id: The second argument.

    Raises:
        ConfigError: Every problem at once; nothing was started.
    """
    given = given_options(bootstrap_servers, config, {"group_id": group_id})
    return checked(ConsumerConfig, given, _consumer_rules)


def group_config(
    bootstrap_servers: Any, config: Mapping[str, Any], group_id: Any = None
) -> ConsumerConfig:
    """Check the configuration of a consumer group, which needs a group_id; arguments as `consumer_config`.

    Raises:
        ConfigError: Every problem at once; nothing was started.
    """
    given = given_options(bootstrap_servers, config, {"group_id": group_id})
    return checked(ConsumerConfig, given, _group_rules)


def _group_rules(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
    if values["group_id"] is None:
        problems.append("group_id: missing; a group needs a name")
        return
    _consumer_rules(values, given, problems)


def _consumer_rules(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
    common_rules(values, given, problems)
    if values["heartbeat_interval_ms"] >= values["session_timeout_ms"]:
        problems.append(
            f"heartbeat_interval_ms: {values['heartbeat_interval_ms']} is not below session_timeout_ms "
            f"({values['session_timeout_ms']})"
        )
    if values["group_id"] == "":
        problems.append("group_id: empty; give a name, or None for no group")
    if values["group_id"] is None:
        if values["enable_auto_commit"] and "enable_auto_commit" in given:
            problems.append("enable_auto_commit: needs group_id")
        values["enable_auto_commit"] = False
        if values["group_instance_id"] is not None:
            problems.append("group_instance_id: needs group_id")
    fit_maximum(values, given, problems, "max_partition_fetch_bytes", "fetch_max_bytes")
    fit_maximum(values, given, problems, "fetch_max_bytes", "frame_cap_bytes")
    if not values["client_id"]:
        group = values["group_id"]
        values["client_id"] = (
            f"consumer-{group}-{next(_numbers)}" if group else f"consumer-{next(_numbers)}"
        )
