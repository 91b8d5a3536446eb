"""`FetchFlow`: the inbox as the engine and callers see it, with a leader that the tests play by hand."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ottla import _native, errors
from ottla.config.consumer import consumer_config
from ottla.consumer.inbox import make_flow
from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.headers import decode_request, encode_response
from ottla.protocol.messages.fetch import (
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionData,
)
from ottla.seam.connections import Loss
from ottla.seam.fetching import FetchHeld, PartitionState
from ottla.seam.leaders import Endpoint, LeaderHint
from ottla.testing import plain_records as plain

PATIENCE = 10.0
CONNECTION = 4
VERSION = 17
NODE = 7
TOPIC = "orders"
TOPIC_ID = bytes(range(16))
EPOCH = 3


class Leader:
    """The broker behind a flow that no I/O thread drives: all partitions of one topic."""

    def __init__(self, **config: Any) -> None:
        self.flow = make_flow(None, consumer_config("localhost:1", config))
        self.flow.attach(CONNECTION, VERSION, NODE, "b:9092")
        self._correlation = 0
        self._token: int | None = None
        self._session = 77

    def assign(self, partition: int = 0, offset: int = 0) -> None:
        """Let the partition flow from this offset."""
        self.flow.assign(TOPIC, TOPIC_ID, partition)
        self.flow.position(TOPIC, partition, offset, EPOCH)
        self.flow.route(TOPIC, partition, CONNECTION, EPOCH)

    def asked(self) -> FetchRequest | None:
        """The request that the flow wants to send now."""
        self._correlation += 1
        given = _native.next_frame(self.flow, CONNECTION, self._correlation, 0)
        if given is None:
            return None
        self._token, frame = given
        _, request = decode_request(frame)
        assert isinstance(request, FetchRequest)
        return request

    def answer(self, *partitions: PartitionData, nodes: tuple[NodeEndpoint, ...] = ()) -> None:
        """Answer the request that was asked last."""
        assert self._token is not None
        topic = FetchableTopicResponse(topic_id=TOPIC_ID, partitions=partitions)
        response = FetchResponse(
            session_id=self._session,
            responses=[topic] if partitions else [],
            node_endpoints=nodes,
        )
        frame = encode_response(response, VERSION, self._correlation)
        _native.answer(self.flow, CONNECTION, self._token, frame[4:], 0)
        self._token = None

    def give(self, first: int = 0, count: int = 3, partition: int = 0) -> None:
        """Let one fetch bring records `v0` and so on, by their offsets."""
        assert self.asked() is not None
        self.answer(data(first, count, partition))


def batch(first: int, count: int, codec: str = "none") -> bytes:
    records = [plain.Record(o, 1000 + o, None, b"v%d" % o) for o in range(first, first + count)]
    return plain.encode_batch(records, codec=codec, partition_leader_epoch=EPOCH)


def data(first: int, count: int, partition: int = 0, **changes: Any) -> PartitionData:
    fields = {
        "partition_index": partition,
        "high_watermark": 100,
        "last_stable_offset": 90,
        "log_start_offset": 0,
        "records": batch(first, count),
    }
    return PartitionData(**{**fields, **changes})


@pytest.fixture
def leader() -> Iterator[Leader]:
    leader = Leader()
    yield leader
    leader.flow.close()


def offsets(records: _native.Records | None) -> list[int]:
    return [] if records is None else records.offsets()


# ---- taking ----------------------------------------------------------------------------------------------------------


def test_take_hands_over_fetched_records(leader: Leader) -> None:
    leader.assign(offset=5)
    request = leader.asked()
    assert request is not None
    assert request.topics[0].partitions[0].fetch_offset == 5
    leader.answer(data(5, 3))
    records = leader.flow.take(100, 0)
    assert records is not None
    assert [(r.topic, r.partition, r.offset, r.value, r.leader_epoch) for r in records] == [
        (TOPIC, 0, 5, b"v5", EPOCH),
        (TOPIC, 0, 6, b"v6", EPOCH),
        (TOPIC, 0, 7, b"v7", EPOCH),
    ]
    assert records.next_offsets() == {(TOPIC, 0): (8, EPOCH)}
    assert leader.flow.take(100, 0) is None


def test_take_keeps_to_its_limit(leader: Leader) -> None:
    leader.assign()
    leader.give(0, 5)
    assert leader.flow.positions() == {(TOPIC, 0): (0, EPOCH)}
    assert offsets(leader.flow.take(2, 0)) == [0, 1]
    assert leader.flow.positions()[TOPIC, 0] == (2, EPOCH)
    assert offsets(leader.flow.take(2, 0)) == [2, 3]
    assert offsets(leader.flow.take(2, 0)) == [4]
    assert leader.flow.positions()[TOPIC, 0] == (5, EPOCH)
    for limit in (0, -1):
        with pytest.raises(ValueError, match="limit"):
            leader.flow.take(limit, 0)


def test_take_of_one_partition_leaves_the_others(leader: Leader) -> None:
    leader.assign(0)
    leader.assign(1)
    assert leader.asked() is not None
    leader.answer(data(0, 2, 0), data(10, 2, 1))
    only = leader.flow.take(100, 0, (TOPIC, 1))
    assert only is not None
    assert list(only.next_offsets()) == [(TOPIC, 1)]
    assert leader.flow.take(100, 0, (TOPIC, 1)) is None
    assert offsets(leader.flow.take(100, 0)) == [0, 1]


def test_take_waits_for_a_response(leader: Leader) -> None:
    leader.assign()
    assert leader.asked() is not None
    threading.Timer(0.02, leader.answer, [data(0, 3)]).start()
    assert offsets(leader.flow.take(100, PATIENCE)) == [0, 1, 2]


def test_take_ends_without_records_when_a_position_moves(leader: Leader) -> None:
    marker = _native.encode_batch([(0, b"\0\0\0\0", b"\0" * 6, [])], control=True)
    leader.assign()
    assert leader.asked() is not None
    threading.Timer(0.02, leader.answer, [data(0, 1, records=marker)]).start()
    assert leader.flow.take(100, PATIENCE) == _native.Records()
    assert leader.flow.positions()[TOPIC, 0][0] == 1
    assert leader.flow.take(100, 0.02) is None


def test_take_ends_when_the_time_is_up(leader: Leader) -> None:
    started = time.monotonic()
    assert leader.flow.take(100, 0.02) is None
    assert time.monotonic() - started >= 0.02


def test_wakeup_ends_a_take(leader: Leader) -> None:
    threading.Timer(0.02, leader.flow.wakeup).start()
    assert leader.flow.take(100, PATIENCE) is None


def test_end_of_a_claim_ends_its_takes(leader: Leader) -> None:
    leader.assign(0)
    leader.assign(1)
    threading.Timer(0.02, leader.flow.end, [TOPIC, 1]).start()
    assert leader.flow.take(100, PATIENCE, (TOPIC, 1)) is None
    assert leader.flow.take(100, PATIENCE, (TOPIC, 1)) is None


def test_close_ends_every_take() -> None:
    leader = Leader()
    failures: list[BaseException] = []

    def taker() -> None:
        try:
            leader.flow.take(100, PATIENCE)
        except errors.Closed as error:
            failures.append(error)

    threads = [threading.Thread(target=taker) for _ in range(4)]
    for thread in threads:
        thread.start()
    leader.flow.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(failures) == 4
    with pytest.raises(errors.Closed):
        leader.flow.take(100, 0)
    leader.flow.close()


def test_threads_share_the_records(leader: Leader) -> None:
    leader.assign()
    seen: list[int] = []
    complete = threading.Event()

    def taker() -> None:
        with contextlib.suppress(errors.Closed):
            while True:
                records = leader.flow.take(3, PATIENCE)
                assert records is not None
                seen.extend(records.offsets())
                if len(seen) >= 1000:
                    complete.set()

    threads = [threading.Thread(target=taker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for first in range(0, 1000, 10):
        leader.give(first, 10)
    assert complete.wait(PATIENCE)
    leader.flow.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(seen) == list(range(1000))


CTRL_C = """
from ottla.config.consumer import consumer_config
from ottla.consumer.inbox import make_flow

