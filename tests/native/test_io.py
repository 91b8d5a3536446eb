"""The I/O thread as the engine sees it: `_native.Io` against a plain socket peer on loopback."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ottla import _native, errors
from ottla.seam.connections import (
    BeatAnswered,
    BeatMissed,
    Connected,
    IoEvent,
    Loss,
    Lost,
    Responded,
)

E = TypeVar("E", Connected, Responded, Lost, BeatAnswered, BeatMissed)

PATIENCE = 10.0
REQUEST = b"\x00\x03\x00\x00\x09\x09\x09\x09"


class Bench:
    """The thread with the events that came and were not asked for yet."""

    def __init__(self) -> None:
        self.io = _native.Io.start()
        self.events: list[IoEvent] = []

    def wait(self, kind: type[E], *start: int) -> E:
        """The first event of this kind whose first fields are these, within the bound."""
        limit = time.monotonic() + PATIENCE
        while True:
            for event in self.events:
                if isinstance(event, kind) and event[: len(start)] == start:
                    self.events.remove(event)
                    return event
            readable, _, _ = select.select([self.io], [], [], limit - time.monotonic())
            assert readable, f"waited too long for {kind} {start}, have {self.events}"
            self.events += self.io.drain()

    def connect(self, address: tuple[str, int], timeout: float = PATIENCE) -> int:
        return self.io.connect(
            *address,
            timeout=timeout,
            send_buffer_bytes=-1,
            receive_buffer_bytes=64 * 1024,
            frame_cap_bytes=1 << 20,
        )


def read_frame(stream: socket.socket) -> bytes:
    """One frame without its size; empty at the end of the stream."""

    def exactly(count: int) -> bytes:
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while len(data) < count and (part := stream.recv(count - len(data))):
                data += part
        return data

    size = exactly(4)
    return exactly(int.from_bytes(size, "big"))


def answer(stream: socket.socket, request: bytes, body: bytes) -> None:
    stream.sendall((len(body) + 4).to_bytes(4, "big") + request[4:8] + body)


def never_answer(stream: socket.socket) -> None:
    while read_frame(stream):
        pass


def echo(stream: socket.socket) -> None:
    while request := read_frame(stream):
        answer(stream, request, request[8:])


@pytest.fixture
def peer() -> Iterator[Callable[[Callable[[socket.socket], None]], tuple[str, int]]]:
    threads: list[threading.Thread] = []

    def start(serve: Callable[[socket.socket], None]) -> tuple[str, int]:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(PATIENCE)

        def run() -> None:
            with listener:
                stream, _ = listener.accept()
            with stream:
                stream.settimeout(PATIENCE)
                serve(stream)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        host, port = listener.getsockname()
        return host, port

    yield start
    for thread in threads:
        thread.join(PATIENCE)


@pytest.fixture
def bench(peer: Any) -> Iterator[Bench]:
    """Ends before the peers, which then see the end of their streams."""
    bench = Bench()
    yield bench
    assert bench.io.shutdown(PATIENCE)


def test_answers_carry_token_and_correlation_id(bench: Bench, peer: Any) -> None:
    conn = bench.connect(peer(echo))
    assert bench.wait(Connected) == Connected(conn)
    for token in range(20):
        bench.io.request(conn, token, REQUEST + bytes([token]), timeout=PATIENCE)
    for token in range(20):
        frame = bench.wait(Responded, conn, token).frame
        assert type(frame) is bytes
        assert frame == (token + 1).to_bytes(4, "big") + bytes([token])
    bench.io.close(conn)
    assert bench.wait(Lost) == Lost(conn, Loss("closed", "closed by this client"), [])


def test_deadline_reports_every_token_once(bench: Bench, peer: Any) -> None:
    conn = bench.connect(peer(never_answer))
    bench.io.request(conn, 1, REQUEST, timeout=PATIENCE)
    bench.io.request(conn, 2, REQUEST, timeout=0.02)
    _, (kind, message), tokens = bench.wait(Lost, conn)
    assert (kind, tokens) == ("request_timeout", [1, 2])
    assert "Metadata request (correlation id 2)" in message
    bench.io.request(conn, 3, REQUEST, timeout=PATIENCE)
    assert bench.wait(Lost, conn) == Lost(conn, Loss(kind, message), [3])


def test_refused_connection_has_the_reason(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    conn = bench.connect(address)
    kind, message = bench.wait(Lost, conn).loss
    assert kind == "connect"
    assert "Connection refused" in message


def test_beat_continues_while_this_thread_holds_the_gil(bench: Bench, peer: Any) -> None:
    def serve(stream: socket.socket) -> None:
        for code in (b"\x00\x00", b"\x00\x1b"):
            answer(stream, read_frame(stream), code)
        never_answer(stream)

    conn = bench.connect(peer(serve))
    bench.wait(Connected)
    beat = bench.io.beat(conn, REQUEST, interval=0.005, timeout=0.5, error_offset=4)
    assert bench.wait(BeatAnswered, beat).frame[4:] == b"\x00\x1b"
    missed = bench.wait(BeatMissed, beat)
    assert missed.loss.kind == "request_timeout"
    assert bench.wait(Lost, conn).loss == missed.loss


def test_stopped_beat_is_silent(bench: Bench, peer: Any) -> None:
    conn = bench.connect(peer(echo))
    bench.wait(Connected)
    beat = bench.io.beat(conn, REQUEST + b"\x00\x01", interval=0.01, timeout=1.0, error_offset=4)
    bench.wait(BeatAnswered, beat)
    bench.io.beat_stop(beat)
    bench.io.request(conn, 1, REQUEST, timeout=PATIENCE)
    bench.wait(Responded, conn, 1)
    sent = bench.io.statistics().requests
    assert select.select([bench.io], [], [], 0.05)[0] == []
    assert bench.io.statistics().requests == sent


def test_arguments_are_checked(bench: Bench) -> None:
    with pytest.raises(ValueError, match="numeric"):
        bench.connect(("localhost", 9092))
    with pytest.raises(ValueError, match="header"):
        bench.io.request(1, 1, b"short", timeout=1.0)
    for timeout in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            bench.io.request(1, 1, REQUEST, timeout=timeout)
    with pytest.raises(ValueError, match="interval"):
        bench.io.beat(1, REQUEST, interval=0.0, timeout=1.0, error_offset=4)


def test_shutdown_is_final_and_answers_later_requests() -> None:
    bench = Bench()
    assert bench.io.shutdown(PATIENCE)
    assert bench.io.shutdown(PATIENCE)
    conn = bench.connect(("127.0.0.1", 9))
    assert bench.wait(Lost, conn).loss.kind == "closed"


def read(path: Path) -> str:
    """Empty for a thread that has just ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_thread_takes_no_signal(bench: Bench, peer: Any) -> None:
    bench.connect(peer(echo))
    bench.wait(Connected)
    tasks = [
        task for task in Path("/proc/self/task").iterdir() if read(task / "comm") == "ottla-io\n"
    ]
    assert tasks
    status = [
        line
        for task in tasks
        for line in read(task / "status").splitlines()
        if line.startswith("SigBlk:")
    ]
    for line in status:
        blocked = int(line.split()[1], 16)
        assert blocked >> (signal.SIGINT - 1) & 1
        assert blocked >> (signal.SIGTERM - 1) & 1


def test_child_of_a_fork_is_refused_and_parent_continues(bench: Bench, peer: Any) -> None:
    conn = bench.connect(peer(echo))
    bench.wait(Connected)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _native.mark_forked()
            try:
                bench.io.request(conn, 1, REQUEST, timeout=1.0)
            except errors.ForkedClient:
                code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    bench.io.request(conn, 1, REQUEST + b"parent", timeout=PATIENCE)
    assert bench.wait(Responded, conn, 1).frame[4:] == b"parent"


def test_build_info_is_complete() -> None:
    info = _native.build_info()
    assert set(info) == {"profile", "features", "version", "rustc", "abi"}
    assert info["rustc"].startswith("rustc ")
    assert info["profile"] in {"release", "quick", "debug"}
    assert info["features"] == "testing"
