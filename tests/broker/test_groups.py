"""The classic group APIs: the join barrier, generations, sessions and their end."""

from __future__ import annotations

import time

import pytest

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from ottla.protocol.messages.describe_groups import (
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)
from ottla.protocol.messages.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
)
from ottla.protocol.messages.list_groups import ListGroupsRequest, ListGroupsResponse
from ottla.testing import Broker
from tests.broker.members import LEAVE, RawMember, raw_members, settle
from tests.broker.raw import Client

REBALANCE = ErrorCode.REBALANCE_IN_PROGRESS

# ---- joining --------------------------------------------------------------------------------------------------------


def test_a_member_alone(bootstrap: str, unique_name: str) -> None:
    with raw_members(bootstrap, unique_name, 1) as (member,):
        first = member.join()
        assert (first.error_code, first.generation_id) == (ErrorCode.MEMBER_ID_REQUIRED, -1)
        assert first.member_id.startswith("raw-")
        second = member.join()
        assert (second.error_code, second.generation_id) == (0, 1)
        assert (second.leader, second.protocol_type, second.protocol_name) == (
            member.id,
            "consumer",
            "range",
        )
        assert [(other.member_id, bytes(other.metadata)) for other in second.members] == [
            (member.id, b"range")
        ]
        synced = member.sync({member.id: b"all"})
        assert (synced.error_code, bytes(synced.assignment)) == (0, b"all")
        assert (synced.protocol_type, synced.protocol_name) == ("consumer", "range")
        assert member.beat() == 0
        assert member.leave() == 0
        assert member.beat() == ErrorCode.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize("version", range(10))
def test_join_in_every_version(bootstrap: str, unique_name: str, version: int) -> None:
    with raw_members(bootstrap, unique_name, 1) as (member,):
        answer = member.join(version)
        if version >= 4:
            assert answer.error_code == ErrorCode.MEMBER_ID_REQUIRED
            answer = member.join(version)
        assert (answer.error_code, answer.leader) == (0, member.id)


def test_the_barrier_waits_for_every_member(bootstrap: str, unique_name: str) -> None:
    with raw_members(bootstrap, unique_name, 2) as (first, second):
        settle([first])
        second.get_id()
        second.send_join()
        assert second.client.is_silent(), "the first member has not joined again"
        assert first.beat() == REBALANCE
        assert first.sync().error_code == REBALANCE
        first.send_join()
        one, two = first.joined(), second.joined()
        assert one.generation_id == two.generation_id == 2
        assert one.leader == two.leader == first.id
        assert {other.member_id for other in one.members} == {first.id, second.id}
        assert two.members == [], "only the leader gets the list of members"


def test_assignments_wait_for_the_leader(bootstrap: str, unique_name: str) -> None:
    with raw_members(bootstrap, unique_name, 2) as (first, second):
        settle([first])
        second.get_id()
        second.send_join()
        first.join()
        second.joined()
        second.send_sync()
        assert second.client.is_silent()
        assert bytes(first.sync({first.id: b"one", second.id: b"two"}).assignment) == b"one"
        assert bytes(second.synced().assignment) == b"two"
        assert bytes(second.sync().assignment) == b"two", "asked again, the same"
        assert (first.beat(), second.beat()) == (0, 0)


def test_a_third_member_interrupts_a_sync(bootstrap: str, unique_name: str) -> None:
    with raw_members(bootstrap, unique_name, 3) as (first, second, third):
        settle([first])
        second.get_id()
        second.send_join()
        first.join()
        second.joined()
        second.send_sync()
        third.get_id()
        third.send_join()
        assert second.synced().error_code == REBALANCE
        settle_again = [first, second]
        for member in settle_again:
            member.send_join()
        assert {member.joined().generation_id for member in (first, second, third)} == {3}


def test_a_leaving_member_makes_the_others_join_again(bootstrap: str, unique_name: str) -> None:
    with raw_members(bootstrap, unique_name, 2) as (first, second):
        settle([first])
        second.get_id()
        second.send_join()
        first.join()
        second.joined()
        first.send_sync({})
        first.synced()
        assert first.leave() == 0
        assert second.beat() == REBALANCE
        again = second.join()
        assert (again.generation_id, again.leader) == (3, second.id)


