"""The configuration: every problem at once, every spelling, Java's defaults, nothing secret shown."""

from __future__ import annotations

import copy
import functools
import pickle
import pydoc
import queue
import re
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import ottla
from ottla.config.common import CommonConfig
from ottla.config.consumer import ConsumerConfig, consumer_config, group_config
from ottla.config.foreign import counterpart, normalized
from ottla.config.foreign_options import OTHERS, PAGES
from ottla.config.producer import ProducerConfig, producer_config
from ottla.config.readers import address
from ottla.config.secret import Secret
from ottla.config.table import Option, options
from ottla.errors import ConfigError


def problems(make: Any, **config: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        make("h:1", config)
    return list(caught.value.problems)


def test_every_option_is_used_by_the_code() -> None:
    package = Path(ottla.__file__).parent
    sources = [path for path in package.rglob("*.py") if path.parent.name != "config"]
    used = set(re.findall(r"\w+", "\n".join(path.read_text("utf-8") for path in sources)))
    # These have one value so far: being checked is all that they are for.
    single = {"security_protocol", "group_protocol"}
    for config in (ProducerConfig, ConsumerConfig):
        names = set(options(config))
        assert names - used - single == set()


def test_a_copy_without_some_options_has_their_defaults() -> None:
    config = producer_config(
        "h:1", {"linger_ms": 7, "on_delivery": print, "partitioner": lambda *_: 0}
    )
    copied = config.without("on_delivery", "partitioner")
    assert (copied.on_delivery, copied.partitioner) == (None, "default")
    assert (copied.linger_ms, copied.client_id) == (7, config.client_id)
    assert config.on_delivery is print


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        producer_config(None, {"lnger_ms": 3, "acks": "2", "batch_size": -3, "retries": 5})
    found = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    assert "lnger_ms: there is no such option; did you mean linger_ms?" in found
    assert "acks: expected" in found
    assert "batch_size: expected 1 to" in found
    assert "retries: there is no such option: a message is retried until" in found
    assert "bootstrap_servers: missing" in found
    assert "5 problems in the producer configuration:" in str(caught.value)


@pytest.mark.parametrize(
    ("spelling", "value", "name", "expected"),
    [
        ("linger_ms", 7, "linger_ms", 7),
        ("linger.ms", "7.5", "linger_ms", 7.5),
        ("queue.buffering.max.ms", 7, "linger_ms", 7),
        ("compression.type", "LZ4", "compression", "lz4"),
        ("compression_type", "zstd", "compression", "zstd"),
        ("compression.codec", "gzip", "compression", "gzip"),
        ("acks", "all", "acks", -1),
        ("acks", "-1", "acks", -1),
        ("acks", 1, "acks", 1),
        ("request.required.acks", "0", "acks", 0),
        ("enable.idempotence", "false", "enable_idempotence", False),
        ("max.in.flight", "3", "max_in_flight_requests_per_connection", 3),
        ("message.timeout.ms", 60_000, "delivery_timeout_ms", 60_000),
        ("receive.message.max.bytes", 2_000_000, "frame_cap_bytes", 2_000_000),
    ],
)
def test_spellings_and_values(spelling: str, value: Any, name: str, expected: Any) -> None:
    config = producer_config("h:1", {spelling: value})
    assert getattr(config, name) == expected
    assert name in config.given


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"linger_ms": True}, "expected milliseconds, not True"),
        ({"linger_ms": "soon"}, "expected milliseconds, not 'soon'"),
        ({"batch_size": 1.5}, "expected a whole number"),
        ({"enable_idempotence": "yes"}, "expected True or False"),
        ({"acks": True}, "not True"),
        ({"client_id": 5}, "expected a str"),
        ({"compression": "brotli"}, "expected one of none, gzip"),
        ({"compression_gzip_level": 0}, "expected -1 or 1 to 9"),
        ({"security_protocol": "sasl_ssl"}, "SASL_SSL is not in this release"),
        ({"security_protocol": "TLS"}, "expected one of PLAINTEXT, SSL, not 'TLS'"),
        ({"ssl.ca.location": "ca.pem"}, "security_protocol is PLAINTEXT; set it to SSL"),
        ({"sasl_mechanism": "PLAIN"}, "SASL is not in this release"),
        ({"transaction.timeout.ms": 5}, "transactions are not in this release"),
        ({"linger_ms": 5, "linger.ms": 6}, "given twice"),
        ({"retry_backoff_ms": 50, "retry_backoff_max_ms": 10}, "is over retry_backoff_max_ms"),
        (
            {"delivery_timeout_ms": 1_000},
            "1000 is less than linger_ms (5) + the 1000 down to which request_timeout_ms follows it: raise it to 1005 or "
            "more, or lower request_timeout_ms to 995 or less",
        ),
        (
            {"delivery_timeout_ms": 5_000, "request_timeout_ms": 5_000},
            "raise it to 5005 or more, or lower request_timeout_ms to 4995 or less",
        ),
        (
            {"delivery_timeout_ms": 5_000, "linger_ms": 6_000},
            "raise it to 7000 or more, or lower linger_ms to 4000 or less",
        ),
        (
            {"delivery_timeout_ms": 5_000, "linger_ms": 6_000, "request_timeout_ms": 2_000},
            "is less than linger_ms (6000) + request_timeout_ms (2000): raise it to 8000 or more, or lower linger_ms to "
            "3000 or less",
        ),
        (
            {"max_message_bytes": 3_000, "max_request_size": 2_000},
            "max_message_bytes: 3000 is over max_request_size (2000)",
        ),
        ({"enable_idempotence": True, "acks": 1}, "needs acks"),
        ({"max_in_flight_requests_per_connection": 6}, "over 5"),
        ({"bootstrap.servers": "x:1"}, "bootstrap_servers: given twice"),
        ({"transactional_id": "t"}, "transactions are not in this release"),
        ({"key.serializer": "x"}, "keys and values are bytes or str"),
    ],
)
def test_values_that_a_producer_refuses(config: dict[str, Any], text: str) -> None:
    (problem,) = problems(producer_config, **config)
    assert text in problem


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"heartbeat_interval_ms": 50_000}, "not below session_timeout_ms"),
        ({"group_id": ""}, "empty"),
        ({"enable_auto_commit": True}, "needs group_id"),
        ({"group_instance_id": "i"}, "needs group_id"),
        ({"partition_assignment_strategy": "range,best"}, "expected one of range, roundrobin"),
        ({"partition_assignment_strategy": []}, "expected one or more"),
        (
            {"partition_assignment_strategy": "cooperative-sticky"},
            "is not in this release; use",
        ),
        (
            {"group_protocol": "consumer"},
            "consumer is not in this release; use classic",
        ),
        (
            {"group_remote_assignor": "range"},
            'the group protocol "consumer" (KIP-848) is not in this release',
        ),
        ({"linger_ms": 5}, "there is no such option"),
    ],
)
def test_values_that_a_consumer_refuses(config: dict[str, Any], text: str) -> None:
    (problem,) = problems(consumer_config, **config)
    assert text in problem


