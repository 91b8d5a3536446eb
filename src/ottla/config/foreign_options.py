"""The options of other clients: their names and defaults, and their counterparts here. Data only.

Three read it: `foreign.py`, which explains an unknown name of an option; `codegen/migration_docs.py`, which writes the tables of
docs/migrating; and the tests that compare it with the clients themselves. Defaults were read out of the clients: librdkafka
2.16.0 (`rd_kafka_conf_dump`), kafka-python 3.0.12 and aiokafka 0.14.0 (their signatures), sarama 1.61.1 (`NewConfig`).
Other references: Java ProducerConfig, ConsumerConfig.
"""

from __future__ import annotations

from typing import NamedTuple


class Name(NamedTuple):
    """One option of another client, or several that mean the same."""

    theirs: str
    """Its name; several with commas. One that ends with … stands for all names that begin so."""
    default: str = ""
    """Default of theirs, as a reader of their documentation knows it."""
    ours: str | None = None
    """The option here; None: the one that has this name."""
    note: str = ""
    """The difference, or for an option that does not exist here the replacement. Markdown."""
    gone: bool = False
    """Whether no option here has its effect."""


def gone(theirs: str, default: str, note: str) -> Name:
    """An option without a counterpart."""
    return Name(theirs, default, None, note, gone=True)


def elsewhere(theirs: str, note: str) -> Name:
    """An option without a counterpart, of a client that has no page."""
    return gone(theirs, "", note)


def renamed(theirs: str, ours: str, note: str = "") -> Name:
    """An option with another name, of a client that has no page."""
    return Name(theirs, "", ours, note)


BY_DELIVERY_TIMEOUT = (
    "a message is retried until `delivery_timeout_ms`, with pauses of `retry_backoff_ms`"
)
BYTES_ARE_BYTES = "keys and values are bytes or str: encode them before `send`"
NONE_STAYS = "functions of bytes only; not called for None; `on_deserialize_error` for failures"
NO_SASL = "SASL is not in this release: PLAINTEXT or SSL"
NO_CONTEXT = (
    "Python's `ssl` is not used: give `ssl_truststore_location` for cafile, `ssl_certificate_location` and `ssl_key_location` for "
    "certfile and keyfile, `ssl_key_password` for password, `ssl_endpoint_identification_algorithm` for check_hostname"
)
NO_ENGINE = "keys and certificates are files or PEM texts, also from functions"
PEM_FUNCTION = "or a function that returns the text"
TLS_FILES = "a file that changes is read again: no restart"
NO_TRANSACTIONS = "transactions are not in this release"
AGREED = "versions are negotiated with each broker"
SEEN = "`statistics()` returns them at any time; `listen()` reports events"
LOGGED = '`logging`, logger "ottla"; `ottla.log_to_stderr("DEBUG")` shows it'
BY_BYTES = "`batch_size` limits a batch, in bytes"
BUDGET = "`buffer_memory` limits all messages that wait, in bytes"
FETCH_BUDGET = "`fetch_buffer_bytes` limits the records that are fetched ahead, in bytes"
ONE_PER_CODEC = "one for each codec: `compression_gzip_level`, `compression_lz4_level`, `compression_zstd_level`"
IDLE = "connections stay open; one that a broker closes is opened again"
MS = "in milliseconds"
PARTITIONER = (
    "the same keys on the same partitions; without a key KIP-794. A callable takes other arguments"
)
REQUEST_SIZE = "if given, it limits messages too; `max_message_bytes` alone limits messages"
ADDRESSES = "all addresses of a host name are tried"
SOCKET = "`receive_buffer_bytes` and `send_buffer_bytes` are those of the socket"
REPORTED = "exceptions, the log, `health()` and `listen()` report it"
TICKET = "`commit_async()` returns a ticket, which has the outcome"
CALLED_BACK = "a function of one `Delivery`"