def test_a_leave_behind_a_join_is_served_although_the_connection_is_closed(
    bootstrap: str, unique_name: str
) -> None:
    with raw_members(bootstrap, unique_name, 1) as [stays]:
        settle([stays])
        with Client(bootstrap) as client:
            goes = RawMember(client, unique_name)
            goes.get_id()
            goes.send_join()
            identity = MemberIdentity(member_id=goes.id)
            client.send(LeaveGroupRequest(group_id=unique_name, members=[identity]), LEAVE)
            while stays.beat() == 0:
                time.sleep(0.05)
        deadline = time.monotonic() + 10  # a third of the session of the one that left
        time.sleep(0.2)  # the broker notices the end of the connection
        while len(stays.join().members) != 1:
            assert time.monotonic() < deadline, "the member that left is in the group"


def test_protocols_that_do_not_fit(bootstrap: str, unique_name: str) -> None:
    with raw_members(bootstrap, unique_name, 3) as (first, second, third):
        settle([first])
        second.protocols = ("sticky",)
        assert second.join().error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        third.protocol_type = "connect"
        assert third.join().error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        assert first.beat() == 0


def test_the_protocol_that_most_prefer(bootstrap: str, unique_name: str) -> None:
    with raw_members(bootstrap, unique_name, 3) as members:
        for member, protocols in zip(members, ("ab", "ba", "bac"), strict=True):
            member.protocols = tuple(protocols)
        settle(members[:1])
        for member in members[1:]:
            member.get_id()
        # Ids that were handed out hold the barrier shut, too.
        for member in members:
            member.send_join()
        assert {member.joined().protocol_name for member in members} == {"b"}


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("group", "", ErrorCode.INVALID_GROUP_ID),
        ("id", "nobody", ErrorCode.UNKNOWN_MEMBER_ID),
        ("session_ms", 0, ErrorCode.INVALID_SESSION_TIMEOUT),
        ("session_ms", 2_000_000, ErrorCode.INVALID_SESSION_TIMEOUT),
        ("protocols", (), ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ("protocol_type", "", ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
    ],
)
def test_joins_that_are_refused(
    bootstrap: str, unique_name: str, field: str, value: object, error: ErrorCode
) -> None:
    with raw_members(bootstrap, unique_name, 1) as (member,):
        setattr(member, field, value)
        assert member.join().error_code == error


def test_identity_is_checked(bootstrap: str, unique_name: str) -> None:
    with raw_members(bootstrap, unique_name, 2) as (member, stranger):
        settle([member])
        assert member.beat(generation=7) == ErrorCode.ILLEGAL_GENERATION
        stranger.id, stranger.generation = "stranger", 1
        assert stranger.beat() == ErrorCode.UNKNOWN_MEMBER_ID
        assert stranger.sync().error_code == ErrorCode.UNKNOWN_MEMBER_ID
        assert stranger.leave() == ErrorCode.UNKNOWN_MEMBER_ID
        member.generation = 7
        assert member.sync().error_code == ErrorCode.ILLEGAL_GENERATION


# ---- static members -------------------------------------------------------------------------------------------------


def test_a_static_member_comes_back_without_a_rebalance(bootstrap: str, unique_name: str) -> None:
    with raw_members(bootstrap, unique_name, 2, instance="i") as (before, after):
        settle([before])
        answer = after.join()
        assert (answer.error_code, answer.generation_id) == (0, 1)
        assert after.id != before.id
        assert bytes(after.sync().assignment) == b"for " + before.id.encode()
        assert before.beat() == ErrorCode.FENCED_INSTANCE_ID
        assert after.beat() == 0


# ---- time -----------------------------------------------------------------------------------------------------------


def test_a_silent_member_loses_its_session() -> None:
    with (
        Broker(virtual_time=True) as broker,
        raw_members(broker.bootstrap, "g", 2, session_ms=10_000) as (first, second),
    ):
        settle([first])
        second.get_id()
        second.send_join()
        first.join()
        second.joined()
        second.send_sync()
        first.sync({})
        second.synced()
        broker.advance(9.9)
        assert first.beat() == 0
        broker.advance(0.2)
        assert broker.members("g") == [first.id]
        assert second.beat() == ErrorCode.UNKNOWN_MEMBER_ID
        assert first.beat() == REBALANCE
        broker.advance(10.1)
        assert broker.members("g") == []


def test_the_barrier_opens_without_a_member_that_does_not_join_again() -> None:
    with (
        Broker(virtual_time=True) as broker,
        raw_members(broker.bootstrap, "g", 2, session_ms=60_000, rebalance_ms=5_000) as (
            first,
            second,
        ),
    ):
        settle([first])
        second.get_id()
        second.send_join()
        broker.wait_for("JoinGroup", 4)
        broker.advance(4.9)
        assert second.client.is_silent()
        broker.advance(0.2)
        answer = second.joined()
        assert (answer.generation_id, answer.leader) == (2, second.id)
        assert broker.members("g") == [second.id]