def test_missing_options_follow_given_ones() -> None:
    config = producer_config(
        "h:1", {"acks": 1, "retry_backoff_ms": 5_000, "request_timeout_ms": 200_000}
    )
    assert not config.enable_idempotence
    assert config.retry_backoff_max_ms == 5_000
    assert config.delivery_timeout_ms == 200_005
    config = producer_config("h:1", {"delivery_timeout_ms": 5_000})
    assert (config.request_timeout_ms, config.delivery_timeout_ms) == (4_995, 5_000)
    assert producer_config("h:1", {"delivery_timeout_ms": 1_005}).request_timeout_ms == 1_000
    config = producer_config("h:1", {"max_request_size": 1_000})
    assert (config.max_message_bytes, config.batch_size) == (1_000, 1_000)
    config = producer_config("h:1", {"max_message_bytes": 9_000_000})
    assert (config.max_request_size, config.batch_size) == (9_000_000, 1_000_000)
    config = producer_config("h:1", {"max_message_bytes": 10_000})
    assert (config.max_request_size, config.batch_size) == (4_194_304, 10_000)
    config = producer_config("h:1", {"max_message_bytes": 10_000, "batch_size": 20_000})
    assert (config.max_message_bytes, config.batch_size) == (10_000, 20_000)
    assert not consumer_config("h:1", {}).enable_auto_commit
    assert consumer_config("h:1", {"group_id": "g"}).enable_auto_commit


