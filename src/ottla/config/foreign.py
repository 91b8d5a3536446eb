"""Names of options, and of arguments of a send, that users of other clients know, and what is to be said about them: looked at
once a name is unknown.

Names are compared in lower case with underscores for dots. What means the same and takes the same values is no matter for
here but an alias of the option, in the tables.

References: Java ProducerConfig, ConsumerConfig; librdkafka CONFIGURATION.md; sarama config.go; kafka-python and aiokafka
(arguments of KafkaProducer, KafkaConsumer, AIOKafkaProducer, AIOKafkaConsumer).
"""

from __future__ import annotations

from difflib import get_close_matches

_NO_TLS = "not supported yet: TLS and SASL come with a later release, connections are PLAINTEXT"
_NO_TRANSACTIONS = "not supported yet: transactions come with a later release"
_NO_NEXT_GENERATION = (
    'not supported yet: the group protocol "consumer" (KIP-848) comes with a later release'
)
_NO_SERIALIZER = (
    "there is no such option: keys and values are bytes or str; encode them before send"
)
_NO_DESERIALIZER = "there is no such option: keys and values are handed over as bytes"
_RETRIES = (
    "there is no such option: a message is retried until delivery_timeout_ms has passed, and "
    "retry_backoff_ms is the pause between"
)
_LOG = (
    'there is no such option: the client logs to the logger "ottla" of logging; '
    "ottla.log_to_stderr() shows it"
)
_STATISTICS = "there is no such option: statistics() of a client gives them when it is called"
_EVENTS = "there is no such option: listen() of a producer hears of what happens, poll() of a consumer raises it"
_VERSIONS = "there is no such option: versions are agreed with each broker"
_IDLE = (
    "there is no such option: connections stay open, and one that a broker closes is dialled again"
)
_ALWAYS = "there is no such option: it is always so"

EXPLAINED = {
    "ack_timeout_ms": "there is no such option: request_timeout_ms bounds an answer",
    "api_version": _VERSIONS,
    "api_version_auto_timeout_ms": _VERSIONS,
    "api_version_fallback_ms": _VERSIONS,
    "api_version_request": _VERSIONS,
    "broker_version_fallback": _VERSIONS,
    "version": _VERSIONS,
    "channelbuffersize": "there is no such option: buffer_memory bounds what waits, in bytes",
    "batch_num_messages": "there is no such option: batch_size bounds a batch, in bytes",
    "producer_flush_messages": "there is no such option: batch_size bounds a batch, in bytes",
    "producer_flush_maxmessages": "there is no such option: batch_size bounds a batch, in bytes",
    "client_dns_lookup": "there is no such option: all addresses of a name are tried",
    "client_software_name": "there is no such option: brokers are told that it is ottla, and its version",
    "client_software_version": "there is no such option: brokers are told that it is ottla, and its version",
    "broker_address_family": "there is no such option: all addresses of a name are tried",
    "compression_level": "there is one for each codec: compression_gzip_level, compression_lz4_level, compression_zstd_level",
    "connections_max_idle_ms": _IDLE,
    "consumer_maxprocessingtime": "there is no such option: max_poll_interval_ms bounds the time between polls",
    "consumer_return_errors": "there is no such option: poll and iteration raise what is wrong",
    "consumer_timeout_ms": "there is no such option: poll(timeout=...) ends after so many seconds",
    "debug": _LOG,
    "logger": _LOG,
    "log_cb": _LOG,
    "log_level": _LOG,
    "default_topic_config": "there is no such option: its options are given beside the others",
    "delivery_report_only_error": "there is no such option: return_errors=True keeps the failures alone, for errors()",
    "enable_auto_offset_store": "there is no such option: enable_auto_commit=False and commit(offsets) say what is committed",
    "enable_metrics_push": "not supported yet: metrics for brokers (KIP-714) come with a later release",
    "enable_partition_eof": "there is no such option: lag() and end_offsets() say where a partition ends",
    "error_cb": _EVENTS,
    "throttle_cb": _EVENTS,
    "group_remote_assignor": _NO_NEXT_GENERATION,
    "key_deserializer": _NO_DESERIALIZER,
    "key_serializer": _NO_SERIALIZER,
    "value_deserializer": _NO_DESERIALIZER,
    "value_serializer": _NO_SERIALIZER,
    "loop": "there is no such option: an asynchronous client runs in whichever event loop awaits it",
    "metric_reporters": _STATISTICS,
    "metrics_num_samples": _STATISTICS,
    "metrics_recording_level": _STATISTICS,
    "metrics_sample_window_ms": _STATISTICS,
    "statistics_interval_ms": _STATISTICS,
    "stats_cb": _STATISTICS,
    "oauth_cb": _NO_TLS,
    "queue_buffering_max_messages": "there is no such option: buffer_memory bounds what waits, in bytes",
    "queue_buffering_backpressure_threshold": "there is no such option: linger_ms and batch_size say when a batch is sent",
    "queued_min_messages": "there is no such option: fetch_buffer_bytes bounds what is fetched ahead",
    "rebalance_cb": "there is no such option: subscribe() takes on_assigned, on_revoked and on_lost",
    "offset_commit_cb": "there is no such option: commit_async() returns a ticket that has the outcome",
    "retries": _RETRIES,
    "message_send_max_retries": _RETRIES,
    "producer_retry_max": _RETRIES,
    "selector": "there is no such option: a thread of its own does all input and output",
    "sock_chunk_bytes": "there is no such option: receive_buffer_bytes and send_buffer_bytes are those of the socket",
    "socket_options": "there is no such option: receive_buffer_bytes and send_buffer_bytes are those of the socket",
    "socket_keepalive_enable": _ALWAYS,
    "socket_nagle_disable": _ALWAYS,
    "sticky_partitioning_linger_ms": "there is no such option: messages without a key change partition by bytes (KIP-794)",
    "topic_metadata_refresh_fast_interval_ms": "there is no such option: retry_backoff_ms is the pause until metadata is asked for again",
    "transactional_id": _NO_TRANSACTIONS,
    "transaction_timeout_ms": _NO_TRANSACTIONS,
    "transaction_two_phase_commit_enable": _NO_TRANSACTIONS,
    "producer_transaction_id": _NO_TRANSACTIONS,
    "producer_transaction_timeout": _NO_TRANSACTIONS,
}
"""There is no option that is the same thing: what there is instead."""

