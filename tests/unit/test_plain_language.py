"""The guard of plain language finds the banned phrases in prose and names, and nothing in plain sentences."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("plain_language", ROOT / "tools/plain_language.py")
assert SPEC is not None
assert SPEC.loader is not None
tool = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tool)

BANNED = {
    "the flow tells of a hold once": {"tell, told"},
    "    def _told(self) -> None:": {"tell, told"},
    "struct Told;": {"tell, told"},
    "a batch that goes again": {"go again"},
    "the topic was made anew": {"anew"},
    "a buffer that was let go": {"let go"},
    "`send` waits in line.": {"line of waiters"},
    "what waits goes": {"what …"},
    "whoever asks": {"whoever"},
    '    """What a record weighs beside itself."""': {"opener", "beside"},
    "    fn look(&mut self) {}": {"names"},
    "def test_what_is_refused() -> None:": {"sentences"},
    "def test_a_line_that_says_nothing() -> None:": {"sentences"},
    "the outage is over.": {"is over"},
}

PLAIN = [
    "The caller that waits is woken once the batch has its outcome.",
    "Messages over the limit fail; look up the name in the table.",
    "Each line of the log is an event; read the file line by line.",
    "Number of records per batch, as many as fit.",
]


@pytest.mark.parametrize("text", BANNED)
def test_banned_phrases_are_found(text: str) -> None:
    assert {phrase for _, phrase, _ in tool.phrases_in(text)} == BANNED[text]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_sentences_pass(text: str) -> None:
    assert list(tool.phrases_in(text)) == []


def test_tables_of_banned_phrases_are_left_out() -> None:
    text = "<!-- plain-language: off -->\ntold\n<!-- plain-language: on -->\ntold"
    assert [line for line, _, _ in tool.phrases_in(text)] == [4]


def test_each_part_has_files_of_its_own() -> None:
    assert tool.part_of("src/ottla/errors.py") == "src"
    assert tool.part_of("crates/core/src/lib.rs") == "crates"
    assert tool.part_of("ARCHITECTURE.md") == "docs"
    assert tool.part_of("tests/conftest.py") == "tests"
    assert tool.part_of("src/ottla/api/_sync/producer.py") is None
    assert tool.part_of("docs/logo.svg") is None
