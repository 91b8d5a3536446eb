"""The way to a group's coordinator: its node, the connection for all requests of the group, and the report of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla import errors
from ottla.protocol.primitives import ZERO_UUID
from ottla.wire.connection import Role

if TYPE_CHECKING:
    from ottla.cluster.cluster import Cluster
    from ottla.consumer.group.report import GroupReport
    from ottla.message import TopicPartition
    from ottla.wire.connection import Connection

UNREACHABLE = (errors.ConnectionLost, errors.NoBrokersAvailable, errors.Timeout)
"""Errors of a request without an answer, as opposed to errors that the coordinator answered."""


class GroupLink:
    """One group's coordinator. Engine thread only."""

    def __init__(self, cluster: Cluster, group_id: str, report: GroupReport) -> None:
        self.group_id = group_id
        self.report = report
        self._cluster = cluster

    async def connection(self, role: Role = Role.GROUP) -> Connection:
        """The connection to the coordinator in this role; the coordinator is searched first if it is not known.

        JoinGroup and SyncGroup have a connection of their own (`Role.JOIN`): the coordinator answers them when every member has sent
        one, and serves the requests of a connection in order.

        Raises:
            KafkaError: The broker refuses to name the coordinator.
            ConnectionLost, NoBrokersAvailable, Timeout: It could not be reached; the next call searches it again.
        """
        node_id = await self._cluster.coordinators.find("group", self.group_id)
        try:
            return await self._cluster.connection(node_id, role)
        except UNREACHABLE:
            self.forget_coordinator()
            raise

    def forget_coordinator(self) -> None:
        """Search the coordinator again with the next call: the node is not the coordinator any more, or cannot be reached."""
        self._cluster.coordinators.invalidate("group", self.group_id)

    # ---- topics --------------------------------------------------------------------------------------------------------

    def topic_id(self, topic: str) -> bytes:
        """Id of a topic in the metadata; zero: it is not known."""
        known = self._cluster.snapshot.topic(topic)
        return ZERO_UUID if known is None else known.topic_id

    def knows(self, tp: TopicPartition) -> bool:
        """Whether the metadata has this partition."""
        return self._cluster.snapshot.partition(*tp) is not None

    def refresh_metadata(self, reason: str) -> None:
        """Request the metadata again soon."""
        self._cluster.refresh_soon(reason)
