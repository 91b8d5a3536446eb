"""The configuration: one table per role, checked before anything starts.

The classes below are the table: each attribute is an option with its type, unit, default, Kafka's name and text. The
reference in `docs/reference/configuration.md` is written from it. `producer_config` and `consumer_config` turn what the
user gave into a frozen object, or raise one `ConfigError` with every problem. Leaf of the import tree; any thread.

References: Java ProducerConfig, ConsumerConfig, CommonClientConfigs (names and defaults); librdkafka CONFIGURATION.md
(names that mean the same).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from ottla.errors import ConfigError
from ottla.partitioners import PARTITIONERS, Partitioner, partitioner_value

MAX_INT32 = 0x7FFFFFFF
DEFAULT_PORT = 9092

Address = tuple[str, int]
"""Host name or numeric address, and port."""


class Secret:
    """A value that never shows itself: not in repr, logs, tracebacks or pickles.

    Args:
        value: The secret text.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        import hmac

        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash would tell two secrets apart

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied into one")


# ---- values -------------------------------------------------------------------------------------------------------------

Reader = Callable[[Any], Any]
"""Turns what the user gave into the option's value, or raises ValueError with what was expected."""


def _number(
    value: Any, kinds: type | tuple[type, ...], parse: Callable[[str], Any], word: str
) -> Any:
    if isinstance(value, str):
        try:
            return parse(value.strip())
        except ValueError:
            raise ValueError(f"expected {word}, not {value!r}") from None
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ValueError(f"expected {word}, not {value!r}")
    return value


def integer(low: int, high: int = MAX_INT32) -> Reader:
    """A whole number in a range; text that is one is taken too."""

    def read(value: Any) -> int:
        number: int = _number(value, int, int, "a whole number")
        if not low <= number <= high:
            raise ValueError(f"expected {low} to {high}, not {number}")
        return number

    return read


def gzip_level(value: Any) -> int:
    """-1 or 1 to 9: level 0 would only store, and Java refuses it too."""
    level: int = integer(-1, 9)(value)
    if level == 0:
        raise ValueError("expected -1 or 1 to 9, not 0")
    return level


def duration(low: float = 0) -> Reader:
    """Milliseconds, whole or not."""

    def read(value: Any) -> float:
        number = _number(value, (int, float), float, "milliseconds")
        if not low <= number <= MAX_INT32:
            raise ValueError(f"expected {low} to {MAX_INT32} ms, not {number}")
        return int(number) if float(number).is_integer() else float(number)

    return read


def boolean(value: Any) -> bool:
    """True or False, or their names as a file has them."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise ValueError(f"expected True or False, not {value!r}")


def text(value: Any) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise ValueError(f"expected a str, not {value!r}")
    return value


def optional_text(value: Any) -> str | None:
    """Text, or None."""
    return None if value is None else text(value)


def choice(*allowed: str) -> Reader:
    """One of several words."""

    def read(value: Any) -> str:
        if isinstance(value, str):
            for word in allowed:
                if value.strip().lower() == word.lower():
                    return word
        raise ValueError(f"expected one of {', '.join(allowed)}, not {value!r}")

    return read


def choices(*allowed: str) -> Reader:
    """Several words in order: a sequence, or one text with commas."""
    one = choice(*allowed)

    def read(value: Any) -> tuple[str, ...]:
        words = value.split(",") if isinstance(value, str) else value
        if not isinstance(words, Sequence) or not words:
            raise ValueError(f"expected one or more of {', '.join(allowed)}, not {value!r}")
        return tuple(one(word) for word in words)

    return read


DURATION = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
"""ISO 8601, as far as it has a fixed length."""


def reset_policy(value: Any) -> str:
    """earliest, latest, none or by_duration:PnDTnHnMn.nS (KIP-1106)."""
    kind, _, duration = str(value).strip().partition(":")
    match = DURATION.fullmatch(duration.upper())
    if kind.lower() == "by_duration" and match is not None and any(match.groups()):
        return f"by_duration:{duration.upper()}"
    if kind.lower() == "by_duration":
        raise ValueError(f"expected by_duration:PnDTnHnMnS, not {value!r}")
    word: str = choice("earliest", "latest", "none")(value)
    return word


def acks_value(value: Any) -> int:
    """All (-1), 1 or 0."""
    known = {"all": -1, "-1": -1, "1": 1, "0": 0}
    name = str(value).strip().lower()
    if isinstance(value, bool) or name not in known:
        raise ValueError(f'expected "all" (-1), 1 or 0, not {value!r}')
    return known[name]


def addresses(value: Any) -> tuple[Address, ...]:
    """Text like host:port,host:port or a sequence of such texts; the port defaults to 9092."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f'expected "host:port" texts, not {value!r}')
    found = tuple(address(part.strip()) for part in parts if part.strip())
    if not found:
        raise ValueError('expected at least one "host:port"')
    return found


