"""`python -m ottla.testing.broker`, and the addresses of a broker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ottla.testing import Broker
from ottla.testing.broker.__main__ import arguments

LONG_S = 20.0


def free_ports(count: int) -> int:
    """The first of `count` consecutive free ports; another run of these tests takes others."""
    begin = 20_000 + os.getpid() * 13 % 10_000
    for first in range(begin, begin + 2_000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as taken:
                    taken.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no port is free")


@contextmanager
def running(*given: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "ottla.testing.broker", *given]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_reports_when_it_is_ready_and_a_signal_ends_it(number: signal.Signals) -> None:
    port = free_ports(1)
    with running("--port", str(port), "--topics", "orders:3", "audit") as process:
        assert line_of(process) == f"ready: 127.0.0.1:{port} (Ctrl-C ends it)\n"
        import ottla

        with ottla.Consumer(f"127.0.0.1:{port}") as consumer:
            assert len(consumer.partitions_for("orders")) == 3
            assert len(consumer.partitions_for("audit")) == 1
            process.send_signal(number)
            assert process.wait(LONG_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_it_ends_after_the_given_time() -> None:
    with running("--port", "0", "--for", "0.05", "--nodes", "2") as process:
        _, bootstrap, *_ = line_of(process).split()
        assert len(bootstrap.split(",")) == 2
        assert process.wait(LONG_S) == 0


def test_a_port_that_is_taken_is_named() -> None:
    with Broker() as broker:
        port = broker.bootstrap.split(":")[1]
        with running("--port", port) as process:
            assert process.wait(LONG_S) == 1
            assert process.stderr is not None
            output = process.stderr.read()
    assert output == f"the broker cannot run: [Errno 98] 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    ("topics", "complaint"),
    [
        (["a b"], "'a b' is no legal topic name"),
        ([":3"], "'' is no legal topic name"),
        (["a:0"], "'0' is no number of partitions"),
        (["a:x"], "'x' is no number of partitions"),
        (["a:-1"], "'-1' is no number of partitions"),
    ],
)
def test_topics_that_cannot_be(
    topics: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        arguments(["--topics", *topics])
    assert complaint in capsys.readouterr().err


def test_topics_are_names_with_or_without_a_number() -> None:
    given = arguments(["--topics", "a", "b:3"])
    assert given.topics == [("a", 1), ("b", 3)]
    assert (given.host, given.port, given.nodes, given.seconds) == ("127.0.0.1", 9092, 1, None)


def test_a_broker_has_the_ports_that_it_is_given_after_a_new_start_too() -> None:
    first = free_ports(3)
    broker = Broker(nodes=3, host="localhost", port=first)
    expected = ",".join(f"localhost:{port}" for port in range(first, first + 3))
    for _ in range(2):
        with broker:
            assert broker.bootstrap == expected
            broker.kill(2)
            broker.restart(2)
            for port in range(first, first + 3):
                socket.create_connection(("localhost", port), LONG_S).close()


@pytest.mark.parametrize(("nodes", "port"), [(1, -1), (1, 65_536), (3, 65_534)])
def test_ports_that_there_are_not(nodes: int, port: int) -> None:
    with pytest.raises(ValueError, match="no port for each"):
        Broker(nodes, port=port)


def test_a_host_that_is_not_here_is_named() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1:0: "):
        Broker(host="192.0.2.1").start()


@pytest.mark.parametrize("look", ["bootstrap", "cluster_id", "connections"])
def test_calls_before_the_start_raise_with_the_remedy(look: str) -> None:
    broker = Broker()
    with pytest.raises(RuntimeError, match=r"use it in a with block, or call start\(\)"):
        getattr(broker, look)


def test_it_counts_the_connections_of_its_clients() -> None:
    with Broker(nodes=2) as broker:
        assert broker.connections == 0
        host, _, port = broker.bootstrap.split(",")[1].partition(":")
        with socket.create_connection((host, int(port)), LONG_S) as client:
            client.sendall(b"\0")
            for _ in range(1_000):
                if broker.connections:
                    break
            assert broker.connections == 1
