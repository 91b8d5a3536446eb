"""The embedded broker as a command: `python -m ottla.testing.broker --port 9092 --topics orders:3`.

It lets you try a program without Kafka: clients in another terminal connect to the address of the line `ready`. Ctrl-C, SIGTERM,
or the end of `--for` ends it, and its data with it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from ottla.testing.broker.embedded import Broker
from ottla.testing.broker.listener_tls import self_signed
from ottla.testing.broker.state.topics import is_legal_name


def topic(text: str) -> tuple[str, int]:
    """`name` or `name:partitions`."""
    name, _, number = text.partition(":")
    if not is_legal_name(name):
        raise argparse.ArgumentTypeError(f"{name!r} is no legal topic name")
    partitions = int(number or 1) if (number.isascii() and number.isdigit()) or not number else 0
    if partitions < 1:
        raise argparse.ArgumentTypeError(f"{number!r} is no number of partitions")
    return name, partitions


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m ottla.testing.broker",
        description="A Kafka broker in plain Python, to try programs with: all data is in memory.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address of the listeners (127.0.0.1)")
    parser.add_argument(
        "--port", type=int, default=9092, help="port of the first node; 0: free ports (9092)"
    )
    parser.add_argument("--nodes", type=int, default=1, help="number of nodes (1)")
    parser.add_argument(
        "--topics", type=topic, nargs="+", default=[], metavar="NAME[:PARTITIONS]",
        help="created at the start; other topics are created when a client names them",
    )  # fmt: skip
    parser.add_argument(
        "--partitions", type=int, default=1, help="partitions of topics that a client names (1)"
    )
    parser.add_argument(
        "--tls", nargs="?", const="", metavar="PEM",
        help="listeners with TLS: a PEM file with key and certificates; without one, a certificate is made (needs openssl)",
    )  # fmt: skip
    parser.add_argument(
        "--for", type=float, dest="seconds", metavar="SECONDS", help="end after this time"
    )
    return parser.parse_args(given)


def run(given: argparse.Namespace, folder: Path, end: threading.Event) -> None:
    """Run the broker until `end`; a certificate that is made for it lies in the folder."""
    tls: str | tuple[Path, Path] | None = given.tls
    note = ""
    if tls == "":
        certificate = self_signed(folder, given.host)
        tls = (certificate, certificate.with_suffix(".key"))
        note = f'security_protocol="SSL", ssl_truststore_location="{certificate}"; '
    with Broker(
        given.nodes, host=given.host, port=given.port, num_partitions=given.partitions, tls=tls
    ) as broker:
        for name, partitions in given.topics:
            broker.create_topic(name, partitions)
        sys.stdout.write(f"ready: {broker.bootstrap} ({note}Ctrl-C ends it)\n")
        sys.stdout.flush()
        end.wait(given.seconds)


def main() -> int:
    """Run until a signal arrives or the time ends."""
    given = arguments()
    end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: end.set())
    try:
        with tempfile.TemporaryDirectory(prefix="ottla-broker-") as folder:
            run(given, Path(folder), end)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"the broker cannot run: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
