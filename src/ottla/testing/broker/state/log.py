"""The log of a partition: stored batches, and the state of the producers that wrote them.

Batches are stored as received, with base offset and leader epoch set in place (neither is under the CRC). The
high watermark is the end offset: there are no followers to wait for. References: KIP-98 (sequences), KIP-101 (leader
epochs); Java: `UnifiedLog`, `ProducerStateManager`, `LeaderEpochFileCache`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from struct import Struct

from ottla.errors import DecodeError
from ottla.protocol.error_codes import ErrorCode
from ottla.testing.compression import can_read
from ottla.testing.plain_records import (
    HEADER_BYTES,
    LENGTH_AT,
    MAGIC,
    MAGIC_AT,
    BatchHeader,
    Record,
    check_crc,
    decode_batch,
    read_header,
    stamp,
)

KEPT_BATCHES = 5
"""Kafka recognizes a repeat of any of the last five batches of a producer."""
_OFFSET, _EPOCH = Struct(">q"), Struct(">i")
_SEQUENCES = 1 << 31


@dataclass(frozen=True, slots=True)
class Batch:
    """One stored batch."""

    base_offset: int
    last_offset: int
    leader_epoch: int
    max_timestamp: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Appended:
    """The answer to one append; on an error nothing was written."""

    error: ErrorCode
    base_offset: int = -1
    message: str | None = None
    record_errors: tuple[tuple[int, str], ...] = ()
    """Which records were refused, by their index, and why (KIP-467)."""
    append_time_ms: int = -1
    """The broker's time where it took the place of the producer's."""


@dataclass(slots=True)
class _Producer:
    """The last batches of one producer: first and last sequence, base offset."""

    epoch: int
    batches: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=KEPT_BATCHES))


def _not_one_batch(data: bytes | memoryview) -> str | None:
    """Return why these bytes cannot be one batch of magic 2, which is all that Produce 3+ may hold."""
    if len(data) <= MAGIC_AT:
        return "no whole batch"
    if data[MAGIC_AT] < MAGIC:
        return f"a batch of magic {data[MAGIC_AT]}"
    size = LENGTH_AT + int.from_bytes(data[LENGTH_AT - 4 : LENGTH_AT], "big", signed=True)
    if size > len(data):
        return "no whole batch"
    return "more than one batch" if HEADER_BYTES <= size < len(data) else None


def _keyless(data: bytes | memoryview) -> tuple[tuple[int, str], ...]:
    """Return the records without a key, each with the text of its error."""
    text = "Compacted topic cannot accept message without key"
    return tuple(
        (index, text) for index, record in enumerate(decode_batch(data)) if record.key is None
    )


class PartitionLog:
    """The batches of one partition."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.start_offset = 0
        self.end_offset = 0
        self._ends: list[int] = []
        """Last offset of each batch, for the search."""
        self._producers: dict[int, _Producer] = {}
        self._epochs: list[tuple[int, int]] = [(0, 0)]
        """Leader epochs and their first offsets, both rising."""

    # ---- appending -----------------------------------------------------------------------------------------------

    def append(
        self,
        data: bytes | memoryview,
        leader_epoch: int,
        *,
        max_bytes: int,
        validate_crc: bool = True,
        append_time_ms: int | None = None,
        keys_only: bool = False,
    ) -> Appended:
        """Validate the records of one Produce for this partition and store them.

        Args:
            data: One batch.
            leader_epoch: Stored with it.
            max_bytes: Larger batches are refused.
            validate_crc: Whether to check the CRC.
            append_time_ms: Takes the place of the producer's timestamps.
            keys_only: Records without a key are refused.
        """
        if wrong := _not_one_batch(data):
            return Appended(ErrorCode.INVALID_RECORD, message=wrong)
        try:
            header = read_header(data)
            if validate_crc:
                check_crc(data, header)
        except DecodeError as cause:
            return Appended(ErrorCode.CORRUPT_MESSAGE, message=str(cause))
        if header.record_count == 0 or header.record_count != header.last_offset_delta + 1:
            text = f"{header.record_count} records, last offset delta {header.last_offset_delta}"
            return Appended(ErrorCode.INVALID_RECORD, message=text)
        if header.size > max_bytes:
            text = f"batch of {header.size} bytes, {max_bytes} are allowed"
            return Appended(ErrorCode.MESSAGE_TOO_LARGE, message=text)
        if header.is_control:
            return Appended(ErrorCode.INVALID_RECORD, message="clients write no control batches")
        if keys_only and (keyless := _keyless(data)):
            text = f"{len(keyless)} records were rejected"
            return Appended(ErrorCode.INVALID_RECORD, message=text, record_errors=keyless)
        if header.producer_id >= 0:
            refused = self._check_sequence(header)
            if refused is not None:
                return refused
        if append_time_ms is not None:
            header, data = stamp(header, data, append_time_ms)
        base_offset = self._store(header, data, leader_epoch)
        stamped = -1 if append_time_ms is None else append_time_ms
        return Appended(ErrorCode.NONE, base_offset, append_time_ms=stamped)

    def _check_sequence(self, header: BatchHeader) -> Appended | None:
        """Return why the batch is not stored (a repeat with its old offset), or None and note it."""
        known = self._producers.get(header.producer_id)
        first = header.base_sequence
        last = (first + header.record_count - 1) % _SEQUENCES
        if known is not None and header.producer_epoch < known.epoch:
            text = f"epoch {header.producer_epoch}, the producer has {known.epoch}"
            return Appended(ErrorCode.INVALID_PRODUCER_EPOCH, message=text)
        if known is None or header.producer_epoch > known.epoch:
            # A new producer may start anywhere, as its older batches may be gone; a new epoch starts at 0.
            if known is not None and first != 0:
                text = f"sequence {first} first in epoch {header.producer_epoch}"
                return Appended(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, message=text)
            known = self._producers[header.producer_id] = _Producer(header.producer_epoch)
        else:
            for kept_first, kept_last, base_offset in known.batches:
                if (kept_first, kept_last) == (first, last):
                    return Appended(ErrorCode.NONE, base_offset)
            expected = (known.batches[-1][1] + 1) % _SEQUENCES
            if first != expected:
                text = f"sequence {first} where {expected} comes next"
                return Appended(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, message=text)
        known.batches.append((first, last, self.end_offset))
        return None

    def _store(self, header: BatchHeader, data: bytes | memoryview, leader_epoch: int) -> int:
        base_offset = self.end_offset
        last_offset = base_offset + header.last_offset_delta
        view = memoryview(data)
        stored = b"".join(
            (_OFFSET.pack(base_offset), view[8:12], _EPOCH.pack(leader_epoch), view[16:])
        )
        self.batches.append(
            Batch(base_offset, last_offset, leader_epoch, header.max_timestamp, stored)
        )
        self._ends.append(last_offset)
        self.end_offset = last_offset + 1
        return base_offset

    def forget_producer(self, producer_id: int | None = None) -> None:
        """Forget the sequences of a producer, None: of all."""
        if producer_id is None:
            self._producers.clear()
        else:
            self._producers.pop(producer_id, None)

    # ---- reading -------------------------------------------------------------------------------------------------

    def read(self, offset: int, max_bytes: int, at_least_one: bool) -> bytes:
        """Return whole batches from the one that holds `offset` on.

        Args:
            offset: Between start and end offset.
            max_bytes: Where to stop.
            at_least_one: Return the first batch even if it is larger.
        """
        found: list[bytes] = []
        for index in range(bisect_right(self._ends, offset - 1), len(self.batches)):
            data = self.batches[index].data
            max_bytes -= len(data)
            if max_bytes < 0 and (found or not at_least_one):
                break
            found.append(data)
        return found[0] if len(found) == 1 else b"".join(found)

    def available(self, offset: int, enough: int) -> int:
        """Return the bytes from `offset` on; counting stops once they are `enough`."""
        total = 0
        for index in range(bisect_right(self._ends, offset - 1), len(self.batches)):
            total += len(self.batches[index].data)
            if total >= enough:
                break
        return total

    def offset_at(self, timestamp: int) -> tuple[int, int, int] | None:
        """Return offset, timestamp and leader epoch of the first record not older than `timestamp`.

        A batch whose records cannot be read here (its codec) answers with its first offset.
        """
        for batch in self.batches:
            if batch.max_timestamp < timestamp or batch.last_offset < self.start_offset:
                continue
            for record in self._records_of(batch):
                if record.timestamp >= timestamp and record.offset >= self.start_offset:
                    return record.offset, record.timestamp, batch.leader_epoch
            return (
                max(batch.base_offset, self.start_offset),
                batch.max_timestamp,
                batch.leader_epoch,
            )
        return None

    def offset_of_max_timestamp(self) -> tuple[int, int, int] | None:
        """Return offset, timestamp and leader epoch of the first record with the highest timestamp."""
        if not self.batches:
            return None
        return self.offset_at(max(batch.max_timestamp for batch in self.batches))

    # ---- leader epochs -------------------------------------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> None:
        """A leader begins its epoch at the end of the log; an epoch without a record is forgotten."""
        self._epochs = [known for known in self._epochs if known[1] < self.end_offset]
        self._epochs.append((epoch, self.end_offset))

    def end_of_epoch(self, epoch: int) -> tuple[int, int] | None:
        """Return the largest known epoch up to `epoch`, and where it ends.

        As in `LeaderEpochFileCache.endOffsetFor`: None for an epoch after the latest, and an epoch from before the first
        known one ends where that begins.
        """
        if epoch == self._epochs[-1][0]:
            return epoch, self.end_offset
        later = bisect_right(self._epochs, epoch, key=lambda known: known[0])
        if later == len(self._epochs):
            return None
        known = self._epochs[later - 1][0] if later else epoch
        return known, self._epochs[later][1]

    def truncate(self, offset: int) -> None:
        """Drop the batches from the one that holds `offset` on, as a replica does that follows another leader."""
        retained = bisect_right(self._ends, offset - 1)
        del self.batches[retained:]
        del self._ends[retained:]
        self.end_offset = self._ends[-1] + 1 if self._ends else min(offset, self.end_offset)
        self.start_offset = min(self.start_offset, self.end_offset)
        self._epochs = [known for known in self._epochs if known[1] < self.end_offset] or [(0, 0)]
        for producer in self._producers.values():
            while producer.batches and producer.batches[-1][2] >= self.end_offset:
                producer.batches.pop()
        self._producers = {
            id_: producer for id_, producer in self._producers.items() if producer.batches
        }

    def records(self) -> list[Record]:
        """Return the records that are readable: from the start offset on."""
        return [
            record
            for batch in self.batches
            for record in decode_batch(batch.data)
            if record.offset >= self.start_offset
        ]

    def delete_before(self, offset: int) -> None:
        """Move the start offset up to `offset`; whole batches before it are dropped."""
        self.start_offset = max(self.start_offset, min(offset, self.end_offset))
        dropped = bisect_right(self._ends, self.start_offset - 1)
        del self.batches[:dropped]
        del self._ends[:dropped]
        later = bisect_right(self._epochs, self.start_offset, key=lambda known: known[1])
        if later > 1:
            self._epochs[:later] = [(self._epochs[later - 1][0], self.start_offset)]

    @staticmethod
    def _records_of(batch: Batch) -> list[Record]:
        return decode_batch(batch.data) if can_read(read_header(batch.data).codec) else []