def address(value: str) -> Address:
    """host, host:port or [ipv6]:port; a leading PLAINTEXT:// is allowed."""
    scheme, separator, rest = value.rpartition("://")
    if separator and scheme.upper() != "PLAINTEXT":
        raise ValueError(f"{value!r}: only PLAINTEXT:// is known")
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
        well_formed = not tail or tail.startswith(":")
    elif rest.count(":") > 1:
        raise ValueError(f"{value!r}: write an IPv6 address as [address]:port")
    else:
        host, _, port = rest.partition(":")
        well_formed = True
    if not host or not well_formed or (port and not port.isdecimal()):
        raise ValueError(f"{value!r} is not host:port")
    number = int(port) if port else DEFAULT_PORT
    if not 0 < number < 65536:
        raise ValueError(f"{value!r}: no such port")
    return host, number


# ---- the table ----------------------------------------------------------------------------------------------------------


class Option:
    """One row of the table.

    Args:
        default: What holds where the user gives nothing.
        read: Checks and converts what the user gave.
        doc: What it does, for the reference.
        kafka: Kafka's dotted name; None: the option's name with dots.
        aliases: Other dotted names that mean the same.
        unit: ms, bytes, records or empty.
        values: What it takes, for the reference.
        secret: Whether the value must never be shown.
        java: Java's default where it is another one, with the reason for the difference in `doc`.
    """

    def __init__(
        self,
        default: Any,
        read: Reader,
        doc: str,
        *,
        kafka: str | None = None,
        aliases: Sequence[str] = (),
        unit: str = "",
        values: str = "",
        secret: bool = False,
        java: str | None = None,
    ) -> None:
        self.name = ""
        self.default = default
        self.read = read
        self.doc = doc
        self.kafka_name = kafka or ""
        self.aliases = tuple(aliases)
        self.unit = unit
        self.values = values
        self.secret = secret
        self.java = java

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.kafka_name = self.kafka_name or name.replace("_", ".")
        unit = name.rsplit("_", 1)[-1]
        self.unit = self.unit or (unit if unit in ("ms", "bytes", "records") else "")

    def spellings(self) -> tuple[str, ...]:
        """Every name by which the user may give it."""
        return (self.name, self.kafka_name, *self.aliases)


def option(default: Any, read: Reader, doc: str, **more: Any) -> Any:
    """A row of the table; declared Any so that the attribute keeps the type that stands before it."""
    return Option(default, read, doc, **more)


class Config:
    """A checked configuration: attributes only, frozen."""

    role = ""

    def __init__(self, values: Mapping[str, Any], given: frozenset[str]) -> None:
        self.__dict__.update(values)
        self.__dict__["given"] = given

    given: frozenset[str]
    """Names of the options that the user gave."""

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a configuration is frozen: {name} cannot be set")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in sorted(self.given))
        return f"{type(self).__name__}({shown})"


class CommonConfig(Config):
    """What every role has."""

    bootstrap_servers: tuple[Address, ...] = option(
        (),
        addresses,
        "Where to find the cluster: one address that answers is enough; all are tried.",
        aliases=("metadata.broker.list",),
        values='"host:port,host:port" or a list',
    )
    client_id: str = option(
        "",
        text,
        "Names this client in the broker's logs, metrics and quotas. Empty: producer-N or consumer-group-N.",
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
        choice("rebootstrap", "none"),
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
        "PLAINTEXT", choice("PLAINTEXT"), "How connections are protected.", values="PLAINTEXT"
    )


