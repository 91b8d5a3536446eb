"""`Record`, `Records` and the iteration of a consumer: the results of a poll, as Python code reads them."""

from __future__ import annotations

import copy
import ctypes
import gc
import pickle
import struct
import subprocess
import sys
import tracemalloc
import weakref
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, cast

import pytest

from ottla import _native
from ottla.errors import DecodeError, DeserializationError
from ottla.message import TopicPartition
from ottla.seam.records import Deserialized
from ottla.testing import plain_records as plain
from ottla.testing.crc32c import crc32c


def batch(
    first: int = 0,
    count: int = 3,
    *,
    headers: Sequence[plain.Header] = (),
    codec: str = "none",
    epoch: int = 7,
    value_bytes: int = 0,
) -> bytes:
    """Records `k0: v0` and so on, by their offsets."""
    records = [
        plain.Record(
            offset,
            1000 + offset,
            b"k%d" % offset,
            b"v%d" % offset + b"." * value_bytes,
            tuple(headers),
        )
        for offset in range(first, first + count)
    ]
    return plain.encode_batch(records, codec=codec, partition_leader_epoch=epoch)


def records(*batches: bytes, topic: str = "orders", partition: int = 1) -> _native.Records:
    return _native.decode_records(topic, partition, b"".join(batches))


def own(**changes: Any) -> _native.Record:
    """A record with bytes of its own."""
    fields = {
        "topic": "orders",
        "partition": 1,
        "offset": 5,
        "timestamp_ms": 1005,
        "key": b"k5",
        "value": b"v5",
        "headers": [],
        "leader_epoch": 7,
        "timestamp_type": "CreateTime",
    }
    return _native.make_record(**{**fields, **changes})


# ---- one record ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["none", "gzip"])
def test_record_shows_the_content_of_the_batch(codec: str) -> None:
    headers: list[plain.Header] = [("h", b"1"), ("empty", b""), ("null", None), ("h", b"2")]
    record = records(batch(5, 1, headers=headers, codec=codec))[0]
    assert (record.topic, record.partition, record.offset) == ("orders", 1, 5)
    assert (record.timestamp_ms, record.leader_epoch) == (1005, 7)
    assert (record.key, record.value) == (b"k5", b"v5")
    assert record.headers == headers


def test_null_and_empty_differ() -> None:
    data = plain.encode_batch([plain.Record(0, 0, None, None), plain.Record(1, 0, b"", b"")])
    null, empty = records(data)
    assert (null.key, null.value) == (None, None)
    assert (empty.key, empty.value) == (b"", b"")


def test_record_is_small_and_unknown_to_the_collector() -> None:
    record = records(batch())[0]
    assert sys.getsizeof(record) <= 48
    assert not gc.is_tracked(record)


def test_record_is_read_only_and_not_made_by_hand() -> None:
    record = own()
    with pytest.raises(AttributeError):
        record.value = b""  # type: ignore[misc]
    with pytest.raises(TypeError):
        _native.Record()
    with pytest.raises(TypeError):
        type("Mine", (_native.Record,), {})


def test_topic_is_one_object_for_all_records() -> None:
    first, second = records(batch(0, 1), batch(1, 1))
    assert first.topic is second.topic


def test_repr_is_short() -> None:
    assert repr(own(value=None)) == "<Record orders-1@5 key=b'k5' value=None>"
    shown = repr(own(value=b"x" * 100_000))
    assert shown == f"<Record orders-1@5 key=b'k5' value=b'{'x' * 32}'...>"


@pytest.mark.parametrize(
    "change",
    [
        {"topic": "other"},
        {"partition": 2},
        {"offset": 6},
        {"timestamp_ms": 1},
        {"key": None},
        {"value": b""},
        {"headers": [("h", None)]},
    ],
)
def test_records_are_equal_by_place_and_content(change: dict[str, Any]) -> None:
    fetched = records(batch(5, 1))[0]
    assert fetched == own()
    assert hash(fetched) == hash(own())
    assert fetched == own(leader_epoch=-1)
    assert fetched != own(**change)
    assert fetched != "orders-1@5"
    with pytest.raises(TypeError):
        assert fetched < own()  # type: ignore[operator]


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_copies_are_equal(copied: Callable[[_native.Record], _native.Record]) -> None:
    record = records(batch(5, 1, headers=[("h", b"1"), ("n", None)]))[0]
    twin = copied(record)
    assert twin is not record
    assert twin == record
    assert twin.leader_epoch == record.leader_epoch
    assert twin.headers == [("h", b"1"), ("n", None)]


