"""Log, events and health."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ottla
from ottla.errors import NoBrokersAvailable
from ottla.observe.events import MOST, Event, Events
from ottla.observe.health import Health
from ottla.observe.log import ClientLog, counted, log_to_stderr, logger
from ottla.observe.raised import raised


@pytest.fixture
def _restored() -> Iterator[None]:
    root = logging.getLogger("ottla")
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_restored")
def test_the_log_goes_to_stderr_once_however_often_it_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_to_stderr("info")
    log_to_stderr(logging.WARNING)
    logger("outbox").info("not shown")
    logger("outbox").warning("shown %d", 1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("WARNING ottla.outbox: shown 1")


def test_what_speaks_for_a_client_names_it(caplog: pytest.LogCaptureFixture) -> None:
    log = ClientLog("outbox", "producer 100%s")
    log.warning("%d %s", 1, "line")
    log.warning("100% without arguments")
    log.debug("not shown")
    assert caplog.messages == [
        "[producer 100%s] 1 line",
        "[producer 100%s] 100% without arguments",
    ]
    (first, _) = caplog.records
    assert (first.name, first.funcName) == (
        "ottla.outbox",
        "test_what_speaks_for_a_client_names_it",
    )
    assert first.__dict__["client"] == "producer 100%s"


def test_only_what_speaks_for_the_process_has_a_plain_logger() -> None:
    package = Path(ottla.__file__).parent
    plain = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "getLogger(" in path.read_text() or " logger(" in path.read_text()
    }
    assert {name for name in plain if not name.startswith("testing/")} == {
        "engine/bridge.py",
        "engine/dispatcher.py",
        "engine/port.py",
        "engine/reactor.py",
        "engine/thread.py",
        "observe/log.py",
    }


def test_a_line_is_one_line_and_counts_as_people_do(caplog: pytest.LogCaptureFixture) -> None:
    error = NoBrokersAvailable("nobody", attempts=[("a:1", "refused"), ("b:1", "refused")])
    ClientLog("cluster", "producer p").warning("no metadata: %s", error)
    assert caplog.messages == ["[producer p] no metadata: nobody: a:1: refused; b:1: refused"]
    assert [counted(1, "message"), counted(2, "message"), counted(2, "batch")] == [
        "1 message",
        "2 messages",
        "2 batches",
    ]


def test_listeners_hear_events_and_a_failing_one_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = Events()
    heard: list[tuple[str, dict[str, Any]]] = []

    def broken(event: Event) -> None:
        raise ValueError(event.name)

    def listen(event: Event) -> None:
        heard.append((event.name, event.fields))

    events.listen(broken)
    events.listen(listen)
    events.tell("connection.lost", node=1)
    events.unlisten(listen)
    events.tell("connection.lost", node=2)
    assert heard == [("connection.lost", {"node": 1})]
    raised.end()
    first, second = (record.getMessage() for record in caplog.records)
    assert first.endswith("raised at connection.lost")
    assert second.endswith("raised: 1 more time, the last with ValueError('connection.lost')")


def test_events_wait_for_the_thread_of_listeners_and_are_bounded() -> None:
    calls: list[Callable[[], None]] = []
    watched: list[bool] = []
    events = Events(calls.append, watched.append)
    heard: list[Event] = []
    events.tell("identity.given", producer_id=1, epoch=0)
    assert not calls, "nobody listens"
    events.listen(heard.append)
    for number in range(MOST + 3):
        events.tell("identity.given", producer_id=number, epoch=0)
    assert len(calls) == 1, "one hand-over for many"
    assert not heard
    calls.pop()()
    assert [event.fields["producer_id"] for event in heard[:-1]] == list(range(MOST))
    assert heard[-1].name == "events.dropped"
    assert heard[-1].fields == {"count": 3}
    events.tell("identity.given", producer_id=0, epoch=1)
    assert len(calls) == 1
    events.unlisten(heard.append)
    calls.pop()()
    assert heard[-1].name == "events.dropped", "who left hears nothing more"
    assert watched == [True, False]


def test_health_keeps_the_time_of_the_first_trouble() -> None:
    health = Health()
    assert health.report() == {}
    health.trouble("cluster", "no broker", 5)
    health.trouble("cluster", "still no broker", 9)
    assert health.report() == {"cluster": ("still no broker", 5)}
    assert health.degraded
    health.recovered("cluster")
    health.recovered("cluster")
    assert health.report() == {}


def test_a_handler_that_raises_ends_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise LookupError("the handler is broken")

    broken = Broken()
    logging.getLogger("ottla.client").addHandler(broken)
    try:
        ClientLog("client", "producer mine").warning("said")
    finally:
        logging.getLogger("ottla.client").removeHandler(broken)
    assert "LookupError: the handler is broken" in capsys.readouterr().err
