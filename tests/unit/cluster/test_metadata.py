"""The metadata merge: epochs never go back, ids distinguish topics, partial answers change only their topics."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ottla.cluster.metadata import (
    NO_CHANGES,
    BrokerNode,
    MetadataSnapshot,
    TopicError,
    compare,
    merge,
    with_leader,
    with_node,
    without_topics,
)
from ottla.message import TopicPartition
from ottla.protocol.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from ottla.protocol.primitives import ZERO_UUID

ID_A, ID_B = b"a" * 16, b"b" * 16
EMPTY = MetadataSnapshot()


def topic(
    name: str, leaders: Sequence[tuple[int, int]] = (), topic_id: bytes = ID_A, error: int = 0
) -> MetadataResponseTopic:
    """leaders: (node id, epoch) by partition."""
    return MetadataResponseTopic(
        name=name,
        topic_id=topic_id,
        error_code=error,
        partitions=[
            MetadataResponsePartition(partition_index=n, leader_id=leader, leader_epoch=epoch)
            for n, (leader, epoch) in enumerate(leaders)
        ],
    )


def response(
    *topics: MetadataResponseTopic, cluster: str = "c", nodes: Sequence[int] = (1, 2)
) -> MetadataResponse:
    return MetadataResponse(
        brokers=[MetadataResponseBroker(node_id=n, host=f"h{n}", port=n) for n in nodes],
        cluster_id=cluster,
        controller_id=1,
        topics=list(topics),
    )


def leader_of(snapshot: MetadataSnapshot, name: str, partition: int = 0) -> tuple[int, int]:
    info = snapshot.partition(name, partition)
    assert info is not None
    return info.leader, info.leader_epoch


def test_a_first_answer_is_taken_whole() -> None:
    new, changes = merge(EMPTY, response(topic("t", [(1, 3), (2, 4)])), 5.0, ["t"])
    assert leader_of(new, "t", 1) == (2, 4)
    assert new.updated_at == 5.0
    assert new.broker(2) == BrokerNode(2, "h2", 2)
    assert changes.new_topics == {"t"}
    assert changes.brokers


def test_the_same_answer_again_changes_nothing() -> None:
    old, _ = merge(EMPTY, response(topic("t", [(1, 3)])), 0, ["t"])
    _, changes = merge(old, response(topic("t", [(1, 3)])), 1, ["t"])
    assert changes == NO_CHANGES
    assert bool(changes) is False


def test_an_older_epoch_is_not_taken_and_a_newer_one_is() -> None:
    old, _ = merge(EMPTY, response(topic("t", [(1, 3), (1, 3)])), 0, ["t"])
    new, changes = merge(old, response(topic("t", [(2, 2), (2, 4)])), 1, ["t"])
    assert leader_of(new, "t", 0) == (1, 3)
    assert leader_of(new, "t", 1) == (2, 4)
    assert changes.moved == {TopicPartition("t", 1)}


def test_a_broker_that_sends_no_epochs_is_believed() -> None:
    old, _ = merge(EMPTY, response(topic("t", [(1, 3)])), 0, ["t"])
    new, _ = merge(old, response(topic("t", [(2, -1)])), 1, ["t"])
    assert leader_of(new, "t") == (2, -1)


def test_another_id_is_another_topic_and_its_epochs_start_again() -> None:
    old, _ = merge(EMPTY, response(topic("t", [(1, 9)])), 0, ["t"])
    new, changes = merge(old, response(topic("t", [(2, 0), (2, 0)], ID_B)), 1, ["t"])
    assert leader_of(new, "t") == (2, 0)
    assert changes.recreated == {"t"}
    assert changes.resized == {"t"}


def test_a_topic_that_vanished_keeps_its_epochs_for_the_same_id_only() -> None:
    old, _ = merge(EMPTY, response(topic("t", [(1, 9)])), 0, ["t"])
    gone, changes = merge(old, response(topic("t", error=3)), 1, ["t"])
    assert gone.topic("t") is None
    assert gone.topic_error("t") == 3
    assert changes.vanished == {"t"}
    assert changes.refused == {"t"}
    back, changes = merge(gone, response(topic("t", [(2, 8)])), 2, ["t"])
    assert leader_of(back, "t") == (1, 9)
    assert changes.new_topics == {"t"}
    recreated, changes = merge(gone, response(topic("t", [(2, 0)], ID_B)), 2, ["t"])
    assert leader_of(recreated, "t") == (2, 0)
    assert changes.recreated == {"t"}
    unnamed, _ = merge(gone, response(topic("t", [(2, 0)], ZERO_UUID)), 2, ["t"])
    assert leader_of(unnamed, "t") == (2, 0)


def test_a_temporary_error_leaves_the_known_metadata() -> None:
    old, _ = merge(EMPTY, response(topic("t", [(1, 9)])), 0, ["t"])
    new, changes = merge(old, response(topic("t", error=5)), 1, ["t"])
    assert leader_of(new, "t") == (1, 9)
    assert new.errors["t"] == TopicError(5, 1)
    assert changes.refused == {"t"}
    well, _ = merge(new, response(topic("t", [(1, 9)])), 2, ["t"])
    assert well.topic_error("t") == 0


def test_a_partial_answer_keeps_the_other_topics_and_a_whole_one_drops_missing_topics() -> None:
    old, _ = merge(EMPTY, response(topic("a", [(1, 1)]), topic("b", [(1, 1)], ID_B)), 0, None)
    partial, changes = merge(old, response(topic("a", [(1, 1)])), 1, ["a"])
    assert set(partial.topics) == {"a", "b"}
    assert changes == NO_CHANGES
    whole, changes = merge(old, response(topic("a", [(1, 1)])), 1, None)
    assert set(whole.topics) == {"a"}
    assert changes.vanished == {"b"}
    left_out, _ = merge(old, response(), 1, ["a"])
    assert set(left_out.topics) == {"b"}


def test_another_cluster_is_not_mixed_with_the_old_one() -> None:
    old, _ = merge(EMPTY, response(topic("t", [(1, 9)])), 0, ["t"])
    new, changes = merge(old, response(topic("t", [(2, 0)]), cluster="other"), 1, ["t"])
    assert changes.other_cluster
    assert leader_of(new, "t") == (2, 0)


def test_old_brokers_without_ids_keep_the_known_one() -> None:
    old, _ = merge(EMPTY, response(topic("t", [(1, 1)])), 0, ["t"])
    new, changes = merge(old, response(topic("t", [(1, 1)], ZERO_UUID)), 1, ["t"])
    assert new.topics["t"].topic_id == ID_A
    assert changes.recreated == frozenset()


def test_a_leader_hint_needs_a_newer_epoch_and_a_known_node() -> None:
    old, _ = merge(EMPTY, response(topic("t", [(1, 3)])), 0, ["t"])
    assert with_leader(old, "t", 0, 2, 3) is old
    assert with_leader(old, "t", 0, 7, 4) is old
    assert with_leader(old, "t", 5, 2, 4) is old
    assert with_leader(old, "other", 0, 2, 4) is old
    assert leader_of(with_leader(old, "t", 0, 2, 4), "t") == (2, 4)
    far = with_leader(old, "t", 0, 7, 4, BrokerNode(7, "h7", 7))
    assert leader_of(far, "t") == (7, 4)
    assert far.broker(7) == BrokerNode(7, "h7", 7)
    assert compare(old, far).moved == {TopicPartition("t", 0)}


def test_a_node_that_is_known_keeps_its_rack() -> None:
    old = MetadataSnapshot(brokers={1: BrokerNode(1, "h", 1, "rack")})
    assert with_node(old, BrokerNode(1, "h", 1)) is old
    assert with_node(old, BrokerNode(1, "h", 2)).broker(1) == BrokerNode(1, "h", 2)


def test_forgotten_topics_leave_nothing() -> None:
    old, _ = merge(EMPTY, response(topic("a", [(1, 1)]), topic("b", error=29)), 0, ["a", "b"])
    new = without_topics(old, ["a", "b"])
    assert (dict(new.topics), dict(new.errors)) == ({}, {})


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 6)), min_size=1, max_size=12))
def test_epochs_of_one_topic_never_go_back_in_any_order(
    answers: list[tuple[int, int]],
) -> None:
    snapshot, highest = EMPTY, -1
    for now, (leader, epoch) in enumerate(answers):
        snapshot, _ = merge(snapshot, response(topic("t", [(leader, epoch)])), now, ["t"])
        highest = max(highest, epoch)
        assert leader_of(snapshot, "t")[1] == highest
