"""The life of a membership: joins that take long, leaving while joining, staying, and assignments that are wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

import ottla
from ottla.consumer.group.embedded import encode_assignment
from ottla.testing import Broker, advance_time
from tests.fixtures.logged import Logged

pytestmark = pytest.mark.embedded_only

QUICK: dict[str, Any] = {"heartbeat_interval_ms": 50, "auto_offset_reset": "earliest"}


def member(broker: Broker, group: str, topic: str, **config: Any) -> ottla.Consumer:
    consumer = ottla.Consumer(broker.bootstrap, group, **{**QUICK, **config})
    consumer.subscribe([topic])
    return consumer


def poll_until_assigned(consumer: ottla.Consumer) -> None:
    until = time.monotonic() + 20
    while not consumer.assignment():
        consumer.poll(timeout=0.05)
        assert time.monotonic() < until


def test_closing_while_joining_leaves_at_once(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    group = f"g-{unique_name}"
    with member(cluster, group, topic) as first:
        poll_until_assigned(first)
        second = member(cluster, group, topic)
        cluster.wait_for("JoinGroup", 4)  # two of each: without and with the id
        assert len(cluster.members(group)) == 2
        begun = time.monotonic()
        second.close()
        assert time.monotonic() - begun < 1
        assert len(cluster.members(group)) == 1
    assert not logged("group.leave_failed")


def test_closing_before_the_first_answer_leaves_no_id_behind(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    group = f"g-{unique_name}"
    cluster.delay("JoinGroup", 0.2)
    joining = member(cluster, group, topic)
    cluster.wait_for("JoinGroup", 1)
    joining.close()
    assert cluster.count("LeaveGroup") == 1
    with member(cluster, group, topic) as next_one:
        poll_until_assigned(next_one)


@pytest.mark.parametrize("leaves", [True, False, None])
@pytest.mark.parametrize("static", [True, False])
def test_leaving_can_be_switched_off_and_on(
    cluster: Broker, topic: str, unique_name: str, leaves: bool | None, static: bool
) -> None:
    group = f"g-{unique_name}"
    config = {"group_instance_id": "i"} if static else {}
    consumer = member(cluster, group, topic, **config)
    poll_until_assigned(consumer)
    consumer.close(leave_group=leaves)
    left = leaves if leaves is not None else not static
    assert len(cluster.members(group)) == (0 if left else 1)


def test_the_option_decides_for_blocks_and_groups(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    with member(cluster, f"g-{unique_name}", topic, leave_group_on_close=False) as consumer:
        poll_until_assigned(consumer)
    assert len(cluster.members(f"g-{unique_name}")) == 1
    assert cluster.count("LeaveGroup") == 0


@pytest.mark.parametrize("wrong", ["no", 1])
def test_leave_group_is_a_bool(bootstrap: str, wrong: Any) -> None:
    with (
        ottla.Consumer(bootstrap) as consumer,
        pytest.raises(TypeError, match="leave_group must be a bool or None"),
    ):
        consumer.close(leave_group=wrong)


def test_waiting_for_a_dead_member_is_explained(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    """The first member is gone without a close: the second one waits for its session."""
    group = f"g-{unique_name}"
    first = member(cluster, group, topic, session_timeout_ms=30_000)
    poll_until_assigned(first)
    first.close(leave_group=False)
    with member(cluster, group, topic) as second:
        cluster.wait_for("JoinGroup", 4)
        assigned = lambda: bool(second.assignment())  # noqa: E731
        assert advance_time(60, assigned) >= 25
        lines = logged("group.waiting", group=group)
        assert [round(line.__dict__["elapsed_s"]) for line in lines] == [3, 6, 12, 24]
        assert {line.__dict__["waits_for"] for line in lines} == {"the other members"}
        assert "session_timeout_ms" in lines[0].__dict__["reason"]


def test_an_application_that_holds_up_a_rebalance_is_explained(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    group = f"g-{unique_name}"
    with member(cluster, group, topic) as first:
        poll_until_assigned(first)
        with member(cluster, group, topic):
            cluster.wait_for("JoinGroup", 4)
            advance_time(5, lambda: bool(logged("group.waiting", waits_for="the application")))
            assert logged("group.waiting", waits_for="the application")
            first.close()


def test_partitions_that_the_member_did_not_ask_for_are_refused(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    strange = [ottla.TopicPartition("another", 0), ottla.TopicPartition(topic, 0)]

    def spoil(request: Any, _call: Any) -> None:
        for assignment in request.assignments:
            assignment.assignment = encode_assignment(strange)

    cluster.answer("SyncGroup", spoil)
    with member(cluster, f"g-{unique_name}", topic) as consumer:
        poll_until_assigned(consumer)
        assert consumer.assignment() == {ottla.TopicPartition(topic, 0)}
    (line,) = logged("assignment.refused")
    assert line.__dict__["partitions"] == ["another-0"]


def test_an_unreadable_assignment_is_asked_for_again(
    cluster: Broker, topic: str, unique_name: str, logged: Logged
) -> None:
    def spoil(request: Any, _call: Any) -> None:
        for assignment in request.assignments:
            assignment.assignment = b"\x00\x01\xff"

    cluster.answer("SyncGroup", spoil)
    with member(cluster, f"g-{unique_name}", topic) as consumer:
        poll_until_assigned(consumer)
    assert logged("group.join_failed")


def test_any_thread_may_close_a_consumer_that_another_one_polls(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    group = f"g-{unique_name}"
    consumer = member(cluster, group, topic)
    poll_until_assigned(consumer)
    ended: list[object] = []

    def read() -> None:
        try:
            ended.append(consumer.poll(timeout=None))
        except ottla.Closed as error:
            ended.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.1)
    consumer.close()
    reader.join(5)
    assert not reader.is_alive()
    assert len(ended) == 1
    assert cluster.members(group) == []


_UNCLOSED = """
import sys, threading, time
import ottla
consumer = ottla.Consumer(sys.argv[1], sys.argv[2], auto_offset_reset="earliest")
consumer.subscribe([sys.argv[3]])
for record in consumer:
    if record.offset == 4:
        break
