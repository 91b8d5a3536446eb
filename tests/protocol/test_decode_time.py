"""The bound that the form of the codecs has to keep (docs/adr/0003-generated-protocol-classes.md).

CPU time of this thread, so that a busy machine does not matter.
"""

from __future__ import annotations

import time

import pytest

from ottla.protocol.messages.metadata import (
    MetadataResponse,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

BOUND_S = 0.150
TRIES = 5


@pytest.mark.parametrize("version", [12, 13])
def test_metadata_of_10_000_partitions_decodes_within_150_ms(version: int) -> None:
    partitions = [
        MetadataResponsePartition(partition_index=n, replica_nodes=[1, 2, 3], isr_nodes=[1, 2, 3])
        for n in range(1000)
    ]
    topics = [MetadataResponseTopic(name=f"t{n}", partitions=partitions) for n in range(10)]
    data = MetadataResponse(topics=topics).encode(version)
    took = []
    for _ in range(TRIES):
        start = time.thread_time()
        decoded = MetadataResponse.decode(data, version)
        took.append(time.thread_time() - start)
    assert sum(len(topic.partitions) for topic in decoded.topics) == 10_000
    assert min(took) < BOUND_S, took
