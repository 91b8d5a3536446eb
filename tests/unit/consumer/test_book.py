"""The book of committed offsets: automatic commits send what differs from it."""

from __future__ import annotations

from ottla.consumer.commits.book import TRUSTED_S, CommittedBook
from ottla.engine.clock import ManualClock
from ottla.message import OffsetAndMetadata, TopicPartition

A = TopicPartition("t", 0)


class Bench:
    def __init__(self) -> None:
        self.topic_id = b"1" * 16
        self.clock = ManualClock()
        self.book = CommittedBook(lambda _: self.topic_id, self.clock.now)

    def differs(self, offset: int, *, is_last: bool = False) -> bool:
        return self.book.differs(A, OffsetAndMetadata(offset, 3), is_last=is_last)


def test_nothing_known_differs() -> None:
    assert Bench().differs(0)


def test_a_start_that_was_read_is_not_committed_again() -> None:
    bench = Bench()
    bench.book.read({A: OffsetAndMetadata(5)})
    assert not bench.differs(5)
    assert not bench.differs(5, is_last=True)
    assert bench.differs(6)


def test_a_start_without_a_committed_offset_is_committed() -> None:
    bench = Bench()
    bench.book.read({A: None})
    assert bench.differs(0)


async def test_an_own_commit_is_sent_again_at_the_end_and_after_a_while() -> None:
    bench = Bench()
    bench.book.write(A, OffsetAndMetadata(5))
    assert not bench.differs(5)
    assert bench.differs(5, is_last=True)
    await bench.clock.advance(TRUSTED_S)
    assert bench.differs(5)


def test_a_recreated_topic_has_no_committed_offset() -> None:
    bench = Bench()
    bench.book.write(A, OffsetAndMetadata(5))
    bench.topic_id = b"2" * 16
    assert bench.differs(5)


def test_an_offset_that_another_client_put_back_differs() -> None:
    bench = Bench()
    bench.book.write(A, OffsetAndMetadata(10))
    bench.book.read({A: OffsetAndMetadata(3)})
    assert bench.differs(10)
    bench.book.write(A, OffsetAndMetadata(10))
    bench.book.forget([A])
    assert bench.differs(10)
