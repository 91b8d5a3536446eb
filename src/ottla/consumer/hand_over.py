"""The last step before the application: records that were taken are deserialized and pass the interceptors.

A record that does not deserialize stops only its own partition, by `on_deserialize_error`:

- raise: the records before it are handed over, then the error is raised. The position is at the record, so the next take finds it
  again; a seek past it skips it. Records of other partitions that were taken with it are handed over before the error is raised.
- skip: the record is dropped, logged and counted; the position is after it.
- hand_over: the record is handed over with its bytes, and its `error`.

Station: record. Threads: the one that polls, or those of the claims, each for its own partition.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ottla.consumer.deserializers import Deserializers
from ottla.observe.log import ClientLog
from ottla.virtual_time import monotonic

if TYPE_CHECKING:
    from ottla._native import FetchFlow, Records
    from ottla.config.consumer import ConsumerConfig
    from ottla.consumer.interceptors import ConsumerInterceptors
    from ottla.errors import DeserializationError
    from ottla.message import TopicPartition


_LINE_S = 10.0
"""Minimum interval between two lines about skipped records of one partition, in seconds."""


class SkippedRecords:
    """Records that were skipped because they did not deserialize: their number, and lines in the log. Threads: any.

    Args:
        who: The client, for the log.
    """

    def __init__(self, who: str) -> None:
        self.count = 0
        self._log = ClientLog("records", who)
        self._lock = threading.Lock()
        self._unlogged: dict[tuple[str | None, int | None], int] = {}
        self._next_line: dict[tuple[str | None, int | None], float] = {}

    def add(self, error: DeserializationError) -> None:
        """One more was skipped."""
        place, now = (error.topic, error.partition), monotonic()
        with self._lock:
            self.count += 1
            unlogged = self._unlogged[place] = self._unlogged.get(place, 0) + 1
            is_due = now >= self._next_line.get(place, now)
            if is_due:
                self._next_line[place] = now + _LINE_S
                del self._unlogged[place]
        if is_due:
            self._log.warning(
                "record.skipped",
                topic=error.topic,
                partition=error.partition,
                offset=error.offset,
                reason=error.message,
                count=unlogged,
            )


def make_hand_over(
    flow: FetchFlow,
    config: ConsumerConfig,
    interceptors: ConsumerInterceptors | None,
    skipped: SkippedRecords,
) -> HandOver | None:
    """The hand-over of a consumer; None if it has neither deserializers nor interceptors, which costs nothing then."""
    if (config.key_deserializer, config.value_deserializer, interceptors) == (None, None, None):
        return None
    return HandOver(flow, config, interceptors, skipped)


class HandOver:
    """Deserializers and interceptors of one consumer.

    Args:
        flow: Its positions are set back to records that did not deserialize.
        config: The deserializers, and the policy for their failures.
        interceptors: None: there are none.
        skipped: Counts skipped records.
    """

    def __init__(
        self,
        flow: FetchFlow,
        config: ConsumerConfig,
        interceptors: ConsumerInterceptors | None,
        skipped: SkippedRecords,
    ) -> None:
        self._flow = flow
        self._policy = config.on_deserialize_error
        self._deserializers: Deserializers | None = None
        if config.key_deserializer is not None or config.value_deserializer is not None:
            self._deserializers = Deserializers(config.key_deserializer, config.value_deserializer)
        self._interceptors = interceptors
        self._skipped = skipped
        self._failures: dict[TopicPartition, DeserializationError] = {}
        """Errors that wait to be raised, by partition; the position of each is at the record."""

    def raise_failure(self, only: TopicPartition | None = None) -> None:
        """Raise an error that waits: its partition's earlier records were handed over before. Called before each take.

        Args:
            only: Of this partition; None: of any.
        """
        for tp in [only] if only is not None else list(self._failures):
            error = self._failures.pop(tp, None)
            if error is not None and self._is_at(tp, error.offset):
                raise error

    def _is_at(self, tp: TopicPartition, offset: int) -> bool:
        """Whether a partition is still assigned, and its position was not set in the meantime."""
        position = self._flow.positions().get(tp)
        return position is not None and position[0] == offset

    def prepare(self, taken: Records, only: TopicPartition | None = None) -> Records[Any, Any]:
        """The records to hand over; may be empty, and then the caller takes again.

        Args:
            taken: From the inbox, not empty.
            only: The partition of a claim; None: all may be among them.

        Raises:
            DeserializationError: The first record of the take did not deserialize, and there is no other to hand over.
        """
        records = self._deserialized(taken) if self._deserializers is not None else taken
        if self._interceptors is not None and records:
            records = self._interceptors.on_consume(records)
        if not records:
            self.raise_failure(only)
        return records

    def _deserialized(self, taken: Records) -> Records[Any, Any]:
        assert self._deserializers is not None
        try:
            given = self._deserializers.apply(taken)
        except BaseException:
            self._return(taken)
            raise
        records = taken._deserialized(given)
        if not given.errors or self._policy == "hand_over":
            return records
        if self._policy == "skip":
            return self._without_failed(records, given.errors)
        return self._before_failed(records, given.errors)

    def _without_failed(
        self, records: Records[Any, Any], errors: dict[int, DeserializationError]
    ) -> Records[Any, Any]:
        failed = sorted(errors)
        for index in failed:
            self._skipped.add(errors[index])
        return records._without(failed)

    def _before_failed(
        self, records: Records[Any, Any], errors: dict[int, DeserializationError]
    ) -> Records[Any, Any]:
        """The records in front of the first failure of each partition, whose position is set back to that record."""
        left = records[:0]
        first: dict[tuple[str | None, int | None], DeserializationError] = {}
        for index in sorted(errors):
            first.setdefault((errors[index].topic, errors[index].partition), errors[index])
        for tp, part in records.by_partition().items():
            error = first.get(tp)
            if error is None:
                left += part
                continue
            self._flow.position(tp.topic, tp.partition, error.offset, -1)
            self._failures[tp] = error
            left += part[: part.offsets().index(error.offset)]
        return left

    def _return(self, taken: Records) -> None:
        """None of these records is handed over: the next take has them again."""
        for tp, records in taken.by_partition().items():
            self._flow.position(tp.topic, tp.partition, records[0].offset, -1)
