"""A real Apache Kafka for tests and benchmarks: one or three KRaft nodes on free local ports.

    python tools/kafka/launch.py --nodes 3 --properties min.insync.replicas=2

prints one line with the bootstrap addresses, `ready: ADDRESSES (Ctrl-C ends it)`, and runs until SIGINT or SIGTERM; `KafkaCluster` is the same as a context manager, with
`kill`, `pause`, `resume`, `stop` and `restart` of single nodes. The broker comes through Maven (pom.xml) into
`.cache/kafka`, once, together with an archive of its loaded classes, which halves the start. Data lies in a temporary
folder that goes away with the cluster; reaper.py sees to it when this process dies without warning.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

KAFKA_VERSION = "4.4.0"
ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "kafka" / KAFKA_VERSION
RESOLVE_TIMEOUT_S = 900.0
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0

# Small enough for a laptop, fast enough for a test: one internal partition, no initial rebalance delay, short sessions.
SMALL = {
    "log.cleaner.dedupe.buffer.size": "2097152",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.assignment.interval.ms": "0",
    "group.share.min.heartbeat.interval.ms": "500",
    "group.share.heartbeat.interval.ms": "500",
    "group.share.min.session.timeout.ms": "6000",
    "group.share.session.timeout.ms": "6000",
    "group.share.assignment.interval.ms": "0",
    "group.share.min.record.lock.duration.ms": "1000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "num.partitions": "1",
}
# A killed node's leaders move within a few seconds instead of within a minute.
QUICK_FAILOVER = {
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1000",
}


class KafkaStartError(RuntimeError):
    """The broker did not come up; the message ends with its output."""


# ---- the jars and the class archive ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def resolve() -> str:
    """Return the class path of the broker, fetched through Maven if it is not there yet."""
    libs = CACHE / "libs"
    done = CACHE / "resolved"
    with _locked(CACHE / "lock"):
        if not done.exists():
            print(f"fetching Apache Kafka {KAFKA_VERSION} through Maven, once", file=sys.stderr)
            # Even a quiet Maven writes escapes for colours, so its output is shown only where it fails.
            maven = subprocess.run(
                [
                    *("mvn", "-q", "-B", "-f", str(Path(__file__).with_name("pom.xml"))),
                    "dependency:copy-dependencies",
                    "-DincludeScope=runtime",
                    f"-DoutputDirectory={libs}",
                ],
                check=False,
                timeout=RESOLVE_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if maven.returncode != 0:
                raise KafkaStartError(f"Maven could not fetch the broker:\n{maven.stdout[-4000:]}")
            done.touch()
    # In a fixed order: the class archive is valid for exactly the class path it was made with.
    return os.pathsep.join(str(jar) for jar in sorted(libs.glob("*.jar")))


def _archive_ready() -> Path:
    """Make the archive of loaded classes by running one node once; later starts map it instead of parsing jars."""
    archive = CACHE / "classes.jsa"
    with _locked(CACHE / "archive.lock"):
        if not archive.exists():
            fresh = archive.with_suffix(".new")
            with KafkaCluster(1, java_options=[f"-XX:ArchiveClassesAtExit={fresh}"]) as cluster:
                cluster.stop(1, timeout=60.0)
            if fresh.exists():
                fresh.rename(archive)
    return archive


# ---- one node -------------------------------------------------------------------------------------------------------


def _free_ports(count: int) -> list[int]:
    """Return ports nobody listens on, below the range that outgoing connections are given."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(15000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in ports:
                ports.append(port)
    return ports


