"""`make demo`: a producer and a consumer group on the embedded broker, end to end, with proofs at the end."""

from __future__ import annotations

import sys
import threading
import time

import ottla
from ottla.testing import Broker

TOPIC = "demo"
GROUP = "demo-group"
PARTITIONS = 6


class Handler(ottla.ConsumerGroupHandler):
    """Counts, marks, and lets commits coalesce."""

    def __init__(self) -> None:
        self.seen = [0] * PARTITIONS

    def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
        for record in claim:
            self.seen[record.partition] += 1
            session.mark(record)
            session.commit_async()


def bar(label: str, done: int, total: int, since: float) -> str:
    width = 24
    filled = width * done // max(1, total)
    rate = done / max(1e-9, time.monotonic() - since)
    return f"{label} [{'#' * filled}{'.' * (width - filled)}] {done:>7}/{total} {rate:>9,.0f}/s"


def main(messages: int = 100_000) -> int:
    with Broker(nodes=1, num_partitions=PARTITIONS) as broker:
        print(
            f"embedded broker on {broker.bootstrap}: {messages} messages to {PARTITIONS} partitions"
        )
        broker.create_topic(TOPIC, PARTITIONS)
        handler, stop = Handler(), threading.Event()
        group = ottla.ConsumerGroup(
            broker.bootstrap, GROUP, enable_auto_commit=False, auto_offset_reset=ottla.OFFSET_OLDEST
        )
        consuming = threading.Thread(target=group.consume, args=([TOPIC], handler, stop))
        started = time.monotonic()
        consuming.start()
        report, sent_s = produce(broker.bootstrap, messages, handler, started)
        while sum(handler.seen) < messages and time.monotonic() - started < 120:
            show(messages, messages, sum(handler.seen), started)
            time.sleep(0.1)
        show(messages, messages, sum(handler.seen), started)
        elapsed = time.monotonic() - started
        stop.set()
        consuming.join(30)
        group.close()
        places = [ottla.TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        with ottla.Consumer(broker.bootstrap, group_id=GROUP) as consumer:
            committed = {
                tp.partition: at.offset for tp, at in consumer.committed(*places).items() if at
            }
    return summary(messages, report, sent_s, elapsed, handler, committed)


def produce(
    bootstrap: str, messages: int, handler: Handler, started: float
) -> tuple[ottla.CloseReport, float]:
    """Send everything, showing how far both sides are; returns what the close could prove, and the seconds it took."""
    producer = ottla.Producer(bootstrap)
    for number in range(messages):
        producer.send(TOPIC, b"message %d" % number, key=b"%d" % (number % 1000))
        if number % 5_000 == 0:
            show(messages, number, sum(handler.seen), started)
    report = producer.close()
    return report, time.monotonic() - started


def show(total: int, sent: int, consumed: int, started: float) -> None:
    line = f"{bar('sent', sent, total, started)}  {bar('consumed', consumed, total, started)}"
    if sys.stdout.isatty():
        print(f"\r{line}", end="", flush=True)
    elif sent % 50_000 == 0 or consumed == total:
        print(line, flush=True)


def summary(
    messages: int,
    report: ottla.CloseReport,
    sent_s: float,
    elapsed: float,
    handler: Handler,
    committed: dict[int, int],
) -> int:
    """The table, and 0 where everything adds up."""
    consumed = sum(handler.seen)
    rows = [
        ("messages sent", f"{messages:,}"),
        (
            "delivered / failed / unknown",
            f"{report.delivered:,} / {report.failed} / {report.unknown}",
        ),
        ("produced per second", f"{messages / sent_s:,.0f}"),
        ("consumed", f"{consumed:,}"),
        ("consumed per second", f"{consumed / elapsed:,.0f}"),
        ("committed offsets", f"{sum(committed.values()):,} in {len(committed)} partitions"),
        ("time", f"{elapsed:.2f} s"),
    ]
    print("\n" + "\n".join(f"  {name:<30} {value}" for name, value in rows))
    whole = report.delivered == consumed == sum(committed.values()) == messages
    print("everything adds up" if whole else "NOT everything adds up")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])))
