"""The launcher of the real Kafka does what fault tests will rely on."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ottla.protocol.messages.metadata import MetadataRequest, MetadataResponse
from tools.kafka.launch import ROOT, KafkaCluster
from tools.kafka.raw_requests import ask, create_topic

LAUNCHER = ROOT / "tools" / "kafka" / "launch.py"
WAIT_S = 30


def brokers_at(address: str) -> list[int]:
    request = MetadataRequest(topics=[], allow_auto_topic_creation=False)
    return sorted(node.node_id for node in ask(address, request, MetadataResponse, 9).brokers)


@pytest.mark.timeout(120)
def test_a_killed_node_is_missed_and_comes_back() -> None:
    with KafkaCluster(3) as cluster:
        create_topic(cluster.bootstrap, "replicated", 3)
        survivor = cluster.address(1)
        cluster.kill(3)
        deadline = time.monotonic() + WAIT_S
        while brokers_at(survivor) != [1, 2]:
            assert time.monotonic() < deadline, "the cluster did not notice"
        cluster.restart(3)
        assert brokers_at(survivor) == [1, 2, 3]
        cluster.pause(2)
        cluster.resume(2)
        assert brokers_at(cluster.address(2)) == [1, 2, 3]


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_nodes_end_with_the_process_that_started_them(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, str(LAUNCHER)], stdout=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline().startswith("ready: 127.0.0.1:")
        children = [os.pidfd_open(pid) for pid in children_of(launcher.pid)]
        assert len(children) == 2, "one node and its reaper"
        launcher.send_signal(how)
        launcher.wait(WAIT_S)
    for child in children:
        gone, _, _ = select.select([child], [], [], WAIT_S)
        os.close(child)
        assert gone, "a child outlived its parent"