class ProducerConfig(CommonConfig):
    """Options of producers."""

    role = "producer"

    acks: int = option(
        -1,
        acks_value,
        "How many replicas have a message before it counts as written: all in-sync ones, the leader, or none: with 0 the "
        "broker answers nothing and a loss goes unnoticed.",
        aliases=("request.required.acks",),
        values='"all" (-1), 1, 0',
    )
    enable_idempotence: bool = option(
        True,
        boolean,
        "Each message is in the log at most once and in order, whatever is retried. Needs acks=all and at most 5 requests "
        "in flight; acks=1 or 0 turns it off unless it is set.",
    )
    compression: str = option(
        "none",
        choice("none", "gzip", "snappy", "lz4", "zstd"),
        "Codec of the batches.",
        kafka="compression.type",
        aliases=("compression_type", "compression.codec"),
        values="none, gzip, snappy, lz4, zstd",
    )
    compression_gzip_level: int = option(
        -1, gzip_level, "-1: the codec's default (6).", values="-1, 1 to 9"
    )
    compression_lz4_level: int = option(
        9,
        integer(1, 17),
        "Taken as Kafka's clients take it, and without effect: lz4 has one level here, the fastest.",
        values="1 to 17",
    )
    compression_zstd_level: int = option(
        3, integer(-131072, 22), "Level of zstd.", values="-131072 to 22"
    )
    linger_ms: float = option(
        5,
        duration(0),
        "How long a batch that is not full waits for more messages. 0: only while the connection is busy.",
        aliases=("queue.buffering.max.ms",),
    )
    batch_size: int = option(
        1_000_000,
        integer(1),
        "A batch is sealed at this size. Memory is taken as a batch grows, so a large limit costs an idle partition "
        "nothing, and it lets a busy one send fewer, better compressed batches.",
        unit="bytes",
        java="16384",
    )
    buffer_memory: int = option(
        33_554_432,
        integer(1),
        "Budget for everything that was accepted and has no outcome yet, and for outcomes that were asked for and not "
        "read. Full: send waits.",
        unit="bytes",
    )
    max_block_ms: float = option(
        60_000,
        duration(0),
        "How long send waits for room in buffer_memory before it raises BufferFull.",
    )
    max_request_size: int = option(
        1_048_576,
        integer(1),
        "Largest produce request; a message that does not fit alone is refused at once.",
        unit="bytes",
        aliases=("message.max.bytes",),
    )
    max_in_flight_requests_per_connection: int = option(
        5,
        integer(1, 1_000),
        "Requests on their way to one broker, and batches of one partition, before an answer is waited for.",
        unit="requests",
        aliases=("max.in.flight",),
    )
    delivery_timeout_ms: float = option(
        120_000,
        duration(0),
        "From accept to outcome: linger, every retry and every answer. At least linger_ms + request_timeout_ms.",
        aliases=("message.timeout.ms",),
    )
    partitioner: str | Partitioner = option(
        "default",
        partitioner_value,
        "Chooses the partition of a message that names none. default: murmur2 of the key, as Java; without a key, messages "
        "stay on one partition for a batch (KIP-794). The other names keep each key where another client put it. A "
        "function `(topic, key, value, partitions) -> int` is called by `send`, in its thread.",
        aliases=("partitioner.class",),
        values=f"{', '.join(PARTITIONERS)}, or a function",
    )
    partitioner_ignore_keys: bool = option(
        False, boolean, "The default partitioner treats every message as one without a key."
    )
    partitioner_adaptive_partitioning_enable: bool = option(
        True,
        boolean,
        "Messages without a key go the less often to a partition the more batches wait for it; False: to all alike.",
    )
    partitioner_availability_timeout_ms: float = option(
        0,
        duration(0),
        "A broker to which nothing could be sent for so long gets no messages without a key. 0: off. Needs "
        "partitioner_adaptive_partitioning_enable.",
    )
    return_successes: bool = option(
        False, boolean, "Keep every written delivery for successes().", java="no such option"
    )
    return_errors: bool = option(
        False, boolean, "Keep every failed delivery for errors().", java="no such option"
    )


