"""The assignors give what Java's give."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ottla.consumer.group.assignors import ASSIGNORS, Member, assign_range, assign_roundrobin
from ottla.message import TopicPartition


def member(name: str, *topics: str, instance: str | None = None) -> Member:
    return Member(name, instance, topics)


def places(topic: str, *partitions: int) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for partition in partitions]


def test_range_gives_runs_and_the_first_members_one_more() -> None:
    result = assign_range([member("b", "t"), member("a", "t"), member("c", "t")], {"t": 7})
    assert result == {"a": places("t", 0, 1, 2), "b": places("t", 3, 4), "c": places("t", 5, 6)}


def test_range_sorts_static_members_first() -> None:
    result = assign_range([member("a", "t"), member("z", "t", instance="i")], {"t": 2})
    assert result == {"z": places("t", 0), "a": places("t", 1)}


def test_roundrobin_deals_over_topics_and_skips_members_without_the_subscription() -> None:
    result = assign_roundrobin([member("a", "t", "u"), member("b", "u")], {"t": 2, "u": 2})
    assert result == {"a": places("t", 0, 1) + places("u", 1), "b": places("u", 0)}


@given(
    st.sampled_from(sorted(ASSIGNORS)),
    st.dictionaries(
        st.sampled_from("abcdef"), st.sets(st.sampled_from(["t", "u", "v"])), min_size=1
    ),
    st.dictionaries(st.sampled_from(["t", "u", "v"]), st.integers(0, 9)),
)
def test_every_partition_of_a_subscribed_topic_has_one_owner(
    name: str, subscriptions: dict[str, set[str]], partitions: dict[str, int]
) -> None:
    members = [
        Member(member_id, None, sorted(topics)) for member_id, topics in subscriptions.items()
    ]
    result = ASSIGNORS[name](members, partitions)
    assert set(result) == set(subscriptions)
    dealt = [tp for tps in result.values() for tp in tps]
    expected = [
        TopicPartition(topic, partition)
        for topic, count in partitions.items()
        if any(topic in topics for topics in subscriptions.values())
        for partition in range(count)
    ]
    assert sorted(dealt) == sorted(expected)
    for member_id, tps in result.items():
        assert {tp.topic for tp in tps} <= subscriptions[member_id]
