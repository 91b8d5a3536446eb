"""The engine thread: started by the first client, ended by the last; tickets, forks and the end of the interpreter."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ottla.engine import thread
from ottla.engine.bridge import Ticket
from ottla.engine.thread import Engine
from ottla.errors import Closed, ForkedClient, Timeout
from tests.fixtures.logged import Logged
from tests.unit.doubles import BellIo


@pytest.fixture(autouse=True)
def _bell_io(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "_start_io", BellIo)


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine.acquire()
    yield made
    made.release()
    assert made.join(5)


async def doubled(number: int) -> int:
    return number * 2


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def failing() -> None:
    raise LookupError("no")


def test_one_engine_for_all_clients_and_its_thread_ends_with_the_last() -> None:
    first, second = Engine.acquire(), Engine.acquire()
    assert first is second
    assert first.call(doubled, 4).wait(5) == 8
    first.release()
    assert first.call(doubled, 5).wait(5) == 10
    second.release()
    assert first.join(5)
    assert first.io.is_shut_down
    with pytest.raises(Closed):
        first.call(doubled, 1)
    third = Engine.acquire()
    assert third is not first
    assert third.call(doubled, 6).wait(5) == 12
    third.release()
    assert third.join(5)


def test_the_last_client_may_release_on_the_engine_thread() -> None:
    engine = Engine.acquire()

    async def release() -> bool:
        engine.release()
        return engine.on_engine_thread()

    assert engine.call(release).wait(5)
    assert engine.join(5)


def test_interpreter_exit_does_not_stop_an_end_that_is_under_way(
    logged: Logged,
) -> None:
    engine = Engine.acquire()
    begun, ending, go_on = threading.Event(), threading.Event(), threading.Event()
    ended: list[bool] = []

    async def slow_to_end() -> None:
        try:
            begun.set()
            await never()
        finally:
            ending.set()
            go_on.wait(5)
            for _ in range(3):
                await asyncio.sleep(0)
            ended.append(True)

    engine.call(slow_to_end)
    assert begun.wait(5)
    engine.release()
    assert ending.wait(5)
    engine._stop_soon()  # as `end_with_interpreter` does, while the loop ends its tasks
    go_on.set()
    assert engine.join(5)
    assert ended == [True]
    assert logged() == []


def test_a_ticket_raises_the_exception_of_the_operation_in_every_waiter(engine: Engine) -> None:
    ticket = engine.call(failing)
    for _ in range(2):
        with pytest.raises(LookupError):
            ticket.wait(5)
    assert isinstance(ticket.exception(), LookupError)
    assert "failed" in repr(ticket)


def test_a_wait_that_times_out_leaves_the_operation_running(engine: Engine) -> None:
    released = asyncio.Event()

    async def until_released() -> str:
        await released.wait()
        return "done"

    ticket = engine.call(until_released)
    with pytest.raises(Timeout):
        ticket.wait(0)
    with pytest.raises(Timeout):
        ticket.result()
    engine.loop.call_soon_threadsafe(released.set)
    assert ticket.wait(5) == "done"
    assert ticket.result() == "done"


def test_many_threads_wait_on_one_ticket(engine: Engine) -> None:
    released = asyncio.Event()

    async def until_released() -> int:
        await released.wait()
        return 7

    ticket = engine.call(until_released)
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(ticket.wait(5))) for _ in range(8)]
    for waiting in threads:
        waiting.start()
    engine.loop.call_soon_threadsafe(released.set)
    for waiting in threads:
        waiting.join()
    assert results == [7] * 8


async def test_a_ticket_is_awaited_in_any_loop_and_cancelling_ends_the_wait_only(
    engine: Engine,
) -> None:
    assert await engine.call(doubled, 3) == 6
    released = asyncio.Event()

    async def until_released() -> str:
        await released.wait()
        return "done"

    ticket = engine.call(until_released)
    with pytest.raises(Timeout):
        await ticket.wait_async(0.001)
    waiting = asyncio.ensure_future(ticket.wait_async())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    engine.loop.call_soon_threadsafe(released.set)
    assert await ticket == "done"


def test_a_cancelled_ticket_is_closed_for_its_waiters(engine: Engine) -> None:
    ticket = engine.call(never)
    ticket.cancel()
    with pytest.raises(Closed, match="given up"):
        ticket.wait(5)


def test_open_tickets_end_with_the_engine() -> None:
    engine = Engine.acquire()
    ticket = engine.call(never)
    engine.release()
    with pytest.raises(Closed):
        ticket.wait(5)
    assert engine.join(5)


def test_a_call_while_the_engine_ends_begins_no_task_that_nobody_would_end() -> None:
    engine = Engine.acquire()
    late: list[Ticket[None]] = []
    begun: list[str] = []

    async def begins() -> None:
        begun.append("late")
        await never()

    async def calls_at_its_end() -> None:
        try:
            await never()
        finally:
            late.append(engine.call(begins))

    ticket = engine.call(calls_at_its_end)
    engine.call(doubled, 1).wait(5)
    engine.release()
    assert engine.join(5)
    for one in (ticket, *late):
        with pytest.raises(Closed):
            one.wait(0)
    assert (len(late), begun) == (1, [])


def test_ctrl_c_ends_a_wait_at_once(engine: Engine) -> None:
    ticket = engine.call(never)
    main = threading.get_ident()

    async def interrupt() -> None:
        signal.pthread_kill(main, signal.SIGINT)

    begin = time.monotonic()

    def wait_for_it() -> None:
        engine.call(interrupt)
        ticket.wait(30)

    with pytest.raises(KeyboardInterrupt):
        wait_for_it()
    assert time.monotonic() - begin < 5
    ticket.cancel()


def test_a_failure_without_a_reader_is_logged(engine: Engine, logged: Logged) -> None:
    engine.call(failing)
    # Each call is one more turn of the engine's loop, in which it drops the failed task.
    for _ in range(5):
        engine.call(doubled, 1).wait(5)
    assert logged("call.failed", call="failing")


def test_a_failing_task_and_a_failing_drain_are_logged_and_stop_nothing(
    engine: Engine, logged: Logged
) -> None:
    rung = threading.Event()

    def broken() -> None:
        raise RuntimeError("broken drain")

    async def begin() -> None:
        # Awaited here, so that the log has it before the assertion looks: `spawn` logs in a callback of its own.
        await asyncio.wait({engine.spawn(failing(), "a task")})
        engine.add_drain(broken)
        engine.add_drain(rung.set)

    engine.call(begin).wait(5)
    engine.io.ring()
    assert rung.wait(5)
    # The bell may have been served before the loop had its turn at the task's end.
    for _ in range(2):
        engine.call(doubled, 1).wait(5)
    assert logged("internal_error.task", what="ottla: a task")
    assert logged("internal_error.drain")

    async def end() -> None:
        engine.remove_drain(broken)
        engine.remove_drain(rung.set)

    engine.call(end).wait(5)


def test_a_call_of_a_finalizer_runs_on_the_thread_and_takes_no_lock(engine: Engine) -> None:
    ran: list[bool] = []
    done = threading.Event()

    def run() -> None:
        ran.append(engine.on_engine_thread())
        done.set()

    with engine._open_lock, thread._lock:
        engine.from_finalizer(run)
        assert done.wait(5)
    assert ran == [True]


def test_a_late_call_of_a_finalizer_is_dropped() -> None:
    engine = Engine.acquire()
    ran: list[int] = []

    async def end() -> None:
        engine.loop.stop()
        engine.from_finalizer(lambda: ran.append(1))

    engine.call(end).wait(5)
    assert engine.join(5)
    engine.from_finalizer(lambda: ran.append(2))
    engine.release()
    assert ran == []


def in_child(check: Any) -> int:
    """Run `check` in a forked child; its exit code."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(check())
        except BaseException:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_raises_and_the_parent_does_not_notice(engine: Engine) -> None:
    ticket = engine.call(never)

    def check() -> int:
        try:
            engine.call(doubled, 1)
        except ForkedClient:
            pass
        else:
            return 1
        try:
            ticket.wait(5)
        except ForkedClient:
            pass
        else:
            return 2
        engine.release()
        fresh = Engine.acquire()
        if fresh is engine or fresh.call(doubled, 4).wait(5) != 8:
            return 3
        fresh.release()
        return 0 if fresh.join(5) else 4

    assert in_child(check) == 0
    assert engine.call(doubled, 2).wait(5) == 4
    ticket.cancel()