class ConsumerConfig(CommonConfig):
    """Options of consumers and consumer groups."""

    role = "consumer"

    group_id: str | None = option(
        None, optional_text, "The consumer group; None: no group, no commits."
    )
    group_instance_id: str | None = option(
        None,
        optional_text,
        "Makes this a static member, which may restart within its session without a rebalance (KIP-345).",
    )
    group_protocol: str = option(
        "classic", choice("classic"), "The group protocol.", values="classic"
    )
    partition_assignment_strategy: tuple[str, ...] = option(
        ("range",),
        choices("range", "roundrobin"),
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
    )
    max_poll_records: int = option(500, integer(1), "Most records that one poll returns.")
    enable_auto_commit: bool = option(
        True,
        boolean,
        "Commit in the background what the application has finished with. Off without group_id.",
    )
    auto_commit_interval_ms: float = option(5_000, duration(0), "Pause between automatic commits.")
    auto_offset_reset: str = option(
        "latest",
        reset_policy,
        "Where to start without a committed offset, or when it is no longer in the log; none: raise OffsetOutOfRange; "
        "by_duration: at the first record of that time before now (KIP-1106).",
        values="earliest, latest, none, by_duration:PnDTnHnMnS",
    )
    isolation_level: str = option(
        "read_uncommitted",
        choice("read_uncommitted", "read_committed"),
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
        60_000, duration(0), "Deadline of calls that take a timeout and got none."
    )


_EXPLAINED = {
    "retries": "there is no such option: a message is retried until delivery_timeout_ms has passed",
    "key_serializer": "there is no such option: keys are bytes or str",
    "value_serializer": "there is no such option: values are bytes or str",
    "key_deserializer": "there is no such option: keys are handed over as bytes",
    "value_deserializer": "there is no such option: values are handed over as bytes",
    "sticky_partitioning_linger_ms": "there is no such option: messages without a key change partition by bytes (KIP-794)",
    "partitioner_rack_aware": "leaders in the client's rack are not preferred in this release (KIP-1123)",
    "transactional_id": "transactions are not in this release",
    "api_version": "there is no such option: versions are agreed with each broker",
    "bootstrap_server": "did you mean bootstrap_servers?",
}
"""Names that users of other clients know, and what is to be said about them."""

C = TypeVar("C", bound=Config)
_numbers = itertools.count(1)


def options(role: type[Config]) -> dict[str, Option]:
    """The table of a role, in order: what all roles have first."""
    rows: dict[str, Option] = {}
    for base in reversed(role.__mro__):
        rows.update({name: row for name, row in vars(base).items() if isinstance(row, Option)})
    return rows


def producer_config(bootstrap_servers: Any, config: Mapping[str, Any]) -> ProducerConfig:
    """Check a producer's configuration.

    Raises:
        ConfigError: Every problem at once; nothing was started.
    """
    return _checked(ProducerConfig, bootstrap_servers, config, _producer_rules)


def consumer_config(bootstrap_servers: Any, config: Mapping[str, Any]) -> ConsumerConfig:
    """Check a consumer's configuration.

    Raises:
        ConfigError: Every problem at once; nothing was started.
    """
    return _checked(ConsumerConfig, bootstrap_servers, config, _consumer_rules)


Rules = Callable[[dict[str, Any], frozenset[str], list[str]], None]
"""(values, names that the user gave, problems): fits what was not given, and adds a text for what cannot be."""


def _checked(role: type[C], bootstrap_servers: Any, config: Mapping[str, Any], rules: Rules) -> C:
    problems: list[str] = []
    rows = options(role)
    values, given = _read(rows, bootstrap_servers, config, problems)
    if "bootstrap_servers" not in given:
        problems.append("bootstrap_servers: missing")
    for name, row in rows.items():
        values.setdefault(name, row.default)
    if not problems:
        _common_rules(values, given, problems)
        rules(values, given, problems)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{count} in the {role.role} configuration:", problems=problems)
    return role(values, given)


