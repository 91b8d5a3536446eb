"""The events that listeners receive, each with its fields: the table that the reference is generated from. Leaf.

`tests/unit/observe/test_event_table.py` compares it with every call that emits one, and with `docs/reference/events.md`.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class EventKind(NamedTuple):
    """One kind of event."""

    meaning: str
    fields: dict[str, str]


_PLACE: Final = {"topic": "str", "partition": "int"}
_FAILED: Final = {
    **_PLACE,
    "records": "int",
    "error": "str, the class of it: EarlierMessageFailed behind another one with gapless=True",
    "reason": "str",
    "outcome": "str, not_written or unknown",
}

EVENTS: Final[dict[str, EventKind]] = {
    "batch.acked": EventKind(
        "A batch was written. Once per batch, with any number of attempts.",
        {
            **_PLACE,
            "records": "int",
            "size_bytes": "int, as it was sent",
            "base_offset": "int; -1 where the broker does not return one",
            "attempts": "int, 1: at the first",
            "age_ms": "float, since its first message was accepted",
        },
    ),
    "batch.retried": EventKind(
        "A batch is sent again, with the same bytes and the same sequence numbers.",
        {**_PLACE, "records": "int", "attempts": "int, so far", "reason": "str"},
    ),
    "batch.split": EventKind(
        "A batch was too large for the broker: it is split into two or more batches, which are sent again.",
        {**_PLACE, "records": "int", "size_bytes": "int"},
    ),
    "batch.failed": EventKind(
        "Messages failed for good; `partition` is -1 where none was chosen.",
        _FAILED,
    ),
    "batch.expired": EventKind(
        "Messages had no outcome within delivery_timeout_ms; else as batch.failed.",
        _FAILED,
    ),
    "partition.held": EventKind(
        "An error, a lost connection or a moved leader: nothing of the partition is sent or fetched until the client has decided "
        "what to do.",
        {
            **_PLACE,
            "cause": "str: answer (an error), lost (the connection) or asked (the leader moved); at a producer also expired or "
            "recreated (the topic was deleted and created again), at a consumer also truncated (the log of the leader)",
            "reason": "str, the cause in words; of a lost connection, the reason of its end",
            "batches": "int, in flight before; 0 at a consumer",
        },
    ),
    "partition.refused": EventKind(
        "A consumer may not read the partition: the next poll raises the error, and fetching stops until a seek or another "
        "assignment.",
        {**_PLACE, "error": "str, its class", "reason": "str"},
    ),
    "partition.stalled": EventKind(
        "An assigned partition of a consumer, not paused, has made no progress for 60 s although its log has records.",
        {
            **_PLACE,
            "lag": "int, offsets to the end of the log",
            "duration_ms": "float, since its latest progress",
            "reason": "str",
        },
    ),
    "partition.routed": EventKind(
        "The partition flows to its leader, for the first time or again.",
        {**_PLACE, "node": "int", "leader_epoch": "int"},
    ),
    "partition.moved": EventKind(
        "The leader is another node now, by the metadata or by a broker's hint.",
        {**_PLACE, "node": "int, the new leader", "leader_epoch": "int"},
    ),
    "position.reset": EventKind(
        "A consumer's position was not in the log, or the topic was recreated: the position was set by auto_offset_reset.",
        {**_PLACE, "reason": "str", "offset": "int, the new position"},
    ),
    "position.truncated": EventKind(
        "The leader's log was truncated below a consumer's position: records that were read are gone (KIP-320).",
        {
            **_PLACE,
            "reason": "str",
            "offset": "int, where the logs part: the new position",
            "position": "int, the position before",
        },
    ),
    "rebalance.started": EventKind(
        "The member of a group joins, or joins again. `group.assigned` ends the rebalance.",
        {"group": "str", "reason": "str"},
    ),
    "group.assigned": EventKind(
        "A rebalance ended: these are the partitions of this member.",
        {
            "group": "str",
            "generation": "int",
            "partitions": "list of str, as topic-partition",
            "reason": "str, that of the rebalance",
            "duration_ms": "float, since the rebalance started",
        },
    ),
    "group.failed": EventKind(
        "The coordinator refused the member for good: every poll raises the error.",
        {"group": "str", "error": "str, its class", "reason": "str"},
    ),
    "heartbeat.stopped": EventKind(
        "The coordinator does not answer heartbeats: it is searched again.",
        {"group": "str", "reason": "str"},
    ),
    "partition.revoked": EventKind(
        "The member gave its partitions back in a rebalance; progress was committed before.",
        {"group": "str", "partitions": "list of str, as topic-partition"},
    ),
    "partition.lost": EventKind(
        "The member lost partitions without a revocation: nothing of them is committed.",
        {"group": "str", "partitions": "list of str, as topic-partition", "reason": "str"},
    ),
    "commit.failed": EventKind(
        "A commit failed for these partitions; those of the same commit that are not named are committed.",
        {"group": "str", "partitions": "list of str, as topic-partition", "reason": "str"},
    ),
    "producer_id.acquired": EventKind(
        "The cluster assigned the producer its id.", {"producer_id": "int", "epoch": "int"}
    ),
    "producer_epoch.bumped": EventKind(
        "A partition restarts its sequences from 0 under this epoch (KIP-360).",
        {**_PLACE, "producer_id": "int", "epoch": "int"},
    ),
    "connection.opened": EventKind(
        "A connection is open and its API versions are negotiated.",
        {"node": "int", "address": "str", "role": "str, produce, fetch, group or control"},
    ),
    "connection.failed": EventKind(
        "No connection to a node could be opened; the next attempt follows its backoff.",
        {"node": "int", "role": "str", "reason": "str"},
    ),
    "connection.lost": EventKind(
        "A connection ended. Not for those that the client closes.",
        {
            "node": "int",
            "address": "str",
            "role": "str",
            "kind": "str, eof, io, request_timeout or protocol",
            "reason": "str",
        },
    ),
    "tls.certificate_expires": EventKind(
        "A certificate expires soon: 7 days before the end of the client's, 24 hours before the end of a broker's.",
        {"certificate": "str, of this client, or of a broker", "expires_ms": "int, since 1970"},
    ),
    "connection.throttled": EventKind(
        "The broker throttles the client, which sends it nothing and fetches nothing from it for this time (KIP-219).",
        {"node": "int", "throttle_ms": "int"},
    ),
    "buffer.full": EventKind(
        "The first sender waits for free buffer space.",
        {"used_bytes": "int", "capacity_bytes": "int"},
    ),
    "buffer.free": EventKind(
        "No sender waits for free buffer space any more.",
        {"used_bytes": "int", "capacity_bytes": "int"},
    ),
    "cluster.changed": EventKind(
        "The metadata changed.",
        {"brokers": "int, known now", "topics": "list of str, the changed topics"},
    ),
    "cluster.rebootstrapped": EventKind(
        "No known broker can be used: the client starts over from bootstrap_servers.",
        {"reason": "str"},
    ),
    "cluster.unreachable": EventKind(
        "A request for metadata failed; the next attempt follows its backoff.",
        {"reason": "str", "attempts": "int"},
    ),
    "events.dropped": EventKind(
        "The listeners are too slow: this number of events was dropped.", {"count": "int"}
    ),
}


def reference() -> str:
    """`docs/reference/events.md`."""
    lines = [
        "# Events",
        "",
        "Generated by `codegen/events_docs.py` from `src/ottla/observe/event_table.py`. How to listen, and what a listener",
        "may do: `docs/topics/observability.md`. An event has a name, a time (seconds since the epoch) and these fields:",
    ]
    for name, kind in EVENTS.items():
        lines += ["", f"## `{name}`", "", kind.meaning, ""]
        lines += [f"- `{field}`: {text}" for field, text in kind.fields.items()]
    return "\n".join(lines) + "\n"