def test_detached_record_is_the_same_record() -> None:
    record = records(batch(5, 3, headers=[("h", b"1")]))[1]
    before = copy.copy(record)
    assert record.detach() is record
    assert record == before
    assert record.detach() is record
    assert (record.offset, record.headers, record.leader_epoch) == (6, [("h", b"1")], 7)


def broken_headers() -> _native.Record:
    """A record whose header has a name that is not UTF-8, in a batch with the right checksum."""
    data = bytearray(batch(5, 1, headers=[("name", b"")]).replace(b"name", b"\xff\xfe\xfd\xfc"))
    data[17:21] = crc32c(memoryview(data)[21:]).to_bytes(4, "big")
    return records(bytes(data))[0]


@pytest.mark.parametrize("read", [lambda r: r.headers, lambda r: r.detach(), pickle.dumps])
def test_unreadable_headers_raise_an_error(read: Callable[[_native.Record], object]) -> None:
    record = broken_headers()
    assert record.value == b"v5"
    with pytest.raises(DecodeError, match="name of a header") as caught:
        read(record)
    error = caught.value
    assert (error.topic, error.partition, error.offset) == ("orders", 1, 5)


# ---- fields without a copy -------------------------------------------------------------------------------------------


def test_record_names_its_partition() -> None:
    record = own()
    assert record.topic_partition == TopicPartition("orders", 1)
    assert str(record.topic_partition) == "orders-1"


def test_timestamp_type_is_that_of_the_batch() -> None:
    record = plain.Record(0, 1000, None, b"v")
    created = records(plain.encode_batch([record]))[0]
    appended = records(_native.encode_batch([(1000, None, b"v", [])], log_append_ms=2000))[0]
    assert (created.timestamp_ms, created.timestamp_type) == (1000, "CreateTime")
    assert (appended.timestamp_ms, appended.timestamp_type) == (2000, "LogAppendTime")
    for one in (created, appended):
        for copied in (copy.copy(one), copy.copy(one).detach()):
            assert copied.timestamp_type == one.timestamp_type
    assert own(timestamp_type=None).timestamp_type is None
    with pytest.raises(ValueError, match="timestamp_type"):
        own(timestamp_type="create")


def test_message_of_magic_0_has_no_timestamp_type() -> None:
    body = struct.pack(">bbi1si1s", 0, 0, 1, b"k", 1, b"v")
    message = struct.pack(">I", zlib.crc32(body)) + body
    record = records(struct.pack(">qi", 4, len(message)) + message)[0]
    assert (record.offset, record.value, record.timestamp_ms) == (4, b"v", -1)
    assert record.timestamp_type is None
    assert copy.copy(record).timestamp_type is None


def test_sizes_are_those_of_the_bytes() -> None:
    data = plain.encode_batch([plain.Record(0, 0, None, b"abc"), plain.Record(1, 0, b"", None)])
    first, second = records(data)
    assert (first.serialized_key_size, first.serialized_value_size) == (-1, 3)
    assert (second.serialized_key_size, second.serialized_value_size) == (0, -1)


@pytest.mark.parametrize("codec", ["none", "gzip"])
def test_views_are_of_the_same_bytes(codec: str) -> None:
    record = records(batch(5, 1, codec=codec))[0]
    key, value = record.key_view, record.value_view
    assert key is not None
    assert value is not None
    assert (bytes(key), bytes(value)) == (b"k5", b"v5")
    assert (value.readonly, value.format, value.ndim, value.nbytes) == (True, "B", 1, 2)
    with pytest.raises(TypeError):
        value[0] = 0
    again = record.value_view
    assert again is not None
    assert address_of(again) == address_of(value)
    null = own(key=None, value=b"")
    assert null.key_view is None
    empty = null.value_view
    assert empty is not None
    assert bytes(empty) == b""