def test_a_message_fits_into_the_budget() -> None:
    config = producer_config("h:1", {"max_message_bytes": 200_000_000})
    assert (config.max_request_size, config.buffer_memory) == (200_000_000, 200_001_024)
    config = producer_config("h:1", {"max_message_bytes": 8_000_000})
    assert config.buffer_memory == 33_554_432
    config = producer_config("h:1", {"buffer_memory": 20_000})
    assert (config.max_message_bytes, config.max_request_size) == (20_000, 4_194_304)
    # As in Java, a large request is none for larger messages than the budget, and takes no more memory.
    config = producer_config("h:1", {"max_request_size": 100_000_000})
    assert (config.max_message_bytes, config.buffer_memory) == (33_554_432, 33_554_432)
    assert problems(producer_config, max_message_bytes=8_000_000, buffer_memory=4_000_000) == [
        "max_message_bytes: 8000000 is over buffer_memory (4000000)"
    ]


def test_none_is_as_if_it_was_not_given() -> None:
    theirs = {"compression_type": None, "client_id": None, "acks": None, "linger.ms": None}
    config = producer_config(
        "h:1", {**theirs, "linger_ms": 7, "topics": {"t": {"linger_ms": None}}}
    )
    assert config.given == {"bootstrap_servers", "linger_ms", "topics"}
    assert (config.compression, config.acks, config.topics["t"].linger_ms) == ("none", -1, 7)
    assert config.client_id.startswith("producer-")
    assert consumer_config("h:1", {"max_poll_records": None}).max_poll_records == 500
    with pytest.raises(ConfigError, match="bootstrap_servers: missing"):
        producer_config(None, {"bootstrap.servers": None})


@pytest.mark.parametrize(
    ("make", "typed"),
    [(producer_config, ottla.ProducerOptions), (consumer_config, ottla.ConsumerOptions)],
)
def test_type_checkers_know_every_option(make: Any, typed: Any) -> None:
    rows = options(type(make("h:1", {})))
    names = {name.replace(".", "_") for row in rows.values() for name in row.spellings()}
    # These two are parameters of the classes, whose type they determine.
    names -= {"key_deserializer", "value_deserializer"}
    assert set(typed.__annotations__) == names
    make("h:1", dict.fromkeys(typed.__annotations__))


def test_an_endless_delivery_timeout_gets_a_hint() -> None:
    assert problems(producer_config, **{"message.timeout.ms": 0}) == [
        "delivery_timeout_ms: 0 is less than linger_ms (5) + the 1000 down to which request_timeout_ms follows it: raise it to "
        "1005 or more; "
        "there is no endless one, 2147483647 ms are 24 days"
    ]