def test_a_member_that_joined_and_does_not_sync_is_dropped() -> None:
    with (
        Broker(virtual_time=True) as broker,
        raw_members(broker.bootstrap, "g", 1, session_ms=60_000, rebalance_ms=5_000) as (member,),
    ):
        member.get_id()
        member.join()
        broker.advance(5.1)
        assert broker.members("g") == []


def test_a_new_group_waits_for_more_members_if_configured() -> None:
    with (
        Broker(virtual_time=True, group_initial_rebalance_delay=3.0) as broker,
        raw_members(broker.bootstrap, "g", 2) as (first, second),
    ):
        for member in (first, second):
            member.get_id()
        first.send_join()
        broker.wait_for("JoinGroup", 3)
        broker.advance(2.0)
        second.send_join()
        broker.wait_for("JoinGroup", 4)
        assert first.client.is_silent()
        broker.advance(1.1)
        assert (first.joined().generation_id, second.joined().generation_id) == (1, 1)


def test_an_id_that_is_not_used_is_forgotten() -> None:
    with (
        Broker(virtual_time=True) as broker,
        raw_members(broker.bootstrap, "g", 1, session_ms=10_000) as (member,),
    ):
        member.get_id()
        broker.advance(10.1)
        assert member.join().error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_test_expires_a_member(broker: Broker) -> None:
    with raw_members(broker.bootstrap, "g", 1) as (member,):
        assert settle([member]) == broker.assignments("g")
        broker.expire_member("g", member.id)
        assert (broker.members("g"), broker.assignments("g")) == ([], {})
        assert member.beat() == ErrorCode.UNKNOWN_MEMBER_ID
        with pytest.raises(KeyError):
            broker.expire_member("g", member.id)


def test_the_group_moves_with_its_members_when_its_node_dies() -> None:
    with Broker(2) as broker, Client(broker.bootstrap) as client:
        groups = [f"g{number}" for number in range(9)]
        member = next(
            member
            for member in (RawMember(client, group) for group in groups)
            if member.join().error_code == ErrorCode.MEMBER_ID_REQUIRED
        )
        settle([member])
        broker.kill(1)
        second = broker.bootstrap.split(",")[1]
        with Client(second) as other:
            member.client = other
            assert member.beat() == 0
            broker.restart(1)
            assert member.beat() == ErrorCode.NOT_COORDINATOR


# ---- looking and tidying up -----------------------------------------------------------------------------------------


def test_groups_are_listed_described_and_deleted(client: Client, unique_name: str) -> None:
    member = RawMember(client, unique_name)
    settle([member])
    listed = client.ask(ListGroupsRequest(states_filter=["stable"]), ListGroupsResponse, 5)
    (found,) = [group for group in listed.groups if group.group_id == unique_name]
    assert (found.protocol_type, found.group_state) == ("consumer", "Stable")
    assert found.group_type.lower() == "classic"
    describe = DescribeGroupsRequest(groups=[unique_name, f"{unique_name}-missing"])
    known, missing = client.ask(describe, DescribeGroupsResponse, 5).groups
    assert (known.group_state, known.protocol_data) == ("Stable", "range")
    (described,) = known.members
    assert (described.member_id, described.client_id) == (member.id, "raw")
    assert bytes(described.member_assignment) == b"for " + member.id.encode()
    assert (missing.error_code, missing.group_state) == (0, "Dead")
    delete = DeleteGroupsRequest(groups_names=[unique_name])
    results = client.ask(delete, DeleteGroupsResponse, 2).results
    assert results[0].error_code == ErrorCode.NON_EMPTY_GROUP
    member.leave()
    assert client.ask(delete, DeleteGroupsResponse, 2).results[0].error_code == 0
    results = client.ask(delete, DeleteGroupsResponse, 2).results
    assert results[0].error_code == ErrorCode.GROUP_ID_NOT_FOUND


@pytest.mark.parametrize("version", range(3))
def test_one_member_leaves_by_an_old_version(
    client: Client, unique_name: str, version: int
) -> None:
    member = RawMember(client, unique_name)
    settle([member])
    request = LeaveGroupRequest(group_id=unique_name, member_id=member.id)
    assert client.ask(request, LeaveGroupResponse, version).error_code == 0
    again = client.ask(request, LeaveGroupResponse, version)
    assert again.error_code == ErrorCode.UNKNOWN_MEMBER_ID
