"""Producer epochs per partition."""

from __future__ import annotations

from ottla.producer.identity import MAX_EPOCH, Identities, ProducerIdentity


def test_bump_starts_one_partition_anew_and_leaves_the_others() -> None:
    identities = Identities()
    identities.given(7, 0)
    assert identities.current("t", 0) == ProducerIdentity(7, 0)
    assert identities.current("t", 1) == ProducerIdentity(7, 0)
    assert identities.bump("t", 0) == ProducerIdentity(7, 1)
    assert identities.current("t", 0) == ProducerIdentity(7, 1)
    assert identities.current("t", 1) == ProducerIdentity(7, 0)


def test_last_epoch_asks_for_a_new_producer_id() -> None:
    identities = Identities()
    identities.given(7, MAX_EPOCH)
    assert identities.current("t", 0) == ProducerIdentity(7, MAX_EPOCH)
    assert identities.bump("t", 0) is None
    identities.given(8, 0)
    assert identities.current("t", 0) == ProducerIdentity(7, MAX_EPOCH), (
        "it writes under its old one until bumped"
    )
    assert identities.bump("t", 0) == ProducerIdentity(8, 0)
    assert identities.bump("t", 0) == ProducerIdentity(8, 1)