def test_client_ids_are_generated_as_java_does() -> None:
    assert producer_config("h:1", {}).client_id.startswith("producer-")
    assert consumer_config("h:1", {}).client_id.startswith("consumer-")
    assert consumer_config("h:1", {"group_id": "g"}).client_id.startswith("consumer-g-")
    assert producer_config("h:1", {}).client_id != producer_config("h:1", {}).client_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kafka", ("kafka", 9092)),
        ("kafka:1", ("kafka", 1)),
        ("[::1]:5", ("::1", 5)),
        ("[::1]", ("::1", 9092)),
        ("PLAINTEXT://kafka:7", ("kafka", 7)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert address(text) == expected


@pytest.mark.parametrize("text", ["::1:5", "h:x", ":9", "h:0", "h:70000", "SSL://h:1", "[::1]5"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        address(text)


def test_an_address_may_name_its_protocol() -> None:
    with pytest.raises(
        ValueError,
        match="write h:1, and give security_protocol='SSL'",
    ):
        address("SSL://h:1")


def test_bootstrap_servers_as_text_or_list() -> None:
    assert producer_config("a:1, b:2", {}).bootstrap_servers == (("a", 1), ("b", 2))
    assert producer_config(["a:1", "b"], {}).bootstrap_servers == (("a", 1), ("b", 9092))
    assert producer_config(None, {"metadata.broker.list": "a"}).bootstrap_servers == (("a", 9092),)
    for wrong in ("", [], 5, [5], ","):
        with pytest.raises(ConfigError, match="bootstrap_servers: expected"):
            producer_config(wrong, {})


@pytest.mark.parametrize(
    ("config", "java"),
    [
        (
            producer_config("h:1", {}),
            {
                "acks": -1, "enable_idempotence": True, "max_in_flight_requests_per_connection": 5,
                "delivery_timeout_ms": 120_000, "linger_ms": 5, "buffer_memory": 33_554_432,
                "max_block_ms": 60_000, "max_request_size": 4_194_304, "compression": "none",
                "compression_gzip_level": -1, "compression_lz4_level": 9,
                "compression_zstd_level": 3,
            },
        ),
        (
            consumer_config("h:1", {"group_id": "g"}),
            {
                "session_timeout_ms": 45_000,
                "max_poll_interval_ms": 300_000, "max_poll_records": 500,
                "enable_auto_commit": True, "auto_commit_interval_ms": 5_000,
                "auto_offset_reset": "latest", "isolation_level": "read_uncommitted",
                "fetch_min_bytes": 1, "fetch_max_bytes": 52_428_800,
                "max_partition_fetch_bytes": 1_048_576, "fetch_max_wait_ms": 500,
                "check_crcs": True, "client_rack": "", "allow_auto_create_topics": True,
                "default_api_timeout_ms": 60_000, "group_protocol": "classic",
            },
        ),
        (
            consumer_config("h:1", {}),
            {
                "request_timeout_ms": 30_000, "retry_backoff_ms": 100,
                "retry_backoff_max_ms": 1_000, "reconnect_backoff_ms": 50,
                "reconnect_backoff_max_ms": 1_000, "socket_connection_setup_timeout_ms": 10_000,
                "socket_connection_setup_timeout_max_ms": 30_000, "metadata_max_age_ms": 300_000,
                "metadata_recovery_strategy": "rebootstrap",
                "metadata_recovery_rebootstrap_trigger_ms": 300_000,
            },
        ),
    ],
)  # fmt: skip
def test_defaults_are_javas(config: CommonConfig, java: dict[str, Any]) -> None:
    assert {name: getattr(config, name) for name in java} == java


def test_heartbeats_fit_a_short_session() -> None:
    assert consumer_config("h:1", {}).heartbeat_interval_ms == 500
    assert consumer_config("h:1", {"session_timeout_ms": 300}).heartbeat_interval_ms == 100


def test_leaving_is_on_off_or_by_default() -> None:
    assert consumer_config("h:1", {}).leave_group_on_close is None
    assert consumer_config("h:1", {"leave.group.on.close": "false"}).leave_group_on_close is False


@pytest.mark.parametrize("role", [ProducerConfig, ConsumerConfig])
def test_the_table_is_whole(role: type[CommonConfig]) -> None:
    rows = options(role)
    spellings = [spelling for row in rows.values() for spelling in set(row.spellings())]
    assert len(spellings) == len(set(spellings))
    for name, row in rows.items():
        assert isinstance(row, Option)
        assert row.doc.endswith("."), name
        if isinstance(row.default, (int, float)) and not isinstance(row.default, bool):
            assert row.read(row.default) == row.default, name


def test_a_configuration_is_frozen_and_shows_given_options() -> None:
    config = producer_config("h:1", {"linger_ms": 7})
    with pytest.raises(AttributeError, match="frozen"):
        config.linger_ms = 8
    assert repr(config) == "ProducerConfig(bootstrap_servers=(('h', 1),), linger_ms=7)"


def test_reset_policy_by_duration() -> None:
    given = {"auto_offset_reset": "By_Duration:pt1h"}
    assert consumer_config("localhost", given).auto_offset_reset == "by_duration:PT1H"
    for wrong in ("by_duration:5s", "by_duration:P", "oldest"):
        with pytest.raises(ConfigError, match=re.escape(wrong)):
            consumer_config("localhost", {"auto_offset_reset": wrong})


def test_a_secret_never_shows_itself() -> None:
    secret = Secret("hunter2")
    assert secret.reveal() == "hunter2"
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret:>40}", repr([secret])):
        assert "hunter2" not in shown
    for take in (pickle.dumps, copy.copy, copy.deepcopy, hash):
        with pytest.raises(TypeError):
            take(secret)
    assert secret == Secret("hunter2")
    assert secret != Secret("hunter3")
    assert secret != "hunter2"


def test_a_topic_has_options_of_its_own_and_else_those_of_the_producer() -> None:
    config = producer_config(
        "h:1",
        {
            "compression": "lz4",
            "compression_zstd_level": 7,
            "linger_ms": 3,
            "topics": {"orders": {"compression.type": "ZSTD", "batch_size": "200000"}, "t": {}},
        },
    )
    orders, other = config.topics["orders"], config.topics["t"]
    assert (orders.compression, orders.compression_zstd_level) == ("zstd", 7)
    assert (orders.batch_size, orders.linger_ms) == (200_000, 3)
    assert (other.compression, other.batch_size) == ("lz4", config.batch_size)
    assert producer_config("h:1", {}).topics == {}


def test_every_problem_of_every_topic_is_reported_at_once() -> None:
    topics = {"a": {"lnger_ms": 3, "batch_size": -1}, "b": 3, 4: {}, "c": {"acks": 1}}
    assert problems(producer_config, topics=topics, linger_ms="x") == [
        "topics['a'].lnger_ms: there is no such option; did you mean linger_ms?",
        "topics['a'].batch_size: expected 1 to 2147483647, not -1",
        "topics['b']: expected options, not 3",
        "topics: expected the name of a topic, not 4",
        "topics['c'].acks: there is no such option",
        "linger_ms: expected milliseconds, not 'x'",
    ]
    [problem] = problems(producer_config, topics="orders")
    assert problem == "topics: expected options by topic, not 'orders'"


def test_a_topics_batches_fit_into_requests_and_its_linger_into_the_delivery_timeout() -> None:
    large = {"t": {"batch_size": 5_000_000}}
    assert producer_config("h:1", {"topics": large}).max_request_size == 5_000_000
    assert problems(producer_config, topics=large, max_request_size=2_000_000) == [
        "topics['t'].batch_size: 5000000 is over max_request_size (2000000)"
    ]
    slow = {"t": {"linger_ms": 100_000}}
    assert producer_config("h:1", {"topics": slow}).delivery_timeout_ms == 130_000
    assert (
        producer_config("h:1", {"topics": slow, "delivery_timeout_ms": 120_000}).request_timeout_ms
        == 20_000
    )
    [problem] = problems(producer_config, topics=slow, delivery_timeout_ms=100_000)
    assert problem.endswith(
        "raise it to 101000 or more, or lower topics['t'].linger_ms to 99000 or less"
    )


@pytest.mark.parametrize(
    "given",
    [
        {"delivery_timeout_ms": 10},
        {"delivery_timeout_ms": 5_000, "linger_ms": 6_000},
        {"delivery_timeout_ms": 5_000, "linger_ms": 6_000, "request_timeout_ms": 2_000},
        {"delivery_timeout_ms": 5_000, "request_timeout_ms": 5_000},
    ],
)
def test_every_way_out_that_is_named_is_one(given: dict[str, Any]) -> None:
    [problem] = problems(producer_config, **given)
    ways = re.findall(r"(?:raise|lower) (\w+) to (\d+)", problem)
    assert len(ways) == 2
    for name, value in ways:
        option = "delivery_timeout_ms" if name == "it" else name
        producer_config("h:1", {**given, option: int(value)})


# ---- names of other clients, and forms of theirs ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # librdkafka, confluent-kafka
        (
            "queue.buffering.max.kbytes",
            "it is buffer_memory here: in bytes (1024 times as much), of memory that is really held",
        ),
        ("queue.buffering.max.messages", ": buffer_memory limits all messages that wait, in bytes"),
        ("batch.num.messages", "batch_size limits a batch, in bytes"),
        (
            "message.send.max.retries",
            "a message is retried until delivery_timeout_ms, with pauses of retry_backoff_ms",
        ),
        ("compression.level", "compression_zstd_level"),
        ("dr_cb", "it is on_delivery here"),
        (
            "error_cb",
            "exceptions, the log, health() and listen() report it",
        ),
        ("stats_cb", "statistics() returns them at any time"),
        ("statistics.interval.ms", "statistics() returns them at any time"),
        ("debug", 'logging, logger "ottla"; ottla.log_to_stderr("DEBUG") shows it'),
        ("socket.keepalive.enable", ": always set"),
        ("sasl.username", "SASL is not in this release"),
        ("ssl.engine.location", "keys and certificates are files or PEM texts"),
        ("oauth_cb", "SASL is not in this release"),
        ("transactional.id", "transactions are not in this release"),
        ("enable.metrics.push", "metrics for brokers (KIP-714) are not in this release"),
        # Java
        ("key.serializer", "encode them before send"),
        ("metric.reporters", "statistics()"),
        ("connections.max.idle.ms", "connections stay open"),
        # kafka-python, aiokafka
        ("value_serializer", "keys and values are bytes or str"),
        ("api_version", "versions are negotiated with each broker"),
        ("max_batch_size", "it is batch_size here: in bytes"),
        ("loop", "each method runs in the event loop that awaits it"),
        ("retries", "a message is retried until"),
        ("sasl_plain_password", "SASL is not in this release"),
        ("ssl_context", "ssl_truststore_location for cafile"),
        # sarama
        ("Producer.RequiredAcks", "it is acks here"),
        ("Producer.Flush.Frequency", "it is linger_ms here: in milliseconds"),
        ("Producer.Return.Successes", "it is return_successes here"),
        ("Net.MaxOpenRequests", "it is max_in_flight_requests_per_connection here"),
        ("Net.SASL.User", "SASL is not in this release"),
        ("Net.TLS.Enable", "it is security_protocol here: SSL"),
        ("Producer.Transaction.ID", "transactions are not in this release"),
        # of consumers
        ("group_id", "no such option for a producer: it is one of a consumer"),
        ("Consumer.Fetch.Min", "no such option for a producer"),
        ("LINGER_MS", "did you mean linger_ms?"),
    ],
)
def test_names_of_other_clients_are_explained(name: str, expected: str) -> None:
    (problem,) = problems(producer_config, **{name: 5})
    assert problem.startswith(f"{name}: ")
    assert expected in problem


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("queued.max.messages.kbytes", "it is fetch_buffer_bytes here: in bytes"),
        ("queued.min.messages", "fetch_buffer_bytes limits the records that are fetched ahead"),
        ("consumer_timeout_ms", "poll(timeout=…) has a limit in seconds"),
        ("value_deserializer", "expected a function (data), not int 5"),
        ("enable.auto.offset.store", "with enable_auto_commit=False, commit(offsets) does"),
        ("rebalance_cb", "subscribe() takes on_assigned"),
        ("group.remote.assignor", 'the group protocol "consumer" (KIP-848) is not in this release'),
        ("rebalance_timeout_ms", "it is max_poll_interval_ms here"),
        ("Consumer.Offsets.Initial", "it is auto_offset_reset here"),
        ("Consumer.Group.Session.Timeout", "it is session_timeout_ms here: in milliseconds"),
        ("linger_ms", "no such option for a consumer: it is one of a producer"),
        ("queue.buffering.max.ms", "no such option for a consumer: it is one of a producer"),
    ],
)
def test_names_of_other_consumers_are_explained(name: str, expected: str) -> None:
    (problem,) = problems(consumer_config, **{name: 5})
    assert expected in problem


