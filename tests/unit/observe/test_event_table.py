"""The table of events has the events that the code emits, and the reference is the table."""

from __future__ import annotations

import ast
from pathlib import Path

from ottla.observe.event_table import EVENTS, reference

ROOT = Path(__file__).resolve().parents[3]
MADE_BY_ITSELF = {"events.dropped"}
"""By `Events`, which makes the value without `emit`."""


def emitted_in_source() -> dict[str, set[frozenset[str]]]:
    """Each event that is emitted, with the sets of fields that it is emitted with."""
    emitted: dict[str, set[frozenset[str]]] = {}
    for path in sorted((ROOT / "src/ottla").rglob("*.py")):
        text = path.read_text()
        tree = ast.parse(text) if ".emit(" in text else ast.Module([], [])
        variables = {
            node.target.id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
        }
        for node in ast.walk(tree):
            if not (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "emit"
                and node.args
            ):
                continue
            given = node.args[0]
            if isinstance(given, ast.Name):
                given = variables.get(given.id, given)
            names = [
                part.value
                for part in ast.walk(given)
                if isinstance(part, ast.Constant) and "." in str(part.value)
            ]
            fields: set[str] = set()
            for keyword in node.keywords:
                fields |= {"topic", "partition"} if keyword.arg is None else {keyword.arg}
            for name in names:
                emitted.setdefault(str(name), set()).add(frozenset(fields))
    return emitted


def test_each_emitted_event_is_in_the_table_with_its_fields() -> None:
    emitted = emitted_in_source()
    assert emitted.keys() | MADE_BY_ITSELF == EVENTS.keys()
    for name, kinds in emitted.items():
        assert kinds == {frozenset(EVENTS[name].fields)}, name


def test_the_reference_is_up_to_date() -> None:
    page = ROOT / "docs/reference/events.md"
    assert page.read_text() == reference(), "run python codegen/events_docs.py"
