"""One cluster for all tests of a module; each test has its own proxy in front of the cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.proxy import Proxy
from tests.chaos.stage import Stage, proxied_cluster
from tools.kafka.launch import KafkaCluster

SEED = 4


@pytest.fixture(scope="module")
def chaos_cluster() -> Iterator[KafkaCluster]:
    with proxied_cluster() as cluster:
        yield cluster


@pytest.fixture
def whole_stage(chaos_cluster: KafkaCluster) -> Iterator[Stage]:
    """The cluster as a stage; every fault of the previous test has ended."""
    with Proxy(chaos_cluster.proxy_ports, SEED) as proxy:
        stage = Stage(chaos_cluster, proxy)
        yield stage
        stage.heal()
