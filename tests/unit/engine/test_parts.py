"""The engine's parts alone: clock, port, reactor, dispatcher, name look-up, the bridge of a loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from ottla.engine import dispatcher
from ottla.engine.clock import LoopClock, ManualClock, settle
from ottla.engine.port import Port
from ottla.engine.resolve import is_numeric, resolve
from ottla.seam.connections import BeatAnswered, BeatMissed, Loss, Lost, Responded
from ottla.seam.security import TlsFailure
from ottla.virtual_time import SystemClock
from tests.fixtures.logged import Logged
from tests.unit.doubles import FakeCluster, FakeIo


async def test_manual_time_wakes_sleepers_in_their_order() -> None:
    clock = ManualClock(start=100)
    woken: list[tuple[str, float]] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now()))

    tasks = [
        asyncio.ensure_future(sleep(*entry)) for entry in (("b", 2), ("a", 1), ("c", 5), ("now", 0))
    ]
    await settle()
    assert woken == [("now", 100)]
    assert clock.sleeping() == [1, 2, 5]
    await clock.advance(3)
    assert woken[1:] == [("a", 101), ("b", 102)]
    assert clock.now() == 103
    tasks[2].cancel()
    await settle()
    assert clock.sleeping() == []


async def test_the_systems_time_goes_forward() -> None:
    clock = LoopClock(SystemClock())
    before = clock.now()
    await clock.sleep(-1)
    assert clock.now() >= before


class Receiver:
    """Records every event of the port."""

    def __init__(self) -> None:
        self.received: list[tuple[Any, ...]] = []

    def on_connected(self, tls: object) -> None:
        self.received.append(("connected",))

    def on_tls_failed(self, failure: TlsFailure) -> None:
        self.received.append(("tls failed", failure.reason))

    def on_response(self, token: int, frame: bytes) -> None:
        if frame == b"bad":
            raise ValueError(frame)
        self.received.append(("response", token, frame))

    def on_lost(self, loss: Loss, tokens: list[int]) -> None:
        self.received.append(("lost", loss.kind, tokens))

    def on_beat(self, frame: bytes) -> None:
        self.received.append(("beat", frame))

    def on_beat_missed(self, loss: Loss) -> None:
        self.received.append(("missed", loss.message))


def connected(port: Port, receiver: Receiver) -> int:
    return port.connect(
        receiver,
        "10.0.0.1",
        9001,
        timeout=1,
        send_buffer_bytes=-1,
        receive_buffer_bytes=-1,
        frame_cap_bytes=1,
    )


def test_the_port_delivers_each_event_to_its_connection(logged: Logged) -> None:
    cluster = FakeCluster()
    cluster.add_node(1)
    io = FakeIo(cluster)
    port = Port(io)
    first, second = Receiver(), Receiver()
    one, two = connected(port, first), connected(port, second)
    io.events += [
        Responded(one, 4, b"frame"),
        Responded(two, 5, b"bad"),
        Lost(two, Loss("eof", "gone"), [7]),
        Lost(two, Loss("eof", "gone twice"), []),
        Responded(two, 6, b"too late"),
    ]
    port.dispatch()
    assert first.received == [("connected",), ("response", 4, b"frame")]
    assert second.received == [("connected",), ("lost", "eof", [7])]
    assert len(logged("internal_error.event")) == 1


def test_beats_are_delivered_until_they_are_stopped_or_missed() -> None:
    cluster = FakeCluster()
    cluster.add_node(1)
    io = FakeIo(cluster)
    port = Port(io)
    receiver = Receiver()
    conn = connected(port, receiver)
    stopped = port.beat(receiver, conn, b"", interval=1, timeout=1, error_offset=8)
    missed = port.beat(receiver, conn, b"", interval=1, timeout=1, error_offset=8)
    port.dispatch()
    port.beat_stop(stopped)
    io.events += [
        BeatAnswered(stopped, b"x"),
        BeatAnswered(missed, b"y"),
        BeatMissed(missed, Loss("request_timeout", "late")),
        BeatAnswered(missed, b"z"),
    ]
    port.dispatch()
    port.beat_stop(missed)
    assert receiver.received[1:] == [("beat", b"y"), ("missed", "late")]
    assert list(io.beats) == [missed]


def test_callbacks_run_in_order_on_a_thread_of_their_own_and_an_exception_loses_nothing(
    logged: Logged,
) -> None:
    ran: list[tuple[int, str]] = []

    def callback(number: int) -> None:
        if number == 3:
            raise ValueError("three")
        ran.append((number, threading.current_thread().name))

    for number in range(6):
        dispatcher.dispatch(callback, number)
    assert dispatcher.settle(5)
    assert [number for number, _ in ran] == [0, 1, 2, 4, 5]
    assert {name for _, name in ran} == {"ottla-dispatcher"}
    (line,) = logged("internal_error.dispatch", error="ValueError")
    assert line.__dict__["function"] == repr(callback)


def test_waiting_for_callbacks_is_bounded() -> None:
    release = threading.Event()
    dispatcher.dispatch(release.wait, 5)
    assert not dispatcher.settle(0)
    release.set()
    assert dispatcher.settle(5)


@pytest.mark.parametrize(
    ("host", "numeric"),
    [("127.0.0.1", True), ("::1", True), ("localhost", False), ("1.2.3", False)],
)
def test_numeric_addresses(host: str, numeric: bool) -> None:
    assert is_numeric(host) is numeric


async def test_names_are_resolved_off_the_loop_each_address_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[str] = []

    def getaddrinfo(host: str, *_args: Any, **_more: Any) -> list[Any]:
        threads.append(threading.current_thread().name)
        if host == "nowhere":
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (ip, 0)) for ip in ("10.0.0.2", "10.0.0.1", "10.0.0.2")]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert await resolve("10.1.1.1") == ["10.1.1.1"]
    assert await resolve("kafka") == ["10.0.0.2", "10.0.0.1"]
    with pytest.raises(OSError, match="Name or service not known"):
        await resolve("nowhere")
    assert threads == ["ottla-resolve-kafka", "ottla-resolve-nowhere"]


async def test_an_abandoned_name_resolution_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()

    def getaddrinfo(*_args: Any, **_more: Any) -> list[Any]:
        release.wait(5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    waiting = asyncio.ensure_future(resolve("slow"))
    await settle()
    waiting.cancel()
    await settle()
    release.set()
    for thread in threading.enumerate():
        if thread.name == "ottla-resolve-slow":
            thread.join(5)
    await settle()
    assert waiting.cancelled()