class Buffer(ctypes.Structure):
    """The first fields of CPython's `Py_buffer`, and memory for the others."""

    _fields_ = (
        ("start", ctypes.c_void_p),
        ("owner", ctypes.py_object),
        ("rest", ctypes.c_char * 128),
    )


def address_of(view: memoryview) -> int:
    """Address of the bytes of a view."""
    buffer = Buffer()
    held = ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    assert held == 0
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    return int(buffer.start)


def test_view_keeps_its_bytes() -> None:
    polled = records(batch(0, 50, value_bytes=1000))
    views = []
    for record in polled:
        view = record.value_view
        assert view is not None
        views.append(view[1:5])
        record.detach()
    del polled, record, view
    gc.collect()
    for _ in range(20):
        records(batch(0, 50, value_bytes=1000))
    assert [bytes(view) for view in views] == [(b"v%d...." % n)[1:5] for n in range(50)]


def test_view_copies_nothing() -> None:
    polled = records(batch(0, 1, value_bytes=10_000_000))
    record = polled[0]
    tracemalloc.start()
    views = [record.value_view for _ in range(10)]
    grown = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(views) == 10
    assert grown < 100_000


def test_views_are_read_while_other_threads_drop_theirs() -> None:
    def read(seed: int) -> int:
        total = 0
        for turn in range(40):
            polled = records(batch(0, 20, value_bytes=100, codec="gzip" if turn % 2 else "none"))
            views = [record.detach().value_view for record in polled]
            late = [polled[n].value_view for n in range(20)]
            del polled
            if turn == seed:
                gc.collect()
            total += sum(view[0] == ord("v") for view in (*views, *late) if view is not None)
        return total

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [40 * 40] * 4


def test_made_record_takes_values_of_records_only() -> None:
    with pytest.raises(TypeError):
        own(value="text")
    with pytest.raises(TypeError):
        own(headers=[("h", "text")])
    with pytest.raises(TypeError):
        own(headers=[(b"h", b"")])


# ---- the records of a poll -------------------------------------------------------------------------------------------


def test_records_are_a_sequence() -> None:
    polled = records(batch(0, 3), batch(3, 2))
    assert len(polled) == 5
    assert bool(polled)
    assert [record.offset for record in polled] == [0, 1, 2, 3, 4]
    assert [polled[i].offset for i in range(5)] == [0, 1, 2, 3, 4]
    assert [polled[i].offset for i in range(-5, 0)] == [0, 1, 2, 3, 4]
    for outside in (5, -6, 2**40, -(2**40)):
        with pytest.raises(IndexError):
            polled[outside]
    with pytest.raises(TypeError, match="int or slice, not str"):
        polled[cast("int", "0")]


def test_no_records_are_false() -> None:
    none = records()
    assert not none
    for empty in (none, _native.Records()):
        assert (len(empty), list(empty), empty.values(), empty.by_partition()) == (0, [], [], {})


def test_columns_in_one_call() -> None:
    polled = records(batch(0, 2), plain.encode_batch([plain.Record(2, 0, None, None)]))
    assert polled.values() == [b"v0", b"v1", None]
    assert polled.keys() == [b"k0", b"k1", None]
    assert polled.offsets() == [0, 1, 2]


@pytest.mark.parametrize(
    "wanted",
    [slice(None), slice(1, 4), slice(4, None), slice(None, -1), slice(3, 1), slice(9, 12),
     slice(None, None, 2), slice(None, None, -1), slice(4, 0, -2), slice(-2, None)],
)  # fmt: skip
def test_slices_are_records(wanted: slice) -> None:
    polled = records(batch(0, 3), batch(3, 3))
    part = polled[wanted]
    assert isinstance(part, _native.Records)
    assert part.offsets() == list(range(6))[wanted]
    assert len(part) == len(part.values())


def test_next_offsets_are_behind_the_last_record() -> None:
    gap = plain.encode_batch(
        [plain.Record(3, 0, None, b"a"), plain.Record(9, 0, None, b"b")], partition_leader_epoch=8
    )
    polled = records(batch(0, 3), gap)
    assert polled.next_offsets() == {("orders", 1): (10, 8)}
    assert [str(tp) for tp in polled.next_offsets()] == ["orders-1"]
    assert [str(tp) for tp in polled.by_partition()] == ["orders-1"]
    assert polled[:2].next_offsets() == {("orders", 1): (2, 7)}
    assert polled[:4].next_offsets() == {("orders", 1): (4, 8)}
    assert polled[::-1].next_offsets() == {("orders", 1): (10, 8)}


