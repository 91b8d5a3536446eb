"""The modules of the Rust crates form no circle, and the folders of core import downwards only.

A module is a file. It depends on a file that a path of it names: in `use`, or written out with `crate::`, `self::` or
`super::`. Declarations (`mod x;`) are no dependencies, and unit tests inside a file are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).resolve().parents[2]
CRATES = ("core", "io", "native")

CORE_LAYERS = (
    {"produce", "fetch"},
    {"seam", "partitioning", "failure", "latency"},
    {"record"},
    {"bytes"},
    {"ids", "error"},
)
"""The top of each module of core: a layer imports those below it only, or itself."""

PRODUCE_LAYERS = ({"shared", "snapshot", "testing"}, {"drain"}, {"append"})
"""The same inside `produce`, above all its other files."""

MOST_FIELDS = 15
ONE_FIELD_PER_OPTION = {"Settings", "ProduceSettings"}

Module = tuple[str, ...]
"""The path of a module from the root of its crate: `()` is lib.rs."""

COMMENT_OR_TEXT = re.compile(r'//[^\n]*|/\*.*?\*/|r#".*?"#|b?"(?:\\.|[^"\\])*"', re.DOTALL)
UNIT_TESTS = re.compile(r"^#\[cfg\(test\)\]\nmod \w+ \{.*?^\}", re.DOTALL | re.MULTILINE)
USE = re.compile(r"\buse\s+([^;]+);")
STRUCT = re.compile(
    r"^(?:pub(?:\([^)]*\))? )?struct (\w+)[^{;\n]*\{\n(.*?)^\}", re.DOTALL | re.MULTILINE
)
FIELD = re.compile(r"^    (?:pub(?:\([^)]*\))? )?\w+:", re.MULTILINE)
WRITTEN_OUT = re.compile(r"\b(?:crate|self|super)(?:::\w+)+")


def module_of(path: Path, source: Path) -> Module:
    parts = path.relative_to(source).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") else parts


def paths_in(tree: str) -> Iterator[list[str]]:
    """The paths of a `use` tree: `a::{b, c::{d, self}}` is `a::b`, `a::c::d` and `a::c`."""
    head, brace, rest = tree.partition("{")
    if not brace:
        plain = tree.split(" as ")[0].strip()
        yield [part for part in plain.split("::") if part not in ("", "*")]
        return
    prefix = [part for part in head.strip().split("::") if part]
    for branch in branches(rest.rpartition("}")[0]):
        for path in paths_in(branch):
            yield [*prefix, *(part for part in path if part != "self")]


def branches(text: str) -> list[str]:
    found, depth, last = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            found.append(text[last:place])
            last = place + 1
    return [branch for branch in (*found, text[last:]) if branch.strip()]


def target(path: list[str], here: Module, modules: set[Module]) -> Module | None:
    """The deepest module that a path names; None where it leaves the crate."""
    if not path:
        return None
    at: Module
    match path[0]:
        case "crate":
            at, rest = (), path[1:]
        case "self":
            at, rest = here, path[1:]
        case "super":
            at, rest = here, path
            while rest and rest[0] == "super":
                at, rest = at[:-1], rest[1:]
        case name if (*here, name) in modules:
            at, rest = here, path
        case _:
            return None
    for name in rest:
        if (*at, name) not in modules:
            break
        at = (*at, name)
    return at


def dependencies(text: str, here: Module, modules: set[Module]) -> set[Module]:
    text = UNIT_TESTS.sub("", text)
    text = COMMENT_OR_TEXT.sub(lambda found: "" if found[0].startswith("/") else '""', text)
    paths = [path for tree in USE.findall(text) for path in paths_in(tree)]
    text = USE.sub("", text)
    paths += [path.split("::") for path in WRITTEN_OUT.findall(text)]
    found = {target(path, here, modules) for path in paths}
    return {module for module in found if module is not None and module != here}


def graph(crate: str) -> dict[Module, set[Module]]:
    source = ROOT / "crates" / crate / "src"
    files = {module_of(path, source): path for path in source.rglob("*.rs")}
    return {
        module: dependencies(path.read_text(), module, set(files)) for module, path in files.items()
    }


def circles_in(edges: dict[Module, set[Module]]) -> list[list[str]]:
    """The groups of modules that reach each other, each sorted."""
    reached: dict[Module, set[Module]] = {}
    for start in edges:
        seen: set[Module] = set()
        waiting = [start]
        while waiting:
            for other in edges.get(waiting.pop(), set()) - seen:
                seen.add(other)
                waiting.append(other)
        reached[start] = seen
    groups = {
        frozenset(other for other in seen if start in reached.get(other, set()))
        for start, seen in reached.items()
        if start in seen
    }
    return sorted(sorted("::".join(module) or "lib" for module in group) for group in groups)


@pytest.mark.parametrize("crate", CRATES)
def test_no_circle_among_modules(crate: str) -> None:
    assert circles_in(graph(crate)) == []


@pytest.mark.parametrize("crate", CRATES)
def test_the_files_of_a_crate_import_each_other(crate: str) -> None:
    """The graph is not empty: the test would find no circle in one."""
    edges = graph(crate)
    assert sum(len(others) for others in edges.values()) > len(edges)


def test_core_imports_downwards_only() -> None:
    height = {top: place for place, layer in enumerate(CORE_LAYERS) for top in layer}
    edges = graph("core")
    upwards = [
        f"{'::'.join(module)} imports {'::'.join(other)}"
        for module, others in edges.items()
        for other in others
        if module and other[0] != module[0] and height[other[0]] <= height[module[0]]
    ]
    assert upwards == []


def test_produce_imports_downwards_only() -> None:
    height = {name: place for place, layer in enumerate(PRODUCE_LAYERS) for name in layer}
    ground = len(PRODUCE_LAYERS)
    inside = {
        module: {other for other in others if other[:1] == ("produce",) and len(other) > 1}
        for module, others in graph("core").items()
        if module[:1] == ("produce",) and len(module) > 1
    }
    upwards = [
        f"{'::'.join(module)} imports {'::'.join(other)}"
        for module, others in inside.items()
        for other in others
        if height.get(other[1], ground) < height.get(module[1], ground)
    ]
    assert inside
    assert upwards == []


@pytest.mark.parametrize("crate", CRATES)
def test_structs_are_small(crate: str) -> None:
    large = {
        name: len(FIELD.findall(fields))
        for path in (ROOT / "crates" / crate / "src").rglob("*.rs")
        for name, fields in STRUCT.findall(path.read_text())
        if len(FIELD.findall(fields)) > MOST_FIELDS
    }
    assert large.keys() <= ONE_FIELD_PER_OPTION


def test_a_circle_would_be_found() -> None:
    modules = {(), ("a",), ("a", "b"), ("c",)}
    text = dedent("""
        //! `use crate::c` is only written here.
        use crate::{
            a::b::{self, Thing},
            c::Other as Another,
        };
        use super::c::Third;
        fn f() { std::mem::take(&mut crate::a::b::value()); let text = "crate::c"; }
        #[cfg(test)]
        mod tests {
            use super::*;
        }
    """)
    assert dependencies(text, ("a",), modules) == {("a", "b"), ("c",)}
    assert dependencies("use super::Thing;\nuse bytes::Bytes;", ("a", "b"), modules) == {("a",)}
    assert dependencies("use a::b::Thing;", (), modules) == {("a", "b")}
    assert circles_in({("a",): {("c",)}, ("c",): {("a",)}, (): {("a",)}}) == [["a", "c"]]
