"""The options of producers, and the rules between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ottla.arguments import MAX_INT32
from ottla.config.batching import BatchingConfig, TopicConfig, topic_configs, topic_options
from ottla.config.check import checked, fit_maximum, given_options
from ottla.config.common import CommonConfig, common_rules
from ottla.config.readers import (
    acks_value,
    boolean,
    duration,
    integer,
    interceptor_objects,
    plain_function,
    text,
)
from ottla.config.table import option
from ottla.partitioners import PARTITIONERS, Partitioner, partitioner_value

_numbers = itertools.count(1)

MESSAGE_OVERHEAD = 1_024
"""Upper bound of the memory that one message takes of buffer_memory in addition to its bytes in a batch."""

LEAST_REQUEST_MS = 1_000
"""Minimum of a request_timeout_ms that is lowered to fit delivery_timeout_ms: below it, connections would end at each short delay."""


class ProducerConfig(CommonConfig, BatchingConfig):
    """Options of producers."""

    role = "producer"

    acks: int = option(
        -1,
        acks_value,
        "Replicas that must have a message before it counts as written: all in-sync replicas, the "
        "leader, or none. With 0 the broker does not answer, and a loss is not noticed.",
        aliases=("request.required.acks",),
        values='"all" (-1), 1, 0',
    )
    enable_idempotence: bool = option(
        True,
        boolean,
        "Each message is in the log at most once and in order, also after retries. Needs acks=all and "
        "at most 5 requests in flight; acks=1 or 0 turns it off unless it is set.",
    )
    gapless: bool = option(
        False,
        boolean,
        "After a failed message all messages that were accepted after it for the same partition fail "
        "too, so the log never has a later message without the earlier one. Messages that are sent "
        "after the failure was reported are written. Needs enable_idempotence.",
        aliases=("enable.gapless.guarantee",),
        java="no such option",
    )
    topics: Mapping[str, TopicConfig] = option(
        {},
        topic_options,
        "Options of single topics: by name, any of the compression options, `linger_ms` and "
        "`batch_size`. Options that a topic does not set are those of the producer.",
        values='`{"orders": {"compression": "zstd", "linger_ms": 50}}`',
        java="no such option",
    )
    buffer_memory: int = option(
        33_554_432,
        integer(1),
        "Maximum memory of messages without an outcome, and of outcomes that were requested and not "
        "read. When it is full, send waits. It also limits the size of a message: max_message_bytes "
        "raises it, unless it is given.",
        unit="bytes",
        first=True,
    )
    max_block_ms: float = option(
        60_000,
        duration(0),
        "Maximum time that send waits for free space in buffer_memory; then it raises BufferFull.",
    )
    max_request_size: int = option(
        4_194_304,
        integer(1),
        "Maximum size of a produce request, which carries as many batches as fit; a request with a "
        "single batch may be larger by its own overhead. Given alone it limits messages too, as in "
        "Java.",
        unit="bytes",
        java="1048576",
    )
    max_message_bytes: int = option(
        1_048_576,
        integer(1),
        "Maximum size of a message: uncompressed, with the overhead of a batch of its own. send "
        "refuses a larger message at once. It raises max_request_size and buffer_memory if those are "
        "not given, and must not exceed them if they are. The limit of the broker is its "
        "message.max.bytes, or max.message.bytes of the topic.",
        unit="bytes",
        aliases=("message.max.bytes",),
        java="max_request_size",
    )
    max_in_flight_requests_per_connection: int = option(
        5,
        integer(1, 1_000),
        "Maximum number of unanswered requests to one broker, and of unanswered batches of one "
        "partition.",
        unit="requests",
        aliases=("max.in.flight",),
    )
    delivery_timeout_ms: float = option(
        120_000,
        duration(0),
        "Maximum time from acceptance to outcome: linger, all retries and all answers. Messages of a "
        "batch have the time of its first message, so a batch takes only messages that were accepted "
        "within an eighth of this time. At least linger_ms + request_timeout_ms; if only this option "
        "is given, request_timeout_ms is lowered to fit, down to 1000.",
        aliases=("message.timeout.ms",),
        first=True,
    )
    partitioner: str | Partitioner = option(
        "default",
        partitioner_value,
        "Chooses the partition of a message without one. default: murmur2 of the key, as in Java; "
        "messages without a key stay on one partition for a batch (KIP-794). The other names place "
        "keys as other clients do. `send` calls a function `(topic, key, value, partitions) -> int` "
        "in its own thread.",
        aliases=("partitioner.class",),
        values=f"{', '.join(PARTITIONERS)}, or a function",
    )
    partitioner_ignore_keys: bool = option(
        False, boolean, "The default partitioner treats every message as one without a key."
    )
    partitioner_adaptive_partitioning_enable: bool = option(
        True,
        boolean,
        "The more batches of a partition wait, the fewer messages without a key it gets; False: all "
        "partitions get the same.",
    )
    partitioner_availability_timeout_ms: float = option(
        0,
        duration(0),
        "Time after which a broker that cannot be sent to gets no more messages without a key. 0: "
        "off. Needs partitioner_adaptive_partitioning_enable.",
    )
    partitioner_rack_aware: bool = option(
        False,
        boolean,
        "The default partitioner sends messages without a key to leaders in client_rack while one is "
        "available there (KIP-1123).",
    )
    client_rack: str = option(
        "",
        text,
        "Rack of this client, as in broker.rack of the brokers; for partitioner_rack_aware.",
    )
    on_delivery: Callable[[Any], object] | None = option(
        None,
        plain_function(
            "(delivery)", "; of confluent-kafka's (err, msg) err is delivery.error here"
        ),
        "Function that is called with the `Delivery` of each accepted message once it has its "
        "outcome: on the dispatcher thread, a batch at a time, in the order of the outcomes. "
        "Deliveries count against buffer_memory until it has returned.",
        values="a function `(delivery) -> None`",
        java="no such option",
    )
    interceptors: Sequence[Any] | None = option(
        None,
        interceptor_objects,
        "Objects like `ottla.ProducerInterceptor`, in order: `on_send` gets each message in the "
        "caller's thread and may change it, `on_acknowledgement` gets its outcome on the dispatcher "
        "thread (KIP-42).",
        kafka="interceptor.classes",
        values="a list of objects",
    )
    return_successes: bool = option(
        False, boolean, "Queue every written delivery for successes().", java="no such option"
    )
    return_errors: bool = option(
        False, boolean, "Queue every failed delivery for errors().", java="no such option"
    )


def producer_config(bootstrap_servers: Any, config: Mapping[str, Any]) -> ProducerConfig:
    """Check the configuration of a producer.

    Raises:
        ConfigError: Every problem at once; nothing was started.
    """
    return checked(ProducerConfig, given_options(bootstrap_servers, config), _producer_rules)


def _producer_rules(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
    common_rules(values, given, problems)
    if values["enable_idempotence"]:
        _idempotence_rules(values, given, problems)
    if values["gapless"] and not values["enable_idempotence"]:
        problems.append('gapless: needs enable_idempotence, and so acks="all"')
    _fit_sizes(values, given, problems)
    values["topics"] = topic_configs(values)
    _fit_topics(values, given, problems)
    _fit_delivery(values, given, problems)
    if values["partitioner_ignore_keys"] and values["partitioner"] != "default":
        problems.append("partitioner_ignore_keys: only the default partitioner can ignore keys")
    if values["partitioner_rack_aware"]:
        _rack_rules(values, problems)
    if not values["client_id"]:
        values["client_id"] = f"producer-{next(_numbers)}"


def _fit_sizes(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
    """Check that messages and batches fit into requests. A batch is no larger than the largest message, unless batch_size is given."""
    if "max_message_bytes" not in given and "max_request_size" in given:
        values["max_message_bytes"] = values["max_request_size"]
    fit_maximum(values, given, problems, "max_message_bytes", "max_request_size")
    _fit_budget(values, given, problems)
    if "batch_size" not in given:
        values["batch_size"] = min(values["batch_size"], values["max_message_bytes"])
    fit_maximum(values, given, problems, "batch_size", "max_request_size")


def _fit_budget(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
    """Check that the largest message fits into the budget. Only a given max_message_bytes raises the budget."""
    message, budget = values["max_message_bytes"], values["buffer_memory"]
    if "max_message_bytes" not in given:
        values["max_message_bytes"] = min(message, budget)
    elif "buffer_memory" not in given:
        values["buffer_memory"] = max(budget, message + MESSAGE_OVERHEAD)
    elif message > budget:
        problems.append(f"max_message_bytes: {message} is over buffer_memory ({budget})")


def _fit_delivery(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
    """Check that a message has time for its linger and one request, as in Java. Options that were not given are adapted."""
    lingers = {"linger_ms": values["linger_ms"]}
    for name, topic in values["topics"].items():
        lingers[f"topics[{name!r}].linger_ms"] = topic.linger_ms
    longest = max(lingers, key=lambda name: lingers[name])
    linger, request = lingers[longest], values["request_timeout_ms"]
    delivery, least = values["delivery_timeout_ms"], linger + request
    if delivery >= least:
        return
    if "delivery_timeout_ms" not in given:
        values["delivery_timeout_ms"] = least
        return
    left = delivery - linger
    if "request_timeout_ms" not in given and left >= LEAST_REQUEST_MS:
        values["request_timeout_ms"] = left
        return
    request_is = f"request_timeout_ms ({request:g})"
    if "request_timeout_ms" not in given and request > LEAST_REQUEST_MS:
        # The option would be lowered that far.
        least, request = linger + LEAST_REQUEST_MS, LEAST_REQUEST_MS
        request_is = f"the {request:g} down to which request_timeout_ms follows it"
    if left >= 1:
        lower = f", or lower request_timeout_ms to {left:g} or less"
    elif delivery >= request:
        lower = f", or lower {longest} to {delivery - request:g} or less"
    else:
        lower = ""
    endless = f"; there is no endless one, {MAX_INT32} ms are 24 days" if delivery == 0 else ""
    problems.append(
        f"delivery_timeout_ms: {delivery:g} is less than {longest} ({linger:g}) + {request_is}: raise it to {least:g} or more"
        f"{lower}{endless}"
    )


def _rack_rules(values: dict[str, Any], problems: list[str]) -> None:
    """Check the options of a rack. Java accepts the same mistakes silently, and prefers no leader."""
    if values["partitioner"] != "default":
        problems.append("partitioner_rack_aware: only the default partitioner prefers a rack")
    if not values["client_rack"]:
        problems.append("partitioner_rack_aware: needs client_rack, the broker.rack to prefer")


def _fit_topics(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
    """Check that the batches of each topic fit into requests, which grow unless max_request_size is given."""
    for name, topic in values["topics"].items():
        most = values["max_request_size"]
        if topic.batch_size <= most or "batch_size" not in topic.given:
            continue
        if "max_request_size" in given:
            problems.append(
                f"topics[{name!r}].batch_size: {topic.batch_size} is over max_request_size ({most})"
            )
        else:
            values["max_request_size"] = topic.batch_size


def _idempotence_rules(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
    asked_for = "enable_idempotence" in given
    if values["acks"] != -1:
        if asked_for:
            problems.append(f'enable_idempotence: needs acks="all", not {values["acks"]}')
        else:
            values["enable_idempotence"] = False
            return
    in_flight = values["max_in_flight_requests_per_connection"]
    if in_flight > 5:
        problems.append(
            f"max_in_flight_requests_per_connection: {in_flight} is over 5, the most that enable_idempotence allows"
        )
