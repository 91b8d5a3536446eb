"""ARCHITECTURE.md is true: the names in backticks exist, and every file is named.

A quote with a slash or a file's suffix is a path, `make x` a target, a dotted word an identifier of the Python or Rust
sources; anything else (bytes, options, formulas) is left alone.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.cases import for_each

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "ARCHITECTURE.md"
MOST_LINES = 220
"""Maximum lines of text and charts; tables are looked up, not read."""
SUFFIXES = (".py", ".pyi", ".rs", ".md", ".toml", ".lock", ".java", ".json")
STATIONS = [
    "message",
    "partition",
    "accumulator",
    "batch",
    "outbox",
    "request",
    "connection",
    "broker",
    "delivery",
    "inbox",
    "cursor",
    "record",
]
WORDS = frozenset({"make", "with", "help"})
"""Words of the shell and of Python."""
CRATES = ("core", "io", "native")

IDENTIFIER = re.compile(r"[A-Za-z_]\w*(?:(?:\.|::)[A-Za-z_]\w*)*")
RUST_NAME = re.compile(r"\b(?:struct|enum|trait|fn|type|const|static|mod|union)\s+(\w+)")
RUST_FIELD_OR_VARIANT = re.compile(r"^\s+(?:pub(?:\(\w+\))?\s+)?(\w+)\s*[:({,]", re.MULTILINE)


@cache
def quoted() -> tuple[str, ...]:
    """The texts in backticks, without code blocks."""
    text = re.sub(r"^```.*?^```", "", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    return tuple(sorted(set(re.findall(r"`([^`\n]+)`", text))))


@cache
def files() -> frozenset[str]:
    """Every source file from the root on."""
    found: set[str] = set()
    for top in ("src/ottla", *(f"crates/{crate}" for crate in CRATES), "tools", "codegen"):
        paths = (ROOT / top).rglob("*.*")
        found.update(path.relative_to(ROOT).as_posix() for path in paths)
    return frozenset(found)


@cache
def python_names() -> frozenset[str]:
    names: set[str] = {"ottla"}
    for file in files():
        if file.endswith((".py", ".pyi")):
            path = ROOT / file
            names.add(path.stem)
            for node in ast.walk(ast.parse(path.read_text())):
                names.update(defined(node))
    return frozenset(names)


def defined(node: ast.AST) -> list[str]:
    """The names that a node gives to something."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return [name]
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            return [name]
        case ast.arg(arg=name):
            return [name]
        case ast.Constant(value=str(text)) if text.isidentifier():
            return [text]
    return []


@cache
def rust_names() -> frozenset[str]:
    names: set[str] = set()
    for file in files():
        if file.endswith(".rs"):
            text = (ROOT / file).read_text()
            names.update(RUST_NAME.findall(text), RUST_FIELD_OR_VARIANT.findall(text))
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]
    names.update(workspace["dependencies"])
    return frozenset(names)


@cache
def make_targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def problem_of_path(quote: str) -> str | None:
    if (ROOT / quote).exists() or any(file.endswith(f"/{quote}") for file in files()):
        return None
    near = [file for file in files() if Path(file).name == Path(quote).name]
    return f"no such path{'; there is ' + ', '.join(near) if near else ''}"


def problem_of(quote: str) -> str | None:
    """The fault of a quote; None if it is found or cannot be checked."""
    if quote.startswith("make "):
        unknown = set(quote.split()[1:]) - make_targets()
        return f"the Makefile has no target {', '.join(sorted(unknown))}" if unknown else None
    if "/" in quote or quote.endswith(SUFFIXES):
        return problem_of_path(quote)
    name = quote.partition("(")[0]
    parts = re.split(r"\.|::", name)
    if not IDENTIFIER.fullmatch(name) or parts[0] in sys.stdlib_module_names:
        return None
    known = python_names() | rust_names() | make_targets() | WORDS
    unknown = set(parts) - known
    return f"no source defines {', '.join(sorted(unknown))}" if unknown else None


def is_named(file: str) -> bool:
    """Whether the page names a file by its path, or by the end of its path."""
    return any(file == quote or file.endswith(f"/{quote}") for quote in quoted())


@for_each(quoted())
def test_every_name_of_the_page_exists(quote: str) -> None:
    problem = problem_of(quote)
    assert problem is None, f"ARCHITECTURE.md names `{quote}`: {problem}"


@pytest.mark.parametrize("crate", CRATES)
def test_every_rust_source_file_is_on_the_map(crate: str) -> None:
    top = f"crates/{crate}/src/"
    sources = [file for file in files() if file.startswith(top) and file.endswith(".rs")]
    missing = [
        file
        for file in sources
        if not is_named(file) and Path(file).name not in ("mod.rs", "lib.rs")
    ]
    assert sources
    assert not missing, "ARCHITECTURE.md says nothing of " + ", ".join(sorted(missing))


def test_every_python_package_is_on_the_map() -> None:
    packages = [
        Path(file).parent.as_posix()
        for file in files()
        if file.startswith("src/ottla/") and file.endswith("/__init__.py")
    ]
    named = {quote.rstrip("/") for quote in quoted()}
    missing = sorted(set(packages) - named - {"src/ottla"})
    assert not missing, "ARCHITECTURE.md says nothing of " + ", ".join(missing)


@for_each(STATIONS)
def test_every_station_has_a_row(station: str) -> None:
    row = re.search(rf"^\| {station} \|", PAGE.read_text(), re.MULTILINE)
    assert row, f"the table of stations has no row for {station}"


def test_the_page_is_short_enough_to_be_read() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if not line.startswith("|")]
    assert len(lines) < MOST_LINES


def test_labels_of_state_charts_have_one_colon() -> None:
    """A label ends at a second colon or at a semicolon, and the chart is not drawn."""
    charts = re.findall(r"^stateDiagram-v2\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for chart in charts for line in chart.splitlines()]
    assert lines
    assert [line for line in lines if line.count(":") > 1 or ";" in line] == []


@pytest.mark.parametrize(
    ("quote", "reason"),
    [
        ("src/ottla/no_such.py", "no such path"),
        ("tests/verdict.py", "there is src/ottla/producer/verdict.py"),
        ("NoSuchClass", "no source defines NoSuchClass"),
        ("Delivery.no_such", "no source defines no_such"),
        ("make nothing", "no target nothing"),
    ],
)
def test_a_missing_name_is_found(quote: str, reason: str) -> None:
    assert reason in (problem_of(quote) or "")
