"""The signals that stop a group."""

from __future__ import annotations

import asyncio
import signal

import pytest

from ottla.engine.signals import stop_signals, stop_signals_async


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_stops_and_the_second_has_its_former_handler(number: signal.Signals) -> None:
    calls: list[str] = []
    own = signal.getsignal(number)
    signal.signal(number, lambda *_: calls.append("before"))
    try:
        mine = signal.getsignal(number)
        with stop_signals(lambda: calls.append("stop")):
            signal.raise_signal(number)
            signal.raise_signal(number)
        assert calls == ["stop", "before"]
        assert signal.getsignal(number) is mine
    finally:
        signal.signal(number, own)


async def test_in_a_loop_the_second_signal_has_its_former_handler() -> None:
    calls: list[str] = []
    stopped = asyncio.Event()
    own = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: calls.append("before"))
    try:
        mine = signal.getsignal(signal.SIGTERM)
        with stop_signals_async(stopped.set):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(stopped.wait(), 5)
            signal.raise_signal(signal.SIGTERM)
        assert calls == ["before"]
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, own)