LIBRDKAFKA_ALL = (
    Name("bootstrap.servers", "none"),
    Name("client.id", "rdkafka"),
    Name("socket.timeout.ms", "60000"),
    Name("socket.connection.setup.timeout.ms", "30000", note="theirs includes TLS and SASL; ours is of one address"),
    Name("retry.backoff.ms", "100"),
    Name("retry.backoff.max.ms", "1000"),
    Name("reconnect.backoff.ms", "100"),
    Name("reconnect.backoff.max.ms", "10000"),
    Name("topic.metadata.refresh.interval.ms", "300000"),
    Name("metadata.recovery.strategy", "rebootstrap"),
    Name("receive.message.max.bytes", "100000000"),
    Name("socket.send.buffer.bytes", "the system's"),
    Name("socket.receive.buffer.bytes", "the system's"),
    Name("security.protocol", "plaintext", note=NO_SASL),
    Name("ssl.ca.location", "OpenSSL's", note=f"or the system's; {TLS_FILES}"),
    Name("ssl.ca.pem", "none", note=PEM_FUNCTION),
    Name("ssl.certificate.pem", "none", note=PEM_FUNCTION),
    Name("ssl.key.pem", "none", note=PEM_FUNCTION),
    Name("ssl.certificate.location", "none", note=TLS_FILES),
    Name("ssl.key.location", "none", note=TLS_FILES),
    Name("ssl.key.password", "none"),
    Name("ssl.keystore.location", "none", note="PEM or PKCS12"),
    Name("ssl.keystore.password", "none"),
    Name("ssl.endpoint.identification.algorithm", "https"),
    Name("enable.ssl.certificate.verification", "true"),
    Name("ssl.cipher.suites", "OpenSSL's", note="by the names of OpenSSL or Java"),
    Name("ssl.crl.location", "none"),
    gone("ssl.engine.…, ssl.providers, ssl.certificate.verify_cb, ssl_…", "none", NO_ENGINE),
    gone("sasl.…, oauth_cb", "", NO_SASL),
    gone("statistics.interval.ms, stats_cb", "0", SEEN),
    gone("error_cb", "none", REPORTED),
    gone("logger, debug", "none", LOGGED),
)  # fmt: skip

LIBRDKAFKA_PRODUCER = (
    *LIBRDKAFKA_ALL,
    Name("acks", "-1"),
    Name("enable.idempotence", "false", note="order and no duplicates without asking"),
    Name("enable.gapless.guarantee", "false"),
    Name("partitioner", "consistent_random", note="**`consistent_random` keeps keys where they are**"),
    Name("linger.ms, queue.buffering.max.ms", "5"),
    Name("batch.size", "1000000"),
    gone("batch.num.messages", "10000", BY_BYTES),
    Name("compression.type, compression.codec", "none"),
    gone("compression.level", "-1", ONE_PER_CODEC),
    Name("delivery.timeout.ms, message.timeout.ms", "300000"),
    gone("message.send.max.retries, retries", "2147483647", BY_DELIVERY_TIMEOUT),
    Name("request.timeout.ms", "30000", note="theirs is the broker's time for acks; ours that of every answer"),
    Name("max.in.flight", "1000000", note="order is kept with any number up to 5"),
    Name("message.max.bytes", "1000000"),
    Name("queue.buffering.max.kbytes", "1048576 KiB", "buffer_memory", "in bytes (1024 times as much), of memory that is really held"),
    gone("queue.buffering.max.messages", "100000", BUDGET),
    Name("on_delivery", "none", note="called with one `Delivery`; no `poll()` is needed"),
    gone("delivery.report.only.error", "false", "`return_errors=True` keeps the failures, for `errors()`"),
    gone("sticky.partitioning.linger.ms", "10", "messages without a key change partition by bytes (KIP-794)"),
    gone("transactional.id", "none", NO_TRANSACTIONS),
)  # fmt: skip

