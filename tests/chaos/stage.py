"""The cluster under test, the proxy in front of it, and their control: moving leaders, topics, ending every fault."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TypeVar

from ottla.protocol.base import Message
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignableTopic,
)
from ottla.protocol.messages.elect_leaders import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    TopicPartitions,
)
from ottla.protocol.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from ottla.protocol.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseTopic,
)
from tests.chaos.proxy import Proxy
from tools.kafka.launch import KafkaCluster
from tools.kafka.raw_requests import ask, create_topic

PARTITIONS = 6
MOST_BATCH_BYTES = "60000"
WHOLE_S = 60.0
TOPIC_RESOURCE, SET_CONFIG = 2, 0
PREFERRED = 0
ASK_ROUNDS = 25
R = TypeVar("R", bound=Message)


class Stage:
    """Three nodes behind a proxy, and one topic at a time."""

    def __init__(self, cluster: KafkaCluster, proxy: Proxy) -> None:
        self.cluster = cluster
        self.proxy = proxy
        self.topic = ""
        self.struck: Counter[str] = Counter()
        """Faults by kind."""
        self._paused: set[int] = set()
        self._stricter = False

    @property
    def nodes(self) -> list[int]:
        return self.cluster.node_ids

    def new_topic(self, name: str) -> None:
        """Create a new, empty topic of three replicas, two of them in sync for every write.

        It takes no large batches: what piles up behind a fault has to be split.
        """
        config = {"min.insync.replicas": "2", "max.message.bytes": MOST_BATCH_BYTES}
        create_topic(self.cluster.bootstrap, name, PARTITIONS, config)
        self.topic = name

    # ---- nodes -----------------------------------------------------------------------------------------------------

    def pause(self, node: int) -> None:
        self._paused.add(node)
        self.cluster.pause(node)

    def resume(self, node: int) -> None:
        self.cluster.resume(node)
        self._paused.discard(node)

    def require_all_replicas(self, on: bool) -> None:
        """Set whether a write needs all three replicas in sync: then one node that is down stops every partition."""
        self._stricter = on
        config = AlterableConfig(
            name="min.insync.replicas", config_operation=SET_CONFIG, value="3" if on else "2"
        )
        resource = AlterConfigsResource(
            resource_type=TOPIC_RESOURCE, resource_name=self.topic, configs=[config]
        )
        request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=False)
        answer = self._ask_any(request, IncrementalAlterConfigsResponse, 1)
        assert answer.responses[0].error_code == 0, ErrorCode(answer.responses[0].error_code).name

    def move_leaders(self, by: int) -> None:
        """Rotate the replica list of every partition by `by` places and elect the first replica."""
        known = self.describe(self.nodes[0])
        assert known is not None
        turned = [
            ReassignablePartition(
                partition_index=partition.partition_index,
                replicas=_turned(sorted(partition.replica_nodes), partition.partition_index + by),
            )
            for partition in known.partitions
        ]
        self._ask_any(
            AlterPartitionReassignmentsRequest(
                timeout_ms=10_000, topics=[ReassignableTopic(name=self.topic, partitions=turned)]
            ),
            AlterPartitionReassignmentsResponse,
            0,
        )
        self._ask_any(
            ElectLeadersRequest(
                election_type=PREFERRED,
                topic_partitions=[
                    TopicPartitions(topic=self.topic, partitions=list(range(PARTITIONS)))
                ],
                timeout_ms=10_000,
            ),
            ElectLeadersResponse,
            1,
        )

    def _ask_any(self, request: Message, answer: type[R], version: int) -> R:
        """Send a request to the first node that answers; nodes that are down are part of the test."""
        for _ in range(ASK_ROUNDS):
            for node in self.nodes:
                if self.cluster.running(node) and node not in self._paused:
                    with contextlib.suppress(OSError):
                        return ask(self.cluster.address(node), request, answer, version)
            time.sleep(0.2)
        raise AssertionError(f"no node answers {type(request).__name__}")

    def describe(self, node: int) -> MetadataResponseTopic | None:
        """The topic in this node's metadata, or None while the node does not answer or misses another node."""
        request = MetadataRequest(
            topics=[MetadataRequestTopic(name=self.topic)], allow_auto_topic_creation=False
        )
        try:
            answer = ask(self.cluster.address(node), request, MetadataResponse, 9)
        except OSError:
            return None
        return answer.topics[0] if len(answer.brokers) == len(self.nodes) else None

    # ---- whole again -----------------------------------------------------------------------------------------------

    def heal(self) -> float:
        """End every fault and wait until every node knows a leader of every partition and all replicas are in sync.

        Returns:
            float: the time of `time.monotonic` from which producers have to get on.
        """
        self.proxy.heal()
        for node in list(self._paused):
            self.resume(node)
        for node in self.nodes:
            if not self.cluster.running(node):
                self.cluster.restart(node, wait=False)
        self.cluster.wait_ready()
        if self._stricter:
            self.require_all_replicas(False)
        deadline = time.monotonic() + WHOLE_S
        while self.topic and not all(self._whole(node) for node in self.nodes):
            assert time.monotonic() < deadline, "the cluster does not become whole again"
            time.sleep(0.05)
        return time.monotonic()

    def _whole(self, node: int) -> bool:
        known = self.describe(node)
        return known is not None and all(
            partition.leader_id >= 0 and len(partition.isr_nodes) == len(self.nodes)
            for partition in known.partitions
        )


def _turned(nodes: list[int], by: int) -> list[int]:
    by %= len(nodes)
    return nodes[by:] + nodes[:by]


def proxied_cluster() -> KafkaCluster:
    """Three nodes that send their clients to a proxy. A metadata request creates no topic."""
    return KafkaCluster(3, {"auto.create.topics.enable": "false"}, proxied=True)
