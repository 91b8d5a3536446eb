"""The table of events is what the code tells, and the reference is what the table says."""

from __future__ import annotations

import ast
from pathlib import Path

from ottla.observe.event_table import EVENTS, reference

ROOT = Path(__file__).resolve().parents[3]
TOLD_ITSELF = {"events.dropped"}
"""By `Events`, which makes the value without `tell`."""


def told_in_source() -> dict[str, set[frozenset[str]]]:
    """Each event that is told, with the sets of fields that it is told with."""
    told: dict[str, set[frozenset[str]]] = {}
    for path in sorted((ROOT / "src/ottla").rglob("*.py")):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if ".tell(" in text else ():
            if not (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "tell"
                and node.args
            ):
                continue
            names = [
                part.value
                for part in ast.walk(node.args[0])
                if isinstance(part, ast.Constant) and "." in str(part.value)
            ]
            fields: set[str] = set()
            for keyword in node.keywords:
                fields |= {"topic", "partition"} if keyword.arg is None else {keyword.arg}
            for name in names:
                told.setdefault(str(name), set()).add(frozenset(fields))
    return told


def test_what_is_told_is_in_the_table_with_its_fields() -> None:
    told = told_in_source()
    assert told.keys() | TOLD_ITSELF == EVENTS.keys()
    for name, kinds in told.items():
        assert kinds == {frozenset(EVENTS[name].fields)}, name


def test_the_reference_is_up_to_date() -> None:
    page = ROOT / "docs/reference/events.md"
    assert page.read_text() == reference(), "run python codegen/events_docs.py"
