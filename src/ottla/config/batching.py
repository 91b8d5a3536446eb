"""The options of batches: of producers, and of single topics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ottla.config.check import Problems, given_options, read_options
from ottla.config.readers import Choice, duration, gzip_level, integer
from ottla.config.table import Config, option, options
from ottla.seam.settings import Codec


class BatchingConfig(Config):
    """Options of batches."""

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
        -1, gzip_level, "Level of gzip; -1: the default of the codec (6).", values="-1, 1 to 9"
    )
    compression_lz4_level: int = option(
        9,
        integer(1, 17),
        "Level of lz4. 9, the default, is the fast lz4, as in Java. Every other level is the slow lz4 "
        "that compresses better: the higher, the slower, up to 12. zstd at its default level is "
        "smaller and faster than any of those.",
        values="1 to 17",
    )
    compression_zstd_level: int = option(
        3, integer(-131072, 22), "Level of zstd.", values="-131072 to 22"
    )
    linger_ms: float = option(
        5,
        duration(0),
        "Maximum time that a batch which is not full waits for more messages. 0: it waits only while "
        "the connection is busy. A batch whose outcome is awaited is sent as soon as no other batch "
        "of its partition is in flight.",
        aliases=("queue.buffering.max.ms",),
        first=True,
    )
    batch_size: int = option(
        1_000_000,
        integer(1),
        "Size of a full batch as it is sent. With compression a batch takes as many messages as "
        "should have this size when compressed, estimated from earlier batches of the topic: at most "
        "four times as many bytes. Memory is taken as a batch grows, so a large limit costs an idle "
        "partition nothing, and a busy one sends fewer, better compressed batches.",
        unit="bytes",
        java="16384",
    )


class TopicConfig(BatchingConfig):
    """Options of one topic; those that the user did not give for it are the producer's."""

    role = "topic"


def topic_options(value: Any) -> Mapping[str, Mapping[str, Any]]:
    """The given options of each topic; raises every problem of all topics at once."""
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
    """All options of each topic: those that `topic_options` read, else the producer's."""
    own = {name: values[name] for name in options(TopicConfig)}
    return {
        name: TopicConfig({**own, **given}, frozenset(given))
        for name, given in values["topics"].items()
    }