def test_more_columns_in_one_call() -> None:
    polled = records(batch(0, 2, headers=[("h", b"1"), ("h", None)]), batch(2, 1))
    assert polled.timestamps() == [1000, 1001, 1002]
    assert polled.headers() == [[("h", b"1"), ("h", None)]] * 2 + [[]]
    with pytest.raises(DecodeError, match="name of a header"):
        _native.Records([broken_headers()]).headers()


def test_records_are_made_of_records() -> None:
    polled = records(batch(0, 3), batch(3, 3))
    even = _native.Records(record for record in polled if record.offset % 2 == 0)
    assert even.offsets() == [0, 2, 4]
    assert even.next_offsets() == {("orders", 1): (5, 7)}
    assert _native.Records(list(polled)) == polled
    assert _native.Records(polled) == polled
    assert _native.Records([own()]).values() == [b"v5"]
    with pytest.raises(TypeError, match="Record objects, not bytes"):
        _native.Records(cast("Any", [b"v"]))


def test_records_are_joined_by_plus() -> None:
    polled = records(batch(0, 3), batch(3, 3))
    other = records(batch(0, 1), topic="payments")
    both = polled[:2] + other + polled[5:]
    assert [(record.topic, record.offset) for record in both] == [
        ("orders", 0), ("orders", 1), ("payments", 0), ("orders", 5),
    ]  # fmt: skip
    assert both.next_offsets() == {("orders", 1): (6, 7), ("payments", 1): (1, 7)}
    assert [len(some) for some in both.by_partition().values()] == [3, 1]
    with pytest.raises(TypeError):
        polled + cast("Any", [own()])


def test_records_are_equal_by_their_records() -> None:
    polled = records(batch(0, 3), batch(3, 3))
    same = records(batch(0, 6))
    assert polled == same
    assert hash(polled) == hash(same)
    assert polled != same[:5]
    assert polled[:5] != same[1:]
    assert polled != list(polled)
    assert records() == _native.Records()
    assert hash(records()) == hash(_native.Records())
    assert same[2] in polled
    assert own(offset=9) not in polled
    assert [record.offset for record in reversed(polled)] == [5, 4, 3, 2, 1, 0]
    with pytest.raises(TypeError):
        assert polled < same  # type: ignore[operator]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_records_are_equal(protocol: int) -> None:
    gap = plain.encode_batch([plain.Record(9, 0, None, b"b")], partition_leader_epoch=8)
    polled = records(batch(0, 3, headers=[("h", None)]), gap) + records(batch(), topic="other")
    twin = pickle.loads(pickle.dumps(polled, protocol))
    assert twin == polled
    assert twin.next_offsets() == polled.next_offsets()
    assert [record.leader_epoch for record in twin] == [7, 7, 7, 8, 7, 7, 7]
    assert list(twin.by_partition()) == list(polled.by_partition())
    assert pickle.loads(pickle.dumps(records(), protocol)) == records()


def test_deep_copies_pin_nothing() -> None:
    polled = records(batch(0, 3, value_bytes=100))
    copied = copy.deepcopy(polled)
    assert copied == copy.copy(polled) == polled
    view, twin = polled[0].value_view, copied[0].value_view
    assert view is not None
    assert twin is not None
    assert address_of(view) != address_of(twin)


PICKLED = """
import pickle, sys
records = pickle.loads(bytes.fromhex(sys.argv[1]))
print(records.values(), records.next_offsets(), records[0])
"""