_MS = ", in milliseconds"
_BYTES = ", in bytes"

RENAMED: dict[str, tuple[str, str]] = {
    "addrs": ("bootstrap_servers", ""),
    "bootstrap": ("bootstrap_servers", ""),
    "bootstrap_server": ("bootstrap_servers", ""),
    "brokers": ("bootstrap_servers", ""),
    "hosts": ("bootstrap_servers", ""),
    "seed_brokers": ("bootstrap_servers", ""),
    "clientid": ("client_id", ""),
    "group": ("group_id", ""),
    "groupid": ("group_id", ""),
    "rackid": ("client_rack", ""),
    "rack": ("client_rack", ""),
    "metadata_refreshfrequency": ("metadata_max_age_ms", _MS),
    "metadata_retry_backoff": ("retry_backoff_ms", _MS),
    "net_dialtimeout": ("socket_connection_setup_timeout_ms", _MS),
    "net_maxopenrequests": ("max_in_flight_requests_per_connection", ""),
    "net_readtimeout": ("request_timeout_ms", _MS),
    "net_writetimeout": ("request_timeout_ms", _MS),
    "max_in_flight_requests": ("max_in_flight_requests_per_connection", ""),
    "reconnect_backoff_jitter_ms": ("reconnect_backoff_ms", ""),
    "fetch_error_backoff_ms": ("retry_backoff_ms", ""),
    # ---- producers
    "producer_compression": ("compression", ""),
    "dr_cb": ("on_delivery", ", a function of the Delivery"),
    "dr_msg_cb": ("on_delivery", ", a function of the Delivery"),
    "callback": ("on_delivery", ", a function of the Delivery"),
    "idempotent": ("enable_idempotence", ""),
    "producer_idempotent": ("enable_idempotence", ""),
    "producer_flush_frequency": ("linger_ms", _MS),
    "max_batch_size": ("batch_size", _BYTES),
    "producer_flush_bytes": ("batch_size", ""),
    "producer_maxmessagebytes": ("max_message_bytes", ""),
    "producer_partitioner": ("partitioner", ""),
    "producer_interceptors": ("interceptors", ", objects like ottla.ProducerInterceptor"),
    "producer_requiredacks": ("acks", ""),
    "required_acks": ("acks", ""),
    "producer_retry_backoff": ("retry_backoff_ms", _MS),
    "producer_return_errors": ("return_errors", ""),
    "producer_return_successes": ("return_successes", ""),
    "producer_timeout": ("request_timeout_ms", _MS),
    "queue_buffering_max_kbytes": ("buffer_memory", ", in bytes: 1024 times as much"),
    # ---- consumers
    "auto_commit_enable": ("enable_auto_commit", ""),
    "consumer_fetch_default": ("max_partition_fetch_bytes", ""),
    "consumer_fetch_max": ("max_partition_fetch_bytes", ""),
    "consumer_fetch_min": ("fetch_min_bytes", ""),
    "consumer_group_heartbeat_interval": ("heartbeat_interval_ms", _MS),
    "consumer_group_instanceid": ("group_instance_id", ""),
    "consumer_group_rebalance_groupstrategies": ("partition_assignment_strategy", ""),
    "consumer_group_rebalance_strategy": ("partition_assignment_strategy", ""),
    "consumer_group_session_timeout": ("session_timeout_ms", _MS),
    "consumer_isolationlevel": ("isolation_level", ""),
    "consumer_maxwaittime": ("fetch_max_wait_ms", _MS),
    "consumer_offsets_autocommit_enable": ("enable_auto_commit", ""),
    "consumer_offsets_autocommit_interval": ("auto_commit_interval_ms", _MS),
    "consumer_offsets_initial": ("auto_offset_reset", ""),
    "rebalance_timeout_ms": ("max_poll_interval_ms", ""),
    "queued_max_messages_kbytes": ("fetch_buffer_bytes", ", in bytes: 1024 times as much"),
}
"""What it is called here, and how its values differ."""