LIBRDKAFKA_CONSUMER = (
    Name("group.id", "none"),
    Name("group.instance.id", "none"),
    Name("group.protocol", "classic"),
    Name("partition.assignment.strategy", "range, roundrobin", note="members must have one in common: range is"),
    Name("session.timeout.ms", "45000"),
    Name("heartbeat.interval.ms", "3000"),
    Name("max.poll.interval.ms", "300000"),
    Name("enable.auto.commit", "true", note="ours commits only finished records"),
    Name("auto.commit.interval.ms", "5000"),
    gone("enable.auto.offset.store", "true", "auto-commit covers only finished records; with `enable_auto_commit=False`, `commit(offsets)` does"),
    Name("auto.offset.reset", "largest", note="latest, earliest, none; their other spellings are not taken"),
    Name("isolation.level", "read_committed", note="**set it if producers use transactions**"),
    Name("allow.auto.create.topics", "false"),
    Name("check.crcs", "false"),
    Name("client.rack", "none"),
    Name("fetch.min.bytes", "1"),
    Name("fetch.max.bytes", "52428800"),
    Name("fetch.message.max.bytes, max.partition.fetch.bytes", "1048576"),
    Name("fetch.wait.max.ms", "500"),
    Name("queued.max.messages.kbytes", "65536 KiB", "fetch_buffer_bytes", "in bytes: 1024 times as much"),
    gone("queued.min.messages", "100000", FETCH_BUDGET),
    gone("enable.partition.eof", "false", "`lag()` and `end_offsets()` show where a partition ends"),
    gone("on_commit", "none", TICKET),
)  # fmt: skip

KAFKA_PYTHON_ALL = (
    Name("bootstrap_servers", "localhost", note="there is no default"),
    Name("client_id", "None; consumers: kafka-python-3.0.12"),
    Name("request_timeout_ms", "30000"),
    Name("retry_backoff_ms", "100"),
    Name("reconnect_backoff_ms", "50"),
    Name("reconnect_backoff_max_ms", "30000"),
    Name("metadata_max_age_ms", "300000"),
    Name("receive_message_max_bytes", "100000000"),
    Name("receive_buffer_bytes", "the system's"),
    Name("send_buffer_bytes", "the system's"),
    Name("security_protocol", "PLAINTEXT", note=NO_SASL),
    Name("ssl_cafile", "None", note=TLS_FILES),
    Name("ssl_certfile", "None", note=TLS_FILES),
    Name("ssl_keyfile", "None", note=TLS_FILES),
    Name("ssl_password", "None"),
    Name("ssl_crlfile", "None"),
    Name("ssl_check_hostname", "True"),
    Name("ssl_ciphers", "None", note="by the names of OpenSSL or Java"),
    gone("ssl_context", "None", NO_CONTEXT),
    gone("sasl_…", "", NO_SASL),
    gone("api_version", "None", AGREED),
    gone("bootstrap_timeout_ms", "30000", "a constructor does not wait; each call has its own deadline"),
    gone("connections_max_idle_ms", "540000", IDLE),
    gone("metric_reporters, metrics_…", "", SEEN),
)  # fmt: skip

KAFKA_PYTHON_PRODUCER = (
    *KAFKA_PYTHON_ALL,
    gone("key_serializer, value_serializer", "None", BYTES_ARE_BYTES),
    Name("enable_idempotence", "True"),
    Name("acks", "-1"),
    Name("delivery_timeout_ms", "120000"),
    gone("retries", "inf", BY_DELIVERY_TIMEOUT),
    Name("compression_type", "None"),
    Name("batch_size", "16384", note="full batches need few requests; an idle partition takes no memory for it"),
    Name("linger_ms", "0", note="a message whose outcome is awaited does not linger"),
    Name("partitioner", "a DefaultPartitioner", note=PARTITIONER),
    Name("max_block_ms", "60000", note="`send` waits for free space in `buffer_memory`, never for metadata"),
    Name("max_request_size", "1048576", note=REQUEST_SIZE),
    Name("max_in_flight_requests_per_connection", "5"),
    gone("transactional_id, transaction_timeout_ms", "None", NO_TRANSACTIONS),
    gone("allow_auto_create_topics", "True", "the broker's setting decides for producers"),
)  # fmt: skip

