"""Finds phrases and names that CONTRIBUTING.md ("Plain language") bans, in sources, tests and documents.

python tools/plain_language.py                   check: print each place, and fail if there is one
python tools/plain_language.py --list src        each place in a part: file, line, phrase
python tools/plain_language.py --count [PATH]    counts by phrase and part, of this or another checkout

Lines between `<!-- plain-language: off -->` and `<!-- plain-language: on -->` are left out, for the tables of banned phrases.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent

PARTS: Final = {
    "src": ("src/",),
    "crates": ("crates/", "fuzz/"),
    "docs": (
        "docs/",
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "changelog.d/",
    ),
    "tests": ("tests/", "bench/", "codegen/", "tools/", "examples/", "Makefile"),
}
"""Parts of the repository, by the beginnings of their paths."""

SUFFIXES: Final = {".py", ".pyi", ".rs", ".md", ".toml", ""}
GENERATED: Final = re.compile(
    r"/_sync/|src/ottla/protocol/messages/|src/ottla/kafka_errors\.py|src/ottla/config/option_types\.py"
    r"|src/ottla/observe/log_names\.py|crates/native/src/docs\.rs|error_names\.rs"
    r"|tools/plain_language|tests/unit/test_plain_language"
)
"""Files that are made from others, and those about this tool."""

_VERBS: Final = (
    "is|are|was|were|has|had|have|comes|came|keeps|kept|waits|waited|goes|went|fails|failed|follows|stands|stays|takes|"
    "took|makes|made|holds|held|gives|gave|ends|ended|lasts|remains|begins|must|may|might|can|cannot|"
    "could|would|should|does|did|needs|wants|reads|runs|ran|counts|belongs|passes|means|leads|uses|raises|raised"
)


class Phrase(NamedTuple):
    """A banned phrase or name."""

    name: str
    pattern: str
    better: str


PHRASES: Final = (
    Phrase("tell, told", r"(?<![a-z])(?:tell|tells|telling|told)(?![a-z])", "report, notify, log, emit"),
    Phrase("hear", r"(?<![a-z])(?:hears?|heard)(?![a-z])", "receive"),
    Phrase("said", r"\bsaid\b|\bsays so\b", "logged, reported, stated"),
    Phrase("go again", r"\b(?:go|goes|going|gone|went) again\b", "retry, resend"),
    Phrase("anew", r"(?<![a-z])anew(?![a-z])", "again, recreated"),
    Phrase("let go", r"\b(?:lets?|letting)[ _]go\b|\blets? \w+ go\b", "release, drop, discard"),
    Phrase("in hand", r"\bin[ _]hand\b", "current record, being processed"),
    Phrase("on its way", r"\bon (?:its|their|the) way\b", "in flight"),
    Phrase("room", r"(?<![a-z])rooms?(?![a-z])", "free buffer space"),
    Phrase("line of waiters", r"\b(?:waits?|waiting|waited|places?|stands?) in line\b|\bhead of the line\b|\bthe line(?: for room| of (?:callers|senders|waiters)|,? and)\b|\b(?:joins?|leaves?|left|stands?) the line\b|\btopic_line\b|(?-i:\bInLine\b)", "queue"),
    Phrase("beside", r"\bbeside\b", "in addition to, overhead, next to"),
    Phrase("look at", r"\blook(?:s|ed|ing)? (?:at|for|again|after|into)\b", "check, poll, inspect, search"),
    Phrase("is over", r"\b(?:is|are|was|were) over(?=[.,;:)]| and | before | when | by )", "ended, expired"),
    Phrase("whoever", r"\b(?:whoever|whomever|whatever)\b", "a named subject"),
    Phrase("what …", rf"\bwhat (?:{_VERBS}|it|they|he|one)\b", "a named subject or object"),
    Phrase("who …", rf"(?:^|[.:;,(`\"] |\b(?:of|for|to|by|and|or|but|that|says|know|knows|which|what) )[wW]ho (?:{_VERBS})\b", "the caller, the sender, …"),
    Phrase("opener", r"(?:\"\"\"|//[/!] )(?:What|Who|Until|Where|So|As)\b", "noun phrase, or verb and object"),
    Phrase("so many", r"\b[sS]o (?:many|long|often|much) (?!as\b|that\b)", "number of, maximum, seconds"),
    Phrase("cannot be", r"\bcannot be(?=[,.;:)])|\b(?:be|been) had\b", "is invalid, is not available"),
    Phrase("names", r"\b(?:def|fn) _?(?:kept|keeps|look|looks|over|called|lost|said|weighed\w*|is_weighed|hurry)\(", "verb and object"),
    Phrase("sentences", r"\bdef test_(?:\w+_)?(?:what|who|whoever|whatever|says|said|beside)(?:_|\()", "a named subject, an active verb"),
)  # fmt: skip
"""The banned phrases. A pattern is searched in each line, in either case."""

_COMPILED: Final = [(phrase.name, re.compile(phrase.pattern, re.IGNORECASE)) for phrase in PHRASES]


class Found(NamedTuple):
    """A place with a banned phrase."""

    part: str
    path: str
    line: int
    phrase: str
    text: str


def part_of(path: str) -> str | None:
    """The part of the repository that a file belongs to; None: it is not checked."""
    if GENERATED.search(path) or Path(path).suffix not in SUFFIXES:
        return None
    return next((part for part, starts in PARTS.items() if path.startswith(starts)), None)


def phrases_in(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, phrase and matched text of each banned phrase."""
    off = False
    for number, line in enumerate(text.splitlines(), 1):
        if "plain-language: o" in line:
            off = "plain-language: off" in line
        if off:
            continue
        for name, pattern in _COMPILED:
            if name == "what …" and "?" in line:
                continue
            for match in pattern.finditer(line):
                yield number, name, match[0]


def files_of(root: Path) -> Iterator[tuple[str, str]]:
    """Part and path of each file under version control that is checked."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True, check=True
    )
    for path in listed.stdout.split("\0"):
        if (part := part_of(path)) is not None and (root / path).is_file():
            yield part, path


def search(root: Path) -> Iterator[Found]:
    """Every place of a checkout."""
    for part, path in files_of(root):
        text = (root / path).read_text(errors="replace")
        for line, phrase, matched in phrases_in(text):
            yield Found(part, path, line, phrase, matched)


def table(root: Path) -> str:
    """Counts by phrase and part."""
    counts = Counter((found.phrase, found.part) for found in search(root))
    rows = [["phrase", *PARTS, "all"]]
    for phrase in [phrase.name for phrase in PHRASES]:
        by_part = [counts[phrase, part] for part in PARTS]
        rows.append([phrase, *map(str, by_part), str(sum(by_part))])
    totals = [sum(counts[phrase.name, part] for phrase in PHRASES) for part in PARTS]
    rows.append(["all", *map(str, totals), str(sum(totals))])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def check(root: Path) -> int:
    """Print each banned phrase; return the exit status."""
    status = 0
    for found in search(root):
        print(f"{found.path}:{found.line}: {found.phrase}: {found.text} (see CONTRIBUTING.md)")
        status = 1
    return status


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", metavar="PART", help="a part, or the beginning of paths")
    parser.add_argument("--count", nargs="?", const=str(ROOT), metavar="PATH")
    given = parser.parse_args()
    if given.count is not None:
        print(table(Path(given.count)))
    elif given.list is not None:
        for found in search(ROOT):
            if found.part == given.list or found.path.startswith(given.list):
                print(f"{found.path}:{found.line}: {found.phrase}: {found.text}")
    else:
        return check(ROOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
