"""A time-out names the call that the user made, and the cause."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ottla

PLACE = ottla.TopicPartition("t", 0)

CALLS: dict[str, Callable[[Any], Any]] = {
    "position": lambda consumer: consumer.position(PLACE, timeout=0.01),
    "committed": lambda consumer: consumer.committed(PLACE, timeout=0.01),
    "beginning_offsets": lambda consumer: consumer.beginning_offsets(PLACE, timeout=0.01),
    "end_offsets": lambda consumer: consumer.end_offsets(PLACE, timeout=0.01),
    "offsets_for_times": lambda consumer: consumer.offsets_for_times({PLACE: 0}, timeout=0.01),
    "partitions_for": lambda consumer: consumer.partitions_for("t", timeout=0.01),
}


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.embedded_only
@pytest.mark.parametrize("name", CALLS)
def test_a_thread_reads_the_name_of_its_call(name: str, silent: str) -> None:
    with ottla.Consumer(silent, group_id="g") as consumer:
        consumer.assign([PLACE])
        with pytest.raises(ottla.Timeout) as caught:
            CALLS[name](consumer)
    assert _is_clear(str(caught.value), f"Consumer.{name}")


@pytest.mark.embedded_only
@pytest.mark.parametrize("name", CALLS)
async def test_a_task_reads_the_name_of_its_call(name: str, silent: str) -> None:
    async with ottla.AsyncConsumer(silent, group_id="g") as consumer:
        await consumer.assign([PLACE])
        with pytest.raises(ottla.Timeout) as caught:
            await CALLS[name](consumer)
    assert _is_clear(str(caught.value), f"AsyncConsumer.{name}")


@pytest.mark.embedded_only
async def test_an_abandoned_ticket_names_its_call(silent: str) -> None:
    async with ottla.AsyncConsumer(silent, group_id="g") as consumer:
        ticket = consumer.commit_async({PLACE: 5})
        ticket.cancel()
        with pytest.raises(ottla.Closed, match=r"^AsyncConsumer\.commit was given up"):
            await ticket.wait_async(10)
        await consumer.close(0.1)


def _is_clear(text: str, name: str) -> bool:
    """The call, the limit, and the cause."""
    call, _, rest = text.partition(": ")
    return call == name and "within 0.01 s" in rest and "no outcome" not in rest
