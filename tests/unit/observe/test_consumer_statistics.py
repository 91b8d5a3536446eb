"""Statistics of a consumer, of what the fetch flow counts."""

from __future__ import annotations

import json

from ottla.observe.consumer_statistics import consumer_statistics
from ottla.seam.fetching import FetchNode, FetchPartition, FetchStatistics
from ottla.seam.latency import Latency

NONE = Latency(0, 0.0, 0.0, 0.0, 0.0)


def partition(number: int, position: int, high_watermark: int, stable: int) -> FetchPartition:
    return FetchPartition(
        "t", number, 1, position, high_watermark, stable, 4, 400, 7, 900, 2, False
    )


def fetched(*partitions: FetchPartition) -> FetchStatistics:
    nodes = [
        FetchNode(1, "a:1", 5, 1, 3000, 3, 20, 10.0, 4.0, Latency(5, 1.0, 2.0, 3.0, 4.0)),
        FetchNode(2, "b:1", 2, 0, 1000, 1, 30, 40.0, 0.0, NONE),
    ]
    return FetchStatistics(7, 6, 4000, 4, 14, 2, 800, 1 << 20, 2, NONE, nodes, list(partitions))


def test_lag_is_the_distance_to_the_end_that_can_be_read() -> None:
    flow = fetched(partition(0, 10, 100, 60), partition(1, 50, 50, 50))
    for read_committed, lags in ((False, [90, 0]), (True, [50, 0])):
        found = consumer_statistics(
            flow, (1.0, 2.0), None, skipped_records=0, read_committed=read_committed
        )
        assert [one.lag for one in found.partitions] == lags
        assert found.lag == sum(lags)


def test_unknown_values_are_none() -> None:
    flow = fetched(partition(0, -1, 100, 100), partition(1, 5, -1, -1), partition(2, 5, 6, 6))
    found = consumer_statistics(flow, (0.0, 0.0), None, skipped_records=0, read_committed=False)
    first, second, third = found.partitions
    assert (first.position, first.end_offset, first.lag) == (None, 100, None)
    assert (second.position, second.end_offset, second.lag) == (5, None, None)
    assert third.lag == 1
    assert found.lag is None, "a part of it is not known"


def test_totals_are_over_brokers_and_partitions() -> None:
    found = consumer_statistics(
        fetched(partition(0, 1, 2, 2), partition(1, 1, 2, 2)),
        (3.0, 4.0),
        None,
        skipped_records=0,
        read_committed=False,
    )
    assert (found.in_flight_requests, found.throttle_ms, found.throttled_for_ms) == (1, 50, 40.0)
    assert (found.buffered_records, found.buffered_bytes) == (8, 800)
    assert (found.records_per_s, found.bytes_per_s) == (3.0, 4.0)
    assert [broker.latency.count for broker in found.brokers] == [5, 0]
    values = found.as_dict()
    assert json.loads(json.dumps(values)) == values
