"""The options of consumers and consumer groups, and the rules between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ottla.config.check import checked, fit_maximum, given_options
from ottla.config.common import CommonConfig, common_rules
from ottla.config.readers import (
    Choice,
    boolean,
    choices,
    consumer_interceptor_objects,
    deserializer,
    duration,
    integer,
    optional_boolean,
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
        None, optional_text, "Consumer group; None: no group and no commits.", first=True
    )
    group_instance_id: str | None = option(
        None,
        optional_text,
        "Makes this a static member, which may restart within its session without a rebalance "
        "(KIP-345).",
    )
    group_protocol: str = option(
        "classic",
        Choice("classic", later=("consumer",)),
        "Group protocol.",
        values="classic",
    )
    partition_assignment_strategy: tuple[str, ...] = option(
        ("range",),
        choices("range", "roundrobin", later=("sticky", "cooperative-sticky")),
        "Assignors of the group, in order of preference; all members must have one in common. "
        "cooperative-sticky is not in this release, so it is not in the default either.",
        values="range, roundrobin",
        java="range, cooperative-sticky",
    )
    session_timeout_ms: float = option(
        45_000,
        duration(1),
        "Maximum time without a heartbeat; then the coordinator removes the member from the group.",
    )
    heartbeat_interval_ms: float = option(
        500,
        duration(1),
        "Interval between heartbeats, at most a third of session_timeout_ms. A member receives the news of a rebalance with the "
        "answer to one; the I/O thread sends them.",
        java="3000",
    )
    leave_group_on_close: bool | None = option(
        None,
        optional_boolean,
        "Whether the member leaves the group when it is closed or unsubscribed, so that its partitions move at once (KIP-1092). "
        "None: a static member stays until its session ends, any other leaves.",
        java="an argument of close",
    )
    max_poll_interval_ms: float = option(
        300_000,
        duration(1),
        "Maximum time between two requests of the application for records; then the member leaves the "
        "group and an error is logged.",
        first=True,
    )
    max_poll_records: int = option(
        500, integer(1), "Maximum number of records that one poll returns."
    )
    enable_auto_commit: bool = option(
        True,
        boolean,
        "Commit in the background the records that the application has finished. Off without "
        "group_id.",
        first=True,
    )
    auto_commit_interval_ms: float = option(
        5_000, duration(0), "Interval between automatic commits."
    )
    auto_offset_reset: str = option(
        "latest",
        reset_policy,
        "Start of a partition without a committed offset, or whose offset is no longer in the log. "
        "none: raise OffsetOutOfRange; by_duration: the first record since that time ago (KIP-1106).",
        values="earliest, latest, none, by_duration:PnDTnHnMnS",
        first=True,
    )
    added_partitions: str = option(
        "beginning",
        Choice("beginning", "auto_offset_reset"),
        "Start of a partition without a committed offset that was added to its topic, or whose topic was created, after the "
        "subscription. beginning: its first record, also with latest, so that no record is lost; auto_offset_reset: as every other "
        "partition, which is Java's way.",
        values="beginning, auto_offset_reset",
    )
    isolation_level: str = option(
        "read_uncommitted",
        Choice("read_uncommitted", "read_committed"),
        "Whether records of open and aborted transactions are handed over.",
        values="read_uncommitted, read_committed",
    )
    key_deserializer: Callable[[bytes], Any] | None = option(
        None,
        deserializer,
        "Function of the bytes of a key, whose result is `Record.key`. Not called for a key that is None.",
        values="a function `(data) -> object`",
    )
    value_deserializer: Callable[[bytes], Any] | None = option(
        None,
        deserializer,
        "Function of the bytes of a value, whose result is `Record.value`. Not called for a value that is None.",
        values="a function `(data) -> object`",
    )
    on_deserialize_error: str = option(
        "raise",
        Choice("raise", "skip", "hand_over"),
        "Effect of a deserializer that raises. raise: the error, with the position at the record; skip: the record is "
        "dropped, logged and counted; hand_over: the record with its bytes, and the error as `Record.error`.",
        values="raise, skip, hand_over",
        java="no such option, raise",
    )
    interceptors: Sequence[Any] | None = option(
        None,
        consumer_interceptor_objects,
        "Objects like `ottla.ConsumerInterceptor`, in order: `on_consume` gets the records of each poll in the "
        "caller's thread and may leave some out, `on_commit` gets committed offsets on the dispatcher thread (KIP-42).",
        kafka="interceptor.classes",
        values="a list of objects",
    )
    fetch_min_bytes: int = option(
        1, integer(0), "Minimum size of data that a broker waits for before it answers a fetch."
    )
    fetch_max_bytes: int = option(
        52_428_800, integer(1), "Maximum size of one fetch response; its first batch may be larger."
    )
    max_partition_fetch_bytes: int = option(
        1_048_576,
        integer(1),
        "Maximum size of one partition's data in a fetch response; the first batch may be larger.",
        aliases=("fetch.message.max.bytes",),
    )
    fetch_max_wait_ms: float = option(
        500,
        duration(0),
        "Maximum time that a broker waits for fetch_min_bytes.",
        aliases=("fetch.wait.max.ms",),
    )
    fetch_buffer_bytes: int = option(
        67_108_864,
        integer(1),
        "Maximum memory of records that were fetched and not taken yet. When it is full, the client "
        "does not fetch.",
        java="no such option",
    )
    decompressed_cap_bytes: int = option(
        268_435_456,
        integer(1),
        "Maximum size of a decompressed batch; a larger one is refused.",
        java="no cap",
    )
    check_crcs: bool = option(True, boolean, "Check the checksum of every batch.")
    client_rack: str = option(
        "",
        text,
        "Rack of this client: brokers may then name a nearer replica to read from (KIP-392).",
    )
    allow_auto_create_topics: bool = option(
        True,
        boolean,
        "Let the broker create a topic that is subscribed or assigned, if its own configuration "
        "allows that.",
    )
    exclude_internal_topics: bool = option(
        True, boolean, "Exclude the cluster's internal topics from the matches of a pattern."
    )
    default_api_timeout_ms: float = option(
        60_000,
        duration(0),
        "Limit of calls that have a `timeout` and got none; with `timeout=None` they have no limit.",
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
    if "heartbeat_interval_ms" not in given:
        third = values["session_timeout_ms"] / 3
        values["heartbeat_interval_ms"] = min(values["heartbeat_interval_ms"], third)
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
