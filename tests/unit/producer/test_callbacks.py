"""References to the callbacks of the application."""

from __future__ import annotations

import gc
from typing import Any

from ottla.engine import dispatcher
from ottla.observe.events import Events
from ottla.producer.callbacks import CallbackRef, Callbacks


def test_they_are_retained_until_claimed_and_again_after_the_end_of_their_owner() -> None:
    reference = CallbackRef(Callbacks(print))
    gc.collect()
    owned = reference.give_to_owner()
    assert reference.get() is owned
    assert owned.on_delivery is print
    reference.retain(owned)
    del owned
    assert reference.get() is not None


def test_an_owner_that_is_gone_has_nothing_to_call() -> None:
    reference = CallbackRef(Callbacks())
    reference.give_to_owner()
    assert reference.get() is None


def test_listeners_come_and_go_as_of_events() -> None:
    watched: list[bool] = []
    events = Events(watched=watched.append)
    reference = CallbackRef(Callbacks())
    owned = reference.give_to_owner()
    received: list[str] = []

    def listener(event: Any) -> None:
        received.append(event.name)

    def broken(_: Any) -> None:
        raise LookupError("its own fault")

    for one in (broken, listener, listener):
        reference.listen(events, one)
    events.emit("first")
    reference.unlisten(events, listener)
    events.emit("second")
    reference.unlisten(events, broken)
    reference.unlisten(events, broken)
    events.emit("third")
    assert received == ["first", "first"]
    assert watched == [True, False]
    assert owned.listeners == ()


def test_events_during_the_collection_of_the_owner_are_emitted_afterwards() -> None:
    events = Events()
    reference = CallbackRef(Callbacks())
    owned = reference.give_to_owner()
    received: list[str] = []
    reference.listen(events, lambda event: received.append(event.name))
    listeners = owned.listeners
    del owned
    events.emit("between")
    assert received == []
    # As the collector does: the weak reference is dead, and the finalizer sees the object all the same.
    kept = Callbacks()
    kept.listeners = listeners
    reference.retain(kept)
    reference.emit_waiting()
    assert dispatcher.settle(5)
    assert received == ["between"]
    events.emit("after")
    assert received == ["between", "after"]