flow = make_flow(None, consumer_config("localhost:1", {}))
try:
    print("waiting", flush=True)
    flow.take(100, None)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_ends_a_take_at_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CTRL_C], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "waiting\n"
            started = time.monotonic()
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == "interrupted\n"
            assert time.monotonic() - started < 1.0
            assert child.wait(PATIENCE) == 0
        finally:
            child.kill()


FORKED = """
from ottla import _native, errors
from ottla.config.consumer import consumer_config
from ottla.consumer.inbox import make_flow

flow = make_flow(None, consumer_config("localhost:1", {"client_id": "mine"}))
waiting = flow.take_async(1, None)
_native.mark_forked()
for call in (flow.wakeup, flow.close, flow.positions, flow.drain, lambda: flow.take(1, None)):
    try:
        call()
    except errors.ForkedClient as error:
        print(error, flush=True)
"""


def test_flow_of_the_parent_is_dead_after_a_fork() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    message = "consumer mine was made before a fork; make a new one in the child"
    assert done.stdout.splitlines() == [message] * 5


# ---- failures --------------------------------------------------------------------------------------------------------


def test_given_error_is_raised_once_by_the_next_take(leader: Leader) -> None:
    leader.assign()
    leader.give(0, 3)
    error = errors.OffsetOutOfRange("gone", topic=TOPIC, partition=0)
    leader.flow.fail(TOPIC, 0, error)
    with pytest.raises(errors.OffsetOutOfRange) as caught:
        leader.flow.take(100, 0)
    assert caught.value is error
    assert offsets(leader.flow.take(100, 0)) == [0, 1, 2]
    assert leader.flow.take(100, 0) is None
    leader.flow.fail(TOPIC, 0, error)
    leader.flow.fail(TOPIC, 0, LookupError("a second one while the first waits"))
    with pytest.raises(errors.OffsetOutOfRange):
        leader.flow.take(100, 0)
    assert leader.flow.take(100, 0) is None
    with pytest.raises(TypeError):
        leader.flow.fail(TOPIC, 0, "gone")  # type: ignore[arg-type]


