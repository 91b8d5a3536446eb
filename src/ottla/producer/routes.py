"""The producer's side of the routes to leaders: the produce flow, health, events and the log.

Station: outbox. Engine thread only. References: KIP-951; Java: Sender.sendProducerData.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ottla import errors
from ottla.observe.failures import error_data
from ottla.producer.topics import set_trouble, topic_error
from ottla.protocol.messages.produce import ProduceRequest
from ottla.wire.connection import Role

if TYPE_CHECKING:
    from ottla.cluster.leaders import NoRoute
    from ottla.cluster.metadata import PartitionInfo
    from ottla.message import TopicPartition
    from ottla.observe.log import ClientLog
    from ottla.producer.context import OutboxContext
    from ottla.wire.connection import Connection

_PATIENCE = 2
"""Failed attempts in a row before it is a warning: most leaders have moved by then."""


class ProduceTarget:
    """The `RouteTarget` of one producer."""

    role = Role.PRODUCE
    request = ProduceRequest

    def __init__(self, context: OutboxContext) -> None:
        self._context = context
        self.log: ClientLog = context.log
        self._warned: set[TopicPartition] = set()
        """Partitions without a route that the log has a warning about."""

    def choose_node(self, _partition: TopicPartition, leader: int) -> int:
        """Only leaders take messages."""
        return leader

    def accepts(self, _partition: TopicPartition) -> bool:
        """A partition with messages wants a route until it has one."""
        return True

    def attach(self, node_id: int, connection: Connection, version: int) -> None:
        """Give the flow a connection."""
        self._context.flow.attach(connection.id, version, node_id, connection.address)

    def route(
        self, partition: TopicPartition, connection: Connection, leader: PartitionInfo
    ) -> None:
        """Let the partition flow; where the log has that it could not, it has now that it does."""
        self._context.summary.ended("partition.unroutable", partition)
        if partition in self._warned:
            self._warned.discard(partition)
            self._context.summary.add(
                logging.INFO,
                "partition.routed",
                partition,
                node=leader.leader,
                address=connection.address,
            )
        self._context.flow.route(*partition, connection.id)
        self._context.events.emit(
            "partition.routed",
            topic=leader.topic,
            partition=leader.partition,
            node=leader.leader,
            leader_epoch=leader.leader_epoch,
        )

    def leader_moved(self, partition: TopicPartition, leader: PartitionInfo) -> None:
        """Hold the partition; its release follows the new leader."""
        self._context.events.emit(
            "partition.moved",
            topic=leader.topic,
            partition=leader.partition,
            node=leader.leader,
            leader_epoch=leader.leader_epoch,
        )
        self._context.flow.hold(*partition)

    def report_no_route(self, failure: NoRoute) -> None:
        """Log and record the failure: messages that expire meanwhile have it as their cause."""
        why, text = self._reason(failure)
        topic, partition = failure.partition
        set_trouble(self._context.flow, topic, why, partition, text=text)
        self._log_no_route(failure, text)

    def refuse(self, partition: TopicPartition, error: errors.Error) -> None:
        """Fail the waiting messages; the next message of the partition starts another search."""
        self._context.flow.fail_partition(partition.topic, partition.partition, error_data(error))

    def _reason(self, failure: NoRoute) -> tuple[errors.Error | None, str]:
        """Why there is no route, as an exception where there is one, and in words."""
        if failure.error is not None:
            text = f"no connection to node {failure.node_id}: {errors.line_of(failure.error)}"
            return failure.error, text
        topic, partition = failure.partition
        snapshot = self._context.cluster.snapshot
        known = snapshot.topic(topic)
        if known is None:
            refusal = topic_error(snapshot, topic)
            return refusal, errors.line_of(refusal)
        if partition not in known.partitions:
            # The topic was recreated with fewer partitions.
            return None, f"partition {partition} of {len(known.partitions)} does not exist"
        return None, f"partition {partition} has no leader"

    def _log_no_route(self, failure: NoRoute, text: str) -> None:
        """No warning where no broker can be reached at all: the cluster has one for all partitions."""
        warn = failure.failures >= _PATIENCE and "cluster" not in self._context.health.report()
        if warn:
            self._warned.add(failure.partition)
        timeout_ms = self._context.config.delivery_timeout_ms
        self._context.summary.add(
            logging.WARNING if warn else logging.DEBUG,
            "partition.unroutable",
            failure.partition,
            reason=text,
            next_step="its messages wait, its leader is searched again, and each message fails after delivery_timeout_ms "
            f"({timeout_ms:g})",
        )