print("read", flush=True)
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("raise LookupError", 1),
        ("threading.Thread(target=consumer.poll, daemon=True).start(); time.sleep(0.1)", 0),
    ],
)
def test_a_program_that_ends_without_a_close_leaves_its_group(
    cluster: Broker, topic: str, unique_name: str, end: str, code: int
) -> None:
    for number in range(10):
        cluster.append(topic, b"%d" % number)
    group = f"g-{unique_name}"
    command = [sys.executable, "-c", _UNCLOSED.format(end=end), cluster.bootstrap, group, topic]
    begun = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ended.returncode == code, ended.stderr
    assert "read" in ended.stdout
    assert time.monotonic() - begun < 10
    assert cluster.members(group) == []
    if "poll" not in end:
        assert cluster.committed(group) == {ottla.TopicPartition(topic, 0): 4}


def test_a_silent_coordinator_does_not_hold_up_the_end_of_a_program(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    cluster.append(topic, b"1")
    cluster.delay("LeaveGroup", 60)
    end = _UNCLOSED.replace("record.offset == 4", "True").format(end="")
    command = [sys.executable, "-c", end, cluster.bootstrap, f"g-{unique_name}", topic]
    begun = time.monotonic()
    assert subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    assert time.monotonic() - begun < 8
    cluster.clear_rules()


def test_the_child_of_a_fork_does_not_leave_the_group_of_its_parent(
    cluster: Broker, topic: str, unique_name: str
) -> None:
    cluster.append(topic, b"1")
    end = (
        "import os\n"
        "child = os.fork()\n"
        "if child == 0: sys.exit(0)\n"
        "os.waitpid(child, 0)\n"
        "time.sleep(0.3)\n"
        "print(consumer.health().member.state, len(consumer.assignment()), flush=True)\n"
    )
    code = _UNCLOSED.replace("record.offset == 4", "True").format(end=end)
    command = [sys.executable, "-c", code, cluster.bootstrap, f"g-{unique_name}", topic]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ended.stdout.splitlines() == ["read", "stable 1"], ended.stderr
    assert cluster.count("LeaveGroup") == 1
