"""Writes the reference of errors, docs/reference/errors.md, from src/ottla/errors.py, kafka_errors.py and the remedies below.

python codegen/errors_docs.py            write
python codegen/errors_docs.py --check    fail where the file is not what the tables give
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from output import write_or_check  # noqa: E402

from ottla import errors, kafka_errors  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "errors.md"

CLIENT_REMEDIES: dict[str, tuple[str, str]] = {
    "BufferFull": (
        "yes",
        "Send more slowly, read outcomes, or raise `buffer_memory` or `max_block_ms`. The message names the partition and broker that hold the space.",
    ),
    "DeliveryTimeout": (
        "by outcome",
        "Remove the cause that the message and `__cause__` name. Send `not_written` messages again; decide for `unknown` ones.",
    ),
    "EarlierMessageFailed": (
        "by outcome",
        "Handle the first failure of the partition, then send it and the later messages again in order.",
    ),
    "TransactionAborted": ("yes", "Run the whole transaction again."),
    "CommitFailed": (
        "by partition",
        "Read `partitions`. After a rebalance the new owner continues from the last committed offset.",
    ),
    "ConnectionLost": ("yes", "None: the client reconnects. Check the broker where it recurs."),
    "AuthenticationFailed": ("no", "Correct user, password or mechanism."),
    "TlsError": ("no", "Correct the certificates, the authority or the host name."),
    "DeserializationError": (
        "each poll, until a seek past the record",
        "Log or forward `record`, then seek to `next_offset`; or set `on_deserialize_error`.",
    ),
    "DecodeError": (
        "once",
        "Report it with topic, partition and offset; seek to `next_offset` to skip the batch.",
    ),
    "EncodeError": ("no", "Correct the argument that the message names."),
    "NoBrokersAvailable": (
        "yes",
        "Correct `bootstrap_servers` or the network; the message has the reason for each address.",
    ),
    "ConfigError": ("no", "Correct every option in `problems`."),
    "StateError": (
        "no",
        "Correct the program: the call does not fit the state of the client, which the message names.",
    ),
    "Closed": ("no", "Create a new client."),
    "ForkedClient": ("no", "Create the client in the child process."),
    "Timeout": (
        "yes",
        "Wait longer, or read `health()` for the cause of the wait. The operation may still succeed.",
    ),
}

ACL = "Grant the principal the right on the resource (ACL)."
CLIENT = "None: the client handles it."
GROUP = "None: the member joins its group again; an explicit commit of the old generation raises `CommitFailed`."
TRANSACTION = "Abort the transaction and run it again."
REMEDIES: dict[int, str] = {
    -1: "Read the broker's log.",
    1: "Seek, or set `auto_offset_reset`.",
    2: "None: the batch is sent or fetched again. Check the network or the disk where it recurs.",
    3: "Create the topic or correct its name; the client retries until its deadline.",
    5: CLIENT,
    6: CLIENT,
    7: "None: the client retries. Check the replicas of the partition where it recurs.",
    9: CLIENT,
    10: "Send smaller messages, or raise the topic's `max.message.bytes`.",
    12: "Commit with shorter metadata.",
    13: CLIENT,
    14: CLIENT,
    15: CLIENT,
    16: CLIENT,
    17: "Correct the topic's name.",
    19: "Bring replicas back: fewer are in sync than `min.insync.replicas`.",
    20: "Bring replicas back: the message is in the leader's log, but not on enough replicas.",
    22: GROUP,
    23: "Give every member of the group a common `partition_assignment_strategy`.",
    24: "Set a `group_id`.",
    25: GROUP,
    26: "Set `session_timeout_ms` within the broker's `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.",
    27: GROUP,
    29: ACL,
    30: ACL,
    31: ACL,
    32: "Send a timestamp within the topic's limits (`message.timestamp.before.max.ms`, `message.timestamp.after.max.ms`).",
    33: "Use one of the mechanisms that the broker offers.",
    35: "Use a newer broker, or another setting.",
    36: "None, where the topic was to exist.",
    37: "Correct the number of partitions.",
    38: "Correct the replication factor: at most the number of brokers.",
    40: "Correct the value of the configuration.",
    41: CLIENT,
    42: "Report it: the client and the broker disagree about the protocol.",
    44: "Ask the operator of the cluster: a policy of the broker refuses the request.",
    45: "None: the client restarts the sequence where nothing can be duplicated; otherwise the outcome is `unknown`.",
    47: CLIENT,
    48: TRANSACTION,
    50: "Set the transaction timeout below the broker's `transaction.max.timeout.ms`.",
    51: CLIENT,
    53: ACL,
    56: "Check the disk of the broker; the client retries.",
    58: "Correct user, password or mechanism.",
    59: CLIENT,
    65: ACL,
    66: "Get a new delegation token.",
    68: "Stop the members of the group first.",
    69: "Correct the group's name.",
    70: CLIENT,
    71: CLIENT,
    74: CLIENT,
    75: CLIENT,
    76: "Choose a codec that the topic or broker accepts.",
    78: CLIENT,
    79: CLIENT,
    81: "Stop members, or raise the broker's `group.max.size`.",
    82: "Give each running member a `group_instance_id` of its own: another one took this one over.",
    87: "Correct the record: the topic's rules refuse it (a compacted topic needs keys).",
    88: CLIENT,
    89: "None: the client waits as long as the broker asks for.",
    90: "Close this producer: a newer one with the same transactional id is active.",
    100: CLIENT,
    103: CLIENT,
    110: GROUP,
    111: "Wait until the former holder of the `group_instance_id` has left, or choose another.",
    112: "Choose an assignor that the broker has.",
    113: GROUP,
    120: TRANSACTION,
    128: "Correct the pattern of the subscription.",
}


def docstring_part(cls: type, head: bool) -> str:
    """The first paragraph of a docstring, or its answer to "Did it happen?"."""
    paragraphs = [" ".join(part.split()) for part in (inspect.getdoc(cls) or "").split("\n\n")]
    if head:
        return paragraphs[0]
    answers = [part for part in paragraphs if part.startswith("Did it happen?")]
    return answers[0].removeprefix("Did it happen? ") if answers else ""


def client_rows() -> list[str]:
    """One row per exception of the client itself."""
    rows = []
    for name, cls in vars(errors).items():
        if not (inspect.isclass(cls) and issubclass(cls, errors.Error)):
            continue
        if cls is errors.Error or issubclass(cls, errors.KafkaError):
            continue
        again, remedy = CLIENT_REMEDIES[name]
        rows.append(
            f"| `{name}` | {docstring_part(cls, True)} | {docstring_part(cls, False)} | {again} | {remedy} |"
        )
    return rows


def broker_rows() -> list[str]:
    """One row per error code that a client can get and handle."""
    rows = []
    for code, remedy in sorted(REMEDIES.items()):
        cls = kafka_errors.for_code(code)
        again = "yes" if cls.retriable else "no"
        rows.append(f"| {code} | {cls.name} | `{cls.__name__}` | {again} | {remedy} |")
    return rows


def page() -> str:
    return "\n".join(
        [
            "<!-- Generated by codegen/errors_docs.py: do not edit. -->",
            "# Errors",
            "",
            "Every exception of Ottla is an `ottla.Error`. Its `outcome` states whether the operation happened (`written`, `not_written`,",
            "`unknown`, or None where nothing was to be written); `topic` and `partition` name the place. The client retries retriable errors by",
            "itself until a deadline; an error reaches the application when the deadline ended, or when retrying cannot help.",
            "",
            "## Errors of the client",
            "",
            "| class | meaning | did it happen? | can a retry succeed? | what to do |",
            "|---|---|---|---|---|",
            *client_rows(),
            "",
            "## Errors of the broker",
            "",
            "A `KafkaError` has the broker's `code`, its `name`, and `retriable`. Each code has a class of its own in `ottla.kafka_errors`. For a message",
            "that was sent, `outcome` states whether it is in the log: [outcomes by error code](producer-outcomes.md). The codes that",
            "an application can meet:",
            "",
            "| code | name | class | retriable | what to do |",
            "|---|---|---|---|---|",
            *broker_rows(),
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(write_or_check({PAGE: page()}, (), check="--check" in sys.argv[1:]))
