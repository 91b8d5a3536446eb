"""Objects that belong to this process are neither copied nor pickled, and the error names the alternative."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import ottla
from ottla.client.copies import refuse_copy
from tests.native.test_producer import Wire, bound, make_flow

COPIES: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, pickle.dumps]
CLIENTS = [
    ottla.Producer,
    ottla.AsyncProducer,
    ottla.Consumer,
    ottla.AsyncConsumer,
    ottla.ConsumerGroup,
    ottla.AsyncConsumerGroup,
]


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_is_not_copied(kind: Any, copied: Callable[[Any], Any]) -> None:
    # Without __init__: nothing of it is needed to refuse, and no client has to be closed.
    client = kind.__new__(kind)
    with pytest.raises(TypeError, match=f"^{kind.__name__} cannot be copied.* in each process"):
        copied(client)


def test_a_class_of_the_users_is_named_as_it_is() -> None:
    class Orders(ottla.Producer):
        """Theirs."""

    with pytest.raises(TypeError, match=r"^Orders cannot"):
        refuse_copy(Orders.__new__(Orders))


@pytest.mark.parametrize("copied", COPIES)
def test_an_outcome_belongs_to_its_own_process(copied: Callable[[Any], Any]) -> None:
    wire = Wire(make_flow())
    producer = bound(wire.flow)
    for delivery in (producer.send("t", b"x"), producer.send("t", b"x", metadata="m")):
        with pytest.raises(TypeError, match=r"a Delivery cannot .* result\(\)"):
            copied(delivery)
    many = producer.send_many("t", [b"x"])
    with pytest.raises(TypeError, match=r"Deliveries cannot .* offsets"):
        copied(many)
    wire.pump()
    result = many[0].result()
    assert pickle.loads(pickle.dumps(result)) == copy.deepcopy(result) == result
    assert pickle.loads(pickle.dumps(many.offsets)) == many.offsets


def test_messages_pickle() -> None:
    message = ottla.Message("t", b"v", key="k", headers={"h": b"1"}, metadata=(1, 2))
    for copied in (pickle.loads(pickle.dumps(message)), copy.deepcopy(message)):
        assert copied == message
