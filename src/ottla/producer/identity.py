"""The producer id and the epochs under which partitions write: the sequence identity of KIP-98 and KIP-360.

The epoch is kept per partition. A broker checks it per partition, so one partition can start anew (sequences from 0
under the next epoch) while the others flow on; only when an epoch would pass 32767 is a new producer id needed.
Engine thread only. References: KIP-98, KIP-360; Java: TransactionManager, ProducerIdAndEpoch.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_EPOCH = 32767


class ProducerIdentity(NamedTuple):
    """Who writes: as the broker gave it, or one of its later epochs."""

    producer_id: int
    epoch: int


NO_IDENTITY = ProducerIdentity(-1, -1)


class Identities:
    """The identity of each partition, from the one that the broker gave."""

    __slots__ = ("_base", "_of_partition")

    def __init__(self) -> None:
        self._base = NO_IDENTITY
        self._of_partition: dict[tuple[str, int], ProducerIdentity] = {}

    @property
    def base(self) -> ProducerIdentity:
        """What partitions write under that never had to start anew."""
        return self._base

    def given(self, producer_id: int, epoch: int) -> None:
        """The broker answered InitProducerId. Partitions that already write keep theirs until they are bumped."""
        self._base = ProducerIdentity(producer_id, epoch)

    def current(self, topic: str, partition: int) -> ProducerIdentity:
        """Under which identity the partition writes from now on; the first call of a partition fixes it."""
        return self._of_partition.setdefault((topic, partition), self._base)

    def bump(self, topic: str, partition: int) -> ProducerIdentity | None:
        """The next identity of a partition that starts anew, or None where a new producer id has to be asked for."""
        current = self.current(topic, partition)
        if current.producer_id != self._base.producer_id:
            following = self._base
        elif current.epoch >= MAX_EPOCH:
            return None
        else:
            following = ProducerIdentity(current.producer_id, current.epoch + 1)
        self._of_partition[(topic, partition)] = following
        return following