async def test_given_error_is_raised_by_an_awaited_take(leader: Leader) -> None:
    leader.assign()
    waiting = asyncio.ensure_future(_taken(leader.flow))
    await asyncio.sleep(0)
    error = LookupError("mine")
    leader.flow.fail(TOPIC, 0, error)
    with pytest.raises(LookupError) as caught:
        await waiting
    assert caught.value is error


def test_unreadable_batch_is_fetched_again_and_then_reported_once(leader: Leader) -> None:
    leader.assign()
    assert leader.asked() is not None
    broken = bytearray(batch(3, 2))
    broken[-1] ^= 1
    leader.answer(data(0, 3, records=batch(0, 3) + bytes(broken)))
    assert offsets(leader.flow.take(100, 0)) == [0, 1, 2]
    assert leader.asked() is not None
    leader.answer(data(0, 5, records=b""))
    assert leader.flow.take(100, 0) is None
    assert leader.asked() is not None
    leader.answer(data(0, 3, records=bytes(broken)))
    with pytest.raises(errors.DecodeError, match="CRC") as caught:
        leader.flow.take(100, 0.5)
    error = caught.value
    assert (error.topic, error.partition, error.offset) == (TOPIC, 0, 3)
    assert error.next_offset == 5
    assert leader.flow.take(100, 0) is None
    leader.flow.position(TOPIC, 0, 5, EPOCH)
    assert leader.flow.take(100, 0) is None


# ---- awaiting --------------------------------------------------------------------------------------------------------


async def _taken(flow: _native.FetchFlow, timeout: float | None = PATIENCE) -> list[int] | None:
    records = await flow.take_async(100, timeout)
    return None if records is None else records.offsets()


def futures() -> int:
    return len(_native.bridge_for_loop(asyncio.get_running_loop()))


def test_records_that_are_there_cost_no_future(leader: Leader) -> None:
    leader.assign()
    leader.give(0, 3)
    taking = leader.flow.take_async(100, None).__await__()
    with pytest.raises(StopIteration) as done:
        next(taking)  # no loop runs here
    assert done.value.value.offsets() == [0, 1, 2]


