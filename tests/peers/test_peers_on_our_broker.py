"""Other clients use the broker that `--broker` names, by default the embedded one: alone, across, and in groups."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.peers.clients import PEERS, WAIT_S, Peer, Reader, Rec

PARTITIONS = 4


def sample(count: int) -> list[Rec]:
    """Records over all partitions: keys, empty and null values, headers with repeated names."""
    made = []
    for number in range(count):
        key = None if number % 3 == 0 else b"key %d" % number
        # Two of the peers refuse a record with neither key nor value.
        value = None if key is not None and number % 5 == 4 else b"value %d" % number * (number % 7)
        headers: list[tuple[str, bytes | None]] = (
            [] if number % 2 else [("h", b"1"), ("h", b""), ("trace", b"%d" % number)]
        )
        made.append(Rec(number % PARTITIONS, key, value, headers))
    return made


def by_partition(records: list[Rec]) -> dict[int, list[Rec]]:
    found: dict[int, list[Rec]] = defaultdict(list)
    for record in records:
        found[record.partition].append(record)
    return found


def read(readers: list[Reader], count: int) -> list[list[Rec]]:
    """Poll the readers in turn until they have `count` records together, and once more."""
    found: list[list[Rec]] = [[] for _ in readers]
    deadline = time.monotonic() + WAIT_S
    while sum(map(len, found)) < count:
        assert time.monotonic() < deadline, f"{sum(map(len, found))} of {count} records came"
        for reader, records in zip(readers, found, strict=True):
            records += reader.poll()
    for reader, records in zip(readers, found, strict=True):
        records += reader.poll()
    return found


@pytest.fixture(params=sorted(PEERS))
def writer(request: pytest.FixtureRequest) -> Peer:
    return PEERS[request.param]


@pytest.fixture(params=sorted(PEERS))
def other(request: pytest.FixtureRequest) -> Peer:
    return PEERS[request.param]


def test_records_of_one_client_are_read_by_another(
    bootstrap: str, make_topic: Callable[..., str], writer: Peer, other: Peer
) -> None:
    topic = make_topic(PARTITIONS)
    records = sample(200)
    offsets = writer.write(bootstrap, topic, records)
    assert offsets == [number // PARTITIONS for number in range(200)]
    with closing(other.reader(bootstrap, topic, PARTITIONS, None)) as reader:
        (found,) = read([reader], 200)
    assert by_partition(found) == by_partition(records)


CODECS_OF = {
    "confluent-kafka": ("gzip", "snappy", "lz4", "zstd"),
    "aiokafka": ("gzip", "snappy", "lz4", "zstd"),
    # It has snappy and zstd only through packages that are not among the peers.
    "kafka-python": ("gzip", "lz4"),
}


@pytest.mark.parametrize(
    ("name", "codec"), [(name, codec) for name, codecs in CODECS_OF.items() for codec in codecs]
)
def test_every_codec_passes_through(
    bootstrap: str, make_topic: Callable[..., str], name: str, codec: str
) -> None:
    topic = make_topic(PARTITIONS)
    records = sample(100)
    PEERS[name].write(bootstrap, topic, records, codec)
    for reading in {name, "confluent-kafka"}:
        with closing(PEERS[reading].reader(bootstrap, topic, PARTITIONS, None)) as reader:
            (found,) = read([reader], 100)
        assert by_partition(found) == by_partition(records)


def settle(members: list[Reader], shares: list[int]) -> list[list[Rec]]:
    """Poll the members in turn until each has its share of the partitions; return the records that arrived meanwhile."""
    found: list[list[Rec]] = [[] for _ in members]
    deadline = time.monotonic() + WAIT_S
    while sorted(len(member.assignment()) for member in members) != shares:
        assert time.monotonic() < deadline, "the group did not settle"
        for member, records in zip(members, found, strict=True):
            records += member.poll()
    return found


@pytest.fixture
def members(
    bootstrap: str, make_topic: Callable[..., str], unique_name: str, other: Peer
) -> Iterator[tuple[str, list[Reader]]]:
    """A topic and two members of one group that share it; a test may close them, last first."""
    topic = make_topic(PARTITIONS)
    group = f"group-{unique_name}"
    both = [other.reader(bootstrap, topic, PARTITIONS, group) for _ in range(2)]
    try:
        yield topic, both
    finally:
        for member in both:
            member.close()


def test_two_members_share_a_topic_and_commit(
    bootstrap: str, members: tuple[str, list[Reader]], other: Peer
) -> None:
    topic, both = members
    assert settle(both, [2, 2]) == [[], []]
    assert set.union(*(member.assignment() for member in both)) == set(range(PARTITIONS))
    records = sample(80)
    other.write(bootstrap, topic, records)
    found = read(both, 80)
    assert by_partition(found[0] + found[1]) == by_partition(records)
    for member, seen in zip(both, found, strict=True):
        assert {record.partition for record in seen} == member.assignment()
        member.commit()
        for partition in member.assignment():
            assert member.committed(partition) == 80 // PARTITIONS


def test_the_remaining_member_continues_at_the_commit_of_the_one_that_left(
    bootstrap: str, members: tuple[str, list[Reader]], other: Peer
) -> None:
    topic, both = members
    settle(both, [2, 2])
    records = sample(80)
    other.write(bootstrap, topic, records[:40])
    read(both, 40)
    for member in both:
        member.commit()
    both.pop().close()
    found = settle(both, [4])
    other.write(bootstrap, topic, records[40:])
    more = read(both, 40 - len(found[0]))
    assert by_partition(found[0] + more[0]) == by_partition(records[40:])