KAFKA_PYTHON_CONSUMER = (
    Name("key_deserializer", "None", note=NONE_STAYS),
    Name("value_deserializer", "None", note=NONE_STAYS),
    Name("group_id", "None"),
    Name("group_instance_id", "None"),
    Name("partition_assignment_strategy", "range, roundrobin", note="names; one must be in common: range is"),
    Name("session_timeout_ms", "45000"),
    Name("heartbeat_interval_ms", "3000"),
    Name("max_poll_interval_ms", "300000"),
    Name("max_poll_records", "500"),
    Name("auto_offset_reset", "latest"),
    Name("enable_auto_commit", "True", note="ours commits only finished records"),
    Name("auto_commit_interval_ms", "5000"),
    Name("isolation_level", "read_uncommitted"),
    Name("check_crcs", "True"),
    Name("client_rack", '""'),
    Name("fetch_min_bytes", "1"),
    Name("fetch_max_bytes", "52428800"),
    Name("max_partition_fetch_bytes", "1048576"),
    Name("fetch_max_wait_ms", "500"),
    Name("allow_auto_create_topics", "True"),
    Name("exclude_internal_topics", "True"),
    gone("consumer_timeout_ms", "inf", "`poll(timeout=…)` has a limit in seconds; `wakeup()` ends an iteration"),
    gone("enable_incremental_fetch_sessions", "True", "always (KIP-227)"),
)  # fmt: skip

AIOKAFKA_ALL = (
    Name("bootstrap_servers", "localhost", note="there is no default"),
    Name("client_id", "None; consumers: aiokafka-0.14.0"),
    Name(
        "request_timeout_ms",
        "40000",
        note="theirs also limits the life of a message: `delivery_timeout_ms` here",
    ),
    Name("retry_backoff_ms", "100"),
    Name("metadata_max_age_ms", "300000"),
    Name("security_protocol", "PLAINTEXT", note=NO_SASL),
    gone("ssl_context", "None", NO_CONTEXT),
    gone("sasl_…", "", NO_SASL),
    gone("api_version", "None", AGREED),
    gone("connections_max_idle_ms", "540000", IDLE),
    gone("loop", "None", "each method runs in the event loop that awaits it"),
)

AIOKAFKA_PRODUCER = (
    *AIOKAFKA_ALL,
    gone("key_serializer, value_serializer", "None", BYTES_ARE_BYTES),
    Name("enable_idempotence", "False", note="order and no duplicates without asking"),
    Name("acks", "1 (all with idempotence)"),
    Name("compression_type", "None"),
    Name("max_batch_size", "16384", "batch_size", "in bytes"),
    Name("linger_ms", "0", note="a message whose outcome is awaited does not linger"),
    Name("partitioner", "DefaultPartitioner()", note=PARTITIONER),
    Name("max_request_size", "1048576", note=REQUEST_SIZE),
    gone("transactional_id, transaction_timeout_ms", "None", NO_TRANSACTIONS),
)  # fmt: skip

AIOKAFKA_CONSUMER = (
    Name("key_deserializer", "None", note=NONE_STAYS),
    Name("value_deserializer", "None", note=NONE_STAYS),
    Name("group_id", "None"),
    Name("group_instance_id", "None"),
    Name("partition_assignment_strategy", "roundrobin", note="**not ours: see above before members of both are in one group**"),
    Name("session_timeout_ms", "10000"),
    Name("heartbeat_interval_ms", "3000"),
    Name("max_poll_interval_ms", "300000"),
    Name("rebalance_timeout_ms", "None", "max_poll_interval_ms"),
    Name("max_poll_records", "None"),
    Name("auto_offset_reset", "latest"),
    Name("enable_auto_commit", "True", note="ours commits only finished records"),
    Name("auto_commit_interval_ms", "5000"),
    Name("isolation_level", "read_uncommitted"),
    Name("check_crcs", "True"),
    Name("client_rack", "None"),
    Name("fetch_min_bytes", "1"),
    Name("fetch_max_bytes", "52428800"),
    Name("max_partition_fetch_bytes", "1048576"),
    Name("fetch_max_wait_ms", "500"),
    Name("exclude_internal_topics", "True"),
    gone("consumer_timeout_ms", "200", "`poll(timeout=…)` has a limit in seconds"),
)  # fmt: skip