async def test_awaited_take_waits_for_a_response(leader: Leader) -> None:
    leader.assign()
    assert leader.asked() is not None
    threading.Timer(0.02, leader.answer, [data(0, 3)]).start()
    assert await _taken(leader.flow) == [0, 1, 2]
    assert futures() == 0


async def test_awaited_take_ends_when_time_is_up_or_woken(leader: Leader) -> None:
    assert await _taken(leader.flow, 0) is None
    assert await _taken(leader.flow, 0.02) is None
    asyncio.get_running_loop().call_later(0.02, leader.flow.wakeup)
    assert await _taken(leader.flow) is None
    asyncio.get_running_loop().call_later(0.02, leader.flow.close)
    with pytest.raises(errors.Closed):
        await _taken(leader.flow)
    assert futures() == 0


async def test_cancelled_take_loses_no_record(leader: Leader) -> None:
    leader.assign()
    seen: list[int] = []
    for first in range(0, 30, 3):
        taking = asyncio.ensure_future(_taken(leader.flow))
        await asyncio.sleep(0)
        leader.give(first, 3)
        # The wake-up is in flight; the cancel comes first.
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert futures() == 0
        seen += offsets(leader.flow.take(100, 0))
    assert seen == list(range(30))


async def test_other_takers_go_on_when_one_is_cancelled(leader: Leader) -> None:
    leader.assign()
    takers = [asyncio.ensure_future(_taken(leader.flow)) for _ in range(5)]
    await asyncio.sleep(0)
    leader.give(0, 3)
    for taker in takers[:-1]:
        taker.cancel()
    assert await takers[-1] == [0, 1, 2]
    await asyncio.gather(*takers, return_exceptions=True)
    assert futures() == 0


async def test_wakeup_for_a_cancelled_take_ends_the_next_one(leader: Leader) -> None:
    taking = asyncio.ensure_future(_taken(leader.flow))
    await asyncio.sleep(0)
    leader.flow.wakeup()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert leader.flow.take(100, PATIENCE) is None
    assert futures() == 0


# ---- positions -------------------------------------------------------------------------------------------------------


def test_new_position_drops_records_of_the_old(leader: Leader) -> None:
    leader.assign()
    leader.give(0, 5)
    assert leader.asked() is not None
    leader.flow.position(TOPIC, 0, 50, EPOCH)
    assert leader.flow.positions()[TOPIC, 0] == (50, EPOCH)
    assert leader.flow.take(100, 0) is None
    leader.answer(data(5, 5))
    assert leader.flow.take(100, 0) is None


def test_nothing_of_a_partition_comes_after_unassign(leader: Leader) -> None:
    leader.assign(0)
    leader.assign(1)
    assert leader.asked() is not None
    leader.answer(data(0, 2, 0), data(10, 2, 1))
    leader.flow.unassign(TOPIC, 0)
    assert offsets(leader.flow.take(100, 0)) == [10, 11]
    assert list(leader.flow.positions()) == [(TOPIC, 1)]


def test_paused_partition_keeps_its_records(leader: Leader) -> None:
    leader.assign()
    leader.give(0, 2)
    leader.flow.pause(TOPIC, 0)
    assert leader.flow.take(100, 0) is None
    assert leader.flow.partition_state(TOPIC, 0).paused is True
    leader.flow.resume(TOPIC, 0)
    assert offsets(leader.flow.take(100, 0)) == [0, 1]


def test_state_of_a_partition(leader: Leader) -> None:
    leader.assign()
    assert leader.flow.partition_state(TOPIC, 0).high_watermark == -1
    leader.give(0, 2)
    assert leader.flow.partition_state(TOPIC, 0) == PartitionState(
        high_watermark=100,
        last_stable_offset=90,
        log_start_offset=0,
        position=0,
        buffered_records=2,
        paused=False,
        flowing=True,
    )