def _read(
    rows: Mapping[str, Option],
    bootstrap_servers: Any,
    config: Mapping[str, Any],
    problems: list[str],
) -> tuple[dict[str, Any], frozenset[str]]:
    """The values that the user gave, by the options' own names."""
    by_spelling = {spelling: row for row in rows.values() for spelling in row.spellings()}
    given = dict(config)
    if bootstrap_servers is not None:
        if any(given.pop(s, None) is not None for s in rows["bootstrap_servers"].spellings()):
            problems.append("bootstrap_servers: given twice")
        given["bootstrap_servers"] = bootstrap_servers
    values: dict[str, Any] = {}
    seen: set[str] = set()
    for spelling, value in given.items():
        row = by_spelling.get(spelling) or by_spelling.get(str(spelling).replace("_", "."))
        if row is None:
            problems.append(f"{spelling}: {_unknown(str(spelling), by_spelling)}")
            continue
        if row.name in seen:
            problems.append(f"{row.name}: given twice, the second time as {spelling!r}")
            continue
        seen.add(row.name)
        try:
            values[row.name] = row.read(value)
        except ValueError as error:
            shown = "the value is not usable" if row.secret else str(error)
            problems.append(f"{row.name}: {shown}")
    return values, frozenset(seen)


def _unknown(spelling: str, known: Mapping[str, Option]) -> str:
    explained = _EXPLAINED.get(spelling.replace(".", "_"))
    if explained:
        return explained
    import difflib

    style = [name for name in known if ("." in name) == ("." in spelling)]
    near = difflib.get_close_matches(spelling, style or list(known), n=1, cutoff=0.6)
    return (
        f"there is no such option; did you mean {near[0]}?" if near else "there is no such option"
    )


# ---- rules between options ------------------------------------------------------------------------------------------------


def _fit_maximum(
    values: dict[str, Any], given: frozenset[str], problems: list[str], low: str, high: str
) -> None:
    """The first may not exceed the second; the one that was not given follows the other."""
    if values[low] <= values[high]:
        return
    if low in given and high in given:
        problems.append(f"{low}: {values[low]} is over {high} ({values[high]})")
    elif low in given:
        values[high] = values[low]
    else:
        values[low] = values[high]


def _common_rules(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
    for low, high in (
        ("retry_backoff_ms", "retry_backoff_max_ms"),
        ("reconnect_backoff_ms", "reconnect_backoff_max_ms"),
        ("socket_connection_setup_timeout_ms", "socket_connection_setup_timeout_max_ms"),
    ):
        _fit_maximum(values, given, problems, low, high)


def _producer_rules(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
    if values["enable_idempotence"]:
        _idempotence_rules(values, given, problems)
    least = values["linger_ms"] + values["request_timeout_ms"]
    if values["delivery_timeout_ms"] < least:
        if "delivery_timeout_ms" in given:
            problems.append(
                f"delivery_timeout_ms: {values['delivery_timeout_ms']} is less than linger_ms + request_timeout_ms ({least})"
            )
        else:
            values["delivery_timeout_ms"] = least
    _fit_maximum(values, given, problems, "batch_size", "max_request_size")
    if values["partitioner_ignore_keys"] and values["partitioner"] != "default":
        problems.append("partitioner_ignore_keys: only the default partitioner can ignore keys")
    if not values["client_id"]:
        values["client_id"] = f"producer-{next(_numbers)}"


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


def _consumer_rules(values: dict[str, Any], given: frozenset[str], problems: list[str]) -> None:
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
    _fit_maximum(values, given, problems, "max_partition_fetch_bytes", "fetch_max_bytes")
    _fit_maximum(values, given, problems, "fetch_max_bytes", "frame_cap_bytes")
    if not values["client_id"]:
        group = values["group_id"]
        values["client_id"] = (
            f"consumer-{group}-{next(_numbers)}" if group else f"consumer-{next(_numbers)}"
        )
