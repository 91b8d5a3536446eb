"""`Broker`: starts and stops an embedded cluster, shows its state, and controls the answers to requests.

Any thread may call every method. The broker's thread owns the state of the cluster and carries out every access to it; the rules
for requests, and the list of requests, have a lock of their own (`controls`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from ottla.message import TopicPartition
from ottla.protocol.error_codes import ErrorCode
from ottla.testing.broker.cluster import Cluster, Node, Options
from ottla.testing.broker.controls import Answer, Controls, Rule, Seen, Spoil, api_key
from ottla.testing.broker.listener_tls import ClientAuth, ServerTls, server_context
from ottla.testing.broker.state.topics import NO_LEADER, Partition, config_error, is_legal_name
from ottla.testing.broker.thread import BrokerThread, reserve_ports
from ottla.testing.plain_records import Header, Record, encode_batch
from ottla.virtual_time import SystemClock, follow, unfollow

R = TypeVar("R")


class Broker:
    """A Kafka cluster in this process, for any Kafka client.

    The end of the `with` or `async with` block closes it. Everything is in memory. Nodes are numbered from 1.

        with Broker() as broker:
            broker.append("orders", "first")
            # give broker.bootstrap to the program under test
            assert broker.end_offset("orders") == 1

    Args:
        nodes: Number of nodes.
        host: Address of the listeners, which clients get too: an IPv4 address of this machine, or a name of one.
        port: Port of the first node; the others have the ports after it. 0: each has a free port.
        auto_create_topics: Whether a Metadata request creates the topics that it names.
        num_partitions: Partitions of a topic that is created without a number.
        message_max_bytes: Maximum size of a batch, unless the topic has `max.message.bytes`.
        group_initial_rebalance_delay: Seconds that a new group waits for more members.
        group_min_session_timeout_ms: Minimum session timeout; a shorter one gets INVALID_SESSION_TIMEOUT.
        group_max_session_timeout_ms: Maximum session timeout; a longer one gets INVALID_SESSION_TIMEOUT.
        validate_crc: Whether a wrong CRC-32C of a batch gets CORRUPT_MESSAGE. The check runs at about 150 MB/s in plain
            Python; a benchmark may switch it off.
        virtual_time: Whether the time of the broker stands still until `advance` moves it.
        tls: Makes every listener one of TLS: a PEM file with key and certificates, a pair of files (certificate, key), or an
            `ssl.SSLContext`. None: plain.
        client_auth: Whether clients present a certificate: `none`, `requested` or `required`.
        client_authorities: PEM file with the authorities of client certificates.
        racks: `broker.rack` of each node, in the order of their ids; empty: no node has one.

    Raises:
        ValueError: The number of nodes is below 1, or differs from the number of racks, or exceeds the ports after `port`.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        auto_create_topics: bool = True,
        num_partitions: int = 1,
        message_max_bytes: int = 1048588,
        group_initial_rebalance_delay: float = 0.0,
        group_min_session_timeout_ms: int = 1,
        group_max_session_timeout_ms: int = 1_800_000,
        validate_crc: bool = True,
        virtual_time: bool = False,
        tls: ServerTls | None = None,
        client_auth: ClientAuth = "none",
        client_authorities: str | os.PathLike[str] | None = None,
        racks: Sequence[str | None] = (),
    ) -> None:
        if nodes < 1:
            raise ValueError("a cluster has at least one node")
        if racks and len(racks) != nodes:
            raise ValueError(f"{len(racks)} racks for {nodes} nodes")
        if not 0 <= port <= 65536 - nodes:
            raise ValueError(f"no port for each of {nodes} nodes from {port} on")
        self._host = host
        self._port = port
        self._tls = server_context(tls, client_auth, client_authorities)
        self._racks = tuple(racks) or (None,) * nodes
        self._node_ids = range(1, nodes + 1)
        self._virtual_time = virtual_time
        self._options = Options(
            auto_create_topics=auto_create_topics,
            num_partitions=num_partitions,
            message_max_bytes=message_max_bytes,
            group_initial_rebalance_delay=group_initial_rebalance_delay,
            group_min_session_timeout_ms=group_min_session_timeout_ms,
            group_max_session_timeout_ms=group_max_session_timeout_ms,
            validate_crc=validate_crc,
        )
        self._controls = Controls()
        self._begun: Cluster | None = None
        self._thread: BrokerThread | None = None

    # ---- life ----------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start all nodes; they accept connections when this returns, some milliseconds later.

        A closed broker starts empty, with the same rules; without a `port`, on other ports.

        Raises:
            RuntimeError: The broker runs already.
            OSError: The port is taken, or none is free.
        """
        if self._thread is not None:
            raise RuntimeError("the broker runs already")
        reserved = reserve_ports(self._node_ids, self._host, self._port)
        nodes = [
            Node(id_, self._host, sock.getsockname()[1], rack=rack)
            for (id_, sock), rack in zip(reserved.items(), self._racks, strict=True)
        ]
        cluster = Cluster(nodes, self._options, SystemClock(stands_still=self._virtual_time))
        self._thread = BrokerThread(cluster, self._controls, reserved, self._tls)
        self._begun = cluster
        follow(self._thread)
        return self

    def close(self) -> None:
        """Stop all nodes, drop all connections and join the thread; a second close does nothing.

        Raises:
            ExceptionGroup: Handlers failed while the broker ran: bugs of the broker, or of functions given to `answer`.
            TimeoutError: The thread did not end.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        unfollow(thread)
        thread.close()
        if thread.errors:
            raise ExceptionGroup("the broker failed", thread.errors)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _cluster(self) -> Cluster:
        if self._begun is None:
            raise RuntimeError(
                "the broker was not started: use it in a with block, or call start()"
            )
        return self._begun

    def _running(self) -> BrokerThread:
        if self._thread is None:
            raise RuntimeError("the broker does not run: use it in a with block, or call start()")
        return self._thread

    def _on_thread(self, function: Callable[[], R]) -> R:
        return self._running().call(function)

    def advance(self, seconds: float) -> None:
        """Let time jump ahead, and return when every due timer has fired: sessions, long polls, delays.

        with Broker(virtual_time=True) as broker:
            ...                 # a member joins with a session timeout of 45 seconds, and hangs
            broker.advance(45)  # now it is no member any more
        """
        self._running().jump(seconds)

    # ---- state ---------------------------------------------------------------------------------------------------

    @property
    def bootstrap(self) -> str:
        """`host:port` of every node, separated by commas.

        Raises:
            RuntimeError: The broker was not started.
        """
        return ",".join(f"{node.host}:{node.port}" for node in self._cluster.nodes.values())

    @property
    def cluster_id(self) -> str:
        """Id of the cluster in every Metadata response; each start has its own."""
        return self._cluster.id

    @property
    def connections(self) -> int:
        """Number of open connections of clients."""
        return self._on_thread(self._running().connections)

    @property
    def requests(self) -> list[Seen]:
        """The requests that arrived, oldest first: node, name of the API, version, client id."""
        return self._controls.seen()

    def count(self, api: str) -> int:
        """Return the number of requests of an API, such as "Produce", that arrived."""
        return self._controls.count(api)

    def wait_for(self, api: str, times: int = 1, timeout: float = 10.0) -> None:
        """Wait until `times` requests of an API have arrived since the broker was created.

        A test calls it where it would sleep otherwise. The broker may still process the request when this returns.

        Raises:
            TimeoutError: Fewer requests arrived within `timeout` seconds.
        """
        self._controls.wait_for(api, times, timeout)

    def records(self, topic: str, partition: int = 0) -> list[Record]:
        """Return the records of a partition.

        Raises:
            KeyError: There is no such partition.
            DecodeError: A batch is compressed with zstd, and neither Python 3.14 nor the package `backports.zstd` is there.
        """
        return self._on_thread(lambda: self._partition(topic, partition).log.records())

    def end_offset(self, topic: str, partition: int = 0) -> int:
        """Return the offset after the last record.

        Raises:
            KeyError: There is no such partition.
        """
        return self._on_thread(lambda: self._partition(topic, partition).log.end_offset)

    def leader(self, topic: str, partition: int = 0) -> int:
        """Return the node that leads a partition, -1 if none does.

        Raises:
            KeyError: There is no such partition.
        """
        return self._on_thread(lambda: self._partition(topic, partition).leader)

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """Return the offsets that a group committed, by partition; empty for an unknown group."""

        def committed() -> dict[TopicPartition, int]:
            known = self._cluster.groups.by_name.get(group)
            found = known.offsets.by_partition if known is not None else {}
            return {TopicPartition(*place): entry.offset for place, entry in found.items()}

        return self._on_thread(committed)

    def members(self, group: str) -> list[str]:
        """Return the ids of a group's members, in the order in which they joined."""

        def members() -> list[str]:
            known = self._cluster.groups.by_name.get(group)
            return list(known.members) if known is not None else []

        return self._on_thread(members)

    def assignments(self, group: str) -> dict[str, bytes]:
        """Return the assignment of each member of a stable group, as the assignor of the client encoded it."""

        def assignments() -> dict[str, bytes]:
            known = self._cluster.groups.by_name.get(group)
            members = known.members.values() if known is not None else ()
            return {member.id: member.assignment for member in members}

        return self._on_thread(assignments)

    def _partition(self, topic: str, partition: int) -> Partition:
        found = self._cluster.topics.partition(topic, partition)
        if found is None:
            raise KeyError(self._cluster.topics.missing(topic, partition))
        return found

    # ---- topics and nodes ----------------------------------------------------------------------------------------

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str | None] | None = None
    ) -> None:
        """Create a topic.

        The broker applies `max.message.bytes`, `message.timestamp.type` and `min.insync.replicas` (every living replica is in
        sync), and refuses records without a key if `cleanup.policy` is compact. It only stores the other settings.

        Raises:
            ValueError: The topic exists, or its name, its number of partitions or its configuration is not legal.
        """

        def create() -> None:
            if name in self._cluster.topics.by_name:
                raise ValueError(f"topic {name!r} exists")
            if not is_legal_name(name):
                raise ValueError(f"{name!r} is no legal topic name")
            if partitions < 1:
                raise ValueError("a topic has at least one partition")
            if wrong := config_error(config or {}):
                raise ValueError(wrong)
            self._cluster.topics.create(name, partitions, config or {}, self._cluster.alive)

        self._on_thread(create)

    def delete_topic(self, name: str) -> None:
        """Delete a topic with its records and the offsets committed for it.

        Raises:
            KeyError: There is no such topic.
        """
        self._on_thread(lambda: self._cluster.delete_topic(self._cluster.topics.by_name[name]))

    def append(
        self,
        topic: str,
        value: str | bytes | None,
        key: str | bytes | None = None,
        headers: Iterable[Header] = (),
        *,
        partition: int = 0,
        timestamp_ms: int | None = None,
    ) -> int:
        """Append one record, as a producer would, and return its offset; for tests of consumers.

        Args:
            topic: Created with the broker's number of partitions if it does not exist.
            value: Text is encoded as UTF-8; None is a tombstone.
            key: As the value.
            headers: Pairs of name and bytes or None.
            partition: Its number.
            timestamp_ms: Milliseconds since 1970; None for now.

        Raises:
            KeyError: There is no such partition.
            ValueError: The name of a new topic is not legal, or the record is larger than the broker allows.
        """

        def append() -> int:
            if topic not in self._cluster.topics.by_name:
                made = self._cluster.auto_create(topic)
                if isinstance(made, ErrorCode):
                    raise ValueError(f"{topic!r} is no legal topic name")
            place = self._partition(topic, partition)
            now = self._cluster.clock.wall_ms()
            stamp = now if timestamp_ms is None else timestamp_ms
            record = Record(0, stamp, _encoded(key), _encoded(value), tuple(headers))
            appended = self._cluster.append(place, encode_batch([record]))
            if appended.error:
                raise ValueError(f"{appended.error.name}: {appended.message}")
            return appended.base_offset

        return self._on_thread(append)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Delete the records before an offset, which becomes the first, as retention does.

        Raises:
            KeyError: There is no such partition.
        """
        self._on_thread(
            lambda: self._cluster.delete_records(self._partition(topic, partition), before)
        )

    def forget_producer(
        self, topic: str, partition: int = 0, producer_id: int | None = None
    ) -> None:
        """Forget the sequences of a producer, None: of all, as `producer.id.expiration.ms` does.

        The partition then takes any first sequence.

        Raises:
            KeyError: There is no such partition.
        """
        self._on_thread(lambda: self._partition(topic, partition).log.forget_producer(producer_id))

    def add_partitions(self, topic: str, partitions: int) -> None:
        """Raise the number of partitions of a topic; it never falls.

        Raises:
            KeyError: There is no such topic.
        """

        def grow() -> None:
            known = self._cluster.topics.by_name[topic]
            self._cluster.topics.grow(known, partitions, self._cluster.alive)

        self._on_thread(grow)

    def move_leader(self, topic: str, partition: int, node: int | None) -> None:
        """Make a node the leader of a partition, or with None leave it without a leader; the leader epoch rises.

        The old leader answers NOT_LEADER_OR_FOLLOWER, with the address of the new one if the version has a field for it.

        Raises:
            KeyError: There is no such partition.
            ValueError: There is no such node, or it is dead.
        """

        def move() -> None:
            if node is not None and node not in self._cluster.alive:
                raise ValueError(f"node {node} is not alive")
            self._partition(topic, partition).lead(NO_LEADER if node is None else node)

        self._on_thread(move)

    def truncate(self, topic: str, partition: int, offset: int, node: int | None = None) -> None:
        """Elect a leader whose log ends at `offset`, as an unclean election does; the leader epoch rises.

        Whole batches are dropped, from the one that holds the offset on.

        Args:
            topic: Name of the topic.
            partition: Its number.
            offset: Where the log ends.
            node: The new leader; None: the node that leads now.

        Raises:
            KeyError: There is no such partition.
            ValueError: The node is not alive, or does not exist.
        """

        def truncate() -> None:
            known = self._partition(topic, partition)
            leader = known.leader if node is None else node
            if leader not in self._cluster.alive:
                raise ValueError(f"node {leader} is not alive")
            known.lose(offset, leader)

        self._on_thread(truncate)

    def expire_member(self, group: str, member_id: str) -> None:
        """Remove a member as if its session had ended; the others rebalance.

        Raises:
            KeyError: There is no such group or member.
        """

        def expire() -> None:
            now = self._cluster.clock.time()
            self._cluster.groups.by_name[group].remove(member_id, now)
            self._cluster.groups_changed()

        self._on_thread(expire)

    def kill(self, node: int) -> None:
        """Close a node's listener and connections; its partitions and groups move to other nodes, if there are any.

        The cluster owns the log of a partition: no record is lost, and with one node all data is back after `restart`.

        Raises:
            KeyError: There is no such node.
        """
        thread = self._running()
        thread.run(lambda: thread.stop_node(node))

    def restart(self, node: int) -> None:
        """Start a killed node again, on the same port; a living node is not changed.

        Raises:
            KeyError: There is no such node.
        """
        thread = self._running()
        thread.run(lambda: thread.start_node(node))

    # ---- control of requests -------------------------------------------------------------------------------------

    def fail(self, api: str, error: int, times: int | None = 1, **match: Any) -> None:
        """Answer requests with an error, without carrying them out.

            broker.fail("Produce", ErrorCode.NOT_ENOUGH_REPLICAS, times=2, topic="orders")

        Args:
            api: Kafka's name, such as "Produce".
            error: An error code.
            times: Number of requests; None for all.
            match: Only requests with node=, version=, client_id=, topic=, group= or a field of the request.

        Raises:
            ValueError: There is no such API or error.
        """
        self._add(Rule(api_key(api), "fail", times, match, error=ErrorCode(error)))

    def fail_late(self, api: str, error: int, times: int | None = 1, **match: Any) -> None:
        """Carry requests out, and answer with an error nevertheless; arguments as `fail`.

        broker.fail_late("Produce", ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND)
        """
        self._add(Rule(api_key(api), "fail_late", times, match, error=ErrorCode(error)))

    def spoil(
        self, api: str, spoil: Spoil, times: int | None = 1, *, close: bool = False, **match: Any
    ) -> None:
        """Carry requests out, and write other bytes in place of the answer; the other arguments as `fail`.

            broker.spoil("Produce", lambda frame: frame[:10], close=True)  # closed within the response
            broker.spoil("Produce", lambda frame: b"")  # carried out without an answer

        Args:
            api: Kafka's name, such as "Produce".
            spoil: Gets the response with its size in front and returns the bytes to write, on the broker's thread.
            times: Number of requests; None for all.
            close: Whether the connection is closed afterwards.
            match: As for `fail`.
        """
        self._add(Rule(api_key(api), "spoil", times, match, spoil=spoil, close=close))

    def delay(self, api: str, seconds: float, times: int | None = 1, **match: Any) -> None:
        """Wait before requests are carried out; arguments as `fail`."""
        self._add(Rule(api_key(api), "delay", times, match, seconds=seconds))

    def answer(self, api: str, function: Answer, times: int | None = 1, **match: Any) -> None:
        """Let a function answer: it gets request and call, on the broker's thread. With None the broker answers as usual.

        A function that returns None observes the requests without changing anything:

            broker.answer("Fetch", lambda request, call: seen.append(request), times=None)
        """
        self._add(Rule(api_key(api), "answer", times, match, function=function))

    def disconnect(self, api: str, times: int | None = 1, **match: Any) -> None:
        """Close the connection without carrying requests out; arguments as `fail`."""
        self._add(Rule(api_key(api), "disconnect", times, match))

    def lose_answer(self, api: str, times: int | None = 1, **match: Any) -> None:
        """Carry requests out, then close the connection without an answer; arguments as `fail`."""
        self._add(Rule(api_key(api), "lose_answer", times, match))

    def clear_rules(self) -> None:
        """Remove all rules of `fail`, `fail_late`, `delay`, `answer`, `spoil`, `disconnect` and `lose_answer`."""
        self._controls.clear()

    def _add(self, rule: Rule) -> None:
        self._controls.add(rule)


def _encoded(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content
