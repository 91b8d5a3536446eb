"""No class keeps much state and no `__init__` takes many parameters, unless a reason stands next to its name here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from tests.unit.test_layers import GENERATED, MODULES

MOST_ATTRIBUTES = 15
MOST_PARAMETERS = 7

LARGE = {
    "ottla.config.table.Option": "a row of the table of options: each parameter is a column",
    "ottla.testing.broker.embedded.Broker": "a public constructor: each parameter is an option of the broker",
    "ottla.consumer.group.membership.ClassicMembership": "the redesign of groups splits it, and nothing is rebuilt before",
}
"""Classes beyond a limit, and why."""


class Size(NamedTuple):
    attributes: int
    parameters: int

    @property
    def is_large(self) -> bool:
        return self.attributes > MOST_ATTRIBUTES or self.parameters > MOST_PARAMETERS


def size_of(definition: ast.ClassDef) -> Size:
    """How many attributes the methods set on `self`, and how many parameters `__init__` has besides it."""
    methods = [
        node for node in definition.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    attributes = {
        node.attr
        for method in methods
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    parameters = 0
    for method in methods:
        if method.name == "__init__":
            taken = method.args
            parameters = len(taken.posonlyargs + taken.args + taken.kwonlyargs) - 1
    return Size(len(attributes), parameters)


def sizes() -> Iterator[tuple[str, Size]]:
    for module, path in MODULES.items():
        text = path.read_text()
        if text.startswith(GENERATED):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                yield f"{module}.{node.name}", size_of(node)


def test_classes_are_small_but_for_those_with_a_reason() -> None:
    large = {name: size for name, size in sizes() if size.is_large}
    assert large.keys() - LARGE.keys() == set(), "split it, or state the reason in LARGE"
    assert LARGE.keys() - large.keys() == set(), "it is small now: remove it from LARGE"


def test_attributes_and_parameters_that_count() -> None:
    (definition,) = ast.parse(
        "class C:\n"
        "    def __init__(self, a, *, b=1):\n        self.a = self._b = a\n"
        "    def f(self):\n        self.c: int = 0\n        other.d = 1\n"
    ).body
    assert isinstance(definition, ast.ClassDef)
    assert size_of(definition) == Size(attributes=3, parameters=2)
