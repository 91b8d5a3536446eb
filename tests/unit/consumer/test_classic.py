"""The classic member, driven by scripts of events."""

from __future__ import annotations

from unittest.mock import ANY

import pytest

from ottla.consumer.group import classic as c
from ottla.consumer.group.assignors import Member
from ottla.message import TopicPartition
from ottla.protocol.error_codes import ErrorCode

T0 = TopicPartition("t", 0)


def joining() -> c.ClassicMember:
    member = c.ClassicMember()
    assert member.step(c.Begin()) == [c.Join(1, "", False, False)]
    return member


def joined(turn: int, leader: bool = False) -> c.Joined:
    return c.Joined(turn, "m-1", 5, "range", leader, [Member("m-1", None, ["t"])] if leader else [])


def stable() -> c.ClassicMember:
    member = joining()
    member.step(joined(1))
    assert member.step(c.Synced(1, [T0])) == [c.Assign([T0], "m-1", 5)]
    assert member.state is c.State.STABLE
    return member


def test_follower_syncs_with_nothing() -> None:
    member = joining()
    assert member.step(joined(1)) == [c.Sync(1, "m-1", 5, "range", {})]


def test_leader_plans_before_it_syncs() -> None:
    member = joining()
    assert member.step(joined(1, leader=True)) == [c.Plan(1, "range", [Member("m-1", None, ["t"])])]
    assert member.step(c.Planned(1, {"m-1": b"x"})) == [c.Sync(1, "m-1", 5, "range", {"m-1": b"x"})]


def test_returning_static_leader_keeps_the_assignment() -> None:
    member = joining()
    answer = c.Joined(1, "m-1", 5, "range", True, [], skip_assignment=True)
    assert member.step(answer) == [c.Sync(1, "m-1", 5, "range", {})]


def test_member_id_that_is_required_is_taken() -> None:
    member = joining()
    refused = c.Refused(1, ErrorCode.MEMBER_ID_REQUIRED, "m-9")
    assert member.step(refused) == [c.Join(2, "m-9", False, False)]


def test_rebalance_revokes_with_heartbeats_and_then_joins_again() -> None:
    member = stable()
    assert member.step(c.BeatAnswered(ErrorCode.REBALANCE_IN_PROGRESS)) == [c.Revoke(2, [T0], ANY)]
    assert member.step(c.BeatAnswered(ErrorCode.REBALANCE_IN_PROGRESS)) == []
    assert member.step(c.Revoked(2)) == [c.StopBeat(), c.Join(3, "m-1", False, False)]
    assert member.owned == []


def test_expired_session_loses_and_joins_as_a_new_member() -> None:
    member = stable()
    lose, join = member.step(c.BeatAnswered(ErrorCode.UNKNOWN_MEMBER_ID))
    assert isinstance(lose, c.Lose)
    assert lose.partitions == [T0]
    assert join == c.Join(2, "", False, False)


def test_expiry_while_revoking_makes_the_revocation_late() -> None:
    member = stable()
    member.step(c.BeatAnswered(ErrorCode.REBALANCE_IN_PROGRESS))
    member.step(c.BeatAnswered(ErrorCode.ILLEGAL_GENERATION))
    assert member.state is c.State.JOINING
    assert member.step(c.Revoked(2)) == []


@pytest.mark.parametrize("code", [ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE])
def test_moved_coordinator_moves_the_beat_and_keeps_the_assignment(code: ErrorCode) -> None:
    member = stable()
    assert member.step(c.BeatAnswered(code)) == [c.MoveBeat()]
    assert member.state is c.State.STABLE
    assert member.owned == [T0]


def test_unreachable_coordinator_is_searched_after_a_pause() -> None:
    member = joining()
    assert member.step(c.Unreachable(1)) == [c.Join(2, "", True, True)]
    assert member.step(joined(1)) == [], "an answer to an earlier turn came too late"


def test_loading_coordinator_is_retried_after_a_pause() -> None:
    member = joining()
    refused = c.Refused(1, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
    assert member.step(refused) == [c.Join(2, "", False, True)]


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
        ErrorCode.INVALID_GROUP_ID,
        ErrorCode.INVALID_SESSION_TIMEOUT,
        ErrorCode.GROUP_AUTHORIZATION_FAILED,
        ErrorCode.GROUP_MAX_SIZE_REACHED,
        ErrorCode.FENCED_INSTANCE_ID,
        31999,
    ],
)
def test_fatal_answers_end_the_membership(code: int) -> None:
    member = joining()
    lose, fail = member.step(c.Refused(1, int(code)))
    assert isinstance(lose, c.Lose)
    assert fail == c.Fail(int(code), 0)
    assert member.step(c.Begin()) == []


def test_change_of_topics_while_joining_joins_once_more() -> None:
    member = joining()
    assert member.step(c.NewTopics()) == []
    member.step(joined(1))
    assert member.step(c.Synced(1, [T0])) == [c.Join(2, "m-1", False, False)]
    assert member.owned == []


def test_change_of_topics_of_a_stable_member_revokes() -> None:
    assert stable().step(c.NewTopics()) == [c.Revoke(2, [T0], ANY)]


def test_stuck_application_leaves_and_comes_back_with_its_next_poll() -> None:
    member = stable()
    lose, leave = member.step(c.PolledTooLate())
    assert isinstance(lose, c.Lose)
    assert isinstance(leave, c.SendLeave)
    assert leave.member_id == "m-1"
    assert member.step(c.PolledTooLate()) == []
    assert member.step(c.Polled()) == [c.Join(3, "", False, False)]


def test_leaving_is_sent_once() -> None:
    member = stable()
    assert member.step(c.Leave()) == [c.SendLeave("m-1", "the consumer was closed")]
    assert member.step(c.Leave()) == []
    assert member.step(c.BeatAnswered(ErrorCode.REBALANCE_IN_PROGRESS)) == []


def test_member_that_stays_sends_no_leave() -> None:
    member = joining()
    member.step(joined(1))
    member.step(c.Synced(1, [T0]))
    assert member.step(c.Leave(leaves=False)) == [c.StopBeat()]


@pytest.mark.parametrize("code", [ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION])
def test_a_refused_commit_is_the_loss(code: ErrorCode) -> None:
    member = stable()
    lose, join = member.step(c.CommitAnswered(code))
    assert isinstance(lose, c.Lose)
    assert lose.partitions == [T0]
    assert isinstance(join, c.Join)
    assert member.step(c.CommitAnswered(code)) == [], "the member owns nothing any more"


def test_a_refused_commit_of_a_fenced_instance_fails_the_member() -> None:
    member = stable()
    lose, fail = member.step(c.CommitAnswered(ErrorCode.FENCED_INSTANCE_ID))
    assert isinstance(lose, c.Lose)
    assert fail == c.Fail(ErrorCode.FENCED_INSTANCE_ID, 1)