def test_other_process_reads_a_pickle() -> None:
    data = pickle.dumps(records(batch(0, 2)), 2).hex()
    done = subprocess.run(
        [sys.executable, "-c", PICKLED, data],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split("\n")[0] == (
        "[b'v0', b'v1'] {TopicPartition(topic='orders', partition=1): (2, 7)} "
        "<Record orders-1@0 key=b'k0' value=b'v0'>"
    )


def test_position_inside_a_batch_hides_earlier_records() -> None:
    polled = _native.decode_records("orders", 0, batch(0, 5), 3)
    assert polled.offsets() == [3, 4]
    assert polled.values() == [b"v3", b"v4"]
    assert polled.by_partition()[TopicPartition("orders", 0)].keys() == [b"k3", b"k4"]


def test_records_name_their_partitions() -> None:
    assert repr(records(batch())) == "<Records: 3 of orders-1>"
    assert repr(records()) == "<Records: none>"


def test_bytes_that_are_no_batch_raise_an_error() -> None:
    data = bytearray(batch())
    data[-1] ^= 1
    with pytest.raises(DecodeError, match="CRC") as caught:
        records(bytes(data))
    error = caught.value
    assert (error.topic, error.partition, error.offset) == ("orders", 1, 0)
    assert records(batch()[:-1]).offsets() == []


# ---- objects of deserializers ----------------------------------------------------------------------------------------


def test_objects_stand_in_for_bytes() -> None:
    polled = records(batch(0, 3), batch(3, 3))
    error = DeserializationError("no", topic="orders", partition=1, offset=4)
    values: list[Any] = [0, 1, 2, 3, b"v4", 5]
    made = polled._deserialized(Deserialized(None, values, {4: error}))
    assert made.values() == values
    assert made.keys() == polled.keys()
    assert made[2:5].values() == [2, 3, b"v4"]
    assert [record.value for record in made[::-1]] == values[::-1]
    assert [record.error for record in made] == [None] * 4 + [error, None]
    assert (made + polled[:1]).values() == [*values, b"v0"]
    assert made == polled
    assert made[4].value_view is not None
    for copied in (copy.copy(made[4]), made[4].detach(), pickle.loads(pickle.dumps(made))[4]):
        assert (copied.value, copied.key) == (b"v4", b"k4")
        assert repr(copied.error) == repr(error)
    assert pickle.loads(pickle.dumps(made)).values() == values


def test_objects_live_as_long_as_their_records() -> None:
    class Made:
        pass

    objects = [Made() for _ in range(3)]
    alive = [weakref.ref(one) for one in objects]
    polled = records(batch(0, 3))._deserialized(Deserialized(None, list(objects), {}))
    record, alone = polled[1], polled[2].detach()
    del objects, polled
    gc.collect()
    assert all(one() is not None for one in alive)
    del record
    gc.collect()
    assert [one() is None for one in alive] == [True, True, False]
    assert alone.value is alive[2]()


@pytest.mark.parametrize(
    ("dropped", "left", "after"),
    [
        ([], [0, 1, 2, 3, 4, 5], 6),
        ([0], [1, 2, 3, 4, 5], 6),
        ([5], [0, 1, 2, 3, 4], 6),
        ([2, 3], [0, 1, 4, 5], 6),
        ([3, 4, 5], [0, 1, 2], 6),
        ([1, 2, 3, 4, 5], [0], 6),
        ([0, 1, 2, 3, 4, 5], [], None),
    ],
)
def test_dropped_records_move_no_position(
    dropped: list[int], left: list[int], after: int | None
) -> None:
    polled = records(batch(0, 3), batch(3, 3)) + records(batch(), topic="other")
    kept = polled._without(dropped)
    mine = [record.offset for record in kept if record.topic == "orders"]
    assert mine == left
    assert len(kept) == len(left) + 3
    place = kept.next_offsets().get(TopicPartition("orders", 1))
    assert (place and place[0]) == after


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_record_outlives_its_poll() -> None:
    polled = records(batch(0, 100, codec="gzip"))
    kept = [polled[50], *polled[98:]]
    iterator = iter(polled)
    del polled
    gc.collect()
    assert [record.value for record in kept] == [b"v50", b"v98", b"v99"]
    assert sum(1 for _ in iterator) == 100


def test_iteration_leaves_nothing_behind() -> None:
    polled = records(batch(0, 1000, headers=[("h", b"x")]))
    topic = polled[0].topic

    def read_all() -> None:
        for record in polled:
            assert (record.headers, record.leader_epoch) == ([("h", b"x")], 7)
            assert record.key is not record.key
            assert record.value is not None
            assert record == record.detach()
        polled.values()
        polled[10:20].by_partition()

    read_all()
    references = sys.getrefcount(topic)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(100):
        for record in polled:
            assert record.offset >= 0
    for _ in range(5):
        read_all()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000
    assert sys.getrefcount(topic) <= references


EXIT = """
from ottla import _native
from ottla.seam.records import Deserialized
from ottla.testing import plain_records as plain

data = plain.encode_batch([plain.Record(0, 0, None, b"a"), plain.Record(1, 0, None, b"b")])

class Reader(_native.ConsumerBase):
    def _refill(self):
        return _native.decode_records("orders", 0, data)

class Cycle:
    def __init__(self, *held):
        self.held = held
        self.itself = self

reader, iterator = Reader(), iter(_native.decode_records("payments", 0, data))
own = _native.make_record("own", 0, 0, 0, None, None, [], -1)
Cycle(reader, iterator, own, next(reader), next(iterator))
del reader, iterator, own
"""


def test_exit_with_records_in_hand_is_quiet() -> None:
    # Freed by the collector when the interpreter is half gone.
    done = subprocess.run(
        [sys.executable, "-c", "import gc; gc.disable()\n" + EXIT],
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# ---- iterating a consumer ----------------------------------------------------------------------------------------------


class Reader(_native.ConsumerBase):
    """A consumer over prepared polls."""

    def __init__(self, *polls: _native.Records | None) -> None:
        self.polls = list(polls)
        self.hands: list[tuple[str, int, int] | None] = []
        self._bind(cast("_native.FetchFlow", None))

    def _refill(self) -> _native.Records | None:
        self.hands.append(self._current())
        return self.polls.pop(0)


def test_consumer_hands_over_record_after_record() -> None:
    reader = Reader(records(batch(0, 2)), records(), records(batch(2, 2)), None)
    assert [record.offset for record in reader] == [0, 1, 2, 3]
    assert reader.polls == []


def test_consumer_continues_after_an_end() -> None:
    reader = Reader(None, records(batch(0, 1)), None)
    assert list(reader) == []
    assert next(reader).offset == 0
    assert list(reader) == []


def test_record_in_hand_is_finished_when_the_next_is_asked_for() -> None:
    reader = Reader(records(batch(4, 2)), records(batch(6, 1)), None)
    assert reader._current() is None
    for offset in (4, 5, 6):
        next(reader)
        assert reader._current() == ("orders", 1, offset)
    assert next(reader, None) is None
    # It stays the current record until the consumer has noted that it is finished.
    assert reader.hands == [None, ("orders", 1, 5), ("orders", 1, 6)]


def test_an_interrupted_iteration_asks_before_the_next_record() -> None:
    class Interrupted(Reader):
        left: ClassVar[list[list[int]]] = []

        def _interrupted(self) -> None:
            self.left.append(self._rest().offsets())
            assert self._current() is None
            self._skip(("orders", 1))

    reader = Interrupted(records(batch(4, 5)), records(batch(9, 1)), None)
    assert [next(reader).offset for _ in range(2)] == [4, 5]
    reader._interrupt()
    assert next(reader).offset == 9, "the rest was skipped"
    assert reader.left == [[6, 7, 8]]
    reader._interrupt()
    assert next(reader, None) is None
    assert reader.left == [[6, 7, 8], []]


def test_binding_restarts_the_iteration() -> None:
    reader = Reader(records(batch(0, 5)), None)
    next(reader)
    reader._bind(cast("_native.FetchFlow", None))
    assert reader._current() is None
    assert list(reader) == []


def test_errors_of_a_refill_reach_the_loop() -> None:
    class Failing(Reader):
        def _refill(self) -> _native.Records | None:
            raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        next(Failing())
    with pytest.raises(TypeError, match="Records or None, not list"):
        next(Reader(cast("_native.Records", [])))
    with pytest.raises(AttributeError, match="_refill"):
        next(_native.ConsumerBase())


def test_consumer_in_a_cycle_is_collected() -> None:
    gc.collect()
    reader = Reader(records(batch(0, 5)))
    next(reader)
    reader.polls.append(cast("Any", reader))
    alive = weakref.ref(reader)
    references = sys.getrefcount(Reader)
    del reader
    gc.collect()
    assert alive() is None
    assert sys.getrefcount(Reader) == references - 1