def test_statistics_count(leader: Leader) -> None:
    leader.assign()
    leader.give(0, 3)
    leader.flow.take(2, 0)
    statistics = leader.flow.statistics()
    assert (statistics.requests, statistics.responses) == (1, 1)
    assert statistics.handed_records == 2
    assert statistics.buffered_bytes > 0
    (node,) = statistics.nodes
    assert (node.node_id, node.address) == (NODE, "b:9092")
    assert (node.requests, node.in_flight, node.fetched_batches) == (1, 0, 1)
    assert node.fetched_bytes == statistics.fetched_bytes
    (partition,) = statistics.partitions
    assert (partition.topic, partition.partition, partition.node_id) == (TOPIC, 0, NODE)
    assert (partition.position, partition.handed_records, partition.buffered_records) == (2, 2, 1)
    assert partition.buffered_bytes == statistics.buffered_bytes
    assert 0 < partition.fetched_bytes < statistics.fetched_bytes, "of the batches alone"


# ---- events ----------------------------------------------------------------------------------------------------------


def test_refused_partition_is_reported_with_the_new_leader(leader: Leader) -> None:
    leader.assign(offset=7)
    assert leader.asked() is not None
    leader.answer(
        data(
            0,
            1,
            error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER,
            records=None,
            current_leader=LeaderIdAndEpoch(leader_id=2, leader_epoch=9),
        ),
        nodes=(NodeEndpoint(node_id=2, host="b2", port=9092),),
    )
    leader_hint = LeaderHint(2, 9, Endpoint("b2", 9092))
    assert leader.flow.drain() == [FetchHeld(TOPIC, 0, "answer", 6, 7, leader_hint)]
    assert leader.flow.drain() == []
    assert leader.flow.partition_state(TOPIC, 0).flowing is False


def test_requested_hold_is_reported(leader: Leader) -> None:
    leader.assign(offset=7)
    leader.flow.hold(TOPIC, 0)
    assert leader.flow.drain() == [FetchHeld(TOPIC, 0, "asked", 0, 7, None)]


def test_lost_connection_holds_its_partitions(leader: Leader) -> None:
    leader.assign(offset=7)
    assert leader.asked() is not None
    _native.lose(leader.flow, CONNECTION, "the peer closed", 0)
    assert leader.flow.drain() == [FetchHeld(TOPIC, 0, Loss("eof", "the peer closed"), 0, 7, None)]
    assert leader.asked() is None


def test_answer_that_is_no_fetch_response_is_refused(leader: Leader) -> None:
    leader.assign()
    given = _native.next_frame(leader.flow, CONNECTION, 1, 0)
    assert given is not None
    with pytest.raises(ValueError, match="Fetch response"):
        _native.answer(leader.flow, CONNECTION, given[0], b"\0\0", 0)


# ---- iterating a consumer ----------------------------------------------------------------------------------------------


class Reader(_native.ConsumerBase):
    """A consumer that refills itself like `ottla.Consumer`."""

    def __init__(self, flow: _native.FetchFlow) -> None:
        self.flow = flow
        self._bind(flow)

    def _refill(self) -> _native.Records | None:
        return self.flow.take(2, 0)


def test_consumer_iterates_over_its_flow(leader: Leader) -> None:
    leader.assign()
    reader = Reader(leader.flow)
    leader.give(0, 5)
    assert [record.value for record in reader] == [b"v0", b"v1", b"v2", b"v3", b"v4"]
    leader.give(5, 1)
    assert next(reader).offset == 5
    assert reader._current() == (TOPIC, 0, 5)


def test_skipped_partition_is_left_out_of_the_rest(leader: Leader) -> None:
    leader.assign(0)
    leader.assign(1)
    assert leader.asked() is not None
    leader.answer(data(0, 3, 0), data(10, 3, 1))

    class Whole(Reader):
        def _refill(self) -> _native.Records | None:
            return self.flow.take(100, 0)

    reader = Whole(leader.flow)
    first = next(reader)
    assert first.partition == 0
    reader._skip((TOPIC, 0))
    assert reader._current() == (TOPIC, 0, 0)
    assert [record.offset for record in reader] == [10, 11, 12]
    leader.give(3, 3)
    assert next(reader).offset == 3
    reader._skip((TOPIC, 1))
    reader._skip(("other", 0))
    assert [record.offset for record in reader] == [4, 5]
    reader._skip((TOPIC, 0))
    with pytest.raises(TypeError):
        reader._skip("orders")  # type: ignore[arg-type]
