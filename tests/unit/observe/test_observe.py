"""Log, events and health."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ottla
from ottla.errors import NoBrokersAvailable
from ottla.observe.events import MOST, Event, Events
from ottla.observe.health import Health
from ottla.observe.log import (
    ClientLog,
    ProcessLog,
    broker_name,
    counted,
    log_to_stderr,
    named,
)
from ottla.observe.raised import raised
from tests.fixtures.logged import Logged


@pytest.fixture
def _restored() -> Iterator[None]:
    root = logging.getLogger("ottla")
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_restored")
def test_the_log_is_written_to_stderr_once_after_several_calls(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_to_stderr("info")
    log_to_stderr(logging.WARNING)
    ProcessLog("outbox").info("topic.found", topic="hidden", elapsed_s=1.0)
    ProcessLog("outbox").warning("topic.recreated", topic="t")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "WARNING ottla.outbox: topic t was deleted and recreated: its id changed; its offsets start again"
    )


def test_a_record_of_a_client_has_event_client_and_fields(logged: Logged) -> None:
    log = ClientLog("outbox", "producer 100%s")
    log.info("topic.found", topic="100%", elapsed_s=1.25)
    logging.getLogger("ottla.outbox").setLevel(logging.INFO)
    log.debug("topic.refused", topic="hidden", reason="hidden")
    logging.getLogger("ottla.outbox").setLevel(logging.NOTSET)
    (record,) = logged()
    assert record.getMessage() == (
        "[producer 100%s] topic 100% found after 1.2 s; sending its messages"
    )
    assert (
        record.__dict__.items()
        >= {
            "event": "topic.found",
            "client": "producer 100%s",
            "topic": "100%",
            "elapsed_s": 1.25,
            "name": "ottla.outbox",
            "levelname": "INFO",
            "funcName": "test_a_record_of_a_client_has_event_client_and_fields",
        }.items()
    )


def test_a_record_of_the_process_has_no_client(logged: Logged) -> None:
    ProcessLog("engine").warning("thread.not_ended", what="I/O thread", timeout_s=0.3)
    (record,) = logged("thread.not_ended")
    assert "client" not in record.__dict__
    assert record.getMessage() == "I/O thread not ended within 0.3 s; left behind"


def test_only_lines_about_the_process_have_no_client() -> None:
    package = Path(ottla.__file__).parent
    plain = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"getLogger\(| ProcessLog\(", path.read_text())
    }
    assert {name for name in plain if not name.startswith("testing/")} == {
        "engine/bridge.py",
        "engine/dispatcher.py",
        "engine/port.py",
        "engine/reactor.py",
        "engine/thread.py",
        "observe/log.py",
    }


def test_a_reason_that_is_an_exception_becomes_its_class_and_one_line(logged: Logged) -> None:
    error = NoBrokersAvailable("nobody", attempts=[("a:1", "refused"), ("b:1", "refused")])
    ClientLog("cluster", "producer p").debug("metadata.requested", reason=error)
    reason = "nobody: a:1: refused; b:1: refused"
    assert logged("metadata.requested", error="NoBrokersAvailable", reason=reason)


def test_sentences_count_as_people_do_and_name_the_first_of_many() -> None:
    assert [counted(1, "message"), counted(2, "message"), counted(2, "batch")] == [
        "1 message",
        "2 messages",
        "2 batches",
    ]
    assert [named([]), named(["a"]), named(list("abcde")), named("a")] == [
        "none",
        "a",
        "a, b, c and 2 more",
        "a",
    ]


def test_a_broker_is_named_by_id_or_address_as_far_as_known() -> None:
    known: list[dict[str, Any]] = [
        {"node": 1, "address": "a:1"},
        {"node": 1},
        {"node": -1, "address": "a:1"},
        {"node": -1},
    ]
    assert list(map(broker_name, known)) == ["node 1 at a:1", "node 1", "a:1", "the broker"]


def test_a_listener_that_raises_is_logged_and_the_others_are_called(logged: Logged) -> None:
    events = Events()
    received: list[tuple[str, dict[str, Any]]] = []

    def broken(event: Event) -> None:
        raise ValueError(event.name)

    def listen(event: Event) -> None:
        received.append((event.name, event.fields))

    events.listen(broken)
    events.listen(listen)
    events.emit("connection.lost", node=1)
    events.unlisten(listen)
    events.emit("connection.lost", node=2)
    assert received == [("connection.lost", {"node": 1})]
    raised.end()
    assert logged("callback.raised", kind="listener", argument="connection.lost")
    assert logged("callback.raised_again", count=1, error="ValueError")


def test_events_wait_for_the_thread_of_listeners_and_are_bounded() -> None:
    calls: list[Callable[[], None]] = []
    watched: list[bool] = []
    events = Events(calls.append, watched.append)
    received: list[Event] = []
    events.emit("producer_id.acquired", producer_id=1, epoch=0)
    assert not calls, "nobody listens"
    events.listen(received.append)
    for number in range(MOST + 3):
        events.emit("producer_id.acquired", producer_id=number, epoch=0)
    assert len(calls) == 1, "one hand-over for many"
    assert not received
    calls.pop()()
    assert [event.fields["producer_id"] for event in received[:-1]] == list(range(MOST))
    assert received[-1].name == "events.dropped"
    assert received[-1].fields == {"count": 3}
    events.emit("producer_id.acquired", producer_id=0, epoch=1)
    assert len(calls) == 1
    events.unlisten(received.append)
    calls.pop()()
    assert received[-1].name == "events.dropped", "it is called no more"
    assert watched == [True, False]


def test_health_keeps_the_time_of_the_first_trouble() -> None:
    health = Health()
    assert health.report() == {}
    health.trouble("cluster", "no broker", 5)
    health.trouble("cluster", "still no broker", 9)
    assert health.report() == {"cluster": ("still no broker", 5, "")}
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
        ClientLog("client", "producer mine").warning("topic.recreated", topic="t")
    finally:
        logging.getLogger("ottla.client").removeHandler(broken)
    assert "LookupError: the handler is broken" in capsys.readouterr().err