def _brokers_known(port: int) -> int:
    """Ask a node (Metadata v1, no topics) how many live brokers it knows; 0 while it does not answer."""
    body = struct.pack(">hhihi", 3, 1, 0, -1, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as node:
            node.sendall(struct.pack(">i", len(body)) + body)
            head = node.recv(12, socket.MSG_WAITALL)
    except OSError:
        return 0
    return int(struct.unpack(">iii", head)[2]) if len(head) == 12 else 0


class _Node:
    def __init__(
        self, node_id: int, folder: Path, ports: list[int], listeners: Mapping[str, str]
    ) -> None:
        self.id = node_id
        self.port, self.controller_port = ports[:2]
        self.listeners = listeners
        """Security protocol of each further listener, by its name."""
        self.listener_ports = dict(zip(listeners, ports[2:], strict=False))
        behind = ports[2 + len(listeners) :]
        self.proxied: tuple[int, int] | None = (behind[0], behind[1]) if behind else None
        """(port that the proxy listens on, port of the node behind it)"""
        self.folder = folder
        self.properties = folder / "server.properties"
        self.log = folder / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def write_properties(self, extra: Mapping[str, str]) -> None:
        self.folder.mkdir(parents=True)
        listeners = [f"PLAINTEXT://127.0.0.1:{self.port}"]
        advertised = list(listeners)
        if self.proxied is not None:
            listeners.append(f"EXTERNAL://127.0.0.1:{self.proxied[1]}")
            advertised.append(f"EXTERNAL://127.0.0.1:{self.proxied[0]}")
        for name, port in self.listener_ports.items():
            listeners.append(f"{name}://127.0.0.1:{port}")
            advertised.append(f"{name}://localhost:{port}")
        listeners.append(f"CONTROLLER://127.0.0.1:{self.controller_port}")
        plain = dict.fromkeys(("CONTROLLER", "PLAINTEXT", "EXTERNAL"), "PLAINTEXT")
        protocols = {**plain, **self.listeners}
        own = {
            "process.roles": "broker,controller",
            "node.id": str(self.id),
            "broker.rack": f"rack-{self.id}",
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(advertised),
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(
                f"{name}:{kind}" for name, kind in protocols.items()
            ),
            "log.dirs": str(self.folder / "data"),
        }
        lines = [f"{name}={value}\n" for name, value in {**own, **extra}.items()]
        self.properties.write_text("".join(lines))

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""


class KafkaCluster:
    """One or three combined KRaft nodes; `with KafkaCluster(3) as cluster: cluster.bootstrap`.

    Args:
        nodes: 1 or 3; node ids count from 1, and node N lies in rack `rack-N`.
        properties: broker settings that win over the small ones of this module.
        java_options: further options of the Java machine.
        proxied: each node gets a second listener whose advertised port is another one, `proxy_ports`: a proxy that
            listens there and forwards is between the cluster and every client that connects to `proxy_bootstrap`.
        listeners: further listeners of each node, name and security protocol: `{"TLS": "SSL"}`. They advertise `localhost`;
            `listener_bootstrap` has their addresses. Their certificates are among the properties.
        under: the folder in which the data's own is made; None: the system's for temporary files.
    """

    def __init__(
        self,
        nodes: int = 1,
        properties: Mapping[str, str] | None = None,
        java_options: list[str] | None = None,
        *,
        proxied: bool = False,
        listeners: Mapping[str, str] | None = None,
        under: Path | None = None,
    ) -> None:
        if nodes not in (1, 3):
            raise ValueError(f"a cluster has 1 or 3 nodes, not {nodes}")
        self._count = nodes
        self._extra = dict(properties or {})
        self._java_options = java_options
        self._under = under
        self._listeners = dict(listeners or {})
        self._ports_per_node = (4 if proxied else 2) + len(self._listeners)
        self._nodes: dict[int, _Node] = {}
        self._reaper: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    @property
    def bootstrap(self) -> str:
        """`host:port` of every node, separated by commas."""
        return ",".join(self.address(node_id) for node_id in self._nodes)

    @property
    def node_ids(self) -> list[int]:
        return list(self._nodes)

    def address(self, node_id: int) -> str:
        return f"127.0.0.1:{self._nodes[node_id].port}"

    @property
    def proxy_ports(self) -> dict[int, tuple[int, int]]:
        """By node id: the port to listen on for its clients, and the port to forward to. Empty unless `proxied`."""
        return {node.id: node.proxied for node in self._nodes.values() if node.proxied is not None}

    @property
    def proxy_bootstrap(self) -> str:
        """`bootstrap` through the proxies that listen on `proxy_ports`."""
        return ",".join(f"127.0.0.1:{listen}" for listen, _ in self.proxy_ports.values())

    def listener_bootstrap(self, name: str) -> str:
        """`bootstrap` of one of the further listeners."""
        ports = [node.listener_ports[name] for node in self._nodes.values()]
        return ",".join(f"localhost:{port}" for port in ports)

    def running(self, node_id: int) -> bool:
        """Whether the node has a process, frozen or not."""
        return self._nodes[node_id].process is not None

    def __enter__(self) -> KafkaCluster:
        self._class_path = resolve()
        options = self._java_options
        if options is None:
            options = [f"-XX:SharedArchiveFile={_archive_ready()}"]
        self._java = ["java", "-Xms128m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        self._java += ["-Xlog:disable", "-Xlog:all=error:stderr", *options]
        self._java += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", self._class_path]
        folder = Path(tempfile.mkdtemp(prefix="ottla-kafka-", dir=self._under))
        self._reaper = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("reaper.py")), str(folder)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            self._lay_out(folder)
            self._format()
            for node in self._nodes.values():
                self._start(node)
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- starting --

    def _lay_out(self, folder: Path) -> None:
        each = self._ports_per_node
        ports = _free_ports(each * self._count)
        for index in range(self._count):
            own = ports[each * index : each * (index + 1)]
            self._nodes[index + 1] = _Node(
                index + 1, folder / f"node-{index + 1}", own, self._listeners
            )
        voters = [f"{node.id}@127.0.0.1:{node.controller_port}" for node in self._nodes.values()]
        replicas = str(self._count)
        shared = {
            **SMALL,
            **(QUICK_FAILOVER if self._count > 1 else {}),
            "controller.quorum.voters": ",".join(voters),
            "default.replication.factor": replicas,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": "1",
            "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
            **self._extra,
        }
        for node in self._nodes.values():
            node.write_properties(shared)

    def _format(self) -> None:
        tool = [*self._java, "kafka.tools.StorageTool", "format", "-t", "T3R0bGFUZXN0Q2x1c3Rlcg"]
        running = [
            subprocess.Popen(
                [*tool, "-c", str(node.properties)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for node in self._nodes.values()
        ]
        for process in running:
            output, _ = process.communicate(timeout=START_TIMEOUT_S)
            if process.returncode != 0:
                raise KafkaStartError(f"formatting the data folder failed:\n{output[-4000:]}")

    def _start(self, node: _Node) -> None:
        with node.log.open("ab") as log:
            node.process = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(node.properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=node.folder,
                start_new_session=True,
            )
        self._notify_reaper("add", node.process.pid)

    def _notify_reaper(self, word: str, pid: int) -> None:
        assert self._reaper is not None
        assert self._reaper.stdin is not None
        with self._lock:
            self._reaper.stdin.write(f"{word} {pid}\n")
            self._reaper.stdin.flush()

    def wait_ready(self, timeout: float = START_TIMEOUT_S) -> None:
        """Wait until every running node knows every other running one.

        Raises:
            KafkaStartError: a node ended, or `timeout` seconds passed.
        """
        deadline = time.monotonic() + timeout
        running = [node for node in self._nodes.values() if node.process is not None]
        for node in running:
            assert node.process is not None
            while _brokers_known(node.port) < len(running):
                if node.process.poll() is not None:
                    raise KafkaStartError(f"node {node.id} ended:\n{node.tail()}")
                if time.monotonic() > deadline:
                    raise KafkaStartError(
                        f"node {node.id} not ready in {timeout} s:\n{node.tail()}"
                    )
                time.sleep(0.05)

    # -- faults --

    def _running(self, node_id: int) -> subprocess.Popen[bytes]:
        process = self._nodes[node_id].process
        if process is None:
            raise ValueError(f"node {node_id} is not running")
        return process

    def kill(self, node_id: int) -> None:
        """End a node at once (SIGKILL); its data stays for `restart`."""
        self._end(node_id, signal.SIGKILL, STOP_TIMEOUT_S)

    def stop(self, node_id: int, timeout: float = STOP_TIMEOUT_S) -> None:
        """Shut a node down in order (SIGTERM); killed if it takes longer than `timeout` seconds."""
        self._end(node_id, signal.SIGTERM, timeout)

    def _end(self, node_id: int, how: signal.Signals, timeout: float) -> None:
        process = self._running(node_id)
        process.send_signal(how)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT_S)
        self._notify_reaper("drop", process.pid)
        self._nodes[node_id].process = None

    def restart(self, node_id: int, *, wait: bool = True) -> None:
        """Start a node again on its old port and data, ended before in order if it still runs."""
        if self._nodes[node_id].process is not None:
            self.stop(node_id)
        self._start(self._nodes[node_id])
        if wait:
            self.wait_ready()

    def pause(self, node_id: int) -> None:
        """Freeze a node (SIGSTOP): its sockets stay open and nobody answers."""
        self._running(node_id).send_signal(signal.SIGSTOP)

    def resume(self, node_id: int) -> None:
        """Let a frozen node run on (SIGCONT)."""
        self._running(node_id).send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End every node and remove the data. Data nobody will read needs no orderly end: SIGKILL."""
        for node in self._nodes.values():
            if node.process is not None:
                self.kill(node.id)
        if self._reaper is not None:
            assert self._reaper.stdin is not None
            self._reaper.stdin.close()
            self._reaper.wait(STOP_TIMEOUT_S)
            self._reaper = None


# ---- command line ---------------------------------------------------------------------------------------------------


def _properties(pairs: list[str]) -> dict[str, str]:
    parsed = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not found:
            raise SystemExit(f"--properties wants name=value, not {pair!r}")
        parsed[name] = value
    return parsed


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a real Apache Kafka on free local ports.")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1)
    parser.add_argument("--properties", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--resolve", action="store_true", help="only fill the cache, then end")
    arguments = parser.parse_args()
    if shutil.which("java") is None or shutil.which("mvn") is None:
        raise SystemExit("a real Kafka needs Java 17 or newer and Maven on the PATH")
    if arguments.resolve:
        resolve()
        _archive_ready()
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        KafkaCluster(arguments.nodes, _properties(arguments.properties)) as cluster,
    ):
        print(f"ready: {cluster.bootstrap} (Ctrl-C ends it)", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
