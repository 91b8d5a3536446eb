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
    """The identity that the broker gave, and those that follow from it.

    Under which one a partition writes is the flow's to say (it tells with each hold): it takes the one that was given when
    the partition sends for the first time, which this side cannot see.
    """

    __slots__ = ("_base",)

    def __init__(self) -> None:
        self._base = NO_IDENTITY

    @property
    def base(self) -> ProducerIdentity:
        """What partitions write under that never had to start anew."""
        return self._base

    def given(self, producer_id: int, epoch: int) -> None:
        """The broker answered InitProducerId. Partitions that already write keep theirs until they are bumped."""
        self._base = ProducerIdentity(producer_id, epoch)

    def after(self, used: ProducerIdentity) -> ProducerIdentity | None:
        """The next identity of a partition that starts anew, or None where a new producer id has to be asked for."""
        if used.producer_id != self._base.producer_id:
            return self._base
        if used.epoch >= MAX_EPOCH:
            return None
        return ProducerIdentity(used.producer_id, used.epoch + 1)
