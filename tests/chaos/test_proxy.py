"""The proxy applies its rules to frames and does nothing else. The broker behind it has a few lines."""

from __future__ import annotations

import contextlib
import gc
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import METADATA, PRODUCE, Proxy, Rule, garbled

NODE = 1
TIMEOUT_S = 5.0
SHORT_S = 0.2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def read_exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError(data)
        data += part
    return data


def read_frame(connection: socket.socket) -> bytes:
    (size,) = struct.unpack(">i", read_exactly(connection, 4))
    return read_exactly(connection, size)


class Broker:
    """Answers each request with its correlation id and its body; stores the requests."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.partial: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(TIMEOUT_S)
                self._threads.append(threading.Thread(target=self._serve, args=[connection]))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while True:
                    body = read_frame(connection)
                    self.frames.append(body)
                    connection.sendall(struct.pack(">i", len(body) - 4) + body[4:])
            except EOFError as cut:
                self.partial += [part for part in cut.args if part]
            except OSError:
                pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(TIMEOUT_S)


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.close()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def proxy(broker: Broker, port: int) -> Iterator[Proxy]:
    with Proxy({NODE: (port, broker.port)}, seed=1) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy, port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as client:
        yield client


def send(
    client: socket.socket, correlation_id: int, api_key: int = PRODUCE, size: int = 40
) -> None:
    body = struct.pack(">hhi", api_key, 9, correlation_id) + bytes(range(size))
    client.sendall(struct.pack(">i", len(body)) + body)


def asked(client: socket.socket, correlation_id: int, api_key: int = PRODUCE) -> int:
    """One request and its answer; returns the correlation id of the answer."""
    send(client, correlation_id, api_key)
    return int(struct.unpack_from(">i", read_frame(client))[0])


def ends(client: socket.socket) -> bytes:
    """The bytes that arrive before the connection ends in order."""
    got = b""
    while part := client.recv(1000):
        got += part
    return got


def wait_for(frames: list[bytes], count: int) -> None:
    until = time.monotonic() + TIMEOUT_S
    while len(frames) < count and time.monotonic() < until:
        time.sleep(0.005)
    assert len(frames) == count


def test_without_rules_frames_pass_unchanged(client: socket.socket, broker: Broker) -> None:
    for number in range(3):
        send(client, number, size=200)
    for number in range(3):
        assert read_frame(client) == struct.pack(">i", number) + bytes(range(200))
    assert len(broker.frames) == 3


def test_a_rule_is_for_its_node_and_api_only(client: socket.socket, proxy: Proxy) -> None:
    proxy.add(Rule("cut", "request", node=2), Rule("cut", "answer", api_key=METADATA))
    assert asked(client, 1, PRODUCE) == 1
    send(client, 2, METADATA)
    assert ends(client) == b""
    assert proxy.counts == {"cut answer": 1}
    assert proxy.events[-1][1:] == (NODE, "cut answer", METADATA)


def test_a_request_that_is_cut_never_arrives(
    client: socket.socket, proxy: Proxy, broker: Broker
) -> None:
    proxy.add(Rule("cut", "request"))
    send(client, 1)
    assert ends(client) == b""
    assert broker.frames == []


def test_a_lost_answer_was_answered(client: socket.socket, proxy: Proxy, broker: Broker) -> None:
    proxy.add(Rule("cut", "answer"))
    send(client, 1)
    assert ends(client) == b""
    assert len(broker.frames) == 1


def test_half_a_request_arrives(client: socket.socket, proxy: Proxy, broker: Broker) -> None:
    proxy.add(Rule("halve", "request"))
    send(client, 1, size=92)
    assert ends(client) == b""
    wait_for(broker.partial, 1)
    assert (len(broker.partial[0]), broker.frames) == (48, [])


def test_half_an_answer_arrives(client: socket.socket, proxy: Proxy) -> None:
    proxy.add(Rule("halve", "answer"))
    send(client, 1, size=92)
    assert len(ends(client)) == 50


def test_a_reset_ends_the_connection_by_rst(client: socket.socket, proxy: Proxy) -> None:
    proxy.add(Rule("cut", "request", reset=True))
    send(client, 1)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_every_connection_of_a_node_is_reset(client: socket.socket, proxy: Proxy) -> None:
    assert asked(client, 1) == 1
    proxy.cut_all(NODE, reset=True)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_swallowed_requests_leave_the_connection_open(
    client: socket.socket, proxy: Proxy, broker: Broker
) -> None:
    rule = Rule("swallow", "request")
    proxy.add(rule)
    send(client, 1)
    client.settimeout(SHORT_S)
    with pytest.raises(TimeoutError):
        client.recv(1)
    proxy.remove(rule)
    send(client, 2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert broker.frames == []


def test_swallowed_answers_were_answered(
    client: socket.socket, proxy: Proxy, broker: Broker
) -> None:
    proxy.add(Rule("swallow", "answer"))
    send(client, 1)
    wait_for(broker.frames, 1)
    client.settimeout(SHORT_S)
    with pytest.raises(TimeoutError):
        client.recv(1)


def test_held_frames_come_once_the_rule_is_removed(client: socket.socket, proxy: Proxy) -> None:
    rule = Rule("hold", "answer")
    proxy.add(rule)
    send(client, 1)
    client.settimeout(SHORT_S)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(TIMEOUT_S)
    proxy.remove(rule)
    assert struct.unpack_from(">i", read_frame(client)) == (1,)


def test_delayed_frames_come_later_and_in_order(client: socket.socket, proxy: Proxy) -> None:
    proxy.add(Rule("delay", "request", pause=lambda _: 0.1))
    start = time.monotonic()
    send(client, 1)
    send(client, 2)
    assert [struct.unpack_from(">i", read_frame(client))[0] for _ in range(2)] == [1, 2]
    assert time.monotonic() - start >= 0.2


def test_narrow_frames_trickle(client: socket.socket, proxy: Proxy) -> None:
    proxy.add(Rule("narrow", "request", bytes_per_s=1000.0))
    start = time.monotonic()
    send(client, 1, size=192)
    assert read_frame(client)
    assert time.monotonic() - start >= 0.2


def test_chance_selects_frames_and_the_seed_repeats_it(port: int, broker: Broker) -> None:
    def struck() -> list[int]:
        with Proxy({NODE: (port, broker.port)}, seed=5) as proxy:
            proxy.add(Rule("cut", "request", chance=0.5))
            passed = []
            for number in range(20):
                with (
                    contextlib.suppress(EOFError),
                    socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as client,
                ):
                    passed.append(asked(client, number))
            return passed

    first = struck()
    assert 0 < len(first) < 20
    assert struck() == first


def test_connections_are_refused_until_the_fault_ends(proxy: Proxy, port: int) -> None:
    proxy.refuse(NODE)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
    proxy.heal()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as client:
        assert asked(client, 1) == 1


def test_a_node_that_is_down_resets(proxy: Proxy, port: int, broker: Broker) -> None:
    broker.close()
    # The reset may come as soon as the connection is open.
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as client,
    ):
        client.recv(1)


@pytest.mark.parametrize("how", ["garble_length", "garble_head", "garble_body", "shorten"])
def test_garbling_changes_the_named_part(how: str) -> None:
    body = struct.pack(">i", 77) + bytes(range(60))
    frame = struct.pack(">i", len(body)) + body
    for seed in range(50):
        other = garbled(frame, how, random.Random(seed))
        assert other != frame
        length, correlation_id = struct.unpack_from(">ii", other)
        assert (length == len(other) - 4) == (how != "garble_length")
        assert (correlation_id == 77) == (how != "garble_head")
        assert (len(other) == len(frame)) == (how != "shorten")


def test_an_unknown_way_to_garble_is_an_error() -> None:
    with pytest.raises(ValueError, match="no way"):
        garbled(bytes(12), "unknown", random.Random(1))


def test_a_connection_accepted_during_the_close_is_closed() -> None:
    """No socket may be left for the garbage collector, which would warn."""
    for _ in range(20):
        listen = free_port()
        clients: list[socket.socket] = []
        with Proxy({NODE: (listen, free_port())}, seed=1) as proxy:
            for _ in range(20):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", listen))
                clients.append(client)
            proxy.refuse(NODE)
        for client in clients:
            client.close()
    gc.collect()
