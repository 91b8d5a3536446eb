"""The options that say how batches are made: of producers, and of single topics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ottla.config.check import Problems, given_options, read_options
from ottla.config.readers import Choice, duration, gzip_level, integer
from ottla.config.table import Config, option, options
from ottla.seam.settings import Codec


class BatchingConfig(Config):
    """How batches are made."""

    compression: Codec = option(
        "none",
        Choice("none", "gzip", "snappy", "lz4", "zstd"),
        "Codec of the batches.",
        kafka="compression.type",
        aliases=("compression_type", "compression.codec"),
        values="none, gzip, snappy, lz4, zstd",
        first=True,
    )
    compression_gzip_level: int = option(
        -1, gzip_level, "-1: the codec's default (6).", values="-1, 1 to 9"
    )
    compression_lz4_level: int = option(
        9,
        integer(1, 17),
        "9, the default, is the fast lz4, as in Java. Every other level is the slow one that compresses better, the "
        "higher the slower; over 12 it changes nothing more. zstd at its default is smaller and faster than any of those.",
        values="1 to 17",
    )
    compression_zstd_level: int = option(
        3, integer(-131072, 22), "Level of zstd.", values="-131072 to 22"
    )
    linger_ms: float = option(
        5,
        duration(0),
        "How long a batch that is not full waits for more messages, at the most. 0: only while the connection is busy. What somebody "
        "waits for goes as soon as nothing of its partition is on its way.",
        aliases=("queue.buffering.max.ms",),
        first=True,
    )
    batch_size: int = option(
        1_000_000,
        integer(1),
        "A batch is full at this size, as it is sent: with compression it takes as many messages as are estimated to be so "
        "large when they are compressed, by how the topic's batches before did, at most four times as many bytes. Memory is "
        "taken as a batch grows, so a large limit costs an idle partition nothing, and it lets a busy one send fewer, better "
        "compressed batches.",
        unit="bytes",
        java="16384",
    )


class TopicConfig(BatchingConfig):
    """A topic's own options; what the user did not give for it is the producer's."""

    role = "topic"


def topic_options(value: Any) -> Mapping[str, Mapping[str, Any]]:
    """What is given for each topic; every problem of all of them at once."""
    if not isinstance(value, Mapping):
        raise ValueError(f"expected options by topic, not {value!r}")
    rows = options(TopicConfig)
    problems: list[str] = []
    read: dict[str, Mapping[str, Any]] = {}
    for name, given in value.items():
        if not isinstance(name, str) or not name:
            problems.append(f": expected the name of a topic, not {name!r}")
        elif not isinstance(given, Mapping):
            problems.append(f"[{name!r}]: expected options, not {given!r}")
        else:
            found: list[str] = []
            read[name], _, _ = read_options(rows, given_options({}, given), found)
            problems.extend(f"[{name!r}].{problem}" for problem in found)
    if problems:
        raise Problems(problems)
    return read


def topic_configs(values: Mapping[str, Any]) -> Mapping[str, TopicConfig]:
    """The topics' whole options, from what `topic_options` read and from the producer's own."""
    own = {name: values[name] for name in options(TopicConfig)}
    return {
        name: TopicConfig({**own, **given}, frozenset(given))
        for name, given in values["topics"].items()
    }
