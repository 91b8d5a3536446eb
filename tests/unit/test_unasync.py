"""The generator of the synchronous twins: its rules apply to names and text, and none is there without use."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType


def load() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "codegen" / "unasync.py"
    spec = importlib.util.spec_from_file_location("unasync", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


unasync = load()


def test_rules_apply_to_names_and_to_the_text_of_strings() -> None:
    used: set[str] = set()
    source = (
        'async def f(p: AsyncProducer) -> None:\n    """`await p`"""\n    await wait_async(p)\n'
    )
    expected = 'def f(p: Producer) -> None:\n    """`p`"""\n    wait(p)\n'
    assert unasync.unasync(source, used) == expected
    assert used == {"AsyncProducer", "await ", "wait_async"}


def test_a_rule_that_matches_nothing_is_reported() -> None:
    every = unasync.NAMES.keys() | unasync.TEXT.keys()
    assert unasync.unused_rules(every - {"AsyncProducer"}) == ["AsyncProducer"]
    assert unasync.unused_rules(set(every)) == []
