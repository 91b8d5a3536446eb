"""Producer epochs: the identity that follows the current one of a partition."""

from __future__ import annotations

from ottla.producer.identity import MAX_EPOCH, NO_IDENTITY, Identities
from ottla.seam.producing import ProducerIdentity


def test_the_next_epoch_follows_on_the_one_that_was_used() -> None:
    identities = Identities()
    identities.given(ProducerIdentity(7, 0))
    assert identities.after(ProducerIdentity(7, 0)) == ProducerIdentity(7, 1)
    assert identities.after(ProducerIdentity(7, 1)) == ProducerIdentity(7, 2)
    assert identities.base == ProducerIdentity(7, 0)


def test_last_epoch_asks_for_a_new_producer_id() -> None:
    identities = Identities()
    identities.given(ProducerIdentity(7, 3))
    assert identities.after(ProducerIdentity(7, MAX_EPOCH - 1)) == ProducerIdentity(7, MAX_EPOCH)
    assert identities.after(ProducerIdentity(7, MAX_EPOCH)) is None
    identities.given(ProducerIdentity(8, 0))
    assert identities.after(ProducerIdentity(7, MAX_EPOCH)) == ProducerIdentity(8, 0)
    assert identities.after(ProducerIdentity(7, 4)) == ProducerIdentity(8, 0), "an older id too"


def test_a_partition_that_has_sent_nothing_takes_the_given_identity() -> None:
    identities = Identities()
    identities.given(ProducerIdentity(7, 0))
    assert identities.after(NO_IDENTITY) == ProducerIdentity(7, 0)