SARAMA_ALL = (
    Name("the addresses of every constructor", "none", "bootstrap_servers"),
    Name("ClientID", "sarama", "client_id"),
    gone("Version", "DefaultVersion", AGREED),
    Name("Net.DialTimeout", "30 s", "socket_connection_setup_timeout_ms", MS),
    Name("Net.ReadTimeout", "30 s", "request_timeout_ms", MS),
    Name("Net.WriteTimeout", "30 s", "request_timeout_ms", "in milliseconds; it covers the answer too"),
    Name("Net.MaxOpenRequests", "5", "max_in_flight_requests_per_connection", "theirs must be 1 for idempotence; 5 keep order here"),
    Name("Net.TLS.Enable", "false", "security_protocol", "SSL"),
    Name("Net.TLS.Config", "none", "ssl_truststore_location", "its RootCAs; `ssl_certificate_location` and `ssl_key_location` are its Certificates"),
    gone("Net.SASL…", "off", NO_SASL),
    Name("Metadata.RefreshFrequency", "10 min", "metadata_max_age_ms", MS),
    gone("Metadata.Full", "true", "only topics in use are requested; all topics for a pattern"),
    gone("ChannelBufferSize", "256", "`buffer_memory` and `fetch_buffer_bytes` limit the waiting messages and records, in bytes"),
    gone("MetricRegistry", "go-metrics", SEEN),
    gone("Logger, DebugLogger", "discarded", LOGGED),
)  # fmt: skip

SARAMA_PRODUCER = (
    *SARAMA_ALL,
    Name("Producer.RequiredAcks", "WaitForLocal (1)", "acks", "`ottla.ACKS_ALL`, `ACKS_LEADER`, `ACKS_NONE`"),
    Name("Producer.Idempotent", "false", "enable_idempotence"),
    Name("Producer.Partitioner", "NewHashPartitioner", "partitioner", "**`sarama_hash` keeps keys where they are**"),
    Name("Producer.Compression", "none", "compression"),
    gone("Producer.CompressionLevel", "the codec's", ONE_PER_CODEC),
    Name("Producer.MaxMessageBytes", "1 MiB", "max_message_bytes", "limits the batch too, unless `batch_size` is given"),
    Name("Producer.Flush.Frequency", "0", "linger_ms", MS),
    Name("Producer.Flush.Bytes", "0", "batch_size"),
    gone("Producer.Flush.Messages, Producer.Flush.MaxMessages", "0", BY_BYTES),
    gone("Producer.Retry.Max", "3", BY_DELIVERY_TIMEOUT),
    Name("Producer.Retry.Backoff", "100 ms", "retry_backoff_ms", MS),
    Name("Producer.Timeout", "10 s", "request_timeout_ms", "in milliseconds; the broker gets it"),
    Name("Producer.Return.Successes", "false", "return_successes"),
    Name("Producer.Return.Errors", "true", "return_errors", "off: the log and each `Delivery` have the failures"),
    Name("Producer.Interceptors", "none", "interceptors", "objects like `ottla.ProducerInterceptor`"),
    gone("Producer.Transaction.ID", "none", NO_TRANSACTIONS),
)  # fmt: skip

SARAMA_CONSUMER = (
    Name("Consumer.Offsets.Initial", "OffsetNewest", "auto_offset_reset", "`ottla.OFFSET_OLDEST`, `OFFSET_NEWEST`"),
    Name("Consumer.Offsets.AutoCommit.Enable", "true", "enable_auto_commit"),
    Name("Consumer.Offsets.AutoCommit.Interval", "1 s", "auto_commit_interval_ms", MS),
    gone("Consumer.Offsets.Retry.Max", "3", "a commit is retried until `default_api_timeout_ms`"),
    gone("Consumer.Return.Errors", "false", "`run`, `consume`, `poll` and iterations raise exceptions"),
    Name("Consumer.IsolationLevel", "ReadUncommitted", "isolation_level"),
    Name("Consumer.Fetch.Min", "1", "fetch_min_bytes"),
    Name("Consumer.Fetch.Default", "1 MiB", "max_partition_fetch_bytes"),
    Name("Consumer.Fetch.MaxBytes", "50 MiB", "fetch_max_bytes"),
    Name("Consumer.MaxWaitTime", "500 ms", "fetch_max_wait_ms", MS),
    gone("Consumer.MaxProcessingTime", "100 ms", "a slow partition delays no other; `max_poll_interval_ms` limits the time between polls"),
    Name("Consumer.Group.Session.Timeout", "10 s", "session_timeout_ms", MS),
    Name("Consumer.Group.Heartbeat.Interval", "3 s", "heartbeat_interval_ms", MS),
    Name("Consumer.Group.Rebalance.Timeout", "60 s", "max_poll_interval_ms", MS),
    Name("Consumer.Group.Rebalance.GroupStrategies", "range", "partition_assignment_strategy"),
    Name("Consumer.Group.InstanceId", "none", "group_instance_id"),
    Name("Consumer.Group.ResetInvalidOffsets", "true", "auto_offset_reset", "none raises `OffsetOutOfRange` instead"),
    Name("RackID", "none", "client_rack"),
)  # fmt: skip

