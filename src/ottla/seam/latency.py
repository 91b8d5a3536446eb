"""Latencies, as statistics of both flows have them."""

from __future__ import annotations

from typing import NamedTuple


class Latency(NamedTuple):
    """Latencies of the last 30 to 60 seconds. Percentiles are exact to an eighth, upwards; all are 0 without a request."""

    requests: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