def test_the_options_of_other_clients_are_found_by_their_names() -> None:
    tables = [options(config) for config in (ProducerConfig, ConsumerConfig)]
    own = {name for table in tables for name in table}
    spellings = {
        spelling.replace(".", "_")
        for table in tables
        for row in table.values()
        for spelling in row.spellings()
    }
    for other in OTHERS:
        assert other.gone or other.ours in own, other
        for name in other.theirs.split(", "):
            assert counterpart(name) is not None
            assert normalized(name) not in spellings, f"{name} is an option: nobody looks here"
    for row in (row for page in PAGES.values() for names in page for row in names):
        assert row.ours is None or row.ours in own
        assert row.note or not row.gone


@pytest.mark.parametrize(
    "name", ["bootstrap_server", "brokers", "bootstrap.server", "bootstrap_serves"]
)
def test_one_mistake_is_one_problem(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        producer_config(None, {name: "h:1"})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{name}: there is no such option")
    assert "bootstrap_servers" in problem


def test_ten_options_stand_first_in_the_reference() -> None:
    tables = (ProducerConfig, ConsumerConfig)
    first = {name for table in tables for name, row in options(table).items() if row.first}
    page = (Path(__file__).parents[2] / "docs/reference/configuration.md").read_text("utf-8")
    table = page.partition("## The ten options to know")[2].partition("## All roles")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == first
    assert len(first) == 10


@pytest.mark.parametrize(
    ("typed", "table"),
    [(ottla.ProducerOptions, ProducerConfig), (ottla.ConsumerOptions, ConsumerConfig)],
)
def test_help_shows_the_options(typed: type[Any], table: type[Any]) -> None:
    shown = pydoc.plain(pydoc.render_doc(typed))
    before = shown.partition("Methods inherited from builtins.dict")[0]
    for name, row in options(table).items():
        assert re.search(rf"\|  {name}: .*\n \|      {re.escape(row.doc[:40])}", before), name


def test_a_mapping_of_options_is_taken_as_confluent_kafka_takes_it() -> None:
    given = {"bootstrap.servers": "h:1", "linger.ms": 5, "client_id": "c", "acks": None}
    config = producer_config(given, {"compression": "lz4"})
    assert config.bootstrap_servers == (("h", 1),)
    assert (config.linger_ms, config.client_id, config.compression) == (5, "c", "lz4")
    assert producer_config({"linger.ms": 7}, {"bootstrap_servers": "h"}).linger_ms == 7
    assert consumer_config({"bootstrap.servers": "h", "group.id": "g"}, {}).group_id == "g"
    assert consumer_config("h", {}, "g").group_id == "g"


@pytest.mark.parametrize(
    ("first", "config", "text"),
    [
        ("h:1", {"linger.ms": 5, "linger_ms": 6}, "linger_ms: given twice, as 'linger.ms' and as 'linger_ms'"),
        ({"linger.ms": 5, "linger_ms": 6, "bootstrap.servers": "h"}, {},
         "linger_ms: given twice, as 'linger.ms' in the mapping and as 'linger_ms' in the mapping"),
        ({"linger.ms": 5, "bootstrap.servers": "h"}, {"linger_ms": 6},
         "linger_ms: given twice, as 'linger.ms' in the mapping and as keyword 'linger_ms'"),
        ("h:1", {"bootstrap.servers": "h"}, "bootstrap_servers: given twice, as the first argument and as 'bootstrap.servers'"),
    ],
)  # fmt: skip
def test_an_option_that_is_given_twice_is_named_by_both(
    first: Any, config: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        producer_config(first, config)
    assert caught.value.problems == (text,)


def test_where_topics_and_groups_go() -> None:
    with pytest.raises(
        ConfigError, match=r"as the first argument and .*; subscribe\(\) takes topics"
    ):
        consumer_config("orders", {"bootstrap_servers": "h:1"})
    with pytest.raises(ConfigError, match="as the second argument and as 'group_id'"):
        consumer_config("h:1", {"group_id": "a"}, "b")
    for make in (consumer_config, group_config):
        with pytest.raises(ConfigError) as caught:
            make("h:1", {"group_id": "g", "topics": ["x"]})
        (problem,) = caught.value.problems
        assert problem == (
            "topics: there is no such option: subscribe(topics) takes them, run(topics, handler) of a group"
        )
    with pytest.raises(ConfigError, match="group_id: missing; a group needs a name"):
        group_config({"bootstrap.servers": "h"}, {})


def test_nothing_of_a_mapping_is_shown() -> None:
    given = {"bootstrap.servers": "h:1", "sasl.password": "hunter2", "linger.ms": 5, "dr_cb": print}
    for make in (producer_config, consumer_config):
        with pytest.raises(ConfigError) as caught:
            make(given, {})
        text = str(caught.value)
        assert "dr_cb: there is no such option" in text
        assert "missing" not in text
        assert "hunter2" not in text


@pytest.mark.parametrize("servers", ["a:9092;b:9092", "a:9092 b:9092", "a;b", ["a:1;b:1"]])
def test_addresses_are_separated_by_commas(servers: Any) -> None:
    (problem,) = problems(
        lambda _, config: producer_config(None, config), bootstrap_servers=servers
    )
    assert "several addresses are separated by commas" in problem


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("smallest", "earliest"), ("beginning", "earliest"), ("Largest", "latest"), ("end", "latest"), ("error", "none")],
)  # fmt: skip
def test_words_of_other_clients_for_a_reset_are_named(theirs: str, ours: str) -> None:
    (problem,) = problems(consumer_config, auto_offset_reset=theirs)
    assert problem == (
        f'auto_offset_reset: expected earliest, latest or none: {theirs!r} is "{ours}" here'
    )


