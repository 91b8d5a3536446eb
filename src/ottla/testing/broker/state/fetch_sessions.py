"""Fetch sessions of one node (KIP-227): the partitions a client fetches, so that it need not name them each time.

A full request opens a session; incremental ones add, change and forget partitions, and their answers have only changed
partitions. Both sides count the requests in the session's epoch. Java: `FetchManager`, `FetchSession`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from ottla.protocol.error_codes import ErrorCode
from ottla.protocol.messages.fetch import FetchPartition, FetchRequest, PartitionData

MAX_SESSIONS = 1000
"""Kafka's `max.incremental.fetch.session.cache.slots`; the oldest session is dropped for a new one."""
NO_SESSION = 0
FIRST_EPOCH, CLOSING_EPOCH = 0, -1
_LAST_EPOCH = 0x7FFFFFFF

Key = tuple[str, bytes, int]
"""Topic name (before Fetch 13) or topic id, and partition."""


@dataclass(slots=True)
class Wanted:
    """One partition of a fetch, and the state in the last answer to the client."""

    key: Key
    part: FetchPartition
    high_watermark: int = -1
    log_start_offset: int = -1

    def is_news(self, answer: PartitionData) -> bool:
        """Return whether the answer must have this partition, and store its state as sent."""
        moved = (self.high_watermark, self.log_start_offset) != (
            answer.high_watermark,
            answer.log_start_offset,
        )
        self.high_watermark = answer.high_watermark
        self.log_start_offset = answer.log_start_offset
        if answer.error_code:
            self.high_watermark = -1  # so that the recovery is news
        diverges = answer.diverging_epoch.end_offset >= 0
        return bool(moved or answer.records or answer.error_code or diverges)


@dataclass(slots=True)
class Session:
    """One fetch: an open session, or with id 0 the partitions of a single request."""

    id: int
    next_epoch: int
    wanted: dict[Key, Wanted]
    is_incremental: bool = False

    def rotate(self, served: Iterable[Key]) -> None:
        """Move partitions that got records behind the others, so that a full answer starves nobody."""
        for key in served:
            self.wanted[key] = self.wanted.pop(key)


class FetchSessions:
    """The open sessions of one node."""

    def __init__(self) -> None:
        self._open: dict[int, Session] = {}
        self._ids = count(1)

    def enter(self, request: FetchRequest) -> Session | ErrorCode:
        """Return the session of a request with its partitions brought up to date, or why there is none."""
        if request.session_epoch in (FIRST_EPOCH, CLOSING_EPOCH):
            self._open.pop(request.session_id, None)
            session = Session(NO_SESSION, 1, {})
            _update(session, request)
            if request.session_epoch == FIRST_EPOCH:
                self._keep(session)
            return session
        known = self._open.get(request.session_id)
        if known is None:
            return ErrorCode.FETCH_SESSION_ID_NOT_FOUND
        if known.next_epoch != request.session_epoch:
            return ErrorCode.INVALID_FETCH_SESSION_EPOCH
        known.next_epoch = 1 if known.next_epoch == _LAST_EPOCH else known.next_epoch + 1
        known.is_incremental = True
        _update(known, request)
        return known

    def _keep(self, session: Session) -> None:
        if len(self._open) >= MAX_SESSIONS:
            del self._open[next(iter(self._open))]
        session.id = next(self._ids)
        self._open[session.id] = session


def _update(session: Session, request: FetchRequest) -> None:
    for topic in request.topics:
        for part in topic.partitions:
            key = (topic.topic, topic.topic_id, part.partition)
            known = session.wanted.get(key)
            if known is None:
                session.wanted[key] = Wanted(key, part)
            else:
                known.part = part
    for forgotten in request.forgotten_topics_data:
        for index in forgotten.partitions:
            session.wanted.pop((forgotten.topic, forgotten.topic_id, index), None)
