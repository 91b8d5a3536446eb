"""`advance_time`: minutes pass at once, and no timer fires early."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time

import pytest

import ottla
from ottla.testing import Broker, advance_time

pytestmark = pytest.mark.embedded_only

WAIT_S = 10.0


def test_a_delivery_fails_after_two_minutes_and_not_before() -> None:
    with Broker() as broker, ottla.Producer(broker.bootstrap) as producer:
        producer.send_and_wait("t", b"before")
        broker.kill(1)
        delivery = producer.send("t", b"lost")
        assert advance_time(110) == 110  # real time passes in addition, on a slow machine seconds
        assert not delivery.done()
        assert advance_time(60, until=delivery.done) <= 11
        assert isinstance(delivery.exception(0), ottla.DeliveryTimeout)
        assert delivery.outcome == "not_written"


def test_a_silent_broker_costs_a_request_timeout() -> None:
    with Broker() as broker, ottla.Producer(broker.bootstrap) as producer:
        producer.send_and_wait("t", b"before")
        broker.delay("Produce", 3600)
        asked = broker.count("Produce")
        delivery = producer.send("t", b"late")
        broker.wait_for("Produce", asked + 1)
        assert 20 <= advance_time(60, until=delivery.done) <= 33
        assert delivery.result(0).offset == 1


def test_the_clock_of_the_broker_moves_too() -> None:
    with Broker(virtual_time=True) as broker, ottla.Producer(broker.bootstrap) as producer:
        producer.send_and_wait("t", b"before")
        broker.delay("Produce", 20)
        delivery = producer.send("t", b"slow")
        broker.wait_for("Produce", 2)
        assert advance_time(19) == 19
        assert not delivery.done()
        assert advance_time(5, until=delivery.done) <= 2
        assert delivery.outcome == "written"


def test_a_member_of_a_group_lives_through_ten_minutes() -> None:
    with (
        Broker() as broker,
        ottla.Consumer(broker.bootstrap, group_id="g", max_poll_interval_ms=3_600_000) as consumer,
    ):
        broker.create_topic("t")
        consumer.subscribe(["t"])
        while not consumer.assignment():
            consumer.poll(timeout=0.01)
        member = broker.members("g")
        asked = broker.count("Heartbeat")
        advance_time(600)
        assert broker.members("g") == member
        # Every half second.
        assert 1180 <= broker.count("Heartbeat") - asked <= 1201


def test_a_producer_begins_within_a_second_of_time_that_passes_at_once() -> None:
    for _ in range(10):
        with (
            Broker() as broker,
            ottla.Producer(
                broker.bootstrap, delivery_timeout_ms=1_000, request_timeout_ms=900
            ) as producer,
        ):
            delivery = producer.send("t", b"first")
            advance_time(2, until=delivery.done)
            assert delivery.outcome == "written"


def test_time_passes_only_until_the_condition_holds() -> None:
    asked = itertools.count()
    assert advance_time(10, until=lambda: next(asked) == 4) == 1
    assert advance_time(10, until=lambda: True) == 0
    assert advance_time(0) == 0
    assert advance_time(0.4) == 0.4
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="time does not go back"):
            advance_time(wrong)


def test_later_clients_start_from_the_time_that_was_reached() -> None:
    with Broker() as broker, ottla.Producer(broker.bootstrap) as producer:
        producer.send_and_wait("t", b"1")
        advance_time(500)
    with Broker() as broker, ottla.Producer(broker.bootstrap) as producer:
        broker.delay("Produce", 0.05)
        assert producer.send("t", b"2").result(WAIT_S).offset == 0


def test_several_threads_let_time_pass_while_clients_end() -> None:
    def live() -> None:
        for _ in range(10):
            with Broker() as broker, ottla.Producer(broker.bootstrap) as producer:
                broker.delay("Produce", 1)
                delivery = producer.send("t", b"")
                advance_time(20, until=delivery.done)
                assert delivery.result(WAIT_S).offset == 0
                ended.append(1)

    ended: list[int] = []
    threads = [threading.Thread(target=live) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ended) == 40


async def test_time_passes_while_an_event_loop_runs() -> None:
    async with Broker() as broker, ottla.AsyncProducer(broker.bootstrap) as producer:
        await producer.send_and_wait("t", b"before")
        broker.kill(1)
        sending = asyncio.ensure_future(producer.send_and_wait("t", b"lost"))
        await asyncio.sleep(0)
        await asyncio.to_thread(advance_time, 121, sending.done)
        with pytest.raises(ottla.DeliveryTimeout):
            await asyncio.wait_for(sending, WAIT_S)


def test_the_clients_own_threads_cannot_let_time_pass() -> None:
    raised: list[BaseException | None] = []

    def answer(request: object, call: object) -> None:
        try:
            advance_time(1)
        except RuntimeError as error:
            raised.append(error)

    with Broker() as broker, ottla.Producer(broker.bootstrap) as producer:
        broker.answer("Produce", answer)
        assert producer.send("t", b"").result(WAIT_S).offset == 0
        engine = producer._client._engine
        with pytest.raises(RuntimeError, match="engine's thread"):
            engine.call(_in_a_coroutine).wait(WAIT_S)
    assert "broker's thread" in str(raised[0])


async def _in_a_coroutine() -> None:
    advance_time(1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # 3.12 warns of a fork with threads
def test_the_child_of_a_fork_has_a_clock_of_its_own() -> None:
    with Broker() as broker, ottla.Producer(broker.bootstrap) as producer:
        producer.send_and_wait("t", b"1")
        child = os.fork()
        if child == 0:
            try:
                began = time.monotonic()
                advance_time(60)
                os._exit(0 if time.monotonic() - began < WAIT_S else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
