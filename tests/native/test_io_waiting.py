"""Waiting on native outcomes: parked threads, futures of event loops, Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

from ottla import _native

PATIENCE = 10.0


def test_wait_ends_when_the_time_is_up() -> None:
    latch = _native.Latch()
    assert latch.wait(0) is False
    started = time.monotonic()
    assert latch.wait(0.02) is False
    assert time.monotonic() - started >= 0.02
    with pytest.raises(ValueError, match="nan"):
        latch.wait(float("nan"))


def test_wait_ends_when_another_thread_sets() -> None:
    for _ in range(100):
        latch = _native.Latch()
        setter = threading.Thread(target=latch.set)
        setter.start()
        assert latch.wait(PATIENCE) is True
        setter.join()
    assert latch.wait(None) is True


def test_many_threads_wait_for_one() -> None:
    latch = _native.Latch()
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(latch.wait(PATIENCE))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    latch.set()
    for thread in threads:
        thread.join()
    assert results == [True] * 20


def test_waiting_releases_the_gil() -> None:
    first, second = _native.Latch(), _native.Latch()

    def answer() -> None:
        first.wait(PATIENCE)
        second.set()

    thread = threading.Thread(target=answer)
    thread.start()
    first.set()
    assert second.wait(PATIENCE)
    thread.join()


CTRL_C = """
from ottla import _native
latch = _native.Latch()
try:
    print("waiting", flush=True)
    latch.wait(None)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_ends_a_wait_at_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CTRL_C], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "waiting\n"
            started = time.monotonic()
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == "interrupted\n"
            assert time.monotonic() - started < 1.0
            assert child.wait(PATIENCE) == 0
        finally:
            child.kill()


def test_signal_handler_runs_within_a_wait_that_continues() -> None:
    latch = _native.Latch()
    seen: list[int] = []

    def handler(number: int, _frame: object) -> None:
        seen.append(number)
        latch.set()

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert latch.wait(PATIENCE) is True
    finally:
        signal.signal(signal.SIGALRM, before)
    assert seen == [signal.SIGALRM]


def test_futures_of_a_loop_are_resolved_many_at_once() -> None:
    async def main() -> None:
        latches = [_native.Latch() for _ in range(1000)]
        futures = [latch.future() for latch in latches]
        bridge = _native.bridge_for_loop(asyncio.get_running_loop())
        assert bridge is _native.bridge_for_loop(asyncio.get_running_loop())
        assert len(bridge) == 1000

        def set_all() -> None:
            for latch in latches:
                latch.set()

        thread = threading.Thread(target=set_all)
        thread.start()
        assert await asyncio.wait_for(asyncio.gather(*futures), PATIENCE) == [None] * 1000
        thread.join()
        assert len(bridge) == 0

    asyncio.run(main())


def test_future_of_a_set_latch_is_resolved() -> None:
    async def main() -> None:
        latch = _native.Latch()
        latch.set()
        await asyncio.wait_for(latch.future(), PATIENCE)

    asyncio.run(main())


def test_cancelled_future_is_skipped() -> None:
    async def main() -> None:
        latch = _native.Latch()
        cancelled, other = latch.future(), latch.future()
        cancelled.cancel()
        latch.set()
        await asyncio.wait_for(other, PATIENCE)
        assert cancelled.cancelled()

    asyncio.run(main())


def test_a_future_that_raises_loses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(asyncio.Future[None]):
        def set_result(self, result: None) -> None:
            raise ZeroDivisionError(id(self))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reported: list[object] = []
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        latches = [_native.Latch() for _ in range(4)]
        waiting = [latches[0].future()]
        with monkeypatch.context() as patched:
            patched.setattr(loop, "create_future", lambda: Broken(loop=loop))
            broken = [latch.future() for latch in latches[1:3]]
        waiting.append(latches[3].future())
        for latch in latches:
            latch.set()
        await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE)
        assert [str(error) for error in reported] == [str(id(broken[0]))], (
            "the loop reports the first error"
        )

    asyncio.run(main())


def test_future_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError):
        _native.Latch().future()


def test_wake_after_the_loop_has_closed_hurts_nobody() -> None:
    latch = _native.Latch()

    async def main() -> asyncio.Future[None]:
        return latch.future()

    future = asyncio.run(main())
    latch.set()
    assert not future.done()


def test_closed_loop_is_refused() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        _native.bridge_for_loop(loop)


def test_bridge_and_loop_are_collected_together() -> None:
    latch = _native.Latch()
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        latch.future()

    loop.run_until_complete(begin())
    bridge = weakref.ref(_native.bridge_for_loop(loop))
    loop.close()
    del loop
    gc.collect()
    assert bridge() is None
    latch.set()