EXIT = """
    import logging
    from ottla.engine import thread
    from tests.unit.doubles import BellIo
    thread._start_io = BellIo
    engine = thread.Engine.acquire()
    class Client:
        def __repr__(self):
            return "<Client>"
    client = Client()
    engine.watch_exit(client, lambda: {count})
    async def never():
        import asyncio
        await asyncio.get_running_loop().create_future()
    ticket = engine.call(never)
"""


def run_script(text: str) -> tuple[subprocess.CompletedProcess[str], float]:
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        check=False,
    )
    return done, time.monotonic() - begin


def test_the_interpreter_ends_without_close_and_reports_the_open_clients() -> None:
    done, _ = run_script(EXIT.format(count=3))
    assert done.returncode == 0
    assert "[<Client>] not closed" in done.stderr
    assert "3 messages not delivered" in done.stderr


def test_the_interpreter_ends_silently_where_nothing_was_left() -> None:
    done, _ = run_script(EXIT.format(count=0))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_child_that_exits_in_the_ordinary_way_reports_nothing_of_the_parent() -> None:
    done, _ = run_script(
        textwrap.dedent(EXIT.format(count=3))
        + textwrap.dedent("""
        import os, sys
        child = os.fork()
        if child == 0:
            sys.exit(5)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        engine.unwatch_exit(client)
        """)
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_watch_that_was_taken_back_is_silent(logged: Logged) -> None:
    engine = Engine.acquire()
    owner = object()
    engine.watch_exit(owner, lambda: 1)
    engine.unwatch_exit(owner)
    engine.end_with_interpreter()
    assert logged() == []
    engine.release()
    assert engine.join(5)
