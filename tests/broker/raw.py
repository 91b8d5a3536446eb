"""A blocking client of one connection: frames as the test says, nothing retried, nothing hidden."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from ottla.protocol.base import Message
from ottla.protocol.headers import decode_response, encode_request
from ottla.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from ottla.protocol.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from ottla.testing.plain_records import Record, encode_batch

TIMEOUT_S = 10.0
R = TypeVar("R", bound=Message)


class Client:
    """One connection to the first address of a bootstrap string."""

    def __init__(self, bootstrap: str) -> None:
        host, _, port = bootstrap.split(",")[0].rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
        self._numbers = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, request: Message, version: int) -> int:
        """Send a request, and return its correlation id."""
        self._numbers += 1
        self.send_bytes(encode_request(request, version, self._numbers, "raw"))
        return self._numbers

    def send_bytes(self, frame: bytes) -> None:
        self._socket.sendall(struct.pack(">i", len(frame)) + frame)

    def reset(self) -> None:
        """Be gone, as a process that was killed."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def send_plain(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self, answer: type[R], version: int, correlation_id: int) -> R:
        found, response = decode_response(answer, version, self.receive_bytes())
        assert found == correlation_id
        return response

    def receive_bytes(self) -> bytes:
        (size,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(size)

    def ask(self, request: Message, answer: type[R], version: int) -> R:
        return self.receive(answer, version, self.send(request, version))

    def is_silent(self, seconds: float = 0.05) -> bool:
        """Whether nothing arrives for a while; the connection is open."""
        self._socket.settimeout(seconds)
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b"" and False
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(TIMEOUT_S)

    def is_closed(self) -> bool:
        """Wait for the next byte, and return whether the other side closed the connection instead."""
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise ConnectionError("the broker closed the connection")
            data += part
        return bytes(data)


@contextmanager
def clients(bootstrap: str, count: int) -> Iterator[list[Client]]:
    """Several connections."""
    made = [Client(bootstrap) for _ in range(count)]
    try:
        yield made
    finally:
        for client in made:
            client.__exit__(None, None, None)


def batch(*values: bytes, timestamp: int = 1_000, **fields: int) -> bytes:
    """A batch with one record per value; `fields` as of `encode_batch`."""
    records = [Record(index, timestamp + index, None, value) for index, value in enumerate(values)]
    return encode_batch(records, **fields)  # type: ignore[arg-type]


def produce_request(
    topic: str, records: bytes, *, partition: int = 0, acks: int = -1
) -> ProduceRequest:
    part = PartitionProduceData(index=partition, records=records)
    return ProduceRequest(
        acks=acks,
        timeout_ms=1000,
        topic_data=[TopicProduceData(name=topic, partition_data=[part])],
    )


def produce(
    client: Client, topic: str, records: bytes, *, partition: int = 0, version: int = 9
) -> tuple[int, int]:
    """Produce one batch; return error and base offset."""
    request = produce_request(topic, records, partition=partition)
    part = client.ask(request, ProduceResponse, version).responses[0].partition_responses[0]
    return part.error_code, part.base_offset


def fetch_request(
    topic: str,
    offset: int = 0,
    *,
    partitions: tuple[int, ...] = (0,),
    max_wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = 1 << 20,
    partition_max_bytes: int = 1 << 20,
    session_id: int = 0,
    session_epoch: int = -1,
) -> FetchRequest:
    parts = [
        FetchPartition(
            partition=number, fetch_offset=offset, partition_max_bytes=partition_max_bytes
        )
        for number in partitions
    ]
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        session_id=session_id,
        session_epoch=session_epoch,
        topics=[FetchTopic(topic=topic, partitions=parts)] if partitions else [],
    )
