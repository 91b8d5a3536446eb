"""Start and end: fast, clean, many at once, from threads and loops; nodes that die and come back."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time

import pytest

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.metadata import MetadataRequest, MetadataResponse
from ottla.testing import Broker
from tests.broker.raw import Client, batch, clients, fetch_request, produce


def nodes(client: Client) -> list[int]:
    answer = client.ask(MetadataRequest(topics=[]), MetadataResponse, 12)
    return sorted(node.node_id for node in answer.brokers)


def test_it_starts_and_stops_at_once() -> None:
    Broker().start().close()  # modules are loaded now
    began = time.perf_counter()
    broker = Broker(3).start()
    started = time.perf_counter()
    with clients(broker.bootstrap, 20) as connected:
        broker.create_topic("t")
        for client in connected:
            client.send(fetch_request("t", max_wait_ms=60_000), 11)
        broker.wait_for("Fetch", 10)
        closing = time.perf_counter()
        broker.close()
        closed = time.perf_counter()
        assert all(client.is_closed() for client in connected)
    assert started - began < 0.5, "a few milliseconds where the machine has nothing else to do"
    assert closed - closing < 1


def test_closing_twice_and_using_it_afterwards() -> None:
    broker = Broker()
    with pytest.raises(RuntimeError, match="does not run"):
        broker.create_topic("t")
    broker.start()
    with pytest.raises(RuntimeError, match="runs already"):
        broker.start()
    broker.close()
    broker.close()
    with pytest.raises(RuntimeError, match="does not run"):
        broker.end_offset("t")


def test_a_program_that_does_not_close_it_ends() -> None:
    code = "from ottla.testing import Broker; kept = Broker().start()"
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=20
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_it_starts_again_empty() -> None:
    broker = Broker()
    with broker:
        broker.append("t", "a")
        first = broker.cluster_id
    with broker:
        assert broker.cluster_id != first
        with pytest.raises(KeyError):
            broker.end_offset("t")


def test_the_thread_ends_with_it() -> None:
    before = threading.active_count()
    with Broker() as broker, Client(broker.bootstrap):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_several_brokers_share_nothing() -> None:
    with Broker() as one, Broker() as two, Client(one.bootstrap) as client:
        assert one.cluster_id != two.cluster_id
        one.create_topic("t")
        assert produce(client, "t", batch(b"a")) == (0, 0)
        with pytest.raises(KeyError):
            two.end_offset("t")
        assert (one.count("Produce"), two.count("Produce")) == (1, 0)


async def test_it_lives_in_an_asyncio_program() -> None:
    async with Broker() as broker:
        broker.append("t", "a")
        host, _, port = broker.bootstrap.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"\xff\xff\xff\xff")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


def test_a_closed_connection_leaves_nothing_behind() -> None:
    for _ in range(50):
        with Broker() as broker, Client(broker.bootstrap):
            pass


def test_a_client_that_does_not_read_its_answer_holds_up_no_other(broker: Broker) -> None:
    for _ in range(12):
        broker.append("t", b"x" * 1_000_000)
    with clients(broker.bootstrap, 2) as (lazy, other):
        for _ in range(4):
            lazy.send(fetch_request("t", max_bytes=1 << 30, partition_max_bytes=1 << 30), 11)
        broker.wait_for("Fetch")
        assert nodes(other) == [1]
        assert broker.count("Fetch") < 4, "the next request waits until the answer is read"


def test_a_cluster_has_nodes() -> None:
    with pytest.raises(ValueError, match="at least one node"):
        Broker(0)


def address(broker: Broker, node: int) -> tuple[str, int]:
    host, _, port = broker.bootstrap.split(",")[node - 1].rpartition(":")
    return host, int(port)


def test_a_node_dies_and_comes_back_on_its_port() -> None:
    with Broker(2) as broker, clients(broker.bootstrap, 2) as (first, other):
        second = Client(broker.bootstrap.split(",")[1])
        broker.create_topic("t")
        broker.move_leader("t", 0, 1)
        assert produce(first, "t", batch(b"a")) == (0, 0)
        broker.kill(1)
        assert first.is_closed()
        assert other.is_closed()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address(broker, 1), timeout=5)
        assert nodes(second) == [2]
        assert broker.leader("t") == 2
        assert produce(second, "t", batch(b"b")) == (0, 1), "the log is there"
        broker.restart(1)
        with Client(broker.bootstrap) as again, second:
            assert nodes(again) == nodes(second) == [1, 2]
            assert produce(again, "t", batch(b"c"))[0] == ErrorCode.NOT_LEADER_OR_FOLLOWER
            broker.move_leader("t", 0, 1)
            assert produce(again, "t", batch(b"c")) == (0, 2)


def test_the_port_of_a_dead_node_is_nobodys() -> None:
    with Broker() as broker:
        broker.kill(1)
        with socket.socket() as thief, pytest.raises(OSError, match="in use"):
            thief.bind(address(broker, 1))
        broker.restart(1)
        with Client(broker.bootstrap) as client:
            assert nodes(client) == [1]


def test_a_node_killed_or_started_twice() -> None:
    with Broker(2) as broker:
        for _ in range(2):
            broker.kill(2)
        for _ in range(2):
            broker.restart(2)
        with Client(broker.bootstrap) as client:
            assert nodes(client) == [1, 2]
        for change in (broker.kill, broker.restart):
            with pytest.raises(KeyError):
                change(9)


def test_a_dead_node_does_not_lead() -> None:
    with Broker(2) as broker:
        broker.create_topic("t")
        broker.kill(2)
        for node in (2, 9):
            with pytest.raises(ValueError, match="not alive"):
                broker.move_leader("t", 0, node)
        with pytest.raises(KeyError):
            broker.move_leader("missing", 0, 1)


def test_a_partition_without_a_leader() -> None:
    with Broker() as broker, Client(broker.bootstrap) as client:
        broker.create_topic("t")
        broker.move_leader("t", 0, None)
        assert broker.leader("t") == -1
        assert produce(client, "t", batch(b"a"))[0] == ErrorCode.NOT_LEADER_OR_FOLLOWER
        broker.move_leader("t", 0, 1)
        assert produce(client, "t", batch(b"a")) == (0, 0)


def test_controls_from_many_threads(broker: Broker) -> None:
    threads = [
        threading.Thread(target=lambda: [broker.append("t", "a") for _ in range(50)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record.offset for record in broker.records("t")] == list(range(200))


def test_a_missing_object_is_named_with_the_existing_ones() -> None:
    def refusal(topic: str, partition: int = 0) -> str:
        with pytest.raises(KeyError) as caught:
            broker.records(topic, partition)
        return str(caught.value.args[0])

    with Broker() as broker:
        assert refusal("nope") == "there is no topic nope, nor any other"
        broker.create_topic("orders", partitions=3)
        broker.create_topic("audit")
        assert refusal("nope") == "there is no topic nope; there are: audit, orders"
        assert refusal("orders", 3) == "topic orders has partitions 0 to 2, and no 3"
        assert refusal("audit", -1) == "topic audit has partition 0 alone, and no -1"
        for number in range(30):
            broker.create_topic(f"t{number:02}")
        assert refusal("nope").endswith("t16, t17 and 12 more")