OTHERS = (
    # ---- all roles
    renamed("addrs, bootstrap, bootstrap.server, brokers, hosts, seed.brokers", "bootstrap_servers"),
    renamed("group, groupid", "group_id"),
    renamed("rack", "client_rack"),
    renamed("Metadata.Retry.Backoff", "retry_backoff_ms", MS),
    renamed("max.in.flight.requests", "max_in_flight_requests_per_connection"),
    renamed("reconnect.backoff.jitter.ms", "reconnect_backoff_ms"),
    renamed("fetch.error.backoff.ms", "retry_backoff_ms"),
    elsewhere("api.version.auto.timeout.ms, api.version.fallback.ms, api.version.request, broker.version.fallback", AGREED),
    elsewhere("client.dns.lookup, broker.address.family", ADDRESSES),
    elsewhere("client.software.name, client.software.version", "brokers receive the name ottla and its version"),
    elsewhere("connections.max.idle.ms", IDLE),
    elsewhere("default.topic.config", "its options stand among the others"),
    elsewhere("log_cb, log_level", LOGGED),
    elsewhere("throttle_cb", REPORTED),
    elsewhere("enable.metrics.push", "metrics for brokers (KIP-714) are not in this release"),
    elsewhere("security.providers, ssl.trustmanager.algorithm, ssl.keymanager.algorithm, ssl.provider", NO_ENGINE),
    elsewhere("ssl.keystore.type, ssl.truststore.type", "the form of a file is found out: PEM, DER or PKCS12"),
    elsewhere("selector", "a thread of its own does all input and output"),
    elsewhere("sock_chunk_bytes, socket_options", SOCKET),
    elsewhere("socket.keepalive.enable, socket.nagle.disable", "always set"),
    elsewhere("topic.metadata.refresh.fast.interval.ms", "`retry_backoff_ms` is the pause before metadata is requested again"),
    # ---- producers
    renamed("dr_cb, dr_msg_cb, callback", "on_delivery", CALLED_BACK),
    renamed("idempotent", "enable_idempotence"),
    renamed("required.acks", "acks"),
    elsewhere("ack.timeout.ms", "`request_timeout_ms` limits the wait for an answer"),
    elsewhere("queue.buffering.backpressure.threshold", "`linger_ms` and `batch_size` decide when a batch is sent"),
    elsewhere("transaction.two.phase.commit.enable, Producer.Transaction.Timeout", NO_TRANSACTIONS),
    # ---- consumers
    renamed("auto.commit.enable", "enable_auto_commit"),
    renamed("Consumer.Fetch.Max", "max_partition_fetch_bytes"),
    renamed("Consumer.Group.Rebalance.Strategy", "partition_assignment_strategy"),
    elsewhere("group.remote.assignor", 'the group protocol "consumer" (KIP-848) is not in this release'),
    elsewhere("offset_commit_cb", TICKET),
    elsewhere("rebalance_cb", "`subscribe()` takes `on_assigned`, `on_revoked` and `on_lost`"),
)  # fmt: skip
"""Options of Java, of older versions and of clients without a page: only an unknown name is looked up here."""

PAGES: dict[str, tuple[tuple[Name, ...], tuple[Name, ...]]] = {
    "confluent-kafka": (LIBRDKAFKA_PRODUCER, LIBRDKAFKA_CONSUMER),
    "kafka-python": (KAFKA_PYTHON_PRODUCER, KAFKA_PYTHON_CONSUMER),
    "aiokafka": (AIOKAFKA_PRODUCER, AIOKAFKA_CONSUMER),
    "sarama": (SARAMA_PRODUCER, SARAMA_CONSUMER),
}
"""By page: the options of producers (with those of all roles), and those of consumers."""