class Interceptor:
    def on_send(self, message: Any) -> Any: ...
    def on_acknowledgement(self, delivery: Any) -> None: ...
    def close(self) -> None: ...


class OneMore(Interceptor):
    def on_acknowledgement(self, metadata: Any, error: Any) -> None: ...  # type: ignore[override]


class OfALoop(Interceptor):
    async def on_send(self, message: Any) -> Any: ...


async def coroutine_function(*_: Any) -> None: ...


class Callable:
    async def __call__(self, *_: Any) -> None: ...


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"on_delivery": 5}, "on_delivery: expected a function (delivery), not int 5"),
        ({"on_delivery": lambda err, msg: None}, "<lambda> takes (err, msg); of confluent-kafka's"),
        ({"on_delivery": lambda: None}, "expected a function (delivery); "),
        ({"on_delivery": coroutine_function}, "not the coroutine function coroutine_function"),
        ({"on_delivery": Callable()}, "not the coroutine function Callable"),
        ({"on_delivery": functools.partial(coroutine_function, 1)}, "not the coroutine function"),
        ({"partitioner": 5}, "or a function, not 5"),
        ({"partitioner": lambda key, all_, available: 0}, "expected a function (topic, key, value, partitions); "),
        ({"partitioner": coroutine_function}, "not the coroutine function"),
        ({"interceptors": 5}, "expected a list of objects like ottla.ProducerInterceptor, not 5"),
        ({"interceptors": [5]}, "5 has no on_send, on_acknowledgement, close"),
        ({"interceptors": [Interceptor]}, "not the class Interceptor: create an object of it"),
        ({"interceptors": [OneMore()]}, "expected a function (delivery); OneMore.on_acknowledgement takes"),
        ({"interceptors": [OfALoop()]}, "not the coroutine function OfALoop.on_send"),
    ],
)  # fmt: skip
def test_functions_that_cannot_be_called_are_refused(config: dict[str, Any], expected: str) -> None:
    (problem,) = problems(producer_config, **config)
    assert expected in problem


@pytest.mark.parametrize(
    "function",
    [
        print,
        [].append,
        lambda delivery: None,
        lambda *all_: None,
        lambda delivery, more=None: None,
        functools.partial(lambda more, delivery: None, 1),
        queue.SimpleQueue[Any]().put,
        threading.Thread,
        mock.Mock(),
    ],
)
def test_functions_that_can_be_called_are_taken(function: Any) -> None:
    assert producer_config("h:1", {"on_delivery": function}).on_delivery is function


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ud800", "text that UTF-8 can encode, not '\\ud800'"),
        ("x" * 32_768, "expected at most 32767 bytes, not 32768"),
    ],
)
def test_texts_fit_into_requests(text: str, expected: str) -> None:
    for make, name in ((producer_config, "client_id"), (consumer_config, "group_id")):
        (problem,) = problems(make, **{name: text})
        assert expected in problem
    assert producer_config("h:1", {"client_id": "é" * 16_383}).client_id
