"""The docstrings of native methods: editors read them in the stub, `help` in the extension, and both say the same."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from ottla import _native

STUB = Path(__file__).parents[2] / "src" / "ottla" / "_native.pyi"
CLASSES = {
    node.name: node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ClassDef)
}
SENDS = [
    ("SendingBase", "send_nowait"),
    ("ProducerBase", "send"),
    ("ProducerBase", "send_and_wait"),
    ("AsyncProducerBase", "send"),
    ("AsyncProducerBase", "send_and_wait"),
]
PUBLIC = ["Delivery", "Deliveries", "Record", "Records"]


def in_stub(owner: str, member: str) -> str:
    """The first docstring of this member: overloads share it."""
    for node in CLASSES[owner].body:
        if isinstance(node, ast.FunctionDef) and node.name == member:
            return inspect.cleandoc(ast.get_docstring(node, clean=False) or "")
    raise AssertionError(f"{owner}.{member} is not in the stub")


@pytest.mark.parametrize(("owner", "member"), [*SENDS, ("ProducerBase", "send_many")])
def test_help_and_the_stub_say_the_same_of_sends(owner: str, member: str) -> None:
    text = in_stub(owner, member)
    assert text
    assert inspect.getdoc(getattr(getattr(_native, owner), member)) == text


@pytest.mark.parametrize("owner", PUBLIC)
def test_help_and_the_stub_say_the_same_of_public_classes(owner: str) -> None:
    cls = getattr(_native, owner)
    members = [name for name in vars(cls) if not name.startswith("_")]
    assert members
    for member in members:
        assert inspect.getdoc(getattr(cls, member)) == in_stub(owner, member), member


def section(text: str, name: str) -> str:
    """One section of a docstring."""
    found = re.search(rf"^{name}:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    assert found, f"no {name}"
    return found.group(1).strip()


def test_every_way_to_send_one_message_documents_the_same_arguments() -> None:
    sections = {section(in_stub(*way), "Args") for way in SENDS}
    assert len(sections) == 1


def test_every_way_to_send_one_message_documents_the_same_refusals() -> None:
    lines = [set(section(in_stub(*way), "Raises").splitlines()) for way in SENDS]
    common = set.intersection(*lines)
    assert sum("Not accepted" in line for line in common) >= 4
