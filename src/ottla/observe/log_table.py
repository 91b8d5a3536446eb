"""The events of the log, each with its level, sentence and fields: the table that the reference is generated from. Leaf.

A sentence names the event, its object, the cause and the next step, in that order. In a sentence `{count:message}` is a
number with its noun, a list names its first items, and two placeholders are made of fields: `{place}` of topic and partition
(`orders-3`), `{broker}` of node and address (`node 1 at host:9092`). Events that listeners receive too (`event_table`) have
the same name there. `tests/unit/observe/test_log_table.py` compares the table with every call that writes to the log.

To add an event: an entry here, `make gen`, and the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from ottla.observe.log_names import LogName

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

FIELDS: Final[dict[str, str]] = {
    "address": "str, host:port",
    "argument": "str, the argument of the call",
    "call": "str, the call of the public API",
    "claims": "list of str, the claims, as topic-partition",
    "client": "str, role and client id: `producer orders`; absent where the line is about the process",
    "client_rack": "str, as configured",
    "cluster_id": "str, the new id",
    "count": "int, the number in the sentence",
    "elapsed_s": "float, seconds since it began",
    "epoch": "int, leader epoch",
    "error": "str, class of the exception, wherever `reason` comes from one",
    "event": "str, the name of the event",
    "failures": "int, failed attempts before",
    "function": "str, the function or object of the application",
    "generation": "int, of the group",
    "group": "str, group id",
    "kind": "str, kind of function (callback, listener, method of an interceptor), of coordinator or of internal event",
    "limit": "str, maximum duration of the wait",
    "max_block_ms": "float, as configured",
    "next_step": "str, next step of the client, in words",
    "node": "int, node id of the broker",
    "offset": "int",
    "outcome": "str, not_written or unknown",
    "partition": "int",
    "partitions": "list of str, as topic-partition",
    "position": "int, offset of the next record to fetch",
    "places": "list of str: partitions, topics or brokers that the line sums up",
    "previous_cluster_id": "str",
    "racks": "list of str, racks of the brokers",
    "reason": "str, the cause in words",
    "reset_policy": "str, auto_offset_reset",
    "retry_max_ms": "float, retry_backoff_max_ms",
    "retry_min_ms": "float, retry_backoff_ms",
    "role": "str, role of the connection: control, produce, fetch, group or join",
    "state": "str, the new state",
    "previous_state": "str",
    "timeout_s": "float, seconds",
    "topic": "str",
    "trigger": "str, the input of the state machine",
    "waits_for": "str, whom the member waits for",
    "what": "str, name of the task or thread",
}
"""Every field, with its type."""


class LogEvent(NamedTuple):
    """One event of the log."""

    levels: tuple[Level, ...]
    """The levels that it is written at; the usual one first."""
    text: str
    """The sentence."""
    meaning: str
    """When it is written."""
    fields: tuple[str, ...] = ()
    """Fields of the record in addition to `event` and `client`."""
    lasting: bool = False
    """Summed-up lines only: it reports a condition, which is repeated only while it recurs."""


LOG_EVENTS: Final[dict[LogName, LogEvent]] = {
    # ---- messages and batches --------------------------------------------------------------------------------------
    "batch.failed": LogEvent(
        ("ERROR",),
        "{count:message} to {places} failed (outcome {outcome}): {reason}; {next_step}",
        "Messages failed for good. Summed up per second, reason and outcome.",
        ("places", "topic", "partition", "count", "outcome", "reason", "next_step"),
    ),
    "batch.expired": LogEvent(
        ("ERROR",),
        "{count:message} to {places} failed (outcome {outcome}): {reason}; {next_step}",
        "Messages had no outcome within delivery_timeout_ms. Summed up as batch.failed.",
        ("places", "topic", "partition", "count", "outcome", "reason", "next_step"),
    ),
    "batch.split": LogEvent(
        ("INFO",),
        "{count:batch} of {places} larger than the topic's max.message.bytes; split and sent again",
        "The broker refused batches as too large.",
        ("places", "topic", "partition", "count"),
    ),
    "batch.unanswered": LogEvent(
        ("WARNING",),
        "{count:batch} of {places} not answered: connection to {broker} lost ({reason}); {next_step}",
        "A connection ended with batches in flight.",
        ("places", "topic", "partition", "count", "node", "address", "reason", "next_step"),
    ),
    "batch.refused": LogEvent(
        ("WARNING", "INFO"),
        "{count:write} of {places} refused by {broker}: {reason}; sent again until delivery_timeout_ms has passed",
        "The broker answered batches with an error that a retry may end; INFO while the leader has probably only moved. `count` has "
        "attempts, a batch each.",
        ("places", "topic", "partition", "count", "node", "address", "reason"),
        lasting=True,
    ),
    "batch.identity_refused": LogEvent(
        ("WARNING",),
        "{count:write} of {places} refused by {broker}: {reason}; sent again under a new producer epoch",
        "The broker no longer knows the producer id, epoch or sequence.",
        ("places", "topic", "partition", "count", "node", "address", "reason"),
    ),
    "send_many.never_awaited": LogEvent(
        ("WARNING",),
        "{count:call} of send_many() never awaited, messages to {places} not sent: write `await producer.send_many(...)`",
        "Calls of an asynchronous `send_many` were dropped: it sends in its await.",
        ("places", "topic", "count"),
    ),
    "buffer.full": LogEvent(
        ("WARNING",),
        "{reason}; send() waits at most max_block_ms ({max_block_ms:g}), then raises BufferFull",
        "The buffer has been full for a second. At most once a minute.",
        ("reason", "max_block_ms"),
    ),
    "buffer.free": LogEvent(
        ("INFO",),
        "buffer has free space after {elapsed_s:.1f} s; messages are accepted again",
        "The buffer is no longer full, after a warning that it was.",
        ("elapsed_s",),
    ),
    "close.waiting": LogEvent(
        ("WARNING",),
        "close() still waits after {elapsed_s:g} s for the outcome of {count:message}: {reason}; messages without an outcome "
        "after {limit} fail",
        "close() has waited for three seconds.",
        ("count", "elapsed_s", "reason", "limit"),
    ),
    # ---- producer id, topics, leaders ------------------------------------------------------------------------------
    "producer_id.missing": LogEvent(
        ("WARNING", "DEBUG"),
        "{reason}; requested again until the cluster gives one, and with enable_idempotence nothing is sent before",
        "The cluster gives no producer id; DEBUG for the first attempts.",
        ("reason",),
        lasting=True,
    ),
    "producer_id.refused": LogEvent(
        ("WARNING",),
        "{reason}; requested again with the next message, and with enable_idempotence nothing is sent before",
        "The cluster refuses to give a producer id. Messages that waited for it have their own lines.",
        ("reason",),
    ),
    "producer_id.acquired": LogEvent(
        ("INFO",),
        "producer id acquired after {elapsed_s:.1f} s; sending resumes",
        "The cluster gave a producer id, after a warning that there was none.",
        ("elapsed_s",),
    ),
    "topic.unavailable": LogEvent(
        ("WARNING", "ERROR"),
        "topic {topic} unavailable: {reason}; {next_step}",
        "There is no metadata of a topic that messages wait for or that a consumer is subscribed to.",
        ("topic", "reason", "next_step"),
    ),
    "topic.found": LogEvent(
        ("INFO",),
        "topic {topic} found after {elapsed_s:.1f} s; sending its messages",
        "The metadata has a topic, after a warning that it was unavailable.",
        ("topic", "elapsed_s"),
    ),
    "topic.refused": LogEvent(
        ("DEBUG",),
        "topic {topic} has no metadata: {reason}",
        "The broker answered with an error for the topic.",
        ("topic", "reason"),
    ),
    "topic.recreated": LogEvent(
        ("WARNING",),
        "topic {topic} was deleted and recreated: its id changed; its offsets start again",
        "The metadata names another id for a topic.",
        ("topic",),
    ),
    "partition.unroutable": LogEvent(
        ("WARNING", "DEBUG"),
        "{places} cannot be reached: {reason}; {next_step}",
        "A partition has no leader, or no connection to it can be made; DEBUG for attempts.",
        ("places", "topic", "partition", "count", "reason", "next_step"),
        lasting=True,
    ),
    "partition.stalled": LogEvent(
        ("WARNING", "INFO"),
        "{place} has made no progress for {elapsed_s:.0f} s, {count:record} behind: {reason}; {next_step}",
        "An assigned partition that is not paused stands still although its log has records; INFO where the application does not ask "
        "for them.",
        ("topic", "partition", "elapsed_s", "count", "reason", "next_step"),
    ),
    "partition.progressed": LogEvent(
        ("INFO",),
        "{place} makes progress again",
        "The end of partition.stalled, also by a pause or a revocation.",
        ("topic", "partition"),
    ),
    "partition.routed": LogEvent(
        ("INFO",),
        "{places} reachable again: the leader is {broker}; sending resumes",
        "A partition has a route, after a warning that it could not be reached.",
        ("places", "topic", "partition", "count", "node", "address"),
    ),
    "partition.held": LogEvent(
        ("INFO",),
        "fetching of {places} paused: {reason}; resumed once the metadata names its leader",
        "A fetch was refused, or its connection ended.",
        ("places", "topic", "partition", "count", "reason"),
        lasting=True,
    ),
    "rack.empty": LogEvent(
        ("WARNING",),
        "no broker in client_rack {client_rack!r}, only in {racks}; no partition is preferred",
        "No broker is in the rack of the producer. Once for each set of other racks.",
        ("client_rack", "racks"),
    ),
    # ---- cluster and connections -----------------------------------------------------------------------------------
    "cluster.unreachable": LogEvent(
        ("WARNING",),
        "no metadata of the cluster: {reason}; requested again every {retry_min_ms:g} to {retry_max_ms:g} ms",
        "A request for metadata failed.",
        ("reason", "retry_min_ms", "retry_max_ms"),
        lasting=True,
    ),
    "cluster.refused": LogEvent(
        ("ERROR",),
        "no metadata of the cluster: {reason}; requested again when a call or a message needs it",
        "The cluster refuses the client: credentials, rights or options have to be changed.",
        ("reason",),
    ),
    "cluster.reachable": LogEvent(
        ("INFO",),
        "metadata received after {failures:attempt} in {elapsed_s:.1f} s; work resumes",
        "The cluster was unreachable.",
        ("failures", "elapsed_s"),
    ),
    "cluster.replaced": LogEvent(
        ("ERROR",),
        "cluster id changed from {previous_cluster_id} to {cluster_id}; all metadata is discarded",
        "The brokers of bootstrap_servers belong to another cluster now.",
        ("cluster_id", "previous_cluster_id"),
    ),
    "cluster.rebootstrapped": LogEvent(
        ("INFO",),
        "all known brokers dropped: {reason}; starting over from bootstrap_servers",
        "No known broker can be used (KIP-899), or a broker asked for it.",
        ("reason",),
    ),
    "metadata.requested": LogEvent(
        ("DEBUG",), "requesting metadata: {reason}", "Each request.", ("reason",)
    ),
    "connection.lost": LogEvent(
        ("INFO",),
        "connection to {broker} lost ({places}): {reason}; reopened when needed",
        "A connection ended; `places` has the roles. Not for those that the client closes.",
        ("places", "role", "count", "node", "address", "reason"),
    ),
    "tls.reloaded": LogEvent(
        ("INFO",),
        "certificate files have changed; new connections use their new content",
        "Before a connection is opened, at most once per `ssl_reload_interval_ms`. Open connections continue.",
        (),
    ),
    "tls.certificate_expires": LogEvent(
        ("WARNING",),
        "certificate {what} expires in {count:hour}; renew it",
        "Once per certificate: 7 days before the end of the client's, 24 hours before the end of a broker's.",
        ("what", "count"),
    ),
    "tls.unverified": LogEvent(
        ("WARNING",),
        "certificates of brokers are not checked (ssl_verify=False): any machine between this client and {address} can read and change all data",
        "Once per client, with its first connection.",
        ("address",),
    ),
    "tls.keys_logged": LogEvent(
        ("WARNING",),
        "the keys of all TLS sessions are written to the file of SSLKEYLOGFILE (ssl_keylog=True): its readers can decrypt recorded traffic",
        "Once per client, with its first connection.",
        (),
    ),
    "tls.reload_failed": LogEvent(
        ("WARNING",),
        "changed certificate files cannot be used: {reason}; the certificates from before stay in use",
        "Once per problem. A file may be half replaced; the next connection tries again.",
        ("reason",),
    ),
    "connection.throttled": LogEvent(
        ("INFO",),
        "{broker} throttles this client, which is over its quota; nothing is sent there for {count} ms",
        "A broker applies a quota (KIP-219); `count` has milliseconds.",
        ("node", "address", "count"),
    ),
    "response.unreadable": LogEvent(
        ("ERROR",),
        "response of {broker} cannot be decoded: {reason}; connection closed",
        "A broker answered with bytes that are no response.",
        ("node", "address", "reason"),
    ),
    "coordinator.unavailable": LogEvent(
        ("INFO",),
        "no coordinator of {kind} {group!r}: {reason}; searched again",
        "No broker names a coordinator.",
        ("kind", "group", "reason"),
    ),
    "coordinator.found": LogEvent(
        ("DEBUG",),
        "coordinator of {kind} {group!r} is node {node}",
        "Each time that one is named.",
        ("kind", "group", "node"),
    ),
    # ---- positions of a consumer -----------------------------------------------------------------------------------
    "position.unknown": LogEvent(
        ("WARNING",),
        "cannot determine a start offset for {places}: {reason}; retrying",
        "The partition has no metadata yet, or neither a committed offset nor one by auto_offset_reset could be fetched.",
        ("places", "topic", "partition", "count", "reason"),
        lasting=True,
    ),
    "position.set": LogEvent(
        ("DEBUG",),
        "{place} starts at offset {offset}",
        "Each position that is set.",
        ("topic", "partition", "offset"),
    ),
    "position.truncated": LogEvent(
        ("WARNING",),
        "{reason}; resuming at offset {offset}",
        "The log of the leader was truncated below the position (KIP-320): records that were read are gone.",
        ("topic", "partition", "reason", "offset", "position"),
    ),
    "position.diverged": LogEvent(
        ("INFO",),
        "{place}: epoch {epoch} of the leader's log ends at offset {offset}; fetched records that are not in it are dropped, "
        "fetching continues at {position}",
        "The log of the leader differs from records that were fetched, and nobody has read any of them (KIP-320).",
        ("topic", "partition", "position", "epoch", "offset"),
    ),
    "position.reset": LogEvent(
        ("WARNING",),
        "{reason}; reset to offset {offset} (auto_offset_reset={reset_policy})",
        "There is nothing at the position.",
        ("topic", "partition", "reason", "offset", "reset_policy"),
    ),
    "record.skipped": LogEvent(
        ("WARNING",),
        "{place}@{offset}: {reason}; skipped by on_deserialize_error, {count:record} since the last line",
        "A deserializer raised for a record. A partition has at most one such line in 10 s; `statistics().skipped_records` has all.",
        ("topic", "partition", "offset", "reason", "count"),
    ),
    "partition.refused": LogEvent(
        ("ERROR",),
        "{places} cannot be read: {reason}; fetching stops until a seek or another assignment",
        "An error that no retry ends. The next poll raises it.",
        ("places", "topic", "partition", "count", "reason"),
    ),
    "lane.unavailable": LogEvent(
        ("DEBUG",),
        "no second connection to node {node}: {reason}; its partitions are read over the first one until the next attempt",
        "A partition may wait for others of the same node in the meantime.",
        ("node", "reason"),
    ),
    "follower.used": LogEvent(
        ("DEBUG",),
        "{place} is fetched from follower node {node}",
        "The leader named a follower in the client's rack (KIP-392).",
        ("topic", "partition", "node"),
    ),
    "follower.refused": LogEvent(
        ("INFO",),
        "{place} refused by its follower: {reason}; fetched from its leader",
        "A follower gave an error, or its connection ended.",
        ("topic", "partition", "reason"),
    ),
    # ---- groups ----------------------------------------------------------------------------------------------------
    "group.state_changed": LogEvent(
        ("DEBUG",),
        "group {group}: {previous_state} -> {state} on {trigger}",
        "Each step of the member's state machine.",
        ("group", "previous_state", "state", "trigger"),
    ),
    "group.failed": LogEvent(
        ("ERROR",),
        "group {group} refused this member for good: {reason}; {count:partition} lost, and every call raises this",
        "The coordinator gave an error that no retry ends.",
        ("group", "reason", "count"),
    ),
    "group.join_failed": LogEvent(
        ("INFO",),
        "joining group {group} failed: {reason}; tried again",
        "No coordinator could be reached, or the request failed.",
        ("group", "reason"),
    ),
    "group.waiting": LogEvent(
        ("INFO",),
        "rebalance of group {group} not ended after {elapsed_s:.0f} s: {waits_for} awaited ({reason}); nothing is assigned until then",
        "A member waits in a join or a revocation: after 3 s, and then each time the wait has doubled.",
        ("group", "elapsed_s", "waits_for", "reason"),
    ),
    "assignment.refused": LogEvent(
        ("ERROR",),
        "group {group}: {partitions} not taken over from the assignment: {reason}; no member reads these partitions",
        "The assignor of the group's leader assigned partitions that this member cannot read.",
        ("group", "partitions", "reason"),
    ),
    "group.assigned": LogEvent(
        ("INFO",),
        "group {group} generation {generation}: assigned {partitions}",
        "A rebalance ended.",
        ("group", "generation", "partitions"),
    ),
    "group.leave_failed": LogEvent(
        ("INFO", "WARNING"),
        "leaving group {group} not confirmed: {reason}; the session time-out ends the membership",
        "The coordinator did not answer; WARNING where close() or consume() ran out of time.",
        ("group", "reason"),
    ),
    "heartbeat.stopped": LogEvent(
        ("WARNING",),
        "heartbeats of group {group} stopped: {reason}; searching the coordinator",
        "The coordinator cannot be reached.",
        ("group", "reason"),
    ),
    "rebalance.started": LogEvent(
        ("INFO",),
        "group {group} is rebalancing: {reason}; revoking {partitions}",
        "The member gives its partitions back.",
        ("group", "reason", "partitions"),
    ),
    "partition.lost": LogEvent(
        ("WARNING",),
        "group {group}: lost {partitions}: {reason}; nothing of them is committed, {next_step}",
        "The member lost its partitions without being asked.",
        ("group", "partitions", "reason", "next_step"),
    ),
    "commit.failed": LogEvent(
        ("WARNING", "ERROR"),
        "commit of group {group} failed: {reason}; {next_step}",
        "An auto-commit, or the final commit of a session (ERROR), failed.",
        ("group", "reason", "next_step"),
    ),
    "commit.retried": LogEvent(
        ("INFO",),
        "commit of group {group} failed: {reason}; tried again",
        "The coordinator could not be reached.",
        ("group", "reason"),
    ),
    "claim.returned_early": LogEvent(
        ("WARNING",),
        "handler of {place} returned before the session ended; no records of it are read until the next session",
        "consume_claim returned although its claim goes on.",
        ("topic", "partition"),
    ),
    "claim.failed": LogEvent(
        ("ERROR",),
        "another claim failed: {reason}; the session raises the first failure",
        "A second claim raised in the same session.",
        ("reason",),
    ),
    "claim.stuck": LogEvent(
        ("WARNING",),
        "{claims} not returned {elapsed_s:.0f} s after the session ended; awaited for up to {timeout_s:.0f} s, then abandoned",
        "consume_claim still runs although its claim has ended: it processes a record, or waits for something else.",
        ("claims", "elapsed_s", "timeout_s"),
    ),
    "claim.abandoned": LogEvent(
        ("ERROR",),
        "claims {claims} did not end within {timeout_s:g} s; left running, the session ends without them",
        "consume_claim did not return in time.",
        ("claims", "timeout_s"),
    ),
    "session.cleanup_failed": LogEvent(
        ("ERROR",),
        "cleanup of the session failed: {reason}; the session raises the failure of its claim",
        "cleanup raised after a claim had.",
        ("reason",),
    ),
    # ---- functions of the application ------------------------------------------------------------------------------
    "callback.raised": LogEvent(
        ("ERROR",),
        "{kind} {function} raised {reason}; {next_step}",
        "Code of the application raised: the first time with its traceback.",
        ("kind", "function", "reason", "next_step", "argument"),
    ),
    "callback.raised_again": LogEvent(
        ("ERROR",),
        "{kind} {function} raised {error} {count:time} more, the last: {reason}",
        "Sum of the exceptions since the last line about this function.",
        ("kind", "function", "count", "reason"),
    ),
    "callback.stuck": LogEvent(
        ("WARNING",),
        "callback {function} has not returned for {elapsed_s:g} s; no other callback of any client in this process runs until "
        "it does",
        "A callback, listener or interceptor blocks the dispatcher thread.",
        ("function", "elapsed_s"),
    ),
    "callback.running_at_exit": LogEvent(
        ("WARNING",),
        "callbacks still running when the interpreter ended: {reason}; left behind",
        "Callbacks did not return in time.",
        ("reason",),
    ),
    "call.failed": LogEvent(
        ("ERROR",),
        "{call} failed and its result was never retrieved: {reason}",
        "A call whose result nobody waited for raised.",
        ("call", "reason"),
    ),
    # ---- process and internal errors -------------------------------------------------------------------------------
    "client.not_closed": LogEvent(
        ("WARNING",),
        "not closed before the interpreter ended: {count:message} not delivered; call close() or use a with block",
        "The interpreter ended with undelivered messages.",
        ("count",),
    ),
    "thread.not_ended": LogEvent(
        ("WARNING",),
        "{what} not ended within {timeout_s:.1f} s; left behind",
        "A thread of the client outlives its end.",
        ("what", "timeout_s"),
    ),
    "internal_error.engine": LogEvent(
        ("ERROR",),
        "internal error in the engine thread: {reason}; the thread ends and open calls fail",
        "A defect of the client.",
        ("reason",),
    ),
    "internal_error.task": LogEvent(
        ("ERROR",),
        "internal error in task {what!r}: {reason}; the task ends",
        "A defect of the client.",
        ("what", "reason"),
    ),
    "internal_error.drain": LogEvent(
        ("ERROR",),
        "internal error while events were served: {reason}; later events are served",
        "A defect of the client.",
        ("reason",),
    ),
    "internal_error.event": LogEvent(
        ("ERROR",),
        "internal error while serving an event {kind!r}: {reason}; later events are served",
        "A defect of the client.",
        ("kind", "reason"),
    ),
    "internal_error.dispatch": LogEvent(
        ("ERROR",),
        "internal error in the dispatcher while running {function}: {reason}; later callbacks run",
        "A defect of the client.",
        ("function", "reason"),
    ),
    "internal_error.metadata_listener": LogEvent(
        ("ERROR",),
        "internal error while following new metadata: {reason}; other parts of the client receive it",
        "A defect of the client.",
        ("reason",),
    ),
    "internal_error.route": LogEvent(
        ("ERROR",),
        "internal error while routing {place}: {reason}; tried again",
        "A defect of the client.",
        ("topic", "partition", "reason"),
    ),
    "internal_error.position": LogEvent(
        ("ERROR",),
        "internal error while positioning {partitions}: {reason}; tried again",
        "A defect of the client.",
        ("partitions", "reason"),
    ),
    "internal_error.hold": LogEvent(
        ("ERROR",),
        "internal error while releasing {place}: {reason}; {next_step}",
        "A defect of the client.",
        ("topic", "partition", "reason", "next_step"),
    ),
}
"""All of them, by name."""