_LATER_PREFIXES = ("ssl_", "sasl_", "net_tls_", "net_sasl_", "security_providers", "enable_ssl_")


def explained(name: str) -> str | None:
    """What is to be said about a name that has no counterpart; None: it is not known."""
    if name.startswith(_LATER_PREFIXES):
        return _NO_TLS
    return EXPLAINED.get(name)


# ---- arguments of a send ---------------------------------------------------------------------------------------------

_CALLBACK = "it is called on_delivery here, a function of the Delivery"
_ENCODE = "keys and values are bytes or str: encode them in the call, as in value=json.dumps(value).encode()"
_VALUE = "it is called value here"

SEND_ARGUMENTS = {
    "timestamp": "it is called timestamp_ms here, in milliseconds since the epoch",
    "callback": _CALLBACK,
    "cb": _CALLBACK,
    "delivery_callback": _CALLBACK,
    "key_serializer": _ENCODE,
    "serializer": _ENCODE,
    "value_serializer": _ENCODE,
    "data": _VALUE,
    "message": _VALUE,
    "msg": _VALUE,
    "payload": _VALUE,
    "context": "it is called metadata here",
    "opaque": "it is called metadata here",
    "topic_name": "it is called topic here",
    "keys": "send_many(topic, values, keys) takes several",
    "messages": "send_many(messages) takes several",
    "values": "send_many(topic, values) takes several",
    "timeout": "send(...).result(timeout=5) waits for the outcome for so many seconds; max_block_ms of the producer bounds the wait "
    "for room",
}
"""What `send` and `produce` of other clients take, and what there is for it."""

_SEND_TAKES = (
    "topic",
    "value",
    "key",
    "headers",
    "partition",
    "timestamp_ms",
    "metadata",
    "on_delivery",
)


def send_argument_error(function: str, name: str) -> TypeError:
    """For a keyword that no way to send one message has."""
    hint = SEND_ARGUMENTS.get(name, "")
    if not hint and (close := get_close_matches(name, _SEND_TAKES, 1)):
        hint = f"did you mean {close[0]}?"
    text = f"{function}() got an unexpected keyword argument {name!r}"
    return TypeError(f"{text}: {hint}" if hint else text)


# ---- arguments of a consumer's calls ---------------------------------------------------------------------------------

_TICKET = "commit_async() returns a ticket, which has the outcome"
_LISTENERS = "on_assigned, on_revoked and on_lost are functions of their own"

CALL_ARGUMENTS: dict[tuple[str, str], str] = {
    ("poll", "num_messages"): "it is called max_records here",
    ("poll", "max_poll_records"): "it is called max_records here",
    ("subscribe", "on_assign"): "it is called on_assigned here",
    ("subscribe", "on_revoke"): "it is called on_revoked here",
    ("subscribe", "listener"): _LISTENERS,
    ("subscribe", "callback"): _LISTENERS,
    ("subscribe", "topic"): "it is called topics here",
    ("subscribe", "regex"): "it is called pattern here",
    (
        "commit",
        "asynchronous",
    ): "commit() waits until the offsets are committed, commit_async() returns at once",
    (
        "commit",
        "message",
    ): "offsets={(record.topic, record.partition): record.offset + 1} commits one record",
    ("commit", "callback"): _TICKET,
    ("commit_async", "callback"): _TICKET,
    ("close", "autocommit"): "with enable_auto_commit it commits what is finished",
}
"""Arguments of the methods of other clients, by method and name: what to write here."""


def argument_hint(method: str, name: str, value: object, parameters: list[str]) -> str:
    """What to write for a keyword that a method does not have; empty where nothing is known.

    Args:
        method: Name of the method.
        name: The keyword.
        value: What was given for it.
        parameters: Names of the method's parameters.
    """
    if name == "timeout_ms" and "timeout" in parameters:
        seconds = value / 1000 if isinstance(value, int | float) else 1.0
        return f"timeout is in seconds: {method}(timeout={seconds:g})"
    if (hint := CALL_ARGUMENTS.get((method, name))) is not None:
        return hint
    close = get_close_matches(name, parameters, 1)
    return f"did you mean {close[0]}?" if close else ""


def positional_hint(method: str, args: tuple[object, ...]) -> str:
    """What to write where a method got more arguments without a keyword than it has; empty where nothing is known."""
    if method == "poll" and args:
        seconds = args[0] if isinstance(args[0], int | float) else 1.0
        return f"poll(timeout={seconds:g}) waits so many seconds, poll(max_records=...) returns at most so many"
    return ""
