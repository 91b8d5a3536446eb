"""Tasks of an event loop that sleep until a message has its outcome: woken together, cancelled one by one."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import threading
import weakref
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any

import pytest

from ottla import _native, errors
from ottla.config.producer import producer_config
from ottla.producer.accumulator import make_flow
from ottla.seam.failures import ErrorData

PATIENCE = 10.0


def make() -> tuple[_native.ProduceFlow, _native.ProducerBase]:
    flow = make_flow(None, producer_config("h:1", {}))
    flow.set_topic("t", bytes(16), 1, [0])
    producer = _native.ProducerBase()
    producer._bind(flow)
    return flow, producer


async def test_a_cancelled_task_wakes_no_other() -> None:
    flow, producer = make()
    delivery = producer.send("t", b"x")

    async def wait() -> object:
        return await delivery

    tasks = [asyncio.create_task(wait()) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel("enough")
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    assert [task.done() for task in tasks] == [False, True, False]
    flow.abort_all(ErrorData("closed", 0, "the end"))
    for task in (tasks[0], tasks[2]):
        with pytest.raises(errors.Closed):
            await asyncio.wait_for(task, PATIENCE)


async def test_woken_tasks_run_in_their_own_contexts() -> None:
    flow, producer = make()
    delivery = producer.send("t", b"x")
    name: ContextVar[int] = ContextVar("name")
    seen = []

    async def wait(number: int) -> None:
        name.set(number)
        with pytest.raises(errors.Closed):
            await delivery
        seen.append((name.get(), asyncio.current_task()))

    tasks = [asyncio.create_task(wait(number)) for number in range(20)]
    await asyncio.sleep(0)
    flow.abort_all(ErrorData("closed", 0, "the end"))
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
    assert seen == list(enumerate(tasks))


def test_an_interrupt_in_a_woken_task_loses_no_other() -> None:
    flow, producer = make()
    delivery = producer.send("t", b"x")
    woken = []

    async def wait(number: int) -> None:
        with pytest.raises(errors.Closed):
            await delivery
        if number == 1:
            raise KeyboardInterrupt
        woken.append(number)

    async def begin() -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(wait(number)) for number in range(4)]
        await asyncio.sleep(0)
        return tasks

    async def end() -> None:
        flow.abort_all(ErrorData("closed", 0, "the end"))
        await asyncio.sleep(PATIENCE)

    with asyncio.Runner() as runner:
        tasks = runner.run(begin())
        with pytest.raises(KeyboardInterrupt):
            runner.run(end())
        runner.run(asyncio.sleep(0))
        assert woken == [0, 2, 3]
        assert isinstance(tasks[1].exception(), KeyboardInterrupt)


def test_tasks_that_are_not_in_c_sleep_too() -> None:
    flow, producer = make()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        delivery = producer.send("t", b"x")

        async def wait() -> object:
            return await delivery

        task = asyncio.tasks._PyTask(wait(), loop=loop)  # type: ignore[attr-defined]
        given_up = asyncio.tasks._PyTask(wait(), loop=loop)  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        given_up.cancel()
        flow.abort_all(ErrorData("closed", 0, "the end"))
        with pytest.raises(errors.Closed):
            await asyncio.wait_for(task, PATIENCE)
        with pytest.raises(asyncio.CancelledError):
            await given_up

    asyncio.run(main())


async def test_waits_with_a_limit_and_several_loops() -> None:
    flow, producer = make()
    delivery = producer.send("t", b"x")

    async def wait() -> object:
        return await delivery

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait(), 0.01)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(wait()), 0.01)
    other = threading.Thread(target=lambda: results.append(asyncio.run(outcome())))
    results: list[object] = []

    async def outcome() -> object:
        return (await asyncio.gather(wait(), return_exceptions=True))[0]

    other.start()
    here = asyncio.create_task(outcome())
    await asyncio.sleep(0.05)
    flow.abort_all(ErrorData("closed", 0, "the end"))
    assert isinstance(await asyncio.wait_for(here, PATIENCE), errors.Closed)
    await asyncio.to_thread(other.join, PATIENCE)
    assert isinstance(results[0], errors.Closed)


async def test_send_and_wait_waits_for_space_and_then_for_the_outcome() -> None:
    config = {"buffer_memory": 20_000, "batch_size": 4_000, "max_request_size": 20_000}
    flow = make_flow(None, producer_config("h:1", config))
    flow.set_topic("t", bytes(16), 1, [0])
    producer = _native.AsyncProducerBase()
    producer._bind(flow)
    first = asyncio.create_task(producer.send_and_wait("t", bytes(15_000)))
    second = asyncio.create_task(producer.send_and_wait("t", bytes(15_000)))
    given_up = asyncio.create_task(producer.send_and_wait("t", b"x"))
    await asyncio.sleep(0.01)
    given_up.cancel()
    assert flow.undelivered() == 1
    flow.abort_all(ErrorData("closed", 0, "frees the buffer"))
    with pytest.raises(errors.Closed, match="frees the buffer"):
        await asyncio.wait_for(first, PATIENCE)
    for _ in range(1000):
        if flow.undelivered():
            break
        await asyncio.sleep(0.01)
    assert not second.done()
    flow.abort_all(ErrorData("closed", 0, "the end"))
    with pytest.raises(errors.Closed, match="the end"):
        await asyncio.wait_for(second, PATIENCE)
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert flow.undelivered() == 0


async def test_send_and_wait_gives_up_its_place_at_max_block() -> None:
    config = {"buffer_memory": 20_000, "max_request_size": 20_000, "max_block_ms": 30}
    flow = make_flow(None, producer_config("h:1", config))
    flow.set_topic("t", bytes(16), 1, [0])
    producer = _native.AsyncProducerBase()
    producer._bind(flow)
    producer.send_nowait("t", bytes(15_000))
    with pytest.raises(errors.BufferFull):
        await producer.send_and_wait("t", bytes(15_000))
    assert flow.undelivered() == 1


def test_a_task_that_slept_when_its_loop_was_closed_is_collected() -> None:
    _flow, producer = make()
    delivery = producer.send("t", b"x")

    async def wait() -> object:
        return await delivery

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # of a task that was destroyed while it is pending
    task = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0))
    alive = weakref.ref(task)
    loop.close()
    del task, loop
    gc.collect()
    assert alive() is None


def asleep(producer: _native.ProducerBase) -> tuple[Generator[Any, None, Any], Any]:
    """A wait for an outcome, driven by hand, and what a task would sleep on."""
    waiting = producer.send("t", b"x").__await__()
    return waiting, next(waiting)


async def called_by(flow: _native.ProduceFlow, called: list[object], count: int) -> None:
    flow.abort_all(ErrorData("closed", 0, "the end"))
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(called) == count


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]


async def test_a_comparison_that_raises_loses_no_callback() -> None:
    flow, producer = make()
    _waiting, sleep = asleep(producer)
    called: list[object] = []
    sleep.add_done_callback(called.append)
    sleep.add_done_callback(called.append)
    with pytest.raises(ZeroDivisionError):
        sleep.remove_done_callback(Incomparable())
    await called_by(flow, called, 2)


async def test_a_callback_is_removed_however_often_it_was_added() -> None:
    flow, producer = make()
    _waiting, sleep = asleep(producer)
    called: list[object] = []
    for callback in (called.append, called.remove, called.append):
        sleep.add_done_callback(callback)
    assert sleep.remove_done_callback(print) == 0
    assert sleep.remove_done_callback(called.append) == 2
    assert sleep.remove_done_callback(called.remove) == 1
    await called_by(flow, called, 0)


async def test_a_callback_that_raises_loses_no_other() -> None:
    flow, producer = make()
    _waiting, sleep = asleep(producer)
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    called: list[object] = []

    def broken(_sleep: object) -> None:
        raise ZeroDivisionError

    for callback in (broken, called.append):
        sleep.add_done_callback(callback)
    await called_by(flow, called, 1)
    assert len(reported) == 1


def the_child_ends_with(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def test_a_wait_that_continues_in_the_child_of_a_fork_raises() -> None:
    """A look would take the flow's lock, which another thread of the parent may have held."""
    flow, producer = make()
    waiting, _ = asleep(producer)
    not_begun = producer.send("t", b"y").__await__()
    child = os.fork()
    if child == 0:
        _native.mark_forked()
        for one in (waiting, not_begun):
            try:
                next(one)
            except errors.ForkedClient:
                continue
            os._exit(1)
        os._exit(0)
    assert the_child_ends_with(child) == 0
    flow.abort_all(ErrorData("closed", 0, "the end"))
    for one in (waiting, not_begun):
        with pytest.raises(errors.Closed):
            next(one)


async def test_a_wait_of_the_parent_is_not_touched_in_the_child_of_a_fork() -> None:
    """Another thread of the parent may have held the lock under which it is registered: no thread of the child would ever release it."""
    flow, producer = make()
    waiting, _ = asleep(producer)
    bridge = _native.bridge_for_loop(asyncio.get_running_loop()).fileno()
    child = os.fork()
    if child == 0:
        _native.mark_forked()
        del waiting
        # Every sleeper that is still registered is woken.
        flow.abort_all(ErrorData("closed", 0, "the end"))
        os._exit(0 if select.select([bridge], [], [], 0)[0] else 1)
    assert the_child_ends_with(child) == 0
    flow.abort_all(ErrorData("closed", 0, "the end"))
    with pytest.raises(errors.Closed):
        next(waiting)
