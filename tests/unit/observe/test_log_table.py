"""Every call that writes to the log names an event of the table, at its level, with exactly its fields."""

from __future__ import annotations

import ast
import logging
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ottla.observe.event_table import EVENTS
from ottla.observe.log import ClientLog
from ottla.observe.log_table import FIELDS, LOG_EVENTS, LogEvent
from tests.fixtures.logged import Logged

if TYPE_CHECKING:
    from ottla.observe.log_names import LogName

ROOT = Path(__file__).resolve().parents[3]
METHODS = {"debug", "info", "warning", "error", "log"}
PLACES = {"places", "topic", "partition", "node", "address", "role", "count"}
"""Fields that `Summary` makes of the places and counts."""
DERIVED = {"place": {"topic"}, "broker": {"node", "address"}}


class Call(NamedTuple):
    """A call that writes to the log."""

    where: str
    events: set[str]
    level: str | None
    fields: set[str] | None
    """None: some come from a dict."""
    summed: bool


def names_in(node: ast.expr) -> set[str]:
    """The event names that an argument can be."""
    values = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
    return {value for value in values if isinstance(value, str)}


def level_in(node: ast.expr) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else None


def calls_in(path: Path) -> Iterator[Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        owner, method = ast.unparse(node.func.value), node.func.attr
        summed = owner.endswith("summary") and method == "add"
        if not summed and not (
            method in METHODS and owner.rpartition(".")[2].strip("_)(") == "log"
        ):
            continue
        given = node.args[1] if summed or method == "log" else node.args[0]
        level = level_in(node.args[0]) if summed or method == "log" else method.upper()
        known = {one.arg for one in node.keywords if one.arg} - {"exc_info", "stacklevel"}
        spread = any(one.arg is None for one in node.keywords)
        place = {"topic", "partition"} if "_asdict()" in ast.unparse(node) else set()
        fields = None if spread and not place else known | place
        yield Call(f"{path.name}:{node.lineno}", names_in(given), level, fields, summed)


def calls() -> list[Call]:
    package = ROOT / "src/ottla"
    own = {package / "observe/log.py", package / "observe/summary.py"}
    paths = [path for path in sorted(package.rglob("*.py")) if path not in own]
    return [
        call
        for path in paths
        if "testing" not in path.parts and "_sync" not in path.parts
        for call in calls_in(path)
    ]


CALLS = calls()


def test_each_event_is_logged_by_some_call() -> None:
    text = "".join(
        path.read_text()
        for path in (ROOT / "src/ottla").rglob("*.py")
        if not path.name.startswith("log_")
    )
    assert len(CALLS) > 60
    assert [name for name in LOG_EVENTS if f'"{name}"' not in text] == []


def test_each_call_names_events_of_the_table_at_their_level_with_their_fields() -> None:
    wrong = []
    known: dict[str, LogEvent] = dict(LOG_EVENTS.items())
    for call in CALLS:
        for name in call.events:
            event = known.get(name)
            if event is None:
                wrong.append((call.where, name, "not in the table"))
                continue
            if call.level is not None and call.level not in event.levels:
                wrong.append((call.where, name, f"not at {call.level}"))
            expected = set(event.fields) - (PLACES if call.summed else set())
            fields = None if call.fields is None else call.fields - {"error"}
            if call.summed and fields is not None:
                fields -= PLACES
            if fields is not None and fields != expected:
                wrong.append((call.where, name, f"{sorted(fields)}, not {sorted(expected)}"))
    assert wrong == []


@pytest.mark.parametrize("name", LOG_EVENTS)
def test_a_sentence_uses_fields_of_its_event_only(name: LogName) -> None:
    event = LOG_EVENTS[name]
    used: set[str] = set()
    for _, field, _, _ in string.Formatter().parse(event.text):
        if field is not None:
            used |= DERIVED.get(field, {field})
    assert used <= {*event.fields, "error"}
    assert set(event.fields) <= FIELDS.keys()
    assert re.fullmatch(r"[a-z_]+\.[a-z_]+", name)


def test_each_field_belongs_to_an_event() -> None:
    used = {field for event in LOG_EVENTS.values() for field in event.fields}
    assert FIELDS.keys() - used == {"client", "error", "event"}


def test_no_field_is_an_attribute_of_every_log_record(logged: Logged) -> None:
    record = logging.makeLogRecord({})
    assert not (record.__dict__.keys() | {"message", "asctime"}) & FIELDS.keys()
    for name, event in LOG_EVENTS.items():
        values: dict[str, Any] = dict.fromkeys(event.fields, "x") | {
            "node": 1,
            "partition": 0,
            "places": ["t-0"],
        }
        for field, kind in FIELDS.items():
            if kind.startswith(("int", "float")) and field in event.fields:
                values[field] = 1
        ClientLog("client", "producer p").warning(name, error="E", **values)
    assert len(logged()) == len(LOG_EVENTS)


def test_fields_of_an_event_that_listeners_receive_too_have_the_same_names() -> None:
    shared = sorted(LOG_EVENTS.keys() & EVENTS.keys())
    assert {"batch.failed", "connection.lost", "producer_id.acquired"} <= set(shared)
    for name in EVENTS:
        assert not EVENTS[name].fields.keys() & {"node_id", "client_id"}, name


def test_the_reference_and_the_names_are_up_to_date() -> None:
    page = (ROOT / "docs/reference/log-events.md").read_text()
    names = (ROOT / "src/ottla/observe/log_names.py").read_text()
    assert all(f"\n## `{name}`\n" in page for name in LOG_EVENTS), "run make gen"
    assert re.findall(r'"(.+)"', names.partition("Literal[")[2]) == list(LOG_EVENTS), "run make gen"
